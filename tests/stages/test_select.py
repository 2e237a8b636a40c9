"""What is chosen is worth more than what is drawn at random, and every record is accounted for."""

import json
import math
import random

import pytest
from pydantic import ValidationError
from stage_toys import Stages

from xinglin.errors import DataError, Interrupted
from xinglin.stages import evaluate, select

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

ADVICE = {
    "高血压": "少吃盐，服用氨氯地平。",
    "糖尿病": "控制饮食，服用二甲双胍。",
    "哮喘": "吸入布地奈德，避开花粉。",
    "痛风": "别喝啤酒，服用别嘌醇。",
    "湿疹": "涂抹保湿霜，少用热水。",
    "失眠": "睡前不看手机，规律作息。",
    "甲亢": "服用甲巯咪唑，少吃海带。",
    "贫血": "补充铁剂，多吃瘦肉。",
}
ASKED = ("{}怎么办？", "我有{}，吃什么药？", "{}要注意什么？", "医生，{}怎么治疗？", "请问{}如何护理？")
DEPARTMENTS = ("内科", "外科")
NOISE = 0.25
NOTHING = {"steps": [{"name": "drop", "score": "ifd", "above": 0.0}], "protect": {"detect": False}}


def rows(phrasings, *, noise=0.0, seed=0):
    """Every disease in every phrasing; a share of them with the advice for another disease."""
    draw, found = random.Random(seed), []
    for number, (phrasing, disease) in enumerate((p, d) for p in phrasings for d in ADVICE):
        wrong = draw.random() < noise
        advice = ADVICE[draw.choice([d for d in ADVICE if d != disease])] if wrong else ADVICE[disease]
        found.append(
            {
                "messages": [
                    {"role": "user", "content": phrasing.format(disease)},
                    {"role": "assistant", "content": advice},
                ],
                "meta": {"noise": wrong, "department": DEPARTMENTS[number % 5 == 0]},
            }
        )
    return found


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    """A model that has seen good advice, and a noisy split to choose from."""
    folder = tmp_path_factory.mktemp("selection")
    noisy = rows([f"{a}{b}" for a in ("", "您好，", "在线等，") for b in ASKED], noise=NOISE)
    safe = {
        "messages": [
            {"role": "user", "content": "我怀孕了，能用多西环素吗？"},
            {"role": "assistant", "content": "不能。"},
        ],
        "meta": {"noise": False, "department": "妇科"},
    }
    files = {
        "train": [*noisy, safe],
        "clean": rows(ASKED),
        "exam": [{"question": "孕妇禁用？", "options": {"A": "青霉素", "B": "四环素"}, "answer": "B"}] * 3,
        "text": [{"text": "高血压要少吃盐。"}] * 2,
        "pairs": [{"prompt": f"{d}怎么办？", "chosen": ADVICE[d], "rejected": "不知道。"} for d in ADVICE],
    }
    for name, content in files.items():
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    splits = {name: {"sources": [{"path": str(folder / f"{name}.jsonl")}]} for name in files}
    splits["exam"]["held_out"] = True
    stages = Stages(folder / "run")
    off = {name: {"mode": "off"} for name in ("duplicates", "leaks", "deidentify")}
    stages.run("data", {"tokenizer": "base", "splits": splits, "vocabulary": 400, "max_tokens": 128, **off})
    stages.run(
        "sft",
        {
            "model": "base",
            "data": "stage:data",
            "split": "clean",
            "tuning": "full",
            "max_tokens": 128,
            "batch_size": 20,
            "epochs": 30,
            "optimizer": {"learning_rate": 1e-2},
        },
    )
    return stages


def settings(**options):
    listed = {"scores": [{"name": "ifd", "model": "stage:sft"}]} | options
    return {"data": "stage:data", **listed}


