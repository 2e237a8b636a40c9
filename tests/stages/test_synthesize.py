"""The stage: a data set in, one with a split more out; forecast, refusals, resuming."""

import json
import re

import pytest
from pydantic import ValidationError
from stage_toys import Stages

from chat_server import ChatServer, last_user, serving
from xinglin.config.marks import SplitFacts
from xinglin.config.recipe import load_recipe
from xinglin.endpoint import Ledger, Usage
from xinglin.errors import DataError, EndpointError, Interrupted, RecipeError
from xinglin.runtime.stage_run import StageRun
from xinglin.stages import synthesize

NAMES = "甲乙丙丁戊己庚辛"
TEXT = (
    "第{}种病的患者应当多休息，清淡饮食，保持心情平静，症状加重时到门诊就诊，不要自行停药，定期复查相关指标。"
)
REMOTE = "https://models.example.org/v1"


def answer(body):
    text = last_user(body)
    name = text[text.index("第") + 1]
    if "<问题>" in text:
        return f"第{name}种病的患者应当多休息，清淡饮食，保持心情平静，症状加重时到门诊就诊。"
    return f"第{name}种病的患者应当注意什么？"


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return {"sources": [{"path": str(path), "licence": "MIT"}]}


@pytest.fixture
def server():
    server = ChatServer(answer)
    with serving(server) as server.url:
        yield server


@pytest.fixture
def stages(tmp_path):
    """Documents, dialogues, and a held-out split that has one of the questions."""
    stages = Stages(tmp_path / "run")
    ask = {
        "messages": [{"role": "user", "content": "感冒怎么办？"}, {"role": "assistant", "content": "休息。"}]
    }
    asked = "第丙种病的患者应当注意什么？"
    held = {
        "messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": TEXT.format("丙")}]
    }
    splits = {
        "books": write(tmp_path / "books.jsonl", [{"text": TEXT.format(name)} for name in NAMES]),
        "train": write(tmp_path / "talk.jsonl", [ask] * 3),
        "test": {**write(tmp_path / "test.jsonl", [held]), "held_out": True},
    }
    stages.run("data", {"tokenizer": "base", "splits": splits, "vocabulary": 400, "max_tokens": 256})
    return stages


def settings(server, **options):
    return {
        "data": "stage:data",
        "splits": ["books"],
        "task": {"name": "questions_from_text"},
        "endpoint": {"base_url": server.url, "model": "m"},
        "leaks": {"mode": "off"},
        **options,
    }


def lines(artifact, name):
    return [json.loads(line) for line in (artifact.folder / name).read_text(encoding="utf-8").splitlines()]


def test_a_split_is_added_and_the_others_come_along(stages, server):
    made = stages.run("synthesize", settings(server))
    rows = lines(made, "synthetic.jsonl")
    assert [row["origin"]["row"] for row in rows] == list(range(1, 9))
    assert all(
        row["meta"]["synthesis"]["source"].endswith(f"books.jsonl:{row['origin']['row']}") for row in rows
    )
    splits, before = made.details["splits"], stages.made["data"].details["splits"]
    assert {name: facts for name, facts in splits.items() if name != "synthetic"} == before
    assert (splits["synthetic"]["records"], splits["synthetic"]["held_out"]) == (8, False)
    assert splits["synthetic"]["tokens"] > 0 and splits["synthetic"]["record"] == "conversation"
    (source,) = splits["synthetic"]["sources"]
    assert (source["rows_in"], source["rows_used"], source["licence"]) == (8, 8, "MIT")
    for name in before:
        assert (made.folder / f"{name}.jsonl").read_bytes() == (
            stages.made["data"].folder / f"{name}.jsonl"
        ).read_bytes()
    report = made.details["synthesis"]
    assert (report["items"], report["made"], report["not_reached"], report["stopped_by"]) == (8, 8, 0, None)
    assert report["spent"]["requests"] == 16 == server.requests == len(lines(made, "ledger.jsonl"))
    assert (made.folder / "card.md").is_file() and made.metrics["synthesis.made"]["value"] == 1.0
    json.dumps(made.details, allow_nan=False)
    trained = stages.run(
        "sft",
        {
            "model": "base",
            "data": "stage:synthesize",
            "split": "synthetic",
            "max_tokens": 256,
            "max_steps": 1,
        },
    )
    assert trained.details["train"]["steps"] == 1


def test_interrupted_and_resumed_it_ends_as_if_it_had_not_been(stages, server):
    whole = stages.run("synthesize", settings(server, into="whole"), name="whole")
    (stages.folder / "cache" / "synthesis" / "ledger.jsonl").unlink()
    server.answered.clear()
    server.seconds = 0.05
    slow = settings(server, endpoint={"base_url": server.url, "model": "m", "concurrency": 1}, into="whole")
    with pytest.raises(Interrupted):
        stages.run("synthesize", slow, name="resumed", stop_after=5)
    done = sum(server.answered.values())
    assert 0 < done < 16
    resumed = stages.run("synthesize", slow, name="resumed")
    assert sum(server.answered.values()) <= 16 + 1
    strip = lambda rows: [row["messages"] for row in rows]
    assert strip(lines(resumed, "whole.jsonl")) == strip(lines(whole, "whole.jsonl"))
    assert resumed.details["synthesis"]["spent"]["requests"] <= 17


