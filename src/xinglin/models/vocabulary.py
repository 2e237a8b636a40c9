"""New tokens for an existing tokenizer, in such a way that text without them keeps its old tokens.

How a token enters depends on the tokenizer:

    BPE with byte fallback (Llama)   a character is an entry of the vocabulary; its bytes are not asked for any more
    byte-level BPE (Qwen, Bloom)     a character that is two tokens now is one more merge, the last in rank; one of
                                     three or more is an added token, since a merge of half a character would also
                                     change other characters
    any other                        a character is an added token

Added tokens are found before the text is cut into words, so a character that longer old tokens hold is left alone.

A longer piece is always a merge of two tokens that there are already, ranked after all older merges: pieces are
learnt by going on with the tokenizer's own BPE training on new text (continued BPE training, arXiv 2512.03989).
So a piece is always reached, and old merges, coming first, give what they gave.
"""

import json
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from xinglin.errors import ModelError
from xinglin.models.tokenizer import load_tokenizer

MAX_PIECE_CHARACTERS = 16
"""As in SentencePiece."""
BATCH = 512
_SPACE = "▁"
_BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
_CHINESE = (
    (0x3001, 0x301F),  # punctuation
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xFF01, 0xFF5E),  # full-width forms
    (0x20000, 0x323AF),
)


class NewToken(NamedTuple):
    text: str
    """As it is read by people."""
    spelling: str
    """As the tokenizer's vocabulary has it."""
    parts: tuple[int, ...]
    """Ids of the old tokens that it stands for."""
    merge: tuple[str, str] | None = None
    """The two tokens, as spelled, that are merged into it; None where it needs no merge."""
    added: bool = False
    """An added token, which is found before the text is cut into words."""


def is_chinese(character: str) -> bool:
    """A Chinese character, a punctuation mark of Chinese text, or a full-width form."""
    return any(first <= ord(character) <= last for first, last in _CHINESE)


def count_characters(texts: Iterable[str]) -> Counter[str]:
    """How often each Chinese character occurs."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    return Counter({character: count for character, count in counts.items() if is_chinese(character)})


@dataclass(frozen=True)
class Vocabulary:
    """The part of a tokenizer that new tokens have to fit into."""

    tokenizer: PreTrainedTokenizerFast

    @property
    def backend(self) -> Tokenizer:
        return self.tokenizer.backend_tokenizer

    @cached_property
    def ids(self) -> dict[str, int]:
        return self.tokenizer.get_vocab()

    @property
    def size(self) -> int:
        """One more than the highest id: where new ids begin."""
        return max(self.ids.values()) + 1

    @cached_property
    def is_bpe(self) -> bool:
        return isinstance(self.backend.model, models.BPE)

    @cached_property
    def is_byte_level(self) -> bool:
        return self.is_bpe and "ByteLevel" in repr(self.backend.pre_tokenizer)

    @cached_property
    def inside(self) -> frozenset[str]:
        """The characters of all tokens that hold several."""
        texts = (_plain(spelling, byte_level=self.is_byte_level) or "" for spelling in self.ids)
        return frozenset(character for text in texts if len(text) > 1 for character in text)

    def spell(self, text: str) -> str:
        """``text`` as the model's vocabulary has it."""
        if self.is_byte_level:
            return "".join(piece for piece, _ in _BYTES.pre_tokenize_str(text))
        return text.replace(" ", _SPACE)

    def token(self, character: str) -> NewToken | None:
        """``character`` as a token to come.

        None if it is one token already, if it never arrives as written, or if it could only be found before the text
        is cut into words and would take longer old tokens apart.
        """
        normalizer = self.backend.normalizer
        spelling = self.spell(character)
        if {character, spelling} & self.ids.keys() or unicodedata.normalize("NFC", character) != character:
            return None
        if normalizer is not None and not normalizer.normalize_str(f"a{character}").endswith(character):
            return None
        found = self.backend.model.tokenize(spelling)
        parts = tuple(token.id for token in found)
        if self.is_bpe and self.backend.model.byte_fallback and not self.is_byte_level:
            return NewToken(character, spelling, parts)
        if self.is_byte_level and len(parts) == 2:
            return NewToken(character, spelling, parts, (found[0].value, found[1].value))
        return None if character in self.inside else NewToken(character, character, parts, added=True)


def new_characters(
    tokenizer: PreTrainedTokenizerFast, counts: Mapping[str, int], *, number: int, min_count: int
) -> list[NewToken]:
    """The ``number`` most frequent characters that are no token yet; equally frequent ones by code point."""
    vocabulary = Vocabulary(tokenizer)
    order = sorted(counts, key=lambda character: (-counts[character], character))
    frequent = (character for character in order if counts[character] >= min_count)
    tokens = (token for character in frequent if (token := vocabulary.token(character)))
    return [token for token, _ in zip(tokens, range(number), strict=False)]


