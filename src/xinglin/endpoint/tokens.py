"""How many tokens a text has, about, without anybody's tokenizer."""

import math
from collections.abc import Iterable

from xinglin.data.records import Message
from xinglin.data.writing.language import CHINESE

PER_MESSAGE = 4
"""What templates write around a message."""
CHARACTERS_PER_TOKEN = 4.0
"""Of text that is not Chinese; a Chinese character counts as one token. A little more than tokenizers of today need."""


def estimate_tokens(text: str) -> int:
    chinese = len(CHINESE.findall(text))
    return chinese + math.ceil((len(text) - chinese) / CHARACTERS_PER_TOKEN)


def estimate_prompt(messages: Iterable[Message]) -> int:
    return sum(PER_MESSAGE + estimate_tokens(message.content) for message in messages)
