"""What happens to a record that is longer than a row of tokens may be. Nothing is cut in silence.

=================  =======================  =======================================  ==========================
policy             document                 conversation                             preference
=================  =======================  =======================================  ==========================
error              DataError                DataError                                DataError
drop               left out                 left out                                 left out
truncate_history   DataError                oldest exchanges go until it fits        the same, for both answers
split              consecutive pieces       windows, each answer trained once, with  as truncate_history
                                            as much history before it as fits
=================  =======================  =======================================  ==========================

An exchange is a user message and what follows it, calls of tools too, up to the next one; system messages at the
beginning always stay. An answer is never cut: one that does not fit even with its own question alone is left out
as ``answer_too_long``. A pair cannot be split, because it has one answer to train on; the window of that answer is
what ``truncate_history`` gives.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import Any, Literal, get_args

from xinglin.data.encoding import Encoded, Memo, Segment
from xinglin.data.records import Conversation, Document, Message, Preference
from xinglin.data.rendering import Renderer, Tools
from xinglin.errors import DataError

Policy = Literal["error", "drop", "truncate_history", "split"]
Trainable = Document | Conversation | Preference

_BATCH = 128


@dataclass
class OverLength:
    """What was done to records, counted while ``fit_many`` runs."""

    split: int = 0
    """Records that became pieces or windows."""
    truncated: int = 0
    """Records that lost their oldest exchanges."""
    dropped: int = 0
    """Records left out, for any reason."""
    answers_dropped: int = 0
    """Answers that would have been trained on, in records that were kept without them."""
    reasons: dict[str, int] = field(default_factory=dict)
    """``dropped`` by reason."""
    examples: dict[str, str] = field(default_factory=dict)
    """Place and detail of the first record dropped for each reason."""

    def drop(self, record: Trainable, reason: str, detail: str) -> None:
        self.dropped += 1
        self.reasons[reason] = self.reasons.get(reason, 0) + 1
        self.examples.setdefault(reason, f"{record.origin}: {detail}")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Fitted:
    """One record's rows: ``pieces`` that all fit, or none and the ``reason``.

    A preference has two pieces, chosen and rejected; a document or conversation has one, or more if it was split.
    Reasons: ``over_length``, ``answer_too_long``, ``nothing_to_train``, ``not_renderable``.
    """

    index: int
    """Position of the record among those given, from 0."""
    pieces: tuple[Encoded, ...] = ()
    reason: str | None = None
    detail: str = ""
    """The reason in words, with numbers."""


class _LeftOut(Exception):
    """A record that cannot be used: reason, detail."""


def fit_many(
    records: Iterable[Trainable],
    renderer: Renderer,
    *,
    max_tokens: int,
    policy: Policy,
    counter: OverLength,
    whole: Callable[[Trainable], bool] = lambda record: False,
) -> Iterator[Fitted]:
    """Renders, encodes and fits records, in order, one ``Fitted`` for each.

    Records that fit cost one batched encoding for many. ``counter`` is added to on the way.

    Args:
        records: documents, conversations and preferences, in any mixture.
        renderer: gives the tokens and masks.
        max_tokens: what a row may hold, special tokens included.
        policy: see the module.
        counter: receives what was done.
        whole: which records are left out rather than split or truncated.

    Raises:
        DataError: a record is too long and the policy is ``error``; or a document under ``truncate_history``.
        ModelError: conversations without a chat template.
    """
    if policy not in get_args(Policy):
        raise ValueError(policy)
    fitter = _Fitter(renderer, max_tokens, policy, counter, whole)
    numbered = enumerate(records)
    while batch := list(islice(numbered, _BATCH)):
        rendered = [_rendered(record, renderer) for _, record in batch]
        encoded = iter(
            renderer.encode([row for rows in rendered if not isinstance(rows, str) for row in rows])
        )
        for (index, record), rows in zip(batch, rendered, strict=True):
            try:
                if isinstance(rows, str):
                    raise _LeftOut("not_renderable", rows)
                pieces = fitter.fit(record, [next(encoded) for _ in rows])
            except _LeftOut as left_out:
                reason, detail = left_out.args
                counter.drop(record, reason, detail)
                yield Fitted(index, reason=reason, detail=detail)
            else:
                yield Fitted(index, tuple(pieces))


@dataclass(frozen=True)
class _Fitter:
    renderer: Renderer
    max_tokens: int
    policy: Policy
    counter: OverLength
    whole: Callable[[Trainable], bool]

    def fit(self, record: Trainable, rows: list[Encoded]) -> list[Encoded]:
        if not all(row.trained for row in rows):
            raise _LeftOut("nothing_to_train", "no message is trained on")
        if self.policy == "truncate_history" and isinstance(record, Document):
            raise DataError(
                f"{record.origin}: a document has no history to truncate; set the policy to split or drop"
            )
        longest = max(len(row) for row in rows)
        if longest <= self.max_tokens:
            return rows
        length = f"{longest} tokens, but a row holds {self.max_tokens}"
        if self.policy == "error":
            raise DataError(
                f"{record.origin}: {length}; raise max_tokens, or set the policy to drop, truncate_history or split"
            )
        if self.policy == "drop" or self.whole(record):
            raise _LeftOut("over_length", length)
        try:
            return self._shortened(record, rows, length)
        except DataError as error:  # the template takes the whole conversation, but not a part of it
            raise _LeftOut("not_renderable", f"{length}, and shortened: {error}") from error

    def _shortened(self, record: Trainable, rows: list[Encoded], length: str) -> list[Encoded]:
        match record:
            case Document():
                pieces = self._slices(rows[0])
            case Preference():
                pieces = self._recent(record.prompt, record.answers, tools=record.tools)
            case Conversation() if self.policy == "truncate_history":
                pieces = self._recent(record.messages, (), tools=record.tools)
            case Conversation():
                pieces = self._windows(record)
        if not pieces:
            raise _LeftOut("answer_too_long", f"{length}, and no answer fits together with its question")
        if not all(piece.trained for piece in pieces):
            raise _LeftOut("nothing_to_train", f"{length}, and what fits is not trained on")
        if isinstance(record, Preference) or self.policy == "truncate_history":
            self.counter.truncated += 1
        else:
            self.counter.split += 1
        return pieces

    def _slices(self, row: Encoded) -> list[Encoded]:
        starts = range(0, len(row), self.max_tokens)
        return [
            Encoded(row.ids[at : at + self.max_tokens], row.weights[at : at + self.max_tokens])
            for at in starts
        ]

    def _recent(
        self, messages: Sequence[Message], answers: Sequence[Message], *, tools: Tools
    ) -> list[Encoded]:
        """The rendering, or that of each of ``answers`` to it, with the fewest exchanges gone that makes it fit."""
        head, exchanges = _exchanges(messages)
        for gone in range(1, len(exchanges)):
            kept = [*head, *_flat(exchanges[gone:])]
            rendered = [self.renderer.preference(kept, answer, tools=tools) for answer in answers]
            rows = self.renderer.encode(rendered or [self.renderer.conversation(kept, tools=tools)])
            if all(len(row) <= self.max_tokens for row in rows):
                if not answers and rows[0].trained:
                    self.counter.answers_dropped += _num_trained(_flat(exchanges[:gone]))
                return rows
        return []

    def _windows(self, record: Conversation) -> list[Encoded]:
        """Rows of consecutive exchanges that train every answer once.

        The window of an answer begins as early as it can; answers whose windows begin together share one.
        """
        head, exchanges = _exchanges(record.messages)
        memo: Memo = {}

        def encoded(begin: int, first: int, end: int) -> Encoded:
            history = [replace(message, train=False) for message in _flat(exchanges[begin:first])]
            messages = [*head, *history, *_flat(exchanges[first:end])]
            return self.renderer.encode(
                [self.renderer.conversation(messages, tools=record.tools)], memo=memo
            )[0]

        windows: list[tuple[int, int, int]] = []  # begins at, first trained, ends before
        begin = lost = 0
        for at, exchange in enumerate(exchanges):
            while begin <= at and len(encoded(begin, at, at + 1)) > self.max_tokens:
                begin += 1
            if begin > at:
                lost += _num_trained(exchange)
            elif windows and windows[-1][0] == begin:
                windows[-1] = (begin, windows[-1][1], at + 1)
            else:
                windows.append((begin, at, at + 1))
        rows = [encoded(*window) for window in windows]
        rows = [row for row in rows if row.trained]
        self.counter.answers_dropped += lost if rows else 0
        return rows


def _rendered(record: Trainable, renderer: Renderer) -> list[tuple[Segment, ...]] | str:
    """The rows of a record, or why it has none."""
    try:
        match record:
            case Document():
                return [renderer.document(record.text)]
            case Conversation():
                return [renderer.conversation(record.messages, tools=record.tools)]
            case Preference():
                return [
                    renderer.preference(record.prompt, answer, tools=record.tools)
                    for answer in record.answers
                ]
    except DataError as error:
        return str(error)


def _exchanges(messages: Sequence[Message]) -> tuple[list[Message], list[list[Message]]]:
    """System messages at the beginning, and the exchanges after them."""
    rest = list(messages)
    head = []
    while rest and rest[0].role == "system":
        head.append(rest.pop(0))
    exchanges: list[list[Message]] = []
    for message in rest:
        if message.role == "user" or not exchanges:
            exchanges.append([])
        exchanges[-1].append(message)
    return head, exchanges


def _flat(exchanges: Iterable[list[Message]]) -> list[Message]:
    return [message for exchange in exchanges for message in exchange]


def _num_trained(messages: Iterable[Message]) -> int:
    return sum(message.role == "assistant" and bool(message.train) for message in messages)
