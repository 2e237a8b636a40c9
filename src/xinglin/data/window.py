"""Cut a conversation to what a model can take."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from xinglin.data.records import Message


class Window(NamedTuple):
    """A conversation cut to what a model can take."""

    messages: list[Message]
    left_out: int
    """Oldest exchanges that are missing in it."""


def fit_window(
    messages: Sequence[Message], *, room: int, count: Callable[[Sequence[Message]], int]
) -> Window:
    """Leave out the oldest exchanges until ``count(messages)`` tokens are at most ``room``.

    The system message and the last question always stay, and may alone be more than that.
    """
    kept = list(messages)
    first = int(kept[0].role == "system")
    while len(kept) > first + 1 and count(kept) > room:
        del kept[first : first + 2]
    return Window(kept, left_out=(len(messages) - len(kept)) // 2)
