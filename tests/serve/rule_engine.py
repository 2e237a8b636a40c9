"""A real engine without a network: it answers by rules, reads its whole prompt, and counts characters as tokens.

Run as a script it opens a chat, which is how the terminal tests get a process with a tty.
"""

import sys
import time
from collections.abc import Generator, Sequence

from xinglin.data.records import Message
from xinglin.engines import Finish, Generation
from xinglin.serve.model import Model
from xinglin.serve.terminal import Session, talk


class CharacterRenderer:
    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        return [ord(character) for message in messages for character in f"{message.role}:{message.content}\n"]


class RuleEngine:
    def __init__(self, *, context_tokens: int = 10_000, seconds_per_token: float = 0.0):
        self.renderer = CharacterRenderer()
        self.context_tokens = context_tokens
        self.seconds_per_token = seconds_per_token

    def generate(
        self,
        conversations: Sequence[Sequence[Message]],
        *,
        max_new_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> list[Generation]:
        texts = [_answer(messages, temperature=temperature, seed=seed) for messages in conversations]
        return [
            Generation(text[:max_new_tokens], _finish(text, max_new_tokens), min(len(text), max_new_tokens))
            for text in texts
        ]

    def stream(
        self,
        messages: Sequence[Message],
        *,
        max_new_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> Generator[str, None, Finish]:
        text = _answer(messages, temperature=temperature, seed=seed)
        for character in text[:max_new_tokens]:
            time.sleep(self.seconds_per_token)
            yield character
        return _finish(text, max_new_tokens)


def _answer(messages: Sequence[Message], *, temperature: float, seed: int) -> str:
    questions = [message.content for message in messages if message.role == "user"]
    system = messages[0].content if messages[0].role == "system" else "no one"
    rules = {
        "who are you": f"I am {system}.",
        "what did I say": " | ".join(questions[:-1]) or "nothing",
        "头痛怎么办": "多休息；\n突发剧烈头痛请立即就医。",
        "draw": f"drawn with seed {seed}" if temperature else "the likeliest",
        "count": " ".join(str(number) for number in range(10_000)),
        "escape": "\x1b[31mred\x07",
        "say nothing": "",
    }
    return rules.get(questions[-1], f"You said: {questions[-1]}")


def _finish(text: str, max_new_tokens: int) -> Finish:
    return "length" if len(text) > max_new_tokens else "stop"


if __name__ == "__main__":
    engine = RuleEngine(context_tokens=60_000, seconds_per_token=float(sys.argv[1]))
    talk(Session(Model(engine, label="rules"), system="Dr. Rule"))
