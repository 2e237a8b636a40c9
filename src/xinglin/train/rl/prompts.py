"""The prompts of a split, as tokens that leave room for an answer."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from xinglin.data.prompts import prompt_of
from xinglin.data.records import Document, Kind, Message, Record, kind_of
from xinglin.data.rendering import Renderer
from xinglin.data.window import fit_window
from xinglin.errors import DataError


@dataclass(frozen=True)
class Asked:
    """A prompt as the model gets it."""

    messages: tuple[Message, ...]
    meta: Mapping[str, Any]
    """What is known about the right answer."""
    ids: list[int]


@dataclass
class Prompts:
    """The prompts of a split, and what became of its records."""

    kind: Kind
    asked: list[Asked] = field(default_factory=list)
    shortened: int = 0
    """Prompts that lost their oldest exchanges."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Reason -> records that are no prompts."""

    def counted(self) -> dict[str, Any]:
        """For the report."""
        return {"used": len(self.asked), "shortened": self.shortened, "left_out": dict(self.left_out)}


def read_prompts(
    records: Iterable[Record], renderer: Renderer, *, split: str, room: int, policy: str
) -> Prompts:
    """Every record of a split as a prompt of at most ``room`` tokens.

    Args:
        policy: what happens to longer ones: ``error``, ``drop`` or ``truncate_history``.

    Raises:
        DataError: the split holds documents, or nothing that fits; a prompt is too long and the policy is ``error``.
        ModelError: there is no chat template.
    """
    prompts: Prompts | None = None
    for record in records:
        if isinstance(record, Document):
            raise DataError(f"split '{split}' holds documents, which ask nothing; name a split of prompts")
        prompts = prompts or Prompts(kind_of(record))
        try:
            asked = prompt_of(record)
            ids = renderer.prompt_ids(asked.messages)
        except DataError as error:
            prompts.left_out[str(error).removeprefix(f"{record.origin}: ")] += 1
            continue
        messages = asked.messages
        if len(ids) > room and policy == "error":
            raise DataError(
                f"{record.origin}: a prompt of {len(ids)} tokens, and {room} leave room for an answer; raise "
                "max_tokens, or set over_length to truncate_history or drop"
            )
        if len(ids) > room and policy == "truncate_history":
            count = lambda kept: len(renderer.prompt_ids(kept))
            messages = tuple(fit_window(messages, room=room, count=count).messages)
            ids = renderer.prompt_ids(messages)
            prompts.shortened += len(ids) <= room
        if len(ids) > room:
            prompts.left_out[f"longer than {room} tokens"] += 1
            continue
        prompts.asked.append(Asked(messages, asked.meta, ids))
    if prompts is None or not prompts.asked:
        counted = (f"{count} {reason}" for reason, count in prompts.left_out.items()) if prompts else ()
        raise DataError(
            f"split '{split}': no prompt to answer ({', '.join(counted) or 'it is empty'}); raise max_tokens, lower "
            "max_new_tokens, or name another split"
        )
    return prompts
