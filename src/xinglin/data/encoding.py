"""Segments of text -> tokens with loss weights, exact at every boundary."""

import re
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from xinglin.data.bulk import WORTHWHILE_BYTES_PER_TOKEN, BulkEncoder, Disagreement, Tokens
from xinglin.errors import ModelError

_LEADS = ("", "\n", "：", "a")
_JOINTS = (("问", "答"), ("Hi", "there"), ("Hi", " there"), ("Hi:\n", "there"), ("药。", " 5 mg"))


class Segment(NamedTuple):
    """A stretch of rendered text."""

    text: str
    weight: float
    """How much the loss counts its tokens; False and True are 0 and 1."""
    plain: bool = False
    """Spells a special token, but was typed by a person: encoded as ordinary text."""

    @property
    def trained(self) -> bool:
        return bool(self.weight)


@dataclass(frozen=True, eq=False)
class Encoded:
    """One row of tokens. ``ids`` int32 ``(T,)``; ``weights`` float32 ``(T,)``, how much each prediction counts."""

    ids: np.ndarray
    weights: np.ndarray

    @property
    def mask(self) -> np.ndarray:
        """Bool ``(T,)``, True where the token is to be predicted."""
        return self.weights > 0

    @property
    def trained(self) -> int:
        """Tokens that are to be predicted."""
        return int(np.count_nonzero(self.weights))

    def __len__(self) -> int:
        return len(self.ids)


_Unit = tuple[str, bool, bool]
"""A text that is encoded for itself, whether it is plain, and whether it is inner: not the beginning of a text, so that
it must not get the prefix space that some tokenizers put there. A bare tuple, since there is one for each segment."""

Memo = dict[_Unit, np.ndarray]
"""Segments and their tokens; empty at first."""