def test_a_higher_cap_goes_on_where_the_lower_one_stopped(stages, server, capsys):
    slow = {"base_url": server.url, "model": "m", "concurrency": 2}
    few = stages.run("synthesize", settings(server, caps={"max_requests": 6}, endpoint=slow), name="few")
    report = few.details["synthesis"]
    assert report["stopped_by"] == "max_requests 6" and report["not_reached"] > 0 and server.requests == 6
    assert report["items"] == 8 == report["made"] + report["not_reached"] and report["made"] >= 2
    assert (
        f"stopped: max_requests 6 is reached; {report['not_reached']} items are left"
        in capsys.readouterr().out
    )
    more = stages.run("synthesize", settings(server), name="more")
    assert more.details["synthesis"]["made"] == 8 and server.requests == 16
    assert more.details["synthesis"]["from_ledger"] == 6


def test_a_ledger_may_be_shared(stages, server, tmp_path):
    shared = str(tmp_path / "shared" / "ledger.jsonl")
    stages.run("synthesize", settings(server, ledger=shared), name="one")
    stages.run("synthesize", settings(server, ledger=shared, max_items=3), name="two")
    assert server.requests == 16
    with Ledger(tmp_path / "shared" / "ledger.jsonl") as ledger:
        assert len(ledger) == 16
    assert (
        len(lines(stages.made["two"], "ledger.jsonl")) == 6
        and len(lines(stages.made["two"], "synthetic.jsonl")) == 3
    )


def test_leaks_are_found_and_removed(stages, server):
    reported = stages.run("synthesize", settings(server, leaks={"mode": "report"}), name="reported")
    assert reported.details["synthesis"]["leaks"]["records_with_leaks"] == 1
    assert reported.details["steps"]["leaks"]["protected"]["test"]["leaked"] == 1
    left = [(row["split"], row["item"]) for row in lines(reported, "leaks.jsonl")]
    before = [(row["split"], row["item"]) for row in lines(stages.made["data"], "leaks.jsonl")]
    assert left == [*before, ("synthetic", "test:1")] and before
    removed = stages.run("synthesize", settings(server, leaks={"mode": "remove"}), name="removed")
    rows = lines(removed, "synthetic.jsonl")
    assert len(rows) == 7 and not any("第丙" in row["messages"][0]["content"] for row in rows)
    split = removed.details["splits"]["synthetic"]
    assert split["records"] == 7 and split["removed"] == {"synthesize": {"leak": 1}}
    assert [row["reason"] for row in lines(removed, "rejected.jsonl")] == ["leak"]


def test_what_is_made_of_a_held_out_split_is_held_out(stages, server):
    server.answer = lambda body: TEXT.format("丙") + "祝您早日康复。"
    made = stages.run("synthesize", settings(server, splits=["test"], task={"name": "polish"}))
    assert made.details["splits"]["synthetic"]["held_out"] is True
    config = synthesize.Config.model_validate(
        {"kind": "synthesize", **settings(server, splits=["test"], task={"name": "polish"})}
    )
    given = {"test": SplitFacts(True, "conversation"), "train": SplitFacts(False, "conversation")}
    assert synthesize.splits(config, given)["synthetic"] == SplitFacts(True, "conversation")


def test_nothing_made_is_an_error_that_says_why(stages, server):
    server.answer = lambda body: "根据上述文本，怎么办？"
    with pytest.raises(
        DataError, match=r"no item of 8 gave a record.*8 question_refers_to_text.*rejected.jsonl shows"
    ):
        stages.run("synthesize", settings(server))
    with pytest.raises(DataError, match="no split 'boks'"):
        stages.run("synthesize", settings(server, splits=["boks"]))
    with pytest.raises(
        DataError, match="reads document records, and split 'train' holds conversation records"
    ):
        stages.run("synthesize", settings(server, splits=["train"]))
    with pytest.raises(DataError, match="there is a split 'train' already"):
        stages.run("synthesize", settings(server, into="train"))
    with pytest.raises(ValueError, match="is a file that the stage writes itself"):
        stages.run("synthesize", settings(server, into="spent"))


