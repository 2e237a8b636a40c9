"""What a language model makes of the answers in records: their likelihood, with and without what was asked.

Each trained answer of a conversation is read with all that came before it, in one pass over the conversation. Alone, it
is read behind the same template with an empty question, so that both see the same tokens and only the question makes a
difference.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import PreTrainedModel

from xinglin.data.encoding import Encoded, Segment
from xinglin.data.packing import first_fit, pack_sequences
from xinglin.data.records import Conversation, Document, Message, Record
from xinglin.data.rendering import Renderer
from xinglin.errors import DataError
from xinglin.models.attention import isolated, packed_attention, quadratic
from xinglin.models.packed import PackedModel
from xinglin.selection.geometry import Floats
from xinglin.selection.scores import Turn, Unscored

QUADRATIC_TOKENS = 2048
"""Tokens of a batch at the most, for models whose packed attention needs a mask."""
_UNBOUNDED = 1 << 20


class _Texts(NamedTuple):
    """The sequences of tokens of a record."""

    told: list[Encoded]
    """Its trained answers with what came before them."""
    alone: list[Encoded]
    """Each of them behind an empty question, if that was asked for."""


class Reader:
    """Reads answers with one language model.

    Args:
        batch_tokens: of one forward pass.
        max_tokens: longest sequence. Default: what the model can take.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        renderer: Renderer,
        *,
        batch_tokens: int = 16384,
        max_tokens: int | None = None,
    ):
        self._core = model.eval()
        self._model = PackedModel(model)
        self._renderer = renderer
        self._packs = isolated(model)
        self._batch_tokens = min(batch_tokens, QUADRATIC_TOKENS) if quadratic(model) else batch_tokens
        window = getattr(model.config, "max_position_embeddings", None) or _UNBOUNDED
        self.max_tokens = min(max_tokens or window, window)

    def turns(self, records: Sequence[Record], *, alone: bool = False) -> list[list[Turn] | Unscored]:
        """The trained answers of each record; a document is one, with nothing before it."""
        read = [self._texts(record, alone=alone) for record in records]
        rows = [row for texts in read if isinstance(texts, _Texts) for row in (*texts.told, *texts.alone)]
        losses = iter(self._losses(rows))
        found: list[list[Turn] | Unscored] = []
        for texts in read:
            if isinstance(texts, Unscored):
                found.append(texts)
                continue
            told = [answer for row in texts.told for answer in _answers(row, next(losses))]
            single = [float(next(losses).sum()) for _ in texts.alone] or [None] * len(told)
            found.append(
                [Turn(float(each.sum()), loss, len(each)) for each, loss in zip(told, single, strict=True)]
            )
        return found

    def hidden_means(self, records: Sequence[Record], *, questions: bool) -> np.ndarray:
        """(R, H) float32: the last hidden states of each record, or of its prompt, averaged over its
        tokens; 0 for one that the template refuses."""
        end = self._renderer.tokenizer.eos_token_id
        rows = []
        for record in records:
            try:
                ids = self._all_ids(record, questions=questions)[: self.max_tokens - 1]
            except DataError:
                ids = np.zeros(0, np.int64)
            # One token more, since hidden states are those that predict one.
            rows.append((np.append(ids, end), np.arange(len(ids) + 1) > 0))
        means = np.zeros((len(rows), self._core.config.hidden_size), np.float32)
        for members, packed in self._batches(rows):
            hidden = self._model(packed, want="hidden").float()
            sums = hidden.new_zeros(len(members), hidden.shape[1]).index_add_(0, packed.owners, hidden)
            counts = torch.bincount(packed.owners, minlength=len(members)).clamp_min(1)
            means[members] = (sums / counts[:, None]).cpu().numpy()
        return means

    def _losses(self, rows: Sequence[Encoded]) -> list[Floats]:
        """For each row (M,) the negative log-likelihood of each of its trained tokens, in nats."""
        found: list[Floats] = [np.zeros(0)] * len(rows)
        for members, packed in self._batches([(row.ids, row.mask) for row in rows]):
            losses = -self._model(packed, want="log_probs").double()
            counts = torch.bincount(packed.owners, minlength=len(members)).tolist()
            for index, part in zip(members, losses.cpu().split(counts), strict=True):
                found[index] = part.numpy()
        return found

    def _batches(self, rows: Sequence[tuple[Any, Any]]) -> Iterator[tuple[list[int], Any]]:
        """Places of the rows of each packed batch, and the batch, to be read within the loop."""
        lengths = np.array([len(ids) for ids, _ in rows], np.int64)
        with torch.no_grad(), packed_attention(self._core) if self._packs else nullcontext():
            for members in first_fit(lengths, self._batch_tokens):
                yield members.tolist(), pack_sequences([rows[i] for i in members]).to(self._core.device)

    def _texts(self, record: Record, *, alone: bool) -> _Texts | Unscored:
        """Raises: DataError, for a kind of record that has no answers."""
        try:
            if isinstance(record, Document):
                rows = _Texts(self._renderer.encode([self._renderer.document(record.text)]), [])
            elif isinstance(record, Conversation):
                told = self._renderer.encode(list(self._told(record)))
                rows = _Texts(told, self._renderer.encode(list(self._alone(record))) if alone else [])
            else:
                raise TypeError(record)
        except DataError as error:
            return Unscored("not_renderable", str(error))
        if (longest := max(map(len, (*rows.told, *rows.alone)))) > self.max_tokens:
            return Unscored("too_long", f"{longest} tokens, and the model reads {self.max_tokens}")
        if alone and not _same_answers(rows):
            return Unscored(
                "not_renderable", "the chat template writes an answer otherwise without its question"
            )
        return rows

    def _told(self, record: Conversation) -> Iterator[tuple[Segment, ...]]:
        """The conversation; where its template changes earlier answers, one that ends on each of them."""
        messages = record.messages
        if self._renderer.keeps_answers(messages, tools=record.tools):
            yield self._renderer.conversation(messages, tools=record.tools)
            return
        history = [replace(message, train=False) for message in messages]
        for place, message in enumerate(messages):
            if message.role == "assistant" and message.train:
                yield self._renderer.conversation([*history[:place], message], tools=record.tools)

    def _alone(self, record: Conversation) -> Iterator[tuple[Segment, ...]]:
        for message in record.messages:
            if message.role == "assistant" and message.train:
                yield self._renderer.conversation([Message("user", ""), message], tools=record.tools)

    def _all_ids(self, record: Record, *, questions: bool) -> np.ndarray:
        if isinstance(record, Document):
            rendered = self._renderer.document(record.text)
        else:
            assert isinstance(record, Conversation)
            answers = [i for i, message in enumerate(record.messages) if message.role == "assistant"]
            if questions and answers and answers[-1]:
                return np.array(self._renderer.prompt_ids(record.messages[: answers[-1]], tools=record.tools))
            rendered = self._renderer.conversation(record.messages, tools=record.tools)
        return self._renderer.encode([rendered])[0].ids


def _answers(row: Encoded, losses: Floats) -> list[Floats]:
    """The losses of each run of trained tokens."""
    trained = np.flatnonzero(row.mask[1:]) + 1
    return np.split(losses, np.flatnonzero(np.diff(trained) > 1) + 1)


def _same_answers(rows: _Texts) -> bool:
    """Whether answers have the same tokens with and without their questions."""
    told = [ids for row in rows.told for ids in _answers(row, row.ids[np.flatnonzero(row.mask[1:]) + 1])]
    alone = [row.ids[row.mask] for row in rows.alone]
    return len(told) == len(alone) and all(map(np.array_equal, told, alone))
