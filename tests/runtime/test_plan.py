"""A change of code runs again what it decides, and nothing else."""

from pathlib import Path

import pytest

from xinglin.config.recipe import load_recipe
from xinglin.runtime import plan
from xinglin.runtime.directory import RunFolder

RECIPE = """
model: tiny:qwen3
stages:
  data: {kind: data, splits: {train: {sources: [{path: "sample:dialogues"}]}}}
  sft: {kind: sft}
  evaluate: {kind: evaluate, benchmarks: [{name: dialogue, split: train}]}
"""


@pytest.mark.parametrize(
    ("package", "again"),
    [("evaluate", {"evaluate"}), ("train", {"sft", "evaluate"}), ("data", {"data", "sft", "evaluate"})],
)
def test_code_decides_by_layer(
    package: str, again: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    recipe = load_recipe(tmp_path / "recipe.yaml")

    def fingerprints() -> dict[str, str]:
        found = plan.build_plan(recipe, RunFolder(tmp_path / "run")).stages
        return {planned.stage.name: planned.fingerprint for planned in found}

    before = fingerprints()
    real = plan._code_hash
    monkeypatch.setattr(plan, "_code_hash", lambda name: "edited" if name == package else real(name))
    after = fingerprints()
    assert {name for name in before if before[name] != after[name]} == again
