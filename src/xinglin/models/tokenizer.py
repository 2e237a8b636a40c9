"""Load a tokenizer, or train a byte-level BPE one on the text at hand."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from xinglin.errors import ModelError

_LONG = re.compile(r"\w{1000}|[^\w\s]{1000}")
"""A word or a row of signs that no language has: training takes the square of its length."""
END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"


def load_tokenizer(spec: str, *, trust_remote_code: bool = False) -> PreTrainedTokenizerFast:
    """The tokenizer of a local folder or hub name.

    Raises:
        ModelError: no tokenizer there, or one without the fast (Rust) backend.
    """
    folder = Path(spec)
    if folder.is_dir() and not any(
        (folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model")
    ):
        raise ModelError(
            f"{folder}: model folder without tokenizer; copy tokenizer.json and tokenizer_config.json into it"
        )
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(spec, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{spec}: its tokenizer cannot be loaded ({' '.join(str(error).split())})"
        ) from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ModelError(f"{spec}: its tokenizer has no tokenizer.json; convert it with transformers first")
    return tokenizer


def train_tokenizer(texts: Iterable[str], *, vocabulary: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE with ChatML special tokens: no text is unknown to it, in any language.

    ``vocabulary`` counts the 256 bytes and the special tokens. Equal texts in equal order give equal bytes.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[AddedToken(token, special=True) for token in (END_OF_TEXT, TURN_START, TURN_END)],
        show_progress=False,
    )
    tokenizer.train_from_iterator((piece for text in texts for piece in _cut(text)), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=TURN_END,
        pad_token=END_OF_TEXT,
        model_max_length=1 << 20,
        clean_up_tokenization_spaces=False,
    )


def _cut(text: str) -> Iterator[str]:
    """``text`` as it is, or cut inside words of more than a thousand characters (sequences of genes, scans)."""
    start = 0
    for long in _LONG.finditer(text):
        yield text[start : long.end()]
        start = long.end()
    yield text[start:]
