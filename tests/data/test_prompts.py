"""What is asked about each kind of record."""

import pytest

from xinglin.data.prompts import EXAM, exam_question, prompt_of
from xinglin.data.records import Conversation, Document, Message, Origin, Preference, Question
from xinglin.data.writing.language import chinese_share
from xinglin.errors import DataError

ORIGIN = Origin("rows.jsonl", 4)
QUESTION = Question("孕妇禁用？", {"A": "青霉素", "B": "四环素"}, "B", ORIGIN, {"department": "产科"})


def conversation(*turns: tuple[str, str]) -> Conversation:
    return Conversation(tuple(Message(role, text) for role, text in turns), ORIGIN, {"a": 1})  # type: ignore[arg-type]


def test_a_conversation_loses_its_last_answer() -> None:
    turns = (
        ("system", "你是医生"),
        ("user", "头痛"),
        ("assistant", "多久？"),
        ("user", "两天"),
        ("assistant", "就诊。"),
    )
    messages, meta = prompt_of(conversation(*turns))
    assert [message.content for message in messages] == ["你是医生", "头痛", "多久？", "两天"]
    assert meta == {"a": 1}


def test_a_preference_keeps_its_prompt() -> None:
    prompt = (Message("user", "头痛"),)
    assert prompt_of(Preference(prompt, "好", "坏", ORIGIN)) == (prompt, {})


def test_an_exam_question_shows_its_options_and_keeps_the_answer_apart() -> None:
    messages, meta = prompt_of(QUESTION)
    (message,) = messages
    assert message.content == "孕妇禁用？\nA. 青霉素\nB. 四环素\n请选出正确的一项，最后以“答案：字母”结尾。"
    assert meta == {"department": "产科", EXAM: {"options": {"A": "青霉素", "B": "四环素"}, "answer": "B"}}
    assert exam_question(QUESTION, free=False).endswith("请直接回答正确选项的字母。")
    english = Question("Avoid?", {"A": "x", "B": "y"}, "AB", ORIGIN)
    assert exam_question(english, free=True).endswith('end with "Answer: letters".')


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (Document("text", ORIGIN), "rows.jsonl:4: a document asks nothing; name a split of prompts"),
        (conversation(("assistant", "您好")), "no user message before the last answer"),
        (Conversation((Message("user", "天气"),), ORIGIN, {}, ({"type": "function"},)), "with tools"),
    ],
)
def test_records_that_cannot_be_asked(record, message: str) -> None:
    with pytest.raises(DataError, match=message):
        prompt_of(record)


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("多喝水", 1.0),
        ("drink water", 0.0),
        ("喝水 water", 2 / 3),
        ("A", None),
        ("CT 120", None),
        ("ねつ熱", None),
    ],
)
def test_the_share_of_chinese(text: str, share: float | None) -> None:
    assert chinese_share(text) == (share if share is None else pytest.approx(share))
