"""The data stage through a recipe: its artifact, its card, its report."""

import json
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

import xinglin
from xinglin.cli.main import main
from xinglin.data.records import Document, Origin
from xinglin.models import tokenizer
from xinglin.stages import data

RECIPE = """
name: clinic
model: tiny:qwen3
stages:
  data:
    kind: data
    vocabulary: 300
    clean: standard
    duplicates: {mode: remove}
    deidentify: {mode: replace}
    splits:
      train: {sources: [{path: rows.jsonl}], hold_out: {dev: 0.2}}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clinic")
    rows = [
        {
            "instruction": f"第{n}位病人胃痛{n}天，饭后加重，该怎么办？",
            "output": f"少吃辛辣，第{n * 3}天后复诊。",
        }
        for n in range(30)
    ]
    rows += [
        rows[0],
        {"instruction": "头痛？", "output": "作为一个AI语言模型，我不能看病。"},
        {"instruction": "空", "output": ""},
    ]
    rows.append({"instruction": "怎么联系你们科？", "output": "请拨打13812345678找门诊护士预约时间。"})
    (folder / "rows.jsonl").write_text(
        "\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8"
    )
    (folder / "LICENSE").write_text("GNU GENERAL PUBLIC LICENSE\nVersion 3", "utf-8")
    (folder / "recipe.yaml").write_text(RECIPE, "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XINGLIN_DEIDENTIFY_KEY", "0123456789abcdef0123456789abcdef")
        xinglin.run("recipe.yaml", out="run")
    return folder / "run"


def test_the_card_tells_where_the_data_came_from_and_what_is_gone(run: Path) -> None:
    card = json.loads((run / "stages" / "data" / "card.json").read_text("utf-8"))
    (source,) = card["sources"]
    assert (source["licence"], source["rows_in"], source["rows_used"]) == ("GPL", 34, 33)
    assert "published under the same terms" in source["licence_warning"]
    assert card["files"][0]["reasons"] == {"no_answer": 1}
    removed = card["splits"]["train"]["removed"]
    assert removed == {"clean": {"disclaimer": 1}, "duplicates": {"exact_duplicate": 1}}
    kept = sum(split["records"] for split in card["splits"].values())
    assert source["records"] == kept + 2
    page = (run / "stages" / "data" / "card.md").read_text("utf-8")
    assert "GPL" in page and "1 exact and 0 near" in page and "Personal data (replaced): 1 phone" in page
    (warned,) = [line for line in page.splitlines() if line.startswith("- **GPL**: GPL: what is derived")]
    assert warned.endswith(f": {source['path']}")
    assert card["samples"]["train"] and card["samples"]["dev"]


def test_no_original_is_anywhere_in_the_run(run: Path) -> None:
    texts = [path for path in run.rglob("*") if path.is_file() and path.suffix not in (".bin", ".npy")]
    assert not [path for path in texts if b"13812345678" in path.read_bytes()]
    assert "<电话>" in (run / "stages" / "data" / "train.jsonl").read_text("utf-8") + (
        run / "stages" / "data" / "dev.jsonl"
    ).read_text("utf-8")


def test_the_report_and_the_terminal_say_what_was_removed(run: Path) -> None:
    page = (run / "report.html").read_text("utf-8")
    assert "exact_duplicate" in page and "Copies (removed)" in page
    printed = CliRunner().invoke(main, ["show", str(run)], catch_exceptions=False).output
    assert "removed" in printed and "1 disclaimer" in printed


def test_a_tokenizer_is_trained_on_some_of_a_large_data_set_spread_over_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [f"第{row}次复诊，血压平稳，继续服药。" for row in range(100, 200)]
    lines = [json.dumps(Document(text, Origin("a.txt", 1)).to_json(), ensure_ascii=False) for text in said]
    (tmp_path / "train.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    monkeypatch.setattr(data, "TRAINED_BYTES", (tmp_path / "train.jsonl").stat().st_size // 10)
    seen: list[str] = []
    train = tokenizer.train_tokenizer

    def watched(texts: Iterable[str], **settings: Any) -> Any:
        seen.extend(texts)
        return train(seen, **settings)

    monkeypatch.setattr(tokenizer, "train_tokenizer", watched)
    config = data.Config.model_validate(
        {"kind": "data", "vocabulary": 300, "splits": {"train": {"sources": [{"path": "a.txt"}]}}}
    )
    run: Any = SimpleNamespace(out=tmp_path, model=lambda spec: "tiny:qwen3:8x1")
    _, facts = data._tokenizer(config, run, {"train": {"held_out": False}})
    assert facts["trained"] and seen == said[::10]


@pytest.mark.parametrize("name", ["quarantine", "removed", "leaks", "../rows", "a/b", ""])
def test_no_split_takes_a_file_of_the_stage_or_a_place_outside(name: str) -> None:
    sources = [{"path": "sample:dialogues"}]
    for splits in (
        {name: {"sources": sources}},
        {"train": {"sources": sources, "hold_out": {name: 0.1}}},
    ):
        with pytest.raises(ValueError, match="cannot be a split"):
            data.Config.model_validate({"kind": "data", "splits": splits})
