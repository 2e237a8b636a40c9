"""Preferences whose answers are calls of tools: trained by dpo and reward, packed with a shared prompt or not."""

import json

import pytest
from safetensors.torch import load_file
from stage_toys import Stages
from torch.testing import assert_close

from xinglin.train.meter import read_rows

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

TOOLS = [{"name": "price", "parameters": {"type": "object"}}]
RESULT = [
    {"from": "function_call", "value": {"name": "price", "arguments": {}}},
    {"from": "observation", "value": "12"},
]
SETTINGS = {"data": "stage:data", "model": "base", "split": "tools", "max_tokens": 600, "batch_size": 4}
SETTINGS |= {"log_every_steps": 1, "epochs": 4, "optimizer": {"learning_rate": 5e-3}}


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tools")
    rows = []
    for drug in ("氨氯地平", "二甲双胍", "布地奈德", "别嘌醇"):
        asked = [{"from": "human", "value": f"{drug}多少钱？"}]
        call = {"from": "function_call", "value": {"name": "price", "arguments": {"drug": drug}}}
        rows.append({"conversations": asked, "tools": TOOLS, "chosen": call, "rejected": "不知道。"})
        rows.append(
            {"conversations": asked + RESULT, "tools": TOOLS, "chosen": "12 元。", "rejected": "不知道。"}
        )
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "tools.jsonl").write_text(lines, encoding="utf-8")
    made = Stages(folder / "run")
    splits = {"tools": {"sources": [{"path": str(folder / "tools.jsonl")}]}}
    made.run("data", {"tokenizer": "base", "splits": splits, "vocabulary": 400, "template": "qwen2_5"})
    return made


@pytest.mark.parametrize("kind", ["dpo", "reward"])
def test_calls_are_preferred_and_their_prompt_is_shared_exactly(stages, kind):
    shared = stages.run(kind, SETTINGS)
    shown = [[text, weight] for text, weight in shared.details["example"]]
    assert "price" in "".join(text for text, _ in shown)
    first, *_, last = [row for row in read_rows(shared.folder / "metrics.jsonl") if row["kind"] == "train"]
    assert first["margin"] < last["margin"] and last["accuracy"] == 1.0
    apart = stages.run(kind, {**SETTINGS, "packing": False}, name=f"{kind}-apart")
    known, found = (load_file(each.folder / "adapter_model.safetensors") for each in (shared, apart))
    for name, tensor in known.items():
        assert_close(found[name], tensor, atol=2e-4, rtol=2e-3)
