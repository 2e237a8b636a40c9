"""An engine that answers by rule, so that every number of an evaluation is known beforehand."""

from collections.abc import Callable, Sequence

from xinglin.data.records import Conversation, Message, Origin, Question
from xinglin.engines import Generation, Likelihood

ORIGIN = Origin("toy.jsonl", 1)


def question(text: str, answer: str = "A", **options: str) -> Question:
    return Question(text, options or {"A": "青霉素", "B": "四环素"}, answer, ORIGIN)


def conversation(*turns: str, **meta: object) -> Conversation:
    """Turns of a user and an assistant in alternation, the user first."""
    roles = ("user", "assistant")
    return Conversation(
        tuple(Message(roles[place % 2], text) for place, text in enumerate(turns)), ORIGIN, meta
    )


class RuleEngine:
    """Answers ``answers[first line of the last message]``, else its ``habit``; a text is as likely as few of its
    characters are missing in that answer. Remembers what it was asked."""

    def __init__(self, answers: dict[str, str], *, habit: str = "不知道"):
        self.answers = answers
        self.habit = habit
        self.asked: list[str] = []

    def generate(
        self,
        conversations: Sequence[Sequence[Message]],
        *,
        max_new_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
        progress: Callable[[int], None] | None = None,
    ) -> list[Generation]:
        texts = [self._answer(messages) for messages in conversations]
        if progress:
            progress(len(texts))
        return [
            Generation(text[:max_new_tokens], "length" if len(text) > max_new_tokens else "stop", len(text))
            for text in texts
        ]

    def log_likelihoods(
        self,
        requests: Sequence[tuple[Sequence[Message], str]],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> list[Likelihood]:
        pairs = [(text, self._answer(messages)) for messages, text in requests]
        if progress:
            progress(len(pairs))
        return [Likelihood(-1.0 * sum(c not in answer for c in text), len(text)) for text, answer in pairs]

    def _answer(self, messages: Sequence[Message]) -> str:
        self.asked.append(messages[-1].content)
        return self.answers.get(messages[-1].content.split("\n")[0], self.habit)
