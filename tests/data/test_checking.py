import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import xinglin
from xinglin.cli.main import main
from xinglin.data import checking, licences
from xinglin.errors import DataError
from xinglin.report import check
from xinglin.report.check import lines
from xinglin.runtime import processes

STEM = "一名六十岁男性患者因突发胸骨后压榨样疼痛三小时入院心电图示下壁导联抬高最可能的诊断是"


def write(path: Path, rows: list[Any], encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(
        row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) + "\n" for row in rows
    )
    path.write_text(text, encoding=encoding)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    rows = [
        {
            "instruction": f"第{n}位患者咳嗽{n}天，痰多色白，伴有低热，应当怎么办？",
            "output": f"建议先查血常规，第{n}天复诊。",
        }
        for n in range(40)
    ]
    write(root / "talks" / "one.jsonl", [*rows, rows[0], {"instruction": "空", "output": ""}])
    write(
        root / "talks" / "two.jsonl",
        [rows[1], {"instruction": STEM + "？", "output": "请拨打120，联系电话13812345678。"}],
    )
    write(
        root / "table.csv",
        ["department,title,ask,answer\n", "心血管科,高血压,能吃党参吗？,可以少量。\n"],
        "gb18030",
    )
    write(
        root / "monographs.json",
        [
            json.dumps(
                ["氨肽素\n药品类型:血液系统药物\n适应证:紫癜", "布洛芬\n药品类型:解热镇痛药\n适应证:发热"]
            )
        ],
    )
    write(
        root / "exam.jsonl",
        [{"question": STEM, "options": {"A": "急性心肌梗死", "B": "肺栓塞"}, "answer": "A"}],
    )
    write(root / "LICENSE", ["Apache License\nVersion 2.0\n"])
    (root / "broken.parquet").write_bytes(b"PAR1 and nothing else")
    return root


@pytest.fixture(scope="module")
def report(folder: Path) -> dict[str, Any]:
    return xinglin.check(folder)


def named(report: dict[str, Any], name: str) -> dict[str, Any]:
    return next(file for file in report["files"] if file["path"].endswith(name))


def test_every_file_has_an_account(report: dict[str, Any]) -> None:
    for file in report["files"]:
        assert file["rows_in"] == file["rows_used"] + file["rows_quarantined"]
        assert {"path", "format", "encoding", "reasons", "licence", "languages", "personal"} <= file.keys()
    talks = named(report, "one.jsonl")
    assert (talks["format"], talks["encoding"]) == ("alpaca", "utf-8")
    assert (talks["rows_in"], talks["rows_used"], talks["reasons"]) == (42, 41, {"no_answer": 1})
    assert talks["examples"]["no_answer"].split("one.jsonl:")[1].startswith("42")
    assert named(report, "table.csv")["encoding"] == "gb18030"
    broken = named(report, "broken.parquet")
    assert broken["rows_used"] == 0 and set(broken["reasons"]) == {"broken_file"}


def test_what_the_records_are_like(report: dict[str, Any]) -> None:
    talks = named(report, "one.jsonl")
    assert talks["languages"] == {"zh": 41} and talks["turns"]["max"] == 1
    assert talks["tokens"]["counted"] == 41 and talks["tokens"]["p50"] > 10
    assert named(report, "table.csv")["departments"] == {"心血管科": 1}
    assert named(report, "two.jsonl")["personal"]["counts"]["phone"] == 1
    assert named(report, "monographs.json")["kinds"] == {"document": 2}


def test_copies_and_leaks_are_told_by_file(report: dict[str, Any]) -> None:
    copies = report["duplicates"]["by_file"]
    assert {Path(path).name: count for path, count in copies.items()} == {"one.jsonl": 1, "two.jsonl": 1}
    leaks = report["leaks"]["by_file"]
    assert {Path(path).name: count for path, count in leaks.items()} == {"two.jsonl": 1}


def test_samples_show_the_mask_and_no_personal_data(report: dict[str, Any], folder: Path) -> None:
    (sample, *_) = named(report, "one.jsonl")["samples"]
    trained = "".join(text for text, mark in sample["parts"] if mark)
    assert trained.startswith("建议先查血常规") and "咳嗽" not in trained
    assert "13812345678" not in json.dumps(report, ensure_ascii=False)
    page = folder.parent / "page.html"
    arguments = ["data", "check", str(folder), "--out", str(page)]
    printed = CliRunner().invoke(main, arguments, catch_exceptions=False).output
    shown = page.read_text("utf-8")
    assert "<code>duplicates: {mode: remove}</code> keeps one of each" in shown and "`" not in shown
    assert "<mark>建议先查血常规" in shown and "13812345678" not in shown + printed
    assert "1,393" not in printed and "no_answer" in printed and "copies: 2 exact" in printed


