"""Transcripts of visits: one text, or a list of utterances, in which speakers are named.

    {"dialogue": "[doctor] how are you? [patient] my knee hurts . [doctor] since when?", "note": "…"}     ACI-Bench
    {"dialogue": "Doctor: Any allergies?\\nPatient: No.\\nDoctor: Good.", "section_text": "…"}            MTS-Dialog
    {"dialogue": [{"speaker": "患者", "sentence": "发烧。"}, {"speaker": "医生", "sentence": "多少度？"}]}     IMCS-21

The doctor answers. What a doctor says before the patient has spoken is dropped, and so is a last word of the patient;
neighbouring utterances of one speaker are joined. All three are counted.
"""

from collections.abc import Iterator
from typing import Any

from xinglin.config.base import Config
from xinglin.data.formats import Reject, Repair, Row, _speech, _turns
from xinglin.data.records import Conversation, Message, Origin

RECORD = "conversation"
UNIT = "row"
KEYS = ("dialogue", "dialog", "transcript", "conversation", "src", "对话")
SAID = ("sentence", "text", "utterance", "content")
TURNS = _turns.TurnOptions(unanswered="drop", repeated="merge")


class Options(Config):
    """This format has no options."""


def matches(row: Row) -> bool:
    if not isinstance(row, dict) or "chosen" in row or _turns.judged(row):
        return False
    return any(key in row and _is_transcript(row[key]) for key in KEYS)


def parse(row: dict[str, Any], options: Options, origin: Origin) -> Iterator[Conversation | Repair]:
    key = next(key for key in KEYS if key in row and _is_transcript(row[key]))
    said = row[key]
    turns = [Message(*turn) for turn in (_speech.turns(said) if isinstance(said, str) else _uttered(said))]
    turns = [turn for turn in turns if turn.content.strip()]
    first = next((at for at, turn in enumerate(turns) if turn.role == "user"), len(turns))
    if first:
        yield Repair("opening_without_question_dropped")
    turns = turns[first:]
    if not any(turn.role == "assistant" for turn in turns):
        raise Reject("no_answer", "the doctor never answers")
    yield from _turns.conversation(turns, TURNS, origin=origin, meta=_turns.rest(row, key))


def _is_transcript(said: Any) -> bool:
    if isinstance(said, str):
        return len({turn.role for turn in _speech.turns(said)}) == 2
    first = said[0] if isinstance(said, list) and said else None
    return isinstance(first, dict) and "speaker" in first and any(key in first for key in SAID)


def _uttered(said: list[Any]) -> Iterator[_speech.Turn]:
    for number, utterance in enumerate(said, start=1):
        if not isinstance(utterance, dict):
            raise Reject("bad_roles", f"utterance {number} is not an object")
        text = next((utterance[key] for key in SAID if key in utterance), None)
        found = _speech.speaker(f"{utterance.get('speaker')}：")
        if found is None:
            raise Reject("bad_roles", f"utterance {number} is of {utterance.get('speaker')!r}")
        yield _speech.Turn(found[0], _turns.text(text, f"utterance {number}"))