def test_a_missing_key_is_said_first(stages, server, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    endpoint = {"base_url": server.url, "model": "m", "key_variable": "NO_SUCH_KEY"}
    with pytest.raises(EndpointError, match="environment variable NO_SUCH_KEY is not set"):
        stages.run("synthesize", settings(server, endpoint=endpoint))
    assert server.requests == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"endpoint": {"base_url": REMOTE, "model": "m"}}, "models.example.org is not local"),
        (
            {
                "endpoint": {"base_url": REMOTE, "model": "m"},
                "deidentify": {"mode": "replace", "style": "surrogate"},
            },
            "is not local",
        ),
        (
            {
                "task": {"name": "preferences", "judge": {"base_url": REMOTE, "model": "m"}},
                "splits": ["train"],
            },
            "models.example.org is not local",
        ),
        ({"caps": {"max_cost": 1.0}}, "needs the prices"),
        ({"task": {"name": "safety"}}, "reads no split"),
        ({"task": {"name": "safty"}}, "safety"),
        ({"endpoint": {"base_url": "http://127.0.0.1/v1", "model": "m", "api_key": "sk"}}, "Extra inputs"),
    ],
)
def test_settings_that_are_refused(server, options, message):
    with pytest.raises(ValidationError, match=re.escape(message)):
        synthesize.Config.model_validate({"kind": "synthesize", **settings(server, **options)})


@pytest.mark.parametrize(("local", "mode"), [(True, "report"), (False, "replace")])
def test_what_may_leave(server, local, mode):
    endpoint = {"base_url": REMOTE, "model": "m", "local": local}
    config = synthesize.Config.model_validate(
        {"kind": "synthesize", **settings(server, endpoint=endpoint, deidentify={"mode": mode})}
    )
    assert (config.endpoint.is_local, config.deidentify.mode) == (local, mode)


def planned(stages, server, **options):
    config = synthesize.Config.model_validate({"kind": "synthesize", **settings(server, **options)})
    folder = stages.folder
    run = StageRun("synthesize", 3, folder, folder, folder, folder, "", stages.inputs())
    return synthesize.plan(config, run)


def test_the_forecast_spends_nothing(stages, server, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    prices = {"prompt": 2.0, "completion": 8.0}
    endpoint = {"base_url": server.url, "model": "m", "prices": prices, "key_variable": "NO_SUCH_KEY"}
    found = planned(stages, server, endpoint=endpoint)
    assert found["asks"].startswith("8 items, 16 requests, about ") and "costs at most 0.15" in found["asks"]
    assert "NO_SUCH_KEY is not set" in found["key"]
    talk = {"splits": ["train"]}
    assert planned(stages, server, task={"name": "preferences"}, **talk)["asks"].startswith(
        "3 items, 30 requests"
    )
    judge = {"base_url": server.url, "model": "judge", "prices": {"prompt": 0.0, "completion": 1000.0}}
    task = {"name": "preferences", "answers": 2, "max_new_tokens": 500, "judge": judge}
    asks = planned(stages, server, task=task, **talk)["asks"]
    assert "costs at most 3.00" in asks, "3 items, 2 verdicts each, of 500 tokens: by the judge's price"
    judge["prices"] = {"prompt": 1000.0, "completion": 0.0}
    asks = planned(stages, server, task=task, **talk)["asks"]
    cost = float(re.search(r"at most ([\d.]+) if", asks)[1])
    assert 6 < cost < 12, "each verdict reads two answers of 500 tokens, the principles and the question"
    assert planned(stages, server, task={"name": "self_instruct"}, **talk)["asks"].startswith(
        "20 items, 20 req"
    )
    assert planned(stages, server, task={"name": "patient_doctor"}, **talk)["asks"].startswith(
        "3 items, 30 req"
    )
    assert planned(stages, server, task={"name": "safety"}, splits=[])["asks"].startswith(
        "204 items, 408 req"
    )
    assert server.requests == 0


def test_what_was_forecast_is_what_is_asked(stages, server):
    asks = planned(stages, server)["asks"]
    tokens = int(re.search(r"about ([\d,]+) tokens", asks)[1].replace(",", ""))
    stages.run("synthesize", settings(server))
    sent = sum(len(last_user(body)) for body in server.bodies)
    assert tokens == pytest.approx(sent, rel=0.25)


def test_a_recipe_is_checked_before_any_work(tmp_path):
    write(tmp_path / "books.jsonl", [{"text": TEXT.format("甲")}])
    recipe = f"""
model: tiny:qwen3
stages:
  data:
    kind: data
    splits:
      books: {{sources: [{{path: {tmp_path}/books.jsonl, format: text}}]}}
  more:
    kind: synthesize
    splits: [boks]
    task: {{name: questions_from_text, prompts: nowhere.yaml}}
    endpoint: {{base_url: "http://127.0.0.1:8000/v1", model: m}}
  sft: {{kind: sft, split: synthetc}}
"""
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe, encoding="utf-8")
    with pytest.raises(RecipeError) as error:
        load_recipe(path)
    said = str(error.value)
    assert "no split 'boks'; did you mean 'books'?" in said and "there is no file nowhere.yaml" in said
    assert "no split 'synthetc'; did you mean 'synthetic'?" in said


def test_usage_adds_up():
    assert sum([Usage(1, 2, 3, 0.5), Usage(1, 1, 1)], Usage()) == Usage(2, 3, 4, 0.5)
