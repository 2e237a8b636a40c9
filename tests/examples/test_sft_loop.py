"""The flat example must run, learn, and get packing right: it is what newcomers copy from."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

SCRIPT = Path(__file__).parents[2] / "examples" / "sft_loop.py"


@pytest.fixture(scope="module")
def flat() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sft_loop", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_runs_from_the_command_line_and_learns(tmp_path: Path):
    rows = [
        {
            "messages": [
                {"role": "user", "content": "你好"},
                {"role": "assistant", "content": f"第{i}\u2028行"},
            ]
        }
        for i in range(3)
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, SCRIPT, path, "--steps", "12"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    losses = [float(line.split()[3]) for line in done.stdout.splitlines() if line.startswith("step")]
    assert len(losses) == 12
    assert losses[-1] < 0.5 * losses[0]
    assert done.stderr == ""


def test_packed_batch_equals_its_rows_one_by_one(flat: ModuleType):
    torch.manual_seed(0)
    rows = flat.read_rows(None)
    tokenizer = flat.train_tokenizer(rows)
    shape = {"hidden_size": 64, "intermediate_size": 64, "head_dim": 16, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    model = Qwen3ForCausalLM(Qwen3Config(vocab_size=tokenizer.get_vocab_size(), **shape, **heads))
    encoded = [flat.encode(tokenizer, row) for row in rows]
    [packed] = flat.pack(encoded, budget=10_000)
    together = flat.summed_loss(model, packed)
    apart = torch.stack([flat.summed_loss(model, [row]) for row in encoded]).sum()
    torch.testing.assert_close(together, apart, rtol=1e-6, atol=1e-4)


def test_packing_keeps_every_row_and_the_budget(flat: ModuleType):
    rows = [([1] * length, [1] * length) for length in (3, 4, 9, 2, 2, 1)]
    batches = flat.pack(rows, budget=7)
    assert [row for batch in batches for row in batch] == rows
    assert [[len(ids) for ids, _ in batch] for batch in batches] == [[3, 4], [9], [2, 2, 1]]


def test_only_the_answer_and_its_end_are_trained(flat: ModuleType):
    rows = [
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Say <|im_end|>"},
            {"role": "assistant", "content": "好的"},
        ]
    ]
    tokenizer = flat.train_tokenizer(rows)
    ids, targets = flat.encode(tokenizer, rows[0])
    counted = [target for target in targets if target != flat.IGNORE]
    assert tokenizer.decode(counted, skip_special_tokens=False) == "好的<|im_end|>"
    # Three turns, three ends: the one the user typed is text.
    assert ids.count(flat.END) == 3
