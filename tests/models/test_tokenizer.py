"""Tokenizers trained here."""

import time

from xinglin.models.tokenizer import train_tokenizer


def test_words_without_end_are_trained_on_in_time() -> None:
    started = time.process_time()
    tokenizer = train_tokenizer(["头痛怎么办？", "ACGT" * 100_000, "-" * 200_000], vocabulary=320)
    assert time.process_time() - started < 10, "the square of their length would be minutes"
    assert tokenizer.decode(tokenizer("头痛ACGT--")["input_ids"]) == "头痛ACGT--"
    assert len(tokenizer("ACGT" * 100)["input_ids"]) < 100
