"""PubMedQA: a question about abstracts that yes, no or maybe answers.

    {"QUESTION": "Do mitochondria play a role in …?", "CONTEXTS": ["Programmed cell death …"],
     "final_decision": "yes", "LONG_ANSWER": "Results depicted …"}

The abstract stands in front of the question, the options are A yes, B no, C maybe. The file of the Hub (``question``,
``context.contexts``) is read as well.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from xinglin.config.base import Config
from xinglin.data.formats import Reject, Row, _turns
from xinglin.data.records import Origin, Question

RECORD = "question"
UNIT = "row"
ANSWERS = {"A": "yes", "B": "no", "C": "maybe"}


class Options(Config):
    """This format has no options."""


def matches(row: Row) -> bool:
    return isinstance(row, dict) and {"question", "final_decision"} <= {str(key).lower() for key in row}


def parse(row: dict[str, Any], options: Options, origin: Origin) -> Iterator[Question]:
    low = {key.lower(): value for key, value in row.items()}
    decided = _turns.text(low["final_decision"], "final_decision").strip().lower()
    answer = next((letter for letter, text in ANSWERS.items() if text == decided), None)
    if answer is None:
        raise Reject("bad_answer", f"final_decision is {decided!r}, not yes, no or maybe")
    question = _turns.text(low["question"], "question").strip()
    if not question:
        raise Reject("empty", "no question")
    context = low.get("contexts", low.get("context"))
    if isinstance(context, Mapping):
        context = context.get("contexts")
    parts = context if isinstance(context, list) else [context]
    asked = "\n".join(part for part in (*(_turns.text(part, "context") for part in parts), question) if part)
    read = [key for key in row if key.lower() in ("question", "contexts", "context", "final_decision")]
    yield Question(asked, ANSWERS, answer, origin, _turns.rest(row, *read))