def test_json_is_nothing_but_json(folder: Path) -> None:
    done = CliRunner().invoke(
        main, ["data", "check", str(folder / "talks"), "--json"], catch_exceptions=False
    )
    assert {Path(file["path"]).name for file in json.loads(done.stdout)["files"]} == {
        "one.jsonl",
        "two.jsonl",
    }


def test_rows_that_cannot_be_used_can_be_kept(folder: Path, tmp_path: Path) -> None:
    xinglin.check(folder / "talks", quarantine=tmp_path / "bad.jsonl")
    (row,) = map(json.loads, (tmp_path / "bad.jsonl").read_text("utf-8").splitlines())
    assert (row["row"], row["reason"]) == (42, "no_answer")


def test_nothing_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        xinglin.check(tmp_path / "nowhere")


def test_licences_are_read_from_pages_beside_the_data(tmp_path: Path) -> None:
    write(tmp_path / "a" / "README.md", ["---\nlicense: cc-by-nc-4.0\n---\n# Set\nMIT License is better\n"])
    write(tmp_path / "b" / "README.md", ["Do not confuse this with the MIT License.\n"])
    write(tmp_path / "c" / "LICENSE.txt", ["GNU GENERAL PUBLIC LICENSE\nVersion 3\n"])
    (tmp_path / "c" / "deep").mkdir()
    found = [licences.beside(tmp_path / name, tmp_path) for name in ("a", "b", "c", "c/deep")]
    assert found == ["cc-by-nc-4.0", None, "GPL", "GPL"]
    warned = [licences.warning(name) for name in ("Apache-2.0", *found)]
    assert [bool(warning) for warning in warned] == [False, True, True, True, True]
    assert "non-commercial" in (warned[1] or "") and "must not be passed on" in (warned[2] or "")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Open Government Licence v3.0", None),
        ("ncsa", None),
        ("CC BY-NC 4.0", "non-commercial"),
        ("PolyForm Noncommercial 1.0", "non-commercial"),
        ("unknown", "must not be passed on"),
    ],
)
def test_a_warning_is_told_by_words_of_a_licence(name: str, said: str | None) -> None:
    assert (licences.warning(name) or "").count(said or "") and bool(licences.warning(name)) == bool(said)


def test_a_card_may_list_its_licences(tmp_path: Path) -> None:
    write(tmp_path / "README.md", ["---\nlicense:\n- mit\n---\n"])
    assert licences.beside(tmp_path, tmp_path) == "mit"


def test_the_detectors_are_measured_by_a_command() -> None:
    done = CliRunner().invoke(main, ["data", "detectors", "--json"], catch_exceptions=False)
    scores = json.loads(done.stdout)
    assert scores["id_card"]["recall"] >= 0.98 and scores["doctor_name"]["recall"] >= 0.9
    assert min(score["precision"] for score in scores.values()) >= 0.95


def test_any_number_of_processes_gives_the_same_report(
    folder: Path, monkeypatch: pytest.MonkeyPatch, report: dict[str, Any]
) -> None:
    monkeypatch.setattr(processes, "WORTHWHILE", 1)
    monkeypatch.setattr(checking, "_CHUNK", 7)
    assert xinglin.check(folder, processes=2) == report


def test_what_a_template_cannot_write_is_said(tmp_path: Path) -> None:
    call = {
        "role": "assistant",
        "tool_calls": [{"function": {"name": "price", "arguments": {"drug": "布洛芬"}}}],
    }
    tool = {
        "type": "function",
        "function": {"name": "price", "description": "价格", "parameters": {"type": "object"}},
    }
    asked = [{"role": "user", "content": "布洛芬多少钱？"}, call, {"role": "tool", "content": "12"}]
    row = {"tools": [tool], "messages": [*asked, {"role": "assistant", "content": "12 元。"}]}
    path = tmp_path / "tools.json"
    path.write_text(json.dumps([row], ensure_ascii=False)[:-1] + ', {"', encoding="utf-8")
    report = xinglin.check(path)
    said = "\n".join(lines(report))
    assert f"not_renderable: {path}: 1 of its records" in said
    assert said.count(str(path)) == 3, "each place is said once"
    check.write(report, tmp_path / "page.html")
    assert "1 not_renderable" in (tmp_path / "page.html").read_text("utf-8")