def new_pieces(
    tokenizer: PreTrainedTokenizerFast, texts: Iterable[str], *, number: int, min_count: int
) -> list[NewToken]:
    """The next ``number`` merges of the tokenizer's BPE training, were it to go on with ``texts``.

    A piece consists of letters of one script, Chinese or other, with at most a space before them.

    Raises:
        ModelError: the tokenizer is no BPE.
    """
    vocabulary = Vocabulary(tokenizer)
    if not vocabulary.is_bpe:
        kind = type(vocabulary.backend.model).__name__
        raise ModelError(
            f"the tokenizer is a {kind} model, to which no pieces can be merged; set pieces to 0"
        )
    words = _Words(vocabulary)
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.CharDelimiterSplit(_Words.DELIMITER)
    trainer = trainers.BpeTrainer(
        # Some merges will be of no use: they make a token that there is, or one that is too long.
        vocab_size=len(words.alphabet) + number + number // 4 + 64,
        min_frequency=min_count,
        initial_alphabet=words.alphabet,
        show_progress=False,
    )
    learner.train_from_iterator(words.read(texts), trainer)
    merges = json.loads(learner.to_str())["model"]["merges"]
    return _usable(merges, words)[:number]


class _Words:
    """Texts as words whose letters are the old tokens: what is learnt on them is merges of tokens."""

    DELIMITER = " "
    FIRST = 0x100
    SURROGATES = range(0xD800, 0xE000)

    def __init__(self, vocabulary: Vocabulary):
        self.vocabulary = vocabulary
        self.spellings = {token_id: token for token, token_id in vocabulary.ids.items()}
        self.letters: npt.NDArray[np.uint32] = np.arange(vocabulary.size, dtype=np.uint32) + self.FIRST
        """(V,) The code point that stands for each token."""
        self.letters[self.letters >= self.SURROGATES.start] += len(self.SURROGATES)
        self.scripts: npt.NDArray[np.int8] = np.zeros(vocabulary.size, dtype=np.int8)
        """(V,) 0: takes no part in merges; 1: letters; 2: Chinese."""
        self.begins: npt.NDArray[np.bool_] = np.zeros(vocabulary.size, dtype=np.bool_)
        """(V,) Whether the token begins with a space, and so a word."""
        added = vocabulary.tokenizer.added_tokens_decoder
        for token_id, spelling in self.spellings.items():
            text = _plain(spelling, byte_level=vocabulary.is_byte_level)
            if token_id not in added and text:
                self.begins[token_id] = text[0] == " "
                self.scripts[token_id] = _script(text.removeprefix(" "))
        self.alphabet = [chr(point) for point in self.letters[self.scripts > 0].tolist()]
        self.letters[self.scripts == 0] = ord(self.DELIMITER)

    def spelling(self, letter: str) -> tuple[str, int]:
        """The token that a letter stands for, as spelled, and its id."""
        point = ord(letter)
        token_id = point - self.FIRST - (len(self.SURROGATES) if point >= self.SURROGATES.stop else 0)
        return self.spellings[token_id], token_id

    def read(self, texts: Iterable[str]) -> Iterator[str]:
        """Each text as its words, with delimiters between them."""
        texts = iter(texts)
        while batch := [text for text, _ in zip(texts, range(BATCH), strict=False)]:
            for encoding in self.vocabulary.backend.encode_batch(batch, add_special_tokens=False):
                yield self._split(encoding)

    def _split(self, encoding: Any) -> str:
        ids = np.asarray(encoding.ids, dtype=np.int64)
        scripts = self.scripts[ids]
        chunks = np.asarray([-1 if word is None else word for word in encoding.word_ids], dtype=np.int64)
        cuts = (np.diff(scripts) != 0) | (np.diff(chunks) != 0) | self.begins[ids[1:]]
        points = np.insert(self.letters[ids], np.flatnonzero(cuts) + 1, ord(self.DELIMITER))
        return points.astype("<u4").tobytes().decode("utf-32-le")


