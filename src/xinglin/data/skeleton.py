"""What a chat template writes around the contents of a conversation, and which of it belongs to an answer.

A template is rendered once per *shape* of a conversation (``shape.py``) with markers in place of the texts. What
stands between the markers is the template's own; the markers tell where each text goes, and a second rendering
tells what the template does to it: strip white space, or escape it for JSON.

An answer owns the text from the end of the generation prompt (what a model sees when it has to answer) to the
end-of-turn token, that token included. Text that the template adds in front of it is owned when it is white
space, which the model has to write (``\\n`` in GLM-4, a space in Llama-2), and not otherwise (the empty
``<think>`` block of Qwen3, unless the model is asked to think and so has to write it). What it adds around calls
of tools is owned: an answer with calls begins and ends where a plain text in its place would. If a template
closes the last answer with no token, the eos token is added.
"""

import json
import re
from itertools import groupby, product
from typing import NamedTuple, Protocol

from xinglin.data.shape import Pieces, Shape, num_pieces
from xinglin.errors import DataError

_MARKER = re.compile("\ue000(\\d+)\ue001(\\d+)\ue002")
_PAD = "\n \n"
_ESCAPED = "escaped for JSON"
_HEADS = {"": "\n \n", "\n": " \n", None: "", _ESCAPED: r"\n \n"}
"""What a template may make of a pad in front of a text, by treatment: an argument of ``str.strip``, or escaping."""
_TAILS = {"": "\n \n", "\n": "\n ", None: "", _ESCAPED: r"\n \n"}
"""The same behind a text."""

_KEPT = 1024
"""Skeletons in memory at the most: every list of tools makes shapes of its own."""

Slot = tuple[int, int]
"""(message, piece)."""


class Part(NamedTuple):
    text: str
    """Written by the template; '' where there is a slot."""
    owner: int = -1
    """The assistant message that is trained on this part, -1 for none."""
    slot: Slot | None = None
    treatment: tuple[str | None, str | None] = ("", "")
    """What the template does to the left and the right end of the slot's text."""

    def fill(self, pieces: Pieces) -> str:
        """The part's text, given the pieces of every message."""
        if self.slot is None:
            return self.text
        message, piece = self.slot
        left, right = self.treatment
        if left == _ESCAPED:
            return json.dumps(pieces[message][piece], ensure_ascii=False)[1:-1]
        return pieces[message][piece].lstrip(left).rstrip(right)


class Run(NamedTuple):
    """Neighbouring parts of one owner."""

    owner: int
    parts: tuple[Part, ...]


class Skeleton(NamedTuple):
    runs: tuple[Run, ...]
    stops: frozenset[str]
    """Tokens that end an assistant message."""
    closing: str
    """The eos text, if the template closes the last answer with no token; else ''."""


class Render(Protocol):
    """Renders pieces in their shape; ``thinking`` None means as the renderer is set."""

    def __call__(
        self, shape: Shape, pieces: Pieces, *, generation: bool, thinking: bool | None = None
    ) -> str: ...


