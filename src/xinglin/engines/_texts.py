"""Between conversations and tokens, for one model: what every engine does before and after it runs."""

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from xinglin.data.encoding import Segment
from xinglin.data.records import Message
from xinglin.data.rendering import Renderer
from xinglin.data.window import Window, fit_window
from xinglin.engines import Generation
from xinglin.errors import DataError

_UNBOUNDED = 1 << 20


class Texts:
    """Prompts as tokens that leave room for an answer in the model's window, and answers as text."""

    def __init__(self, renderer: Renderer, model_config: Any):
        self.renderer = renderer
        self.context_tokens: int = getattr(model_config, "max_position_embeddings", None) or _UNBOUNDED

    def window(self, messages: Sequence[Message], max_new_tokens: int) -> Window:
        """The conversation without the oldest exchanges that do not fit."""
        room = self.context_tokens - max_new_tokens
        return fit_window(messages, room=room, count=lambda kept: len(self.renderer.prompt_ids(kept)))

    def prompt(self, messages: Sequence[Message], max_new_tokens: int) -> list[int]:
        """
        Raises:
            DataError: it leaves no room for an answer.
        """
        ids = self.renderer.prompt_ids(messages)
        if len(ids) + max_new_tokens > self.context_tokens:
            raise DataError(
                f"a prompt of {len(ids)} tokens and {max_new_tokens} new ones exceed the model's window of "
                f"{self.context_tokens}; shorten the conversation or lower max_new_tokens"
            )
        return ids

    def answer(self, ids: list[int], *, left_out: int = 0) -> Generation:
        """The tokens that were written, the stop token included."""
        stopped = bool(ids) and ids[-1] in self.renderer.stop_ids
        text: Any = self.renderer.tokenizer.decode(ids[:-1] if stopped else ids, skip_special_tokens=True)
        return Generation(text.strip(), "stop" if stopped else "length", len(ids), left_out)

    def scored(self, messages: Sequence[Message], answer: str) -> tuple[Segment, ...]:
        """The training rendering of ``answer``, cut before its end of turn.

        Taken from there because some templates open every answer with white space that the model has to write.
        """
        segments = self.renderer.preference(messages, answer)
        before = tuple(takewhile(lambda segment: not segment.trained, segments))
        written = "".join(segment.text for segment in segments if segment.trained)
        end = written.rindex(answer.strip()) + len(answer.strip())
        return (*before, Segment(written[:end], True))