def _usable(merges: Iterable[Sequence[str]], words: _Words) -> list[NewToken]:
    """Merges of letters as new tokens, without those that make an old or a too long one, and what needs them."""
    vocabulary = words.vocabulary
    made: dict[str, NewToken] = {}

    def known(letters: str) -> NewToken | None:
        if len(letters) > 1:
            return made.get(letters)
        spelling, token_id = words.spelling(letters)
        return NewToken("", spelling, (token_id,))

    for left_letters, right_letters in merges:
        left, right = known(left_letters), known(right_letters)
        if left is None or right is None:
            continue
        spelling = left.spelling + right.spelling
        text = _plain(spelling, byte_level=vocabulary.is_byte_level) or ""
        if spelling not in vocabulary.ids and len(text) <= MAX_PIECE_CHARACTERS:
            parts = left.parts + right.parts
            made[left_letters + right_letters] = NewToken(
                text, spelling, parts, (left.spelling, right.spelling)
            )
    unique = {token.spelling: token for token in reversed(made.values())}
    return [token for token in made.values() if unique[token.spelling] is token]


def _plain(spelling: str, *, byte_level: bool) -> str | None:
    """A token's text; None for bytes that are no whole characters."""
    if not byte_level:
        return (
            None if spelling.startswith("<0x") and spelling.endswith(">") else spelling.replace(_SPACE, " ")
        )
    try:
        return bytes(_BYTE_OF[letter] for letter in spelling).decode()
    except (KeyError, UnicodeDecodeError):
        return None


def _byte_letters() -> dict[str, int]:
    """The letters that stand for bytes in byte-level vocabularies (GPT-2)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + at): byte for at, byte in enumerate(rest)}


_BYTE_OF = _byte_letters()


def _script(text: str) -> int:
    letters = [unicodedata.category(character)[0] in "LM" for character in text]
    if not text or not all(letters):
        return 0
    chinese = [is_chinese(character) for character in text]
    return 2 if all(chinese) else 0 if any(chinese) else 1


def extend_tokenizer(
    tokenizer: PreTrainedTokenizerFast, tokens: Sequence[NewToken], *, trust_remote_code: bool = False
) -> PreTrainedTokenizerFast:
    """A copy of ``tokenizer`` with ``tokens`` after its last one, in order, except that added tokens come last.

    Raises:
        ModelError: an old token would get another id.
    """
    merged = [token for token in tokens if not token.added]
    first = Vocabulary(tokenizer).size
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        path = Path(folder) / "tokenizer.json"
        if merged:
            saved = json.loads(path.read_text(encoding="utf-8"))
            _append(saved, merged, first)
            path.write_text(json.dumps(saved, ensure_ascii=False), encoding="utf-8")
        extended = load_tokenizer(folder, trust_remote_code=trust_remote_code)
    extended.add_tokens([AddedToken(token.spelling, normalized=False) for token in tokens if token.added])
    _check(tokenizer.get_vocab(), extended.get_vocab(), in_order(tokens), first)
    return extended


def in_order(tokens: Iterable[NewToken]) -> list[NewToken]:
    """``tokens`` in the order of the ids that ``extend_tokenizer`` gives them."""
    return sorted(tokens, key=lambda token: token.added)


def _append(saved: dict[str, Any], tokens: list[NewToken], first: int) -> None:
    model = saved["model"]
    for added in saved["added_tokens"]:
        # The loader counts ids of added tokens that the model does not know from the size of the model's vocabulary.
        model["vocab"].setdefault(added["content"], added["id"])
    model["vocab"] |= {token.spelling: first + number for number, token in enumerate(tokens)}
    model["merges"] += [list(token.merge) for token in tokens if token.merge]


def _check(old: dict[str, int], new: dict[str, int], tokens: list[NewToken], first: int) -> None:
    wanted = old | {token.spelling: first + number for number, token in enumerate(tokens)}
    if wrong := [token for token, token_id in wanted.items() if new.get(token) != token_id]:
        raise ModelError(
            f"the tokenizer gives {len(wrong)} tokens other ids once it is extended, such as {wrong[0]!r}; "
            "it cannot be extended without breaking the model"
        )


def count_tokens(
    old: PreTrainedTokenizerFast, new: PreTrainedTokenizerFast, texts: Sequence[str]
) -> tuple[int, int]:
    """Tokens of ``texts`` under a tokenizer and its extension.

    Raises:
        ModelError: a text comes back differently from the extension.
    """
    totals = [0, 0]
    for start in range(0, len(texts), BATCH):
        batch = list(texts[start : start + BATCH])
        before, after = (
            [
                encoding.ids
                for encoding in each.backend_tokenizer.encode_batch_fast(batch, add_special_tokens=False)
            ]
            for each in (old, new)
        )
        for text, left, right in zip(batch, before, after, strict=True):
            if left != right and old.backend_tokenizer.decode(left) != new.backend_tokenizer.decode(right):
                raise ModelError(
                    f"the extended tokenizer does not give back {text[:40]!r}; it cannot be extended"
                )
        totals[0] += sum(map(len, before))
        totals[1] += sum(map(len, after))
    return totals[0], totals[1]
