"""Encoding many texts at once with fastokens, where its tokens are those of ``tokenizers``.

Byte-level BPE with a pre-tokenizer that fastokens has written out by hand is 15 to 40 times as fast there, since a
run of Chinese characters, which no cache of words knows, takes linear time. What is trusted is narrow: only patterns
whose treatment of every code point was compared, only tokenizers that pass ``_PROBES``, and one text in ``EVERY`` is
encoded by both for as long as there are any.
"""

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Self

import fastokens
import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import ByteLevel

WORTHWHILE_BYTES_PER_TOKEN = 64
"""Text below this much per token of the vocabulary is encoded sooner than fastokens has read the vocabulary."""
EVERY = 64

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_START = r"[^\r\n\p{L}\p{N}]"
_OTHERS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
PATTERNS = {
    "qwen": rf"{_CONTRACTIONS}|{_START}?\p{{L}}+|\p{{N}}|{_OTHERS}|{_SPACES}",
    "qwen3.5": rf"{_CONTRACTIONS}|{_START}?[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_SPACES}",
    "llama3": rf"{_CONTRACTIONS}|{_START}?\p{{L}}+|\p{{N}}{{1,3}}|{_OTHERS}|{_SPACES}",
}
"""How text is cut before BPE. Llama 3's is GLM-4's and cl100k's too; GPT-2's is part of ``ByteLevel``."""

_UNLIKE = "ſ"
"""Folds to s, so ``'ſ`` is a contraction to ``tokenizers`` alone. Texts with it are left to them."""
_PROBES = (
    "",
    " ",
    "患者发热三天，伴咳嗽、咳痰；体温39.5℃，WBC 12.3×10⁹/L。\n\n诊断：①肺炎？②支气管炎\r\n处理：0.5g tid，3～5天。",
    "Don't WE'LL they'Re  it's\t\tI'd\u3000‘quoted’ “text”… naïve café e\u0301 ﬁ Å K \u00a0\u2028x\x85y\x00z",
    "  \n \n  leading\r\n\r\n trailing   ",
    "1 12 123 1234567 ３．１４ ½ Ⅷ ²",
    "한국어 ภาษาไทย العربية हिन्दी ελληνικά русский 😀👩‍👩‍👧🇨🇳",
    "中" * 300 + "a" * 300 + " " * 300 + "!" * 300 + "\n" * 300,
)


class Tokens(NamedTuple):
    """The tokens of many texts, end to end."""

    ids: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int64]
    """(texts + 1,): where each begins in ``ids``."""

    @classmethod
    def joined(cls, parts: Sequence[Sequence[int] | npt.NDArray[np.int32]]) -> Self:
        """Of texts that were encoded one by one."""
        none = np.zeros(0, np.int32)
        starts = np.cumsum([0, *(len(part) for part in parts)], dtype=np.int64)
        return cls(np.concatenate([none, *parts], dtype=np.int32, casting="unsafe"), starts)

    def parts(self) -> list[npt.NDArray[np.int32]]:
        """Those of each text."""
        return [self.ids[start:end] for start, end in pairwise(self.starts.tolist())]


class Disagreement(Exception):
    """fastokens and ``tokenizers`` gave different tokens for a text."""


class BulkEncoder:
    """Encodes texts as ``backend`` does, without special tokens of its own around them; ``of`` makes one."""

    def __init__(self, backend: Tokenizer, specification: str):
        self._backend = backend
        self._fast = fastokens.Tokenizer.from_json_str(specification)
        self._fast.no_truncation()
        self._seen = 0

    @classmethod
    def of(cls, backend: Tokenizer) -> Self | None:
        """None where the tokenizer is of another kind, or does not pass the probes."""
        specification = backend.to_str()
        facts = json.loads(specification)
        if not _known(facts):
            return None
        encoder = cls(backend, specification)
        added = "".join(token["content"] + " 水" for token in facts["added_tokens"])
        try:
            encoder.check([*_PROBES, *(added + probe for probe in _PROBES)])
        except Disagreement as found:
            print(f"{found}; text is encoded without it, which is slower")
            return None
        return encoder

    def encode(self, texts: Sequence[str]) -> Tokens:
        """Special tokens in ``texts`` are encoded as ``backend`` is set.

        Raises:
            Disagreement: in a text that was encoded twice.
        """
        if sample := texts[-self._seen % EVERY :: EVERY]:
            self.check(sample)
        self._seen += len(texts)
        tokens = self._fast_tokens(texts)
        unlike = [at for at, text in enumerate(texts) if _UNLIKE in text]
        if not unlike:
            return tokens
        parts = tokens.parts()
        for at, ids in zip(unlike, self._slow_ids([texts[at] for at in unlike]), strict=True):
            parts[at] = np.array(ids, np.int32)
        return Tokens.joined(parts)

    def check(self, texts: Sequence[str]) -> None:
        """Encode ``texts`` with both. Raises: Disagreement."""
        for text, fast, slow in zip(
            texts, self._fast_tokens(texts).parts(), self._slow_ids(texts), strict=True
        ):
            if fast.tolist() != slow and _UNLIKE not in text:
                raise Disagreement(f"fastokens and tokenizers give different tokens for {text[:60]!r}")

    def _fast_tokens(self, texts: Sequence[str]) -> Tokens:
        plain = self._backend.encode_special_tokens
        ids, starts = self._fast.encode_batch_flat(list(texts), split_special_tokens=plain)
        return Tokens(np.frombuffer(ids, "<i4"), np.frombuffer(starts, "<i8"))

    def _slow_ids(self, texts: Sequence[str]) -> list[list[int]]:
        return [each.ids for each in self._backend.encode_batch_fast(list(texts), add_special_tokens=False)]


def _known(facts: dict[str, Any]) -> bool:
    """Whether a ``tokenizer.json`` is of a kind that was compared."""
    model, normalizer, added = facts["model"], facts["normalizer"], facts["added_tokens"]
    if model["type"] != "BPE" or not model["vocab"].keys() >= set(ByteLevel.alphabet()):
        return False
    affixes = (model["continuing_subword_prefix"], model["end_of_word_suffix"])
    return not (
        model["dropout"]
        or any(affixes)
        or (normalizer and normalizer["type"] != "NFC")
        or any(token["single_word"] or token["lstrip"] or token["rstrip"] for token in added)
        or not _cuts_known(facts["pre_tokenizer"] or {})
    )


def _cuts_known(cuts: dict[str, Any]) -> bool:
    match cuts:
        case {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}:
            return True
        case {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False},
                {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
            ],
        }:
            return pattern in PATTERNS.values()
    return False
