"""Files of answers scored by a rule that stands in for the model: batches, refusals, sums."""

import json
import os
from datetime import UTC, datetime

import pytest

from xinglin.data.sources import Source
from xinglin.errors import DataError, ModelError, RunError
from xinglin.evaluate import scoring
from xinglin.evaluate.scoring import find_reward_model, json_lines, score_file
from xinglin.runtime.artifact import Artifact


class ByLength:
    """Scores an answer by its length and refuses those with an exclamation mark."""

    def score(self, requests, *, normalise=False):
        if any("!" in answer for _, answer in requests):
            raise DataError("too excited")
        return [float(len(answer)) - (10 if normalise else 0) for _, answer in requests]


@pytest.fixture
def written(tmp_path):
    def write(*rows):
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return Source(path=str(path))

    return write


def talk(*texts):
    roles = ("user", "assistant") * len(texts)
    return {"messages": [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]}


def test_the_last_answer_of_a_conversation_is_scored(written):
    rows = []
    found = score_file(written(talk("a", "b", "c", "dd"), talk("a", "bbb")), ByLength(), write=rows.append)
    assert [row["score"] for row in rows] == [2.0, 3.0] == found.answers
    assert rows[0]["messages"][-1]["content"] == "dd" and rows[0]["origin"]["row"] == 1
    summary = found.summary()
    assert (summary["rows"], summary["mean"], summary["p50"], summary["max"]) == (2, 2.5, 2.5, 3.0)
    assert "pairs" not in summary


def test_both_answers_of_a_preference_are_scored(written):
    rows = []
    source = written(*({"prompt": "a", "chosen": "b" * n, "rejected": "cc"} for n in (1, 3, 4)))
    found = score_file(source, ByLength(), write=rows.append, normalise=True)
    assert rows[0]["scores"] == {"chosen": -9.0, "rejected": -8.0} and rows[0]["margin"] == -1.0
    assert found.summary()["pairs"]["accuracy"]["value"] == pytest.approx(2 / 3)


def test_rows_that_cannot_be_used_are_counted_and_the_others_scored(written, monkeypatch):
    monkeypatch.setattr(scoring, "BATCH", 2)
    rows, done = [], []
    source = written(talk("a", "b"), talk("a", "wow!"), {"nothing": 1}, talk("a", "bbb"))
    found = score_file(source, ByLength(), write=rows.append, advance=done.append)
    assert [row["score"] for row in rows] == [1.0, 3.0] and sum(done) == 3
    summary = found.summary()
    assert summary["left_out"] == {"not_scorable": 1, "unknown_format": 1}
    assert "rows.jsonl:2: too excited" in summary["examples"]["not_scorable"]


def test_what_has_no_answer_is_refused(written):
    with pytest.raises(
        DataError, match="a document has no answer to score; give conversations or preferences"
    ):
        score_file(written({"text": "abc"}), ByLength(), write=[].append)
    with pytest.raises(DataError, match=r"no answer could be scored; .*too excited"):
        score_file(written(talk("a", "wow!")), ByLength(), write=[].append).summary()


def test_output_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "new" / "scored.jsonl"
    with pytest.raises(KeyboardInterrupt), json_lines(target) as write:
        write({"a": 1})
        raise KeyboardInterrupt
    assert not target.exists()
    with json_lines(target) as write:
        write({"a": "咳"})
    assert target.read_text(encoding="utf-8") == '{"a": "咳"}\n'


def make_artifact(folder, kind, finished):
    folder.mkdir(parents=True)
    made = Artifact(folder, folder.name, kind, "reward", "f", finished=finished)
    (folder / "artifact.json").write_text(json.dumps(made.to_json()), encoding="utf-8")


def test_a_reward_model_is_found_in_a_run_a_stage_or_a_folder(tmp_path):
    now = datetime.now(UTC)
    run = tmp_path / "run"
    make_artifact(run / "stages" / "sft", "model", now.isoformat())
    with pytest.raises(RunError, match="no finished reward model in this run"):
        find_reward_model(run)
    make_artifact(run / "stages" / "one", "reward_model", now.isoformat())
    assert find_reward_model(run) == find_reward_model(run / "stages" / "one") == str(run / "stages" / "one")
    with pytest.raises(ModelError, match="stage 'sft' made no reward model but: model"):
        find_reward_model(run / "stages" / "sft")
    with pytest.raises(ModelError, match="no such folder"):
        find_reward_model(tmp_path / "nowhere")
    assert find_reward_model(tmp_path) == str(tmp_path) and find_reward_model("hub:a/b") == "hub:a/b"


def test_what_cannot_be_written_is_one_line_and_devices_stay_devices(tmp_path):
    for target in (tmp_path, tmp_path / "file" / "rows.jsonl"):
        (tmp_path / "file").touch()
        with pytest.raises(RunError, match="cannot be written"), json_lines(target):
            pass
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with json_lines(pipe) as write:
        write({"score": 1})
    assert os.read(reader, 100) == b'{"score": 1}\n' and pipe.is_fifo()
    os.close(reader)
    assert not list(tmp_path.glob("*.tmp"))
