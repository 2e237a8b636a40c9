"""Where an encoder and a language model put records."""

import numpy as np
import torch

from xinglin.data.copies.fingerprints import compared
from xinglin.data.records import Conversation, Message, Origin
from xinglin.selection.embeddings import Records, encoder, model
from xinglin.selection.scores import Context

RECORDS = [
    Conversation((Message("user", text), Message("assistant", "多休息。" * n)), Origin("t", n))
    for n, text in enumerate(["头痛怎么办？", "发热三天了，还有咳嗽。", "What helps against fever?"], 1)
]


def test_an_encoders_means_are_those_of_each_text_alone(tiny, tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path / "encoder")
    network = tiny()
    network.save_pretrained(tmp_path / "encoder")
    config = encoder.Config(name="encoder", model=str(tmp_path / "encoder"), batch_size=2)
    seen = []
    records = Records(lambda: iter(RECORDS), 3, seen.append)
    found = encoder.embed(config, Context(str, tmp_path, 0, tmp_path, tmp_path), records)
    assert seen == [3]
    for record, row in zip(RECORDS, found, strict=True):
        ids = tokenizer(compared(record), return_tensors="pt")["input_ids"]
        with torch.no_grad():
            mean = network.base_model(input_ids=ids).last_hidden_state[0].mean(dim=0).numpy()
        np.testing.assert_allclose(row, mean / np.linalg.norm(mean), atol=1e-4)


def test_a_language_models_rows_have_length_one_and_know_their_record(tmp_path, tokenizer):
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}{{ eos_token }}{% endfor %}"
    )
    tokenizer.chat_template += "{% if add_generation_prompt %}assistant: {% endif %}"
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    tokenizer.chat_template = None
    config = model.Config(name="model", model="tiny:llama:64x2")
    found = model.embed(
        config, Context(str, tmp_path / "tokenizer", 1, tmp_path, tmp_path), Records(lambda: iter(RECORDS), 3)
    )
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    again = model.embed(
        config,
        Context(str, tmp_path / "tokenizer", 1, tmp_path, tmp_path),
        Records(lambda: iter(RECORDS[:1]), 1),
    )
    np.testing.assert_allclose(again[0], found[0], atol=1e-5)