def lines(artifact, name):
    text = (artifact.folder / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def chance(number, noisy, drawn, hits):
    """The probability that so many draws without replacement hit so much noise, or more (hypergeometric)."""
    ways = [
        math.comb(noisy, k) * math.comb(number - noisy, drawn - k) for k in range(hits, min(noisy, drawn) + 1)
    ]
    return sum(ways) / math.comb(number, drawn)


def test_noise_is_found_and_everything_is_accounted_for(stages):
    options = settings(steps=[{"name": "drop", "score": "ifd", "above": 1.0}], compare="random")
    made = stages.run("select", options, name="by_ifd")
    before, after = lines(stages.made["data"], "train.jsonl"), lines(made, "train.jsonl")
    removed = lines(made, "removed.jsonl")
    assert len(before) == len(after) + len(removed) and all(row in before for row in after)
    noisy = sum(row["meta"]["noise"] for row in before)
    gone = [before[row["row"] - 1] for row in lines(made, "scores.jsonl") if row["outcome"] == "ifd_above"]
    hits = sum(row["meta"]["noise"] for row in gone)
    assert hits > 0.5 * noisy and hits >= 0.9 * len(gone)
    assert chance(len(before), noisy, len(gone), hits) < 1e-6
    assert {(row["step"], row["reason"], row["split"]) for row in removed} == {
        ("select", "ifd_above", "train")
    }
    train = made.details["splits"]["train"]
    assert train["removed"] == {"select": {"ifd_above": len(removed)}} and train["records"] == len(after)
    assert len(lines(made, "train_random.jsonl")) == len(after)
    drawn = made.details["splits"]["train_random"]
    assert not drawn["held_out"] and drawn["records"] == len(after) and drawn["tokens"] > 0


def test_scores_of_an_earlier_stage_are_not_computed_again(stages):
    for name, above in (("first", 1.0), ("second", 0.9)):
        made = stages.run(
            "select", settings(steps=[{"name": "drop", "score": "ifd", "above": above}]), name=name
        )
    assert made.details["selection"]["scores"]["ifd"]["computed"] == 0


def test_necessity_ranks_noise_highest(stages):
    made = stages.run(
        "select",
        settings(
            scores=[{"name": "necessity", "model": "stage:sft"}],
            steps=[{"name": "drop", "score": "necessity", "highest": 0.2}],
        ),
        name="by_necessity",
    )
    before = lines(stages.made["data"], "train.jsonl")
    noisy = sum(row["meta"]["noise"] for row in before)
    kept = lines(made, "train.jsonl")
    gone = len(before) - len(kept)
    assert chance(len(before), noisy, gone, noisy - sum(row["meta"]["noise"] for row in kept)) < 1e-6


def test_a_method_with_quotas_protects_reports_and_trains(stages):
    options = settings(
        method="ifd",
        keep=0.3,
        quotas=[{"field": "department", "value": "外科", "least": 0.4}],
        compare="random",
    )
    made = stages.run("select", options, name="chosen")
    found = made.details["selection"]
    sizes = found["sizes"]
    assert sizes["chosen"]["records"] == sizes["random"]["records"] == round(0.3 * 120) + 1
    assert found["protected"] == {"contraindication": 1} and found["unit"] == "tokens"
    for name in ("train", "train_random"):
        rows = lines(made, f"{name}.jsonl")
        assert sum(row["meta"]["department"] == "外科" for row in rows) >= int(0.4 * len(rows))
        assert any("怀孕" in row["messages"][0]["content"] for row in rows)
    shares = {row["value"]: row for row in found["shares"]["department"]}
    assert shares["外科"]["chosen"] / sizes["chosen"]["records"] > 1.5 * shares["外科"]["split"] / 121
    score = found["scores"]["ifd"]
    assert sum(score["histogram"]["split"]) == 121 and sum(score["histogram"]["chosen"]) == 37
    assert -1 <= score["length_correlation"] <= 1 and len(score["examples"]["lowest"]) == 3
    json.dumps(made.details, allow_nan=False)
    assert (made.folder / "scores.png").stat().st_size > 1000
    data = stages.made["data"]
    for name in ("clean", "exam", "text", "pairs"):
        assert (made.folder / f"{name}.jsonl").read_bytes() == (data.folder / f"{name}.jsonl").read_bytes()
        assert made.details["splits"][name] == data.details["splits"][name]
    shards = {path.name for path in (data.folder / "shards").iterdir()}
    carried = {path.name for path in (made.folder / "shards").iterdir()}
    assert len(carried & shards) == 3 and len(carried) == 5, "only what was chosen is tokenised anew"
    for split in ("train", "train_random"):
        sft = {"model": "base", "data": "stage:chosen", "split": split, "max_tokens": 128, "max_steps": 1}
        assert stages.run("sft", sft, name=f"sft_{split}").details["train"]["steps"] == 1


def test_the_same_on_every_run_and_after_an_interruption(stages, monkeypatch):
    from xinglin.selection import ledger

    options = settings(
        scores=[{"name": "superfilter", "model": "base", "label": "small"}],
        steps=[
            {"name": "k_center", "keep": 10},
            {"name": "clusters", "score": "small", "keep": 20, "order": "lowest"},
            {"name": "diverse", "score": "small", "keep": 30, "similarity": 0.999},
        ],
        embedding={"name": "model", "model": "stage:sft", "text": "question"},
    )
    monkeypatch.setattr(ledger, "BLOCK", 50)
    with pytest.raises(Interrupted):
        stages.run("select", options, name="stopped", stop_after=2)
    assert (
        len(next((stages.folder / "cache" / "scores").glob("superfilter-*")).read_text().splitlines()) >= 40
    )
    resumed = stages.run("select", options, name="stopped")
    for kept in (stages.folder / "cache").rglob("*.*"):
        kept.unlink()
    whole = stages.run("select", options, name="whole")
    for name in ("train.jsonl", "removed.jsonl", "scores.jsonl"):
        assert (resumed.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    assert len(lines(whole, "train.jsonl")) == 31


def test_published_methods_run_with_a_reward_model(stages):
    reward = {"model": "stage:sft", "data": "stage:data", "split": "pairs", "max_tokens": 128, "max_steps": 2}
    stages.run("reward", reward)
    for method, number in (("mods", 41), ("car", 41), ("deita", 41)):
        scores = [{"name": name, "model": "stage:sft"} for name in ("ifd", "necessity")]
        own = [each for each in scores if each["name"] in select.presets.SCORES[method]]
        own.append({"name": "reward", "model": "stage:reward"})
        made = stages.run("select", settings(method=method, keep=40, scores=own), name=method)
        chosen = lines(made, "train.jsonl")
        assert 21 <= len(chosen) <= number, method
        shown = made.details["selection"]["scores"]["reward"]
        assert shown["records"] == 121 and not shown["unscored"]
    below = [row for row in lines(stages.made["mods"], "removed.jsonl") if row["reason"] == "reward_below"]
    assert below and all(float(row["detail"].split()[1].rstrip(",")) < 0 for row in below)


def test_exam_questions_that_are_known_already_are_left_out(stages):
    data, asked = stages.made["data"], {"name": "difficulty", "model": "base"}
    data.details["splits"]["exam"]["held_out"] = False
    options = {
        "data": "stage:data",
        "split": "exam",
        "scores": [asked, asked | {"mode": "cloze", "label": "cloze"}],
        "steps": [{"name": "top", "score": ["difficulty", "cloze"], "keep": 2}],
        "protect": {"detect": False},
    }
    try:
        made = stages.run("select", options, name="hard")
    finally:
        data.details["splits"]["exam"]["held_out"] = True
    assert len(lines(made, "exam.jsonl")) == 2 and made.details["selection"]["unit"] == "characters"
    values = [row["scores"]["difficulty"] for row in lines(made, "scores.jsonl")]
    assert len(set(values)) == 1 and 0 < values[0] < 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "trian"}, "no split 'trian'; did you mean 'train'?"),
        ({"split": "exam"}, "split 'exam' is held out for evaluation"),
        ({"split": "text"}, "score 'ifd' reads conversations, and split 'text' holds documents"),
        (
            NOTHING,
            r"no record is chosen \(121 ifd_above\)",
        ),
        (
            {
                "steps": [{"name": "top", "score": "ifd", "keep": 0.5}],
                "quotas": [{"field": "ward", "value": "a"}],
            },
            r"no record has 'a' in 'ward'; known: \(none\)",
        ),
    ],
)
def test_what_cannot_be_chosen_from(stages, options, message):
    steps = {"steps": [{"name": "drop", "score": "ifd", "above": 1.0}]}
    with pytest.raises(DataError, match=message):
        stages.run("select", settings(**(steps | options)), name="refused")


