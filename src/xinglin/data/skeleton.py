"""What a chat template writes around the contents of a conversation, and which of it belongs to an answer.

A template is rendered once per *shape* of a conversation (roles, and which messages are empty or carry
reasoning) with markers in place of the contents. The text between the markers is the template's own; the
markers tell where each content goes, and a second rendering tells what white space is stripped from it.

An answer owns the text from the end of the generation prompt (what a model sees when it has to answer) to the
end-of-turn token, that token included. Text that the template adds inside this span is owned when it is white
space, which the model has to write (``\\n`` in GLM-4, a space in Llama-2), and not otherwise (the empty
``<think>`` block of Qwen3). If a template closes the last answer with no token, the eos token is added.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple, Protocol

from xinglin.data.records import Message
from xinglin.errors import DataError

_REASONED = re.compile(r"<think>(.*?)</think>(.*)", re.DOTALL)
_MARKER = re.compile("\ue000(\\d+)\ue001(\\d+)\ue002")
_PAD = "\n \n"
_STRIPPED = ("", "\n", None)
"""What a template may strip from an end of a content, as an argument of ``str.strip``."""

Slot = tuple[int, int]
"""(message, piece): piece 0 of a plain message is its content; reasoning and answer are pieces 0 and 1."""
Shape = tuple[tuple[str, int], ...]
"""Role and number of pieces of each message: 0 empty, 1 a content, 2 reasoning and answer."""


class Part(NamedTuple):
    text: str
    """Written by the template; '' where there is a slot."""
    owner: int = -1
    """The assistant message that is trained on this part, -1 for none."""
    slot: Slot | None = None
    strip: tuple[str | None, str | None] = ("", "")
    """What the template strips from the left and the right of the slot's content."""

    def fill(self, pieces: Sequence[tuple[str, ...]]) -> str:
        """The part's text, given the pieces of every message."""
        if self.slot is None:
            return self.text
        message, piece = self.slot
        return pieces[message][piece].lstrip(self.strip[0]).rstrip(self.strip[1])


class Skeleton(NamedTuple):
    parts: tuple[Part, ...]
    stops: frozenset[str]
    """Tokens that end an assistant message."""
    closing: str
    """The eos text, if the template closes the last answer with no token; else ''."""


class Render(Protocol):
    """Renders contents of a shape; ``thinking`` None means as the renderer is set."""

    def __call__(
        self, shape: Shape, contents: Sequence[str], *, generation: bool, thinking: bool | None = None
    ) -> str: ...


def pieces_of(message: Message) -> tuple[str, ...]:
    """A message's content: whole, or as reasoning and answer, or nothing."""
    if message.role == "assistant" and message.content.startswith("<think>"):
        reasoned = _REASONED.fullmatch(message.content)
        if reasoned:
            return reasoned.groups()
    return (message.content,) if message.content else ()


def shape_of(messages: Sequence[Message]) -> Shape:
    return tuple((message.role, len(pieces_of(message))) for message in messages)


