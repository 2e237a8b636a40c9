"""xinglin score, with a rule in the model's place."""

import json

import pytest
from click.testing import CliRunner

from xinglin.cli.main import main


class ByLength:
    def score(self, requests, *, normalise=False):
        return [float(len(answer)) for _, answer in requests]


@pytest.fixture
def call(monkeypatch, tmp_path):
    from xinglin.models.reward import RewardModel

    monkeypatch.setattr(RewardModel, "load", lambda spec: ByLength())
    rows = [{"prompt": "a", "chosen": "咳" * n, "rejected": "cc"} for n in (1, 3, 4)] + [{"nothing": 1}]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    model = tmp_path / "model"
    model.mkdir()

    def run(*arguments, file=path):
        return CliRunner().invoke(main, ["score", str(file), "--model", str(model), *arguments])

    return run


def test_rows_to_standard_output_and_the_summary_beside_it(call):
    done = call()
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["margin"] for row in rows] == [-1.0, 1.0, 2.0]
    assert "3 rows scored, 1 left out" in done.stderr and "1 unknown_format, such as" in done.stderr
    assert "chosen above rejected: 66.7% [" in done.stderr


def test_rows_to_a_file_and_the_summary_as_json(call, tmp_path):
    done = call("--out", str(tmp_path / "scored.jsonl"), "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["pairs"]["pairs"] == 3
    assert len((tmp_path / "scored.jsonl").read_text(encoding="utf-8").splitlines()) == 3


def test_a_wrong_path_is_one_line(call, tmp_path):
    done = call(file=tmp_path / "rose.jsonl")
    assert done.exit_code == 2
    assert "no such file, folder or match; did you mean" in done.stderr and "Traceback" not in done.stderr


def test_an_unknown_format_is_one_line_that_names_the_others(call):
    done = call("--format", "alpacca")
    assert done.exit_code == 2
    assert "alpaca" in done.stderr and "Traceback" not in done.stderr