class SegmentEncoder:
    """Encodes rows of segments for one tokenizer, straight through its Rust backend.

    Segments are encoded one by one. A prompt therefore has the same tokens alone and in front of its answer,
    and no token is half trained. Text that spells a special token stays text where its segment is ``plain``.

    Args:
        tokenizer: a fast tokenizer with an eos token.

    Raises:
        ModelError: the tokenizer is not fast, has no eos token, or cannot encode a text in parts.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        if not tokenizer.is_fast:
            raise ModelError(f"{type(tokenizer).__name__} has no fast form; save it with a tokenizer.json")
        if tokenizer.eos_token is None:
            raise ModelError(
                f"the tokenizer {tokenizer.name_or_path!r} has no eos token; set eos_token in it"
            )
        self.tokenizer = tokenizer
        self.backend: Tokenizer = tokenizer.backend_tokenizer
        self.eos = str(tokenizer.eos_token)
        self.bos = (
            str(tokenizer.bos_token) if self.backend.encode("x").ids[:1] == [tokenizer.bos_token_id] else ""
        )
        """The bos text if the tokenizer puts one before a text by itself, else ''."""
        added = tokenizer.added_tokens_decoder.values()
        special = {str(token) for token in tokenizer.all_special_tokens}
        special |= {token.content for token in added if token.special}
        self.added_token = _any_of(special | {token.content for token in added if len(token.content) > 1})
        """Matches every token that is written out in the text of a template. A single character that was added to
        the vocabulary is text like any other."""
        self._special_token = _any_of(special)
        self._special_starts = tuple({token[0] for token in special})
        self._lock = threading.Lock()
        self._bulk: BulkEncoder | None = None
        self._trusted = True
        self._lead = self._find_lead()

    def neutral(self, text: str, weight: float) -> list[Segment]:
        """``text`` with every special token that is spelled out in it set apart as plain text."""
        if not self.may_spell(text):
            return [Segment(text, weight)]
        parts = enumerate(self._special_token.split(text))
        return [Segment(part, weight, plain=at % 2 == 1) for at, part in parts if part]

    def may_spell(self, text: str) -> bool:
        """Whether ``text`` holds a character that a special token begins with; few texts do."""
        for start in self._special_starts:  # noqa: SIM110, a generator costs more than what it looks at
            if start in text:
                return True
        return False

    def special_token_in(self, text: str) -> str | None:
        """The first special token that is spelled out in ``text``, if any."""
        found = self._special_token.search(text)
        return found.group() if found else None

    def expect(self, num_bytes: int) -> bool:
        """Get ready for that much text; returns whether fastokens encodes it, which must pay and change no token."""
        worthwhile = num_bytes >= WORTHWHILE_BYTES_PER_TOKEN * self.backend.get_vocab_size()
        with self._lock:
            if worthwhile and self._trusted and self._bulk is None and not self._lead:
                self._bulk = BulkEncoder.of(self.backend)
                self._trusted = self._bulk is not None
        return self.bulk

    @property
    def bulk(self) -> bool:
        """Whether fastokens encodes; from True to False if it was ever wrong, and then what it gave is in doubt."""
        return self._bulk is not None

    def encode(self, rows: Sequence[tuple[Segment, ...]], *, memo: Memo | None = None) -> list[Encoded]:
        """Tokens of many rows of at least one segment each; equal segments are encoded once.

        ``memo`` makes that so for all calls that are given the same one, which keeps their segments.
        """
        units = self._units(rows)
        places = {unit: place for place, unit in enumerate(dict.fromkeys(units))}
        order = np.fromiter(map(places.__getitem__, units), np.int64, len(units))
        ids, starts = self._encode_units(list(places)) if memo is None else self._recalled(places, memo)
        lengths = np.diff(starts)[order]
        ends = np.cumsum(lengths)
        tokens = ids[np.arange(lengths.sum()) + np.repeat(starts[order] - (ends - lengths), lengths)]
        weights = np.repeat(np.array([weight for row in rows for _, weight, _ in row], np.float32), lengths)
        cuts = [0, *ends[np.cumsum([len(row) for row in rows], dtype=np.int64) - 1].tolist()]
        return [Encoded(tokens[start:end], weights[start:end]) for start, end in pairwise(cuts)]

    def visible(self, encoded: Encoded) -> list[list[str | bool | float]]:
        """``[text, trained]`` runs of one row, decoded from its tokens: the mask as a person can check it.

        ``trained`` is the weight where that is neither 0 nor 1.
        """
        cuts = [0, *(np.flatnonzero(np.diff(encoded.weights)) + 1).tolist(), len(encoded)]
        texts = [self.backend.decode(encoded.ids[:cut].tolist(), skip_special_tokens=False) for cut in cuts]
        weights = [float(encoded.weights[cut]) for cut in cuts[:-1]]
        shown = [bool(weight) if weight in (0, 1) else weight for weight in weights]
        runs = zip(shown, pairwise(texts), strict=True)
        return [[text[len(before) :], trained] for trained, (before, text) in runs]

    def _units(self, rows: Sequence[tuple[Segment, ...]]) -> list[_Unit]:
        if not self._lead:
            return [(text, plain, False) for row in rows for text, _, plain in row]
        begins = [1 if row[0].text == self.bos else 0 for row in rows]
        return [
            (text, plain, at > begin)
            for row, begin in zip(rows, begins, strict=True)
            for at, (text, _, plain) in enumerate(row)
        ]

    def _recalled(self, units: Iterable[_Unit], memo: Memo) -> Tokens:
        if new := [unit for unit in units if unit not in memo]:
            memo |= zip(new, self._encode_units(new).parts(), strict=True)
        return Tokens.joined([memo[unit] for unit in units])

    def _encode_units(self, units: list[_Unit]) -> Tokens:
        backend = self.backend
        with self._lock:  # the settings belong to the tokenizer, which threads of a server share
            # Left on by whoever used the tokenizer before; transformers sets them anew at each of its own calls.
            if backend.truncation is not None:
                backend.no_truncation()
            if backend.padding is not None:
                backend.no_padding()
            before = backend.encode_special_tokens
            try:
                return self._encode_groups(units)
            finally:
                if backend.encode_special_tokens != before:
                    backend.encode_special_tokens = before

    def _encode_groups(self, units: list[_Unit]) -> Tokens:
        parts: dict[_Unit, np.ndarray] = {}
        kinds = sorted({plain for _, plain, _ in units})
        for plain in kinds:
            if self.backend.encode_special_tokens != plain:
                self.backend.encode_special_tokens = plain
            group = [unit for unit in units if unit[1] is plain]
            tokens = self._encode_group(group)
            if len(kinds) == 1:
                return tokens
            parts |= zip(group, tokens.parts(), strict=True)
        return Tokens.joined([parts[unit] for unit in units])

    def _encode_group(self, units: list[_Unit]) -> Tokens:
        if self._bulk is not None:
            try:
                return self._bulk.encode([text for text, _, _ in units])
            except Disagreement as found:
                print(f"{found}; text is encoded without it from now on, which is slower")
                self._bulk, self._trusted = None, False
        texts = [self._lead + text if inner else text for text, _, inner in units]
        *batch, lead = self.backend.encode_batch_fast([*texts, self._lead], add_special_tokens=False)
        parts = []
        for (text, _, inner), encoding in zip(units, batch, strict=True):
            ids = encoding.ids
            if inner:
                if ids[: len(lead)] != lead.ids:
                    raise ModelError(
                        f"the tokenizer merges {self._lead!r} with the text after it: {text[:40]!r}"
                    )
                ids = ids[len(lead) :]
            parts.append(ids)
        return Tokens.joined(parts)

    def _find_lead(self) -> str:
        """A text to put before an inner segment, and take off again, so that encoding in parts loses nothing.

        Byte-level tokenizers need none. SentencePiece-like ones put a space before whatever they are given;
        behind a lead, it goes with the lead.
        """
        for self._lead in _LEADS:
            if all(self._joins(left, right) for left, right in _JOINTS):
                return self._lead
        raise ModelError(
            f"{type(self.tokenizer).__name__} does not encode a text as the sum of its parts, so prompt and answer "
            "cannot be told apart; use a byte-level or SentencePiece tokenizer"
        )

    def _joins(self, left: str, right: str) -> bool:
        try:
            parts, whole = self.encode(
                [(Segment(left, True), Segment(right, True)), (Segment(left + right, True),)]
            )
        except ModelError:
            return False
        if self.tokenizer.unk_token_id in whole.ids.tolist():
            return True  # what an unknown character decodes to says nothing about the joint
        return self.backend.decode(parts.ids.tolist()) == self.backend.decode(whole.ids.tolist())


def _any_of(tokens: set[str]) -> re.Pattern[str]:
    longest_first = sorted(filter(None, tokens), key=len, reverse=True)
    return re.compile(f"({'|'.join(map(re.escape, longest_first))})")
