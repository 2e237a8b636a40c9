"""Patient and doctor: one question and answer become a dialogue, which two roles play (HuatuoGPT, arXiv 2305.15075)."""

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from xinglin.config.parts import Fraction, Positive
from xinglin.data.records import Conversation, Kind, Message, Record
from xinglin.synthesis.checks import bare, check_answer, check_language, check_length, supported, unwrapped
from xinglin.synthesis.facts import drugs
from xinglin.synthesis.task import Ask, Expected, Item, Rejected, TaskConfig

MAKES: Kind = "conversation"
READS: tuple[Kind, ...] = ("conversation",)
END = "[END]"
"""What the patient ends on when nothing is left to ask."""
_OTHER_ROLE = re.compile(r"^\s*(?:患者|病人|医生|Patient|Doctor)\s*[:：]", re.IGNORECASE | re.MULTILINE)


class Config(TaskConfig):
    """Dialogues of several turns from one question and answer."""

    name: Literal["patient_doctor"]
    """Which task: a file in ``synthesis/tasks/``."""
    max_new_tokens: Positive = 512
    """Longest message."""
    least_turns: Positive = 2
    """A dialogue with fewer answers of the doctor is rejected."""
    most_turns: Annotated[int, Field(gt=0, le=20)] = 5
    """The last answer of the doctor, in which he sums up."""
    longest_message: Positive = 600
    """In characters. English ones may be three times as long."""
    support: Fraction = 0.25
    """The share of the real answer's pairs of characters, or of its words, that the doctor's messages must have."""

    @model_validator(mode="after")
    def _can_end(self) -> Self:
        if self.least_turns > self.most_turns:
            raise ValueError("least_turns is above most_turns; lower it")
        return self


def items(records: Iterator[Record], config: Config, seed: int) -> Iterator[Item]:
    yield from (Item(record) for record in records)


def requests(config: Config) -> Sequence[Expected]:
    return [Expected(replies=said) for said in range(2 * config.most_turns)]


async def make(item: Item, config: Config, ask: Ask) -> Sequence[Conversation]:
    case, advice = _case(item.record)
    talk: list[Message] = []
    for turn in range(1, config.most_turns + 1):
        said, ends = await _patient(talk, case, config, ask, turn=turn)
        if ends:
            break
        talk.append(_checked(Message("user", said), talk, config, ask))
        answer = await _doctor(talk, advice, config, ask, last=turn == config.most_turns)
        talk.append(_checked(Message("assistant", answer), talk, config, ask))
        check_answer(said, answer)
    answers = [message.content for message in talk if message.role == "assistant"]
    if len(answers) < config.least_turns:
        raise Rejected("too_few_turns", f"{len(answers)} of {config.least_turns}")
    said, known = "\n".join(answers), f"{case}\n{advice}".lower()
    if invented := sorted(drug for drug in drugs(said) if drug not in known):
        raise Rejected("ungrounded_fact", ", ".join(invented[:5]))
    share = supported(advice, said)
    if share < config.support:
        raise Rejected("ungrounded", f"{share:.2f} of the real answer is in the dialogue")
    return [Conversation(tuple(talk), item.record.origin, item.record.meta)]


async def _patient(
    talk: list[Message], case: str, config: Config, ask: Ask, *, turn: int
) -> tuple[str, bool]:
    """What the patient says next, and whether that is the end."""
    start = "请开始。" if ask.chinese else "Please begin."
    mirrored = [
        Message("assistant" if message.role == "user" else "user", message.content) for message in talk
    ]
    text = await ask("patient", history=(Message("user", start), *mirrored), case=case, end=END, turn=turn)
    return unwrapped(text.replace(END, "")), END in text


async def _doctor(talk: list[Message], advice: str, config: Config, ask: Ask, *, last: bool) -> str:
    return unwrapped(await ask("doctor", history=tuple(talk), advice=advice, last=last))


def _checked(message: Message, talk: list[Message], config: Config, ask: Ask) -> Message:
    longest = config.longest_message * (1 if ask.chinese else 3)
    check_length(message.content, least=1, most=longest, what="message")
    if _OTHER_ROLE.search(message.content):
        raise Rejected("plays_both_roles", message.role)
    if len(bare(message.content)) > 4:
        check_language(message.content, chinese=ask.chinese)
        if any(bare(message.content) == bare(earlier.content) for earlier in talk):
            raise Rejected("repeats_itself", message.role)
    return message


def _case(record: Record) -> tuple[str, str]:
    """What the patient knows, and what a doctor answered."""
    assert isinstance(record, Conversation)
    messages = record.messages
    told = "\n".join(message.content for message in messages if message.role == "user")
    advice = "\n".join(message.content for message in messages if message.role == "assistant")
    if not told.strip() or not advice.strip():
        raise Rejected("no_case", "no question with an answer")
    return told, advice
