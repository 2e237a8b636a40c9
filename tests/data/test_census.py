"""What is counted of records is counted once, and names nobody."""

import json
import os
from pathlib import Path

import pytest

import xinglin
from xinglin.errors import DataError


def test_a_department_that_names_somebody_is_not_shown(tmp_path: Path) -> None:
    asked = [f"第{n}天咳嗽，痰多色白，怎么办？" for n in range(3)]
    signed = ["心内科", "心内科", "张伟医生 13812345678"]
    rows = [
        {"instruction": question, "output": "多休息，多喝水。", "department": name}
        for question, name in zip(asked, signed, strict=True)
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    report = xinglin.check(tmp_path)
    departments = report["files"][0]["departments"]
    assert departments.pop("心内科") == 2 and list(departments.values()) == [1]
    assert not any(part in json.dumps(report, ensure_ascii=False) for part in ("13812345678", "张伟"))


def test_a_file_in_a_folder_that_is_named_too_is_read_once(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"instruction": "头痛怎么办？", "output": "多休息。"}\n', "utf-8")
    for paths in ([tmp_path, file], [file, tmp_path, tmp_path], [file, file]):
        (row,) = xinglin.check(*paths)["files"]
        assert row["rows_in"] == 1


def test_a_file_with_a_name_of_a_chinese_windows_is_read(tmp_path: Path) -> None:
    row = {"instruction": "头痛怎么办？", "output": "多休息。"}
    file = os.fsencode(tmp_path) + b"/" + "病历.jsonl".encode("gbk")
    Path(os.fsdecode(file)).write_text(json.dumps(row, ensure_ascii=False) + "\n{}\n", "utf-8")
    (found,) = xinglin.check(tmp_path, quarantine=tmp_path.parent / f"{tmp_path.name}.bad")["files"]
    assert (found["path"], found["rows_used"]) == (f"{tmp_path}/病历.jsonl", 1)
    assert found["examples"]["unknown_format"].startswith(f"{tmp_path}/病历.jsonl:2")
    with pytest.raises(DataError, match="not UTF-8; name the folder"):
        xinglin.check(os.fsdecode(file))


@pytest.mark.parametrize("levels", [90, 150, 500, 900, 985])
def test_lists_in_lists_without_end_are_quarantined(tmp_path: Path, levels: int) -> None:
    row = (
        '{"instruction": "头痛怎么办？", "output": "多休息。", "more": ' + "[" * levels + "]" * levels + "}\n"
    )
    (tmp_path / "rows.jsonl").write_text(row + row.replace("[" * levels + "]" * levels, "1"), "utf-8")
    (found,) = xinglin.check(tmp_path)["files"]
    if levels < 100:
        assert found["rows_used"] == 2
    else:
        assert (found["rows_used"], found["rows_quarantined"]) == (1, 1)
        assert found["reasons"].keys() <= {"too_deep", "not_json"}


@pytest.mark.parametrize(
    "origin",
    [
        {"file": 3, "row": 1},
        {"file": "a", "row": "1"},
        {"file": "a", "row": 10**14},
        {"file": "a", "row": 0},
        {"file": "a", "row": 1, "licence": 5},
    ],
)
def test_an_origin_that_is_none_of_ours_is_no_origin(tmp_path: Path, origin: dict[str, object]) -> None:
    row = {"instruction": "头痛怎么办？", "output": "多休息。", "origin": origin}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row, ensure_ascii=False) + "\n", "utf-8")
    (found,) = xinglin.check(tmp_path)["files"]
    assert found["samples"][0]["origin"] == f"{tmp_path}/rows.jsonl:1"


def test_numbers_without_end_are_no_scores_and_no_weights(tmp_path: Path) -> None:
    rows = [
        f'{{"prompt": "头痛怎么办？", "answers": ["多休息。", "不知道。"], "scores": [{score}, 1]}}\n'
        for score in ("NaN", "1e999", "9" * 400)
    ]
    talk = '{"messages": [{"role": "user", "content": "问"}, {"role": "assistant", "content": "答", "weight": %s}]}\n'
    (tmp_path / "rows.jsonl").write_text("".join([*rows, talk % ("9" * 400), talk % "0.5"]), "utf-8")
    (found,) = xinglin.check(tmp_path)["files"]
    assert found["reasons"] == {"bad_order": 3, "bad_train_flag": 1} and found["rows_used"] == 1


@pytest.mark.parametrize("given", ["[" * 700 + "]" * 700, "[" * 5000 + "]" * 5000, "9" * 5000, '"\\ud83d"'])
def test_arguments_that_no_record_can_hold_are_quarantined(tmp_path: Path, given: str) -> None:
    call = {"type": "function", "function": {"name": "price", "arguments": f'{{"drug": {given}}}'}}
    asked = {"role": "user", "content": "阿司匹林多少钱？"}
    answer = {"role": "assistant", "content": "五元。"}
    called = [
        asked,
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "5"},
    ]
    tools = [{"type": "function", "function": {"name": "price", "parameters": {}}}]
    rows = [{"messages": [*called, answer], "tools": tools}, {"messages": [asked, answer]}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    (found,) = xinglin.check(tmp_path)["files"]
    assert (found["rows_used"], found["rows_quarantined"]) == (1, 1)