class SkeletonReader:
    """Reads skeletons off a template and keeps them.

    Args:
        render: the template.
        name: how errors call it.
        added_token: matches every added token of the tokenizer.
        bos: the bos text, or ''.
        eos: the eos text.
        thinks: whether an empty ``<think>`` block is part of the answer.
    """

    def __init__(
        self,
        render: Render,
        *,
        name: str,
        added_token: re.Pattern[str],
        bos: str,
        eos: str,
        thinks: bool = False,
    ):
        self._render = render
        self._name = name
        self._thinks = thinks
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
            if len(self._skeletons) >= _KEPT:
                self._skeletons.clear()
                self._tails.clear()
            self._skeletons[key] = self._build(shape, generation=generation)
        return self._skeletons[key]

    def _build(self, shape: Shape, *, generation: bool) -> Skeleton:
        literals, slots = self._marked(shape, generation=generation)
        self._check(shape, literals, slots)
        treatments = self._treatments(literals, self._marked(shape, generation=generation, pad=_PAD)[0])
        owners = [message if shape.forms[message].role == "assistant" else -1 for message, _ in slots]
        gaps = {
            place: (owner, literals[place])
            for place, owner in enumerate(owners)
            if owner >= 0 and owner != (owners[place - 1] if place else -1)
        }
        starts = self._starts(shape, gaps)
        parts: list[Part] = []
        stops: set[str] = set()
        for place, literal in enumerate(literals):
            before = owners[place - 1] if place else -1
            after = owners[place] if place < len(slots) else -1
            if before >= 0 and before == after:
                parts.append(Part(literal, before))
            else:
                end, stop = self._end(shape, before, literal) if before >= 0 else (0, "")
                start = max(end, starts.get(place, len(literal)))
                stops |= {stop} - {""}
                parts += [Part(literal[:end], before), Part(literal[end:start]), Part(literal[start:], after)]
            if place < len(slots):
                parts.append(Part("", after, slots[place], treatments[place]))
        closing = "" if generation else self._closing(shape)
        parts.append(Part(closing, len(shape.forms) - 1))
        printed = groupby((part for part in parts if part.text or part.slot), lambda part: part.owner)
        runs = tuple(Run(owner, tuple(own)) for owner, own in printed)
        return Skeleton(runs, frozenset(stops), closing)

    def _starts(self, shape: Shape, gaps: dict[int, tuple[int, str]]) -> dict[int, int]:
        """``_start`` for gaps and their owners, by place.

        Where the template writes the same between messages of the same forms, what holds for the first and the last
        place holds for those between: each would cost a rendering of all that stands before it.
        """
        alike: dict[object, list[int]] = {}
        for place, (owner, gap) in gaps.items():
            alike.setdefault((gap, shape.forms[max(0, owner - 1) : owner + 1]), []).append(place)
        starts: dict[int, int] = {}
        for places in alike.values():
            ends = {place: self._start(shape, *gaps[place]) for place in (places[0], places[-1])}
            same = len(set(ends.values())) == 1
            for place in places:
                starts[place] = ends[places[0]] if same else self._start(shape, *gaps[place])
        return starts

    def _start(self, shape: Shape, owner: int, gap: str) -> int:
        """Where in ``gap``, the text before an answer, the answer's own text begins."""
        form = shape.forms[owner]
        if form.calls and not (form.spoken or form.reasoned):
            plain = shape.with_text_at(owner)
            gap_of_text = self._gap(plain, owner, before=True)
            start = self._start(plain, owner, gap_of_text)
            return self._followed(start if gap.startswith(gap_of_text[:start]) else -1, owner)
        header = self._tail(shape.before(owner), generation=True, thinking=True if form.reasoned else None)
        start = _agreement(gap, header)
        rest = gap[start:].strip()
        thought = rest.startswith("<think>") and (form.reasoned or self._thinks)
        return start if not rest or thought else len(gap)

    def _end(self, shape: Shape, owner: int, gap: str) -> tuple[int, str]:
        """Where in ``gap``, the text after an answer, the turn ends, and the token that ends it ('' for none)."""
        if shape.forms[owner].calls:
            plain = shape.with_text_at(owner)
            gap_of_text = self._gap(plain, owner, before=False)
            end, token = self._end(plain, owner, gap_of_text)
            if not gap_of_text:
                return len(gap), ""
            at = gap.find(gap_of_text[:end]) if end else -1
            return self._followed(at, owner) + end, token
        found = self._added_token.search(gap)
        if found:
            return found.end(), found.group()
        return _agreement(gap, self._tail(shape.before(owner + 1), generation=False)), ""

    def _followed(self, place: int, owner: int) -> int:
        if place < 0:
            raise DataError(
                f"the chat template {self._name} writes the calls of message {owner + 1} in a way that cannot be "
                "followed; use another template or leave the row out"
            )
        return place

    def _closing(self, shape: Shape) -> str:
        last = len(shape.forms) - 1
        if shape.forms[last].role != "assistant":
            return ""
        plain = shape.with_text_at(last) if shape.forms[last].calls else shape
        return "" if self._added_token.search(self._tail(plain, generation=False)) else self._eos

    def _gap(self, shape: Shape, owner: int, *, before: bool) -> str:
        """What the template writes before or after the text of a message."""
        literals, slots = self._marked(shape, generation=False)
        places = [place for place, (message, _) in enumerate(slots) if message == owner]
        self._followed(len(places) - 1, owner)
        return literals[places[0]] if before else literals[places[-1] + 1]

    def _tail(self, shape: Shape, *, generation: bool, thinking: bool | None = None) -> str:
        """What the template writes after the last text of ``shape``."""
        key = (shape, generation, thinking is True)
        if shape.forms and key not in self._tails:
            self._tails[key] = self._marked(shape, generation=generation, thinking=thinking)[0][-1]
        return self._tails[key] if shape.forms else ""

    def _marked(
        self, shape: Shape, *, generation: bool, thinking: bool | None = None, pad: str = ""
    ) -> tuple[list[str], list[Slot]]:
        """The literals around the markers, one more than there are slots, and the slots in the order printed."""
        texts = [
            [f"{pad}\ue000{message}\ue001{piece}\ue002{pad}" for piece in range(num_pieces(form))]
            for message, form in enumerate(shape.forms)
        ]
        split = _MARKER.split(self._render(shape, texts, generation=generation, thinking=thinking))
        slots = zip(split[1::3], split[2::3], strict=True)
        return split[0::3], [(int(message), int(piece)) for message, piece in slots]

    def _check(self, shape: Shape, literals: list[str], slots: list[Slot]) -> None:
        for message, form in enumerate(shape.forms):
            for piece in range(num_pieces(form)):
                printed = slots.count((message, piece))
                reasoning = form.reasoned and piece == 0
                omitted = reasoning and printed == 0 and message < len(shape.forms) - 1
                if printed != 1 and not omitted:
                    called = piece >= num_pieces(form._replace(calls=()))
                    what = "reasoning" if reasoning else "calls" if called else "text"
                    raise DataError(
                        f"the chat template {self._name} prints the {what} of message {message + 1} ({form.role}) "
                        f"{printed} times; use another template"
                    )
        for tool in json.loads(shape.tools or "[]"):
            name = tool["function"]["name"]
            if not any(name in literal for literal in literals):
                raise DataError(
                    f"the chat template {self._name} does not print the tool {name!r}; use one that knows tools, "
                    "or leave the row out"
                )
        if self._bos and any(self._bos * 2 in literal for literal in literals):
            raise DataError(
                f"the chat template {self._name} prints the bos token {self._bos!r} twice; remove one"
            )

    def _treatments(self, bare: list[str], padded: list[str]) -> list[tuple[str | None, str | None]]:
        """What is done to the ends of each slot's text, seen on texts with white space around them."""
        lefts, rights = [], []
        for place, (literal, wide) in enumerate(zip(bare, padded, strict=True)):
            first, last = place == 0, place == len(bare) - 1
            for right, left in product({"": ""} if first else _TAILS, {"": ""} if last else _HEADS):
                tail = "" if first else _TAILS[right]
                head = "" if last else _HEADS[left]
                if tail + literal + head == wide:
                    break
            else:
                raise self._unfollowed()
            lefts.append(left)
            rights.append(right)
        found = list(zip(lefts[:-1], rights[1:], strict=True))
        if any((left == _ESCAPED) != (right == _ESCAPED) for left, right in found):
            raise self._unfollowed()
        return found

    def _unfollowed(self) -> DataError:
        return DataError(
            f"the chat template {self._name} changes white space in a way that cannot be followed"
        )


def first_difference(skeleton: Skeleton, pieces: Pieces, rendered: str) -> tuple[int, str, str]:
    """(message, text printed, text expected) where a rendering first leaves its skeleton; texts of 40 characters."""
    parts = [part for run in skeleton.runs for part in run.parts]
    texts = [part.fill(pieces) for part in parts]
    expected = "".join(texts)
    at = _agreement(expected, rendered)
    message = end = 0
    for part, text in zip(parts, texts, strict=True):
        message = part.slot[0] if part.slot else message
        end += len(text)
        if end > at:
            break
    return message, rendered[at : at + 40], expected[at : at + 40]


def _agreement(left: str, right: str) -> int:
    """Length of the common beginning."""
    shorter = min(len(left), len(right))
    return next((at for at in range(shorter) if left[at] != right[at]), shorter)
