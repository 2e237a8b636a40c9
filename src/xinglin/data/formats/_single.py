"""A question and its answer, with what came before them, as one conversation."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from xinglin.config.base import Config
from xinglin.data.formats import Reject, Repair, _speech, _turns
from xinglin.data.records import Conversation, Message, Origin

LINK = re.compile(r"\s*https?://\S+\s*")
NOTHING = {"", "无", "null", "none", "nan", "n/a", "-"}


class HistoryOptions(Config):
    train_history: bool = False
    """Whether the loss counts the answers in ``history``, and in a dialogue that was written into the question. Sets
    with one row per turn repeat every earlier answer in the rows after it, so counting them trains on early turns many
    times over."""


def is_one(value: Any) -> bool:
    """Whether a column holds one value, or a list of one."""
    if isinstance(value, list):
        return len(value) == 1 and not isinstance(value[0], list | dict)
    return not isinstance(value, dict)


def answered(value: Any, place: str) -> str:
    """The text of an answer, or a number as text. Raises: Reject, for one that is empty or only an address."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value) if math.isfinite(value) else ""
    said = _turns.text(value, place)
    if not said.strip():
        raise Reject("no_answer", f"{place} is empty")
    if LINK.fullmatch(said):
        raise Reject("link_answer", f"{place} is only an address: {said.strip()[:80]}")
    return said


def joined(*parts: str) -> str:
    """Parts of a question one below the other, without empty ones and those that another begins with."""
    kept = [part for part in parts if part.strip().lower() not in NOTHING]
    return "\n".join(
        part
        for at, part in enumerate(kept)
        if not any(other.strip().startswith(part.strip()) for other in kept[at + 1 :])
    )


def conversation(
    question: str,
    answer: str,
    options: HistoryOptions,
    *,
    before: list[Message],
    origin: Origin,
    meta: Mapping[str, Any],
) -> Iterator[Conversation | Repair]:
    """``before`` holds the system message and earlier turns. Raises: Reject."""
    asked = _speech.unflattened(question)
    if asked is None:
        asked = [Message("user", question)]
    else:
        yield Repair("turns_unflattened" if len(asked) > 1 else "wrapper_removed")
        asked = [
            replace(turn, train=options.train_history) if turn.role == "assistant" else turn for turn in asked
        ]
        asked = _turns.merged(asked)
    yield from _turns.conversation([*before, *asked, Message("assistant", answer)], origin=origin, meta=meta)