class SkeletonReader:
    """Reads skeletons off a template and keeps them.

    Args:
        render: the template.
        name: how errors call it.
        added_token: matches every added token of the tokenizer.
        bos: the bos text, or ''.
        eos: the eos text.
    """

    def __init__(self, render: Render, *, name: str, added_token: re.Pattern[str], bos: str, eos: str):
        self._render = render
        self._name = name
        self._added_token = added_token
        self._bos = bos
        self._eos = eos
        self._skeletons: dict[tuple[Shape, bool], Skeleton] = {}
        self._tails: dict[tuple[Shape, bool, bool], str] = {}

    def read(self, shape: Shape, *, generation: bool, fresh: bool = False) -> Skeleton:
        """The skeleton of ``shape``, followed by the generation prompt if ``generation``.

        Raises:
            DataError: the template refuses the shape, omits a content, or cannot be followed.
        """
        key = (shape, generation)
        if fresh or key not in self._skeletons:
            self._skeletons[key] = self._build(shape, generation=generation)
        return self._skeletons[key]

    def _build(self, shape: Shape, *, generation: bool) -> Skeleton:
        literals, slots = self._marked(shape, generation=generation)
        self._check(shape, literals, slots)
        strips = self._strips(literals, self._marked(shape, generation=generation, pad=_PAD)[0])
        owners = [message if shape[message][0] == "assistant" else -1 for message, _ in slots]
        parts: list[Part] = []
        stops: set[str] = set()
        for place, literal in enumerate(literals):
            before = owners[place - 1] if place else -1
            after = owners[place] if place < len(slots) else -1
            if before >= 0 and before == after:
                parts.append(Part(literal, before))
            else:
                end, stop = self._end(shape, before, literal) if before >= 0 else (0, "")
                start = max(end, self._start(shape, after, literal)) if after >= 0 else len(literal)
                stops |= {stop} - {""}
                parts += [Part(literal[:end], before), Part(literal[end:start]), Part(literal[start:], after)]
            if place < len(slots):
                parts.append(Part("", after, slots[place], strips[place]))
        closing = self._closing(shape, literals[-1]) if not generation else ""
        parts.append(Part(closing, len(shape) - 1))
        return Skeleton(tuple(part for part in parts if part.text or part.slot), frozenset(stops), closing)

    def _start(self, shape: Shape, owner: int, gap: str) -> int:
        """Where in ``gap``, the text before an answer, the answer's own text begins."""
        reasoned = shape[owner][1] == 2
        header = self._tail(shape[:owner], generation=True, thinking=True if reasoned else None)
        start = _agreement(gap, header)
        rest = gap[start:].strip()
        return start if not rest or (reasoned and rest.startswith("<think>")) else len(gap)

    def _end(self, shape: Shape, owner: int, gap: str) -> tuple[int, str]:
        """Where in ``gap``, the text after an answer, the turn ends, and the token that ends it ('' for none)."""
        token = self._added_token.search(gap)
        if token:
            return token.end(), token.group()
        return _agreement(gap, self._tail(shape[: owner + 1], generation=False)), ""

    def _closing(self, shape: Shape, tail: str) -> str:
        unclosed = shape[-1][0] == "assistant" and not self._added_token.search(tail)
        return self._eos if unclosed else ""

    def _tail(self, shape: Shape, *, generation: bool, thinking: bool | None = None) -> str:
        """What the template writes after the last content of ``shape``."""
        key = (shape, generation, thinking is True)
        if shape and key not in self._tails:
            self._tails[key] = self._marked(shape, generation=generation, thinking=thinking)[0][-1]
        return self._tails[key] if shape else ""

    def _marked(
        self, shape: Shape, *, generation: bool, thinking: bool | None = None, pad: str = ""
    ) -> tuple[list[str], list[Slot]]:
        """The literals around the markers, one more than there are slots, and the slots in the order printed."""
        contents = list(_marked_contents(shape, pad))
        split = _MARKER.split(self._render(shape, contents, generation=generation, thinking=thinking))
        slots = zip(split[1::3], split[2::3], strict=True)
        return split[0::3], [(int(message), int(piece)) for message, piece in slots]

    def _check(self, shape: Shape, literals: list[str], slots: list[Slot]) -> None:
        for message, (role, count) in enumerate(shape):
            for piece in range(count):
                printed = slots.count((message, piece))
                reasoning = count == 2 and piece == 0
                omitted = reasoning and printed == 0 and message < len(shape) - 1
                if printed != 1 and not omitted:
                    raise DataError(
                        f"the chat template {self._name} prints the {'reasoning' if reasoning else 'text'} of "
                        f"message {message + 1} ({role}) {printed} times; use another template"
                    )
        if self._bos and any(self._bos * 2 in literal for literal in literals):
            raise DataError(
                f"the chat template {self._name} prints the bos token {self._bos!r} twice; remove one"
            )

    def _strips(self, bare: list[str], padded: list[str]) -> list[tuple[str | None, str | None]]:
        """What is stripped from each slot's content, seen on contents with white space around them."""
        lefts, rights = [], []
        for place, (literal, wide) in enumerate(zip(bare, padded, strict=True)):
            first, last = place == 0, place == len(bare) - 1
            for right, left in product(("",) if first else _STRIPPED, ("",) if last else _STRIPPED):
                tail = "" if first else _PAD.rstrip(right)
                head = "" if last else _PAD.lstrip(left)
                if tail + literal + head == wide:
                    break
            else:
                raise DataError(
                    f"the chat template {self._name} changes white space in a way that cannot be followed"
                )
            lefts.append(left)
            rights.append(right)
        return list(zip(lefts[:-1], rights[1:], strict=True))


def first_difference(
    skeleton: Skeleton, pieces: Sequence[tuple[str, ...]], rendered: str
) -> tuple[int, str, str]:
    """(message, text printed, text expected) where a rendering first leaves its skeleton; texts of 40 characters."""
    texts = [part.fill(pieces) for part in skeleton.parts]
    expected = "".join(texts)
    at = _agreement(expected, rendered)
    message = end = 0
    for part, text in zip(skeleton.parts, texts, strict=True):
        message = part.slot[0] if part.slot else message
        end += len(text)
        if end > at:
            break
    return message, rendered[at : at + 40], expected[at : at + 40]


def _marked_contents(shape: Shape, pad: str) -> Iterator[str]:
    for index, (_, count) in enumerate(shape):
        marks = [f"{pad}\ue000{index}\ue001{piece}\ue002{pad}" for piece in range(count)]
        yield f"<think>{marks[0]}</think>{marks[1]}" if count == 2 else "".join(marks)


def _agreement(left: str, right: str) -> int:
    """Length of the common beginning."""
    shorter = min(len(left), len(right))
    return next((at for at in range(shorter) if left[at] != right[at]), shorter)