def test_quotas_are_looked_at_before_anything_is_scored(stages):
    options = {
        "scores": [{"name": "perplexity"}],
        "steps": [{"name": "top", "score": "perplexity", "keep": 9}],
    }
    with pytest.raises(DataError, match=r"least shares of its .* values are more than everything"):
        stages.run("select", settings(**options, quotas=[{"field": "department", "least": 0.9}]), name="more")
    assert not list(stages.folder.glob("cache/scores/perplexity-*"))


def test_records_that_cannot_be_read_are_removed_with_the_reason(stages):
    short = {"name": "ifd", "model": "stage:sft", "max_tokens": 30}
    made = stages.run(
        "select", settings(scores=[short], steps=[{"name": "top", "score": "ifd", "keep": 5}]), name="short"
    )
    removed = lines(made, "removed.jsonl")
    long = [row for row in removed if row["reason"] == "too_long"]
    assert long and all(row["detail"].startswith("ifd: ") and "reads 30" in row["detail"] for row in long)
    assert made.details["selection"]["scores"]["ifd"]["unscored"]["too_long"] >= len(long)
    assert len(removed) + len(lines(made, "train.jsonl")) == 121


def test_an_embedding_that_cannot_read_the_records_is_refused_before_the_run():
    steps, embedding = [{"name": "k_center", "keep": 1}], {"name": "model", "model": "base"}
    rows = {"kind": "select", "split": "exam", "steps": steps, "embedding": embedding}
    with pytest.raises(DataError, match="embedding 'model' reads conversations and documents"):
        select.check_records(select.Config.model_validate(rows), {"exam": "question"})
    select.check_records(
        select.Config.model_validate(rows | {"embedding": {"name": "tfidf"}}), {"exam": "question"}
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs one of method and steps"),
        ({"method": "ifd"}, "method needs one of keep and tokens"),
        ({"method": "ifd", "keep": 5, "tokens": 5}, "method needs one of keep and tokens"),
        ({"steps": [{"name": "top", "score": "idf", "keep": 1}]}, "no score 'idf'; did you mean 'ifd'?"),
        ({"steps": [{"name": "top", "score": "ifd"}]}, "step top needs one of keep and tokens"),
        ({"steps": [{"name": "top", "score": [], "keep": 1}]}, "should have at least 1 item"),
        ({"scores": [{"name": "ifd"}] * 2, "method": "ifd", "keep": 1}, "score 'ifd' is there twice"),
        (
            {
                "quotas": [{"field": "source", "most": 0.5}],
                "steps": [{"name": "drop", "score": "ifd", "above": 1.0}],
            },
            "quotas hold for what steps take",
        ),
    ],
)
def test_settings_that_make_no_sense(options, message):
    with pytest.raises(ValidationError, match=message):
        select.Config.model_validate({"kind": "select", **settings(**options)})


