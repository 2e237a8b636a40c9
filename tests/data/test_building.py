import json
import random
from pathlib import Path
from typing import Any

import pytest

from xinglin.data import treatment
from xinglin.data.accounting import Quarantine
from xinglin.data.building import Builder, Built, Rulebook, Split
from xinglin.data.deidentify import Deidentification
from xinglin.errors import DataError
from xinglin.runtime import processes

SYMPTOMS = ["咳嗽", "头痛", "发热", "腹泻", "心悸", "乏力", "皮疹", "水肿", "眩晕", "胸闷"]
ADVICE = [
    "多休息",
    "多喝水",
    "查血常规",
    "拍胸片",
    "少吃油腻",
    "按时服药",
    "复查肝功",
    "监测血压",
    "尽快就医",
    "清淡饮食",
]


def dialogue(number: int) -> dict[str, Any]:
    """One of many conversations of which no two are alike."""
    draw = random.Random(number)
    said = "，".join(draw.sample(SYMPTOMS, 5)) + f"已经第{number}天"
    advice = "，".join(draw.sample(ADVICE, 6)) + f"，第{number * 7}号方案。"
    return {"instruction": f"{said}怎么办？", "output": advice}


def write(path: Path, rows: list[Any]) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def build(folder: Path, splits: dict[str, Any], *, processes: int = 1, **rules: Any) -> Built:
    for name in ("out", "scratch"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    parsed = {name: Split.model_validate(split) for name, split in splits.items()}
    builder = Builder(
        Rulebook(**rules),
        folder=folder / "out",
        scratch=folder / "scratch",
        seed=1,
        processes=processes,
    )
    return builder.build(parsed)


def lines(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "out" / f"{name}.jsonl").read_text("utf-8").splitlines()]


def made(built: Built) -> int:
    drafts = {part.draft.name: part.draft for part in built.parts}
    return sum(account.records for draft in drafts.values() for _, account in draft.accounts)


@pytest.fixture
def messy(tmp_path: Path) -> dict[str, Any]:
    rows = [dialogue(number) for number in range(60)]
    rows += [{"instruction": "胃痛怎么办？", "output": "作为一个AI语言模型，我无法提供医疗建议。"}] * 2
    rows += [*rows[:5], {"instruction": "空的", "output": ""}]
    rows.append({"instruction": "电话13812345678，住院号：ZY0012345，怎么预约？", "output": ""})
    exam = [dialogue(100), dialogue(101)]
    return {
        "train": {
            "sources": [{"path": write(tmp_path / "rows.jsonl", [*rows, exam[0]])}],
            "hold_out": {"dev": 0.2},
        },
        "test": {"sources": [{"path": write(tmp_path / "test.jsonl", exam)}], "held_out": True},
    }


STRICT = {
    "clean": "standard",
    "duplicates": {"mode": "remove"},
    "leaks": {"mode": "remove"},
}


def test_every_record_is_in_a_split_or_removed_with_a_reason(tmp_path, messy):
    built = build(tmp_path / "a", messy, **STRICT)
    kept = sum(part.records for part in built.parts)
    removed = lines(tmp_path / "a", "removed")
    assert made(built) == kept + len(removed) == 70
    assert {part.file.name: part.records for part in built.parts} == {
        name: len(lines(tmp_path / "a", name)) for name in ("train", "dev", "test")
    }
    counted = {step: dict(reasons) for step, reasons in built.removed["train"].items()}
    assert counted["clean"] == {"disclaimer": 2}
    # The five copies, and the item of the held-out split, which wins.
    assert counted["duplicates"] == {"exact_duplicate": 6}
    assert all(row["split"] == "train" and row["origin"].startswith(str(tmp_path)) for row in removed)
    assert len(lines(tmp_path / "a", "quarantine")) == 2


def test_nothing_is_changed_unless_asked_but_all_is_reported(tmp_path, messy):
    del messy["train"]["hold_out"]
    built = build(tmp_path / "a", messy)
    assert made(built) == sum(part.records for part in built.parts)
    assert not lines(tmp_path / "a", "removed") and not any(built.removed.values())
    assert built.report["duplicates"]["exact"] == 7
    assert built.report["leaks"]["records_with_leaks"] == 1
    assert "clean" not in built.report


def test_copies_stay_on_one_side_of_a_cut(tmp_path, messy):
    build(tmp_path / "a", messy)
    asked = {
        name: {row["messages"][0]["content"] for row in lines(tmp_path / "a", name)}
        for name in ("train", "dev")
    }
    assert asked["dev"] and not asked["train"] & asked["dev"]


