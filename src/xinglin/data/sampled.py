"""Answers that a model gave to a prompt and what they are worth, and the records that are made of them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Self

from xinglin.data.prompts import Prompt, prompt_of
from xinglin.data.records import Conversation, Message, Preference, Record

Keep = Literal["best", "pairs", "all"]


@dataclass(frozen=True)
class Answer:
    """One answer to a prompt."""

    text: str
    finish: str
    """``length``: it was cut off."""
    tokens: int
    reward: float
    """Its total; 0 where nothing was scored."""
    components: Mapping[str, float] = field(default_factory=dict)
    """Title of a reward -> its score."""

    @property
    def whole(self) -> bool:
        """Whether it can be learned from: a text that came to its end by itself, of nothing but whole characters."""
        return self.finish == "stop" and self.text != "" and "\ufffd" not in self.text


@dataclass(frozen=True)
class Asked:
    """One record of a split, its answers, or the reason why there are none."""

    row: int
    """Line of the split's file, from 0."""
    answers: tuple[Answer, ...] = ()
    reason: str = ""
    detail: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        answers = tuple(Answer(**answer) for answer in row["answers"])
        return cls(row["row"], answers, row["reason"], row["detail"])


class LeftOut(Exception):
    """A prompt that gives no record: reason, detail."""


@dataclass(frozen=True)
class Selection:
    """Which answers become records."""

    keep: Keep
    """``best``: a conversation that ends on the best answer. ``pairs``: a preference of the best over the worst.
    ``all``: a conversation for every answer."""
    min_reward: float | None = None
    """Worse answers are neither kept nor chosen."""
    min_margin: float = 0.0
    """How much better the best of a pair is, at least."""

    def records(self, asked: Asked, record: Record, *, model: str) -> list[Record]:
        """The records made of the answers to ``record``, whose origin and meta they keep; conversations also the key of
        an exam question.

        Earlier answers in the prompt were not the model's; they are not trained on. ``meta.sample`` names the
        ``model`` and the reward. Answers that were cut off or are garbled are never used.

        Raises:
            LeftOut: there is none.
        """
        if asked.reason:
            raise LeftOut(asked.reason, asked.detail)
        whole = _distinct([answer for answer in asked.answers if answer.whole])
        if not whole:
            raise LeftOut("unfinished", f"all of {len(asked.answers)} answers are cut off, empty or garbled")
        good = [a for a in whole if self.min_reward is None or a.reward >= self.min_reward]
        if not good:
            raise LeftOut("below_threshold", f"the best answer has reward {_best(whole).reward:.4g}")
        prompt = prompt_of(record)
        if self.keep == "pairs":
            return [self._pair(_best(good), whole, record, prompt, model)]
        kept = good if self.keep == "all" else [_best(good)]
        history = tuple(
            replace(message, train=False) if message.role == "assistant" else message
            for message in prompt.messages
        )
        return [
            Conversation(
                (*history, Message("assistant", answer.text)),
                record.origin,
                {**prompt.meta, "sample": {"model": model, "reward": answer.reward}},
            )
            for answer in kept
        ]

    def _pair(
        self, best: Answer, answers: Sequence[Answer], record: Record, prompt: Prompt, model: str
    ) -> Preference:
        worst = min(answers, key=lambda answer: answer.reward)
        margin = best.reward - worst.reward
        if margin <= 0 or margin < self.min_margin:
            raise LeftOut("tie", f"the best of {len(answers)} answers is {margin:.4g} better than the worst")
        meta = {"model": model, "chosen_reward": best.reward, "rejected_reward": worst.reward}
        return Preference(
            prompt.messages, best.text, worst.text, record.origin, {**record.meta, "sample": meta}
        )


@dataclass
class Tally:
    """What the answers to the prompts of a split were like."""

    prompts: int = 0
    used: int = 0
    """Prompts that gave a record."""
    answers: int = 0
    cut_off: int = 0
    tokens: int = 0
    mean: list[float] = field(default_factory=list)
    """For each prompt with answers, the mean reward of these."""
    best: list[float] = field(default_factory=list)
    """The highest of them."""
    components: dict[str, float] = field(default_factory=dict)
    """Title of a reward -> sum of its scores."""

    def add(self, asked: Asked) -> None:
        self.prompts += 1
        self.answers += len(asked.answers)
        self.cut_off += sum(answer.finish == "length" for answer in asked.answers)
        self.tokens += sum(answer.tokens for answer in asked.answers)
        for answer in asked.answers:
            for name, score in answer.components.items():
                self.components[name] = self.components.get(name, 0.0) + score
        if rewards := [answer.reward for answer in asked.answers]:
            self.mean.append(sum(rewards) / len(rewards))
            self.best.append(max(rewards))

    def to_json(self) -> dict[str, Any]:
        answers = max(1, self.answers)
        return {
            "prompts": self.prompts,
            "used": self.used,
            "answers": self.answers,
            "cut_off": self.cut_off,
            "tokens_per_answer": round(self.tokens / answers, 1),
            "components": {name: total / answers for name, total in self.components.items()},
        }


def _distinct(answers: Sequence[Answer]) -> list[Answer]:
    """Without those that say the same as an earlier one."""
    return list({answer.text: answer for answer in reversed(answers)}.values())[::-1]


def _best(answers: Sequence[Answer]) -> Answer:
    return max(answers, key=lambda answer: answer.reward)  # the first of equals