@pytest.mark.parametrize(
    ("method", "titles"),
    [
        ("mods", ["reward", "necessity"]),
        ("car", ["reward"]),
        ("deita", ["ifd", "reward"]),
        ("superfilter", ["superfilter"]),
    ],
)
def test_methods_stand_for_scores_and_steps(method, titles):
    config = select.Config.model_validate({"kind": "select", "method": method, "keep": 0.1})
    assert [score.title for score in config.scores] == titles
    again = select.Config.model_validate_json(config.model_dump_json())
    assert again == config and again.applied, "a stage is started from its settings as JSON"
    own = [{"name": titles[0], "model": "hub:a/b"}]
    config = select.Config.model_validate({"kind": "select", "method": method, "tokens": 10, "scores": own})
    assert config.scores[0].model == "hub:a/b" and len(config.scores) == len(titles)


def test_items_of_held_out_splits_are_still_known_as_leaked_after_a_selection(tmp_path):
    stages = Stages(tmp_path / "run")
    talks = rows([f"{a}我今天早上起来发现自己得了{{}}，请问应该怎么办才好呢？" for a in ("", "您好，医生，")])
    for name, content in {"train": talks, "test": talks[:8]}.items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content)
        (tmp_path / f"{name}.jsonl").write_text(text, encoding="utf-8")
    sources = {name: {"sources": [{"path": str(tmp_path / f"{name}.jsonl")}]} for name in ("train", "test")}
    sources["test"]["held_out"] = True
    rules = {"duplicates": {"mode": "off"}, "deidentify": {"mode": "off"}}
    before = stages.run(
        "data", {"tokenizer": "base", "splits": sources, "vocabulary": 400, "max_tokens": 128, **rules}
    )
    drawn = {"steps": [{"name": "k_center", "keep": 6}], "compare": "random", "protect": {"detect": False}}
    made = stages.run("select", {"data": "stage:data", **drawn})
    origins = {
        name: [row["origin"] for row in lines(made, f"{name}.jsonl")] for name in ("train", "train_random")
    }
    leaking = {row["origin"] for row in lines(before, "leaks.jsonl")}
    expected = {
        (name, number, f"{origin['file']}:{origin['row']}")
        for name, each in origins.items()
        for number, origin in enumerate(each, start=1)
        if f"{origin['file']}:{origin['row']}" in leaking
    }
    kept = lines(made, "leaks.jsonl")
    assert {(row["split"], row["line"], row["origin"]) for row in kept} == expected and expected
    found = made.details["steps"]["leaks"]
    assert (found["mode"], found["records"], found["records_with_leaks"]) == ("report", 12, len(expected))
    assert found["protected"]["test"]["leaked"] == len({row["item"] for row in kept})
    assert evaluate._leaked(made) == {row["item"] for row in kept} <= evaluate._leaked(before)
    assert "still in the data" in (made.folder / "card.md").read_text("utf-8")
