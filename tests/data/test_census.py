"""What is counted of records is counted once, and names nobody."""

import json
from pathlib import Path

import xinglin


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