def test_held_out_splits_are_never_cleaned(tmp_path, messy):
    odd = {"instruction": "Ｑ１：胃痛？", "output": "作为一个AI语言模型，我无法提供医疗建议。"}
    messy["test"]["sources"] = [{"path": write(tmp_path / "odd.jsonl", [odd])}]
    build(tmp_path / "a", messy, **STRICT)
    (row,) = lines(tmp_path / "a", "test")
    assert [message["content"] for message in row["messages"]] == [odd["instruction"], odd["output"]]


def test_any_number_of_processes_gives_the_same(tmp_path, messy, monkeypatch):
    monkeypatch.setattr(treatment, "CHUNK", 7)
    monkeypatch.setattr(processes, "WORTHWHILE", 1)
    monkeypatch.setenv("XINGLIN_DEIDENTIFY_KEY", "0123456789abcdef0123456789abcdef")
    rules = STRICT | {"deidentify": {"mode": "replace"}}
    one, two = (build(tmp_path / str(n), messy, processes=n, **rules) for n in (1, 2))
    assert one.report == two.report and one.removed == two.removed
    for file in sorted((tmp_path / "1" / "out").iterdir()):
        assert file.read_bytes() == (tmp_path / "2" / "out" / file.name).read_bytes(), file.name


def test_what_is_replaced_is_not_in_the_quarantine_either(tmp_path, messy, monkeypatch):
    monkeypatch.setenv("XINGLIN_DEIDENTIFY_KEY", "0123456789abcdef0123456789abcdef")
    built = build(tmp_path / "a", messy, deidentify={"mode": "replace"})
    written = "".join(path.read_text("utf-8") for path in (tmp_path / "a" / "out").iterdir())
    assert "13812345678" not in written and "ZY0012345" not in written
    assert "13812345678" not in repr(built)
    build(tmp_path / "b", messy)
    assert "13812345678" in (tmp_path / "b" / "out" / "quarantine.jsonl").read_text("utf-8")


@pytest.mark.parametrize("before", range(1980, 2000, 3))
def test_a_number_where_the_quarantine_cuts_a_row_is_not_kept_in_part(tmp_path: Path, before: int) -> None:
    redact = treatment.redactor(Deidentification(mode="replace"), b"key" * 11)
    with Quarantine(tmp_path / "quarantine.jsonl", redact=redact) as quarantine:
        raw = "头" * before + "身份证110105199001011237，" + "痛" * 100
        quarantine.add(file="a", row=1, reason="empty", detail="", raw=raw)
    kept = json.loads((tmp_path / "quarantine.jsonl").read_text("utf-8"))["raw"]
    assert kept.startswith("头" * before) and not any(sign.isdigit() for sign in kept) and len(kept) <= 2000


def test_a_split_of_which_nothing_is_left_says_why(tmp_path, messy):
    messy["train"] = {"sources": messy["test"]["sources"]}
    with pytest.raises(
        DataError, match=r"'train': no record is left .*2 removed by duplicates: exact_duplicate"
    ):
        build(tmp_path / "a", messy, **STRICT)


def test_off_means_that_nothing_is_looked_for(tmp_path, messy):
    off = {"mode": "off"}
    built = build(tmp_path / "a", messy, deidentify=off, duplicates=off, leaks=off)
    assert built.report == {}
    assert Deidentification(mode="off").mode == "off"


def test_what_a_killed_stage_wrote_is_not_there_twice(tmp_path, messy):
    build(tmp_path / "a", messy, **STRICT)
    once = {path.name: path.read_bytes() for path in (tmp_path / "a" / "out").iterdir()}
    build(tmp_path / "a", messy, **STRICT)
    assert {path.name: path.read_bytes() for path in (tmp_path / "a" / "out").iterdir()} == once
    assert len(lines(tmp_path / "a", "quarantine")) == 2


def test_hold_out_leaves_something(tmp_path: Path) -> None:
    source = {"path": write(tmp_path / "rows.jsonl", [dialogue(number) for number in range(2)])}
    with pytest.raises(ValueError, match=r"hold_out cuts off 1\.1 of the records"):
        Split.model_validate({"sources": [source], "hold_out": {"dev": 0.6, "test": 0.5}})
    with pytest.raises(DataError, match=r"split 'train': no record in it.*'train' has too few"):
        build(tmp_path, {"train": {"sources": [source], "hold_out": {"dev": 0.1, "test": 0.1, "more": 0.1}}})
