"""Evaluating and sampling with vLLM: the numbers and records of transformers."""

import json

import pytest
from stage_toys import Stages

pytest.importorskip("vllm", reason="vLLM is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")

EXAM = {
    "question": "高血压用什么？",
    "options": {"A": "氨氯地平", "B": "多西环素", "C": "阿莫西林"},
    "answer": "A",
}


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    """A data set, a full model and an adapter on it."""
    folder = tmp_path_factory.mktemp("measuring")
    talk = [
        {
            "messages": [
                {"role": "user", "content": f"第{n}问？"},
                {"role": "assistant", "content": f"答{n}。"},
            ]
        }
        for n in range(9)
    ]
    for name, rows in {"talk": talk, "exam": [EXAM | {"answer": a} for a in "ABC"]}.items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    stages = Stages(folder / "run")
    splits = {name: {"sources": [{"path": str(folder / f"{name}.jsonl")}]} for name in ("talk", "exam")}
    stages.run("data", {"tokenizer": "base", "splits": splits, "vocabulary": 300, "max_tokens": 64})
    common = {"data": "stage:data", "split": "talk", "batch_size": 3, "max_tokens": 64}
    stages.run("sft", {**common, "model": "base", "tuning": "full", "optimizer": {"learning_rate": 1e-2}})
    rate = {"learning_rate": 1e-2}
    stages.run("sft", {**common, "model": "stage:sft", "tuning": "lora", "optimizer": rate}, name="lora")
    return stages


def test_evaluation_has_the_same_numbers(stages):
    """Of a tiny model, a saved one and an adapter, one after another; likelihoods, letters and free answers."""
    settings = {
        "data": "stage:data",
        "models": ["base", "stage:sft", "stage:lora"],
        "batch_tokens": 1024,
        "benchmarks": [
            {"name": "exam", "split": "exam", "mode": "letter"},
            {"name": "exam", "label": "cloze", "split": "exam", "mode": "cloze"},
            {"name": "dialogue", "split": "talk", "max_new_tokens": 8},
        ],
    }
    one, two = (
        stages.run("evaluate", {**settings, "engine": engine}, name=engine)
        for engine in ("transformers", "vllm")
    )
    assert one.details["models"] == two.details["models"]
    assert one.details["samples"] == two.details["samples"]
    assert len(list((stages.folder / "cache/predictions").iterdir())) == 2 * 9


def test_sampled_answers_are_drawn_again_as_they_were(stages):
    settings = {
        "model": "stage:sft",
        "data": "stage:data",
        "splits": ["talk"],
        "engine": "vllm",
        "answers": 3,
    }
    settings |= {"keep": "all", "max_new_tokens": 12, "batch_tokens": 1024, "max_tokens": 64}
    one, two = (stages.run("sample", settings, name=name) for name in ("first", "second"))
    texts = [(made.folder / "talk.jsonl").read_text(encoding="utf-8") for made in (one, two)]
    assert texts[0] == texts[1] and len(set(texts[0].splitlines())) > 2
