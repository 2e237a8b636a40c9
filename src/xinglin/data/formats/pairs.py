"""One question and one answer, under any of the usual names of columns.

    {"query": "我腹痛，有什么中药可以推荐吗？", "response": "首先需要确定腹痛的性质。"}          ShenNong, ChatMed
    {"question": "曲匹地尔片怎么服用？", "answer": "口服。", "label": "内科", "score": 4}      Huatuo26M-Lite
    {"问": "肛门病变可能是什么疾病的症状?", "答": "食管克罗恩病"}                              MedicalGPT

``PAIRS`` lists the names; the case of letters does not count. ``system``, ``history`` and a ``context`` of the question
are read as well. A dialogue that was written into the question (``<user>: … <bot>: … <user>: …``, lines of 病人： and
医生：) becomes messages again, and a wrapper such as ``<s>问：\\n…\\n答：\\n`` is taken off. Values may be lists of one
string. An answer that is only an address (Huatuo consultations) cannot be used.
"""

from collections.abc import Iterator
from typing import Any

from xinglin.data.formats import Reject, Repair, Row, _single, _turns
from xinglin.data.records import Conversation, Origin

RECORD = "conversation"
UNIT = "row"
PAIRS = (
    *(("query", answer) for answer in ("response", "answer", "output")),
    *(("prompt", answer) for answer in ("completion", "response", "answer", "output")),
    *(("instruction", answer) for answer in ("response", "completion", "answer", "target")),
    *(("question", answer) for answer in ("answer", "answers", "response", "output", "solution")),
    *(("question", answer) for answer in ("raw_anwser", "free_form_answer")),  # DISC-MedLLM, K-QA
    *(("input", answer) for answer in ("output", "target", "response", "answer")),
    ("questions", "answers"),
    ("instruct", "output"),
    ("context", "target"),
    ("content", "summary"),
    ("problem", "sanswer"),  # LLMEval-Med
    ("harmful_medical_request", "safe_response"),  # MedSafetyBench
    *((asked, answer) for asked in ("问", "问题", "提问") for answer in ("答", "回答", "答案", "回复")),
)
BESIDE = ("system", "history", "context", "input")
OTHERS = {
    "chosen",
    "rejected",
    "options",
    "option",
    "opa",
    "ask",
    "conversation",
    "conversations",
    "messages",
    "questions",
    "response_chosen",
}
"""Columns by which a row is of another format, unless they are the pair themselves."""
NOT_THESE = ({"a", "b"}, {"instruction", "output"})
"""Exam questions, and ``alpaca``."""
Options = _single.HistoryOptions


def matches(row: Row) -> bool:
    return isinstance(row, dict) and _pair(row) is not None


def parse(row: dict[str, Any], options: Options, origin: Origin) -> Iterator[Conversation | Repair]:
    pair = _pair(row)
    assert pair is not None  # it matches
    asked, answered = pair
    low = {key.lower(): key for key in row}
    beside = {name: low[name] for name in BESIDE if name in low and low[name] not in pair}
    answer = _single.answered(row[answered], answered)
    if answer.strip().lower() in _single.NOTHING:
        raise Reject("no_answer", f"{answered} is {answer.strip()!r}")
    parts = [_turns.text(row[key], key) for key in (asked, beside.get("context"), beside.get("input")) if key]
    before = _turns.system_first(
        _turns.text(row.get(beside.get("system", "")), "system"),
        _turns.history(row.get(beside.get("history", "")), train=options.train_history),
    )
    meta = _turns.rest(row, *pair, *beside.values())
    yield from _single.conversation(
        _single.joined(*parts), answer, options, before=before, origin=origin, meta=meta
    )


def _pair(row: dict[str, Any]) -> tuple[str, str] | None:
    """The columns of the question and the answer, as the row spells them."""
    low = {key.lower(): key for key in row if isinstance(key, str)}
    if _turns.judged(row) or "rank1" in low or any(columns <= low.keys() for columns in NOT_THESE):
        return None
    for asked, answered in PAIRS:
        if asked in low and answered in low and not (OTHERS - {asked}) & low.keys():
            pair = low[asked], low[answered]
            return pair if all(_single.is_one(row[key]) for key in pair) else None
    return None
