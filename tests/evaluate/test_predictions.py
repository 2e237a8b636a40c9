"""A model is asked everything once, whatever happens in between."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from evaluation_toys import RuleEngine, conversation, question

from xinglin.errors import Interrupted
from xinglin.evaluate import predictions as module
from xinglin.evaluate.benchmarks import dialogue, exam
from xinglin.evaluate.predictions import Model, Predictions
from xinglin.evaluate.task import Task, build_task

NUM_ITEMS = 11


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_ITEMS", 4)


def task(*, num: int = NUM_ITEMS, max_new_tokens: int = 50) -> Task:
    config = dialogue.Config(name="dialogue", split="test", max_new_tokens=max_new_tokens)
    records = [conversation(f"问题{'长' * (index % 3)}{index}", f"回答{index}") for index in range(num)]
    return build_task(config, records, seed=0)


def engine(*, num: int = NUM_ITEMS) -> RuleEngine:
    return RuleEngine({item.prompt[-1].content: f"答{item.id}" for item in task(num=num).items})


def predictions(folder: Path, **changes: object) -> Predictions:
    return Predictions(**{"folder": folder, "settings": {}, "seed": 0, **changes})  # type: ignore[arg-type]


def model(load: Callable[[], RuleEngine], *, fingerprint: str = "weights") -> Model:
    return Model("toy", "sft", fingerprint, load)


def must_not_load() -> RuleEngine:
    raise AssertionError("every answer is known already")


def texts(outputs: list) -> list[str]:
    return [output.text for output in outputs]


def test_answers_come_in_the_order_of_the_items(tmp_path: Path) -> None:
    outputs = predictions(tmp_path).of(model(engine), task())
    assert texts(outputs) == [f"答test:{line}" for line in range(1, NUM_ITEMS + 1)]


def test_the_same_model_is_not_asked_again(tmp_path: Path) -> None:
    first = predictions(tmp_path).of(model(engine), task())
    assert predictions(tmp_path).of(model(must_not_load), task()) == first


def test_anything_that_may_change_an_answer_asks_again(tmp_path: Path) -> None:
    predictions(tmp_path).of(model(engine), task())
    changed = [
        (predictions(tmp_path), model(engine, fingerprint="others"), task()),
        (predictions(tmp_path), model(engine), task(max_new_tokens=51)),
        (predictions(tmp_path), model(engine), task(num=NUM_ITEMS - 1)),
        (predictions(tmp_path, seed=1), model(engine), task()),
        (predictions(tmp_path, settings={"torch": "3"}), model(engine), task()),
    ]
    for known, one, asked in changed:
        known.of(one, asked)
    assert len(list(tmp_path.iterdir())) == 1 + len(changed)


class Crash(Exception):
    pass


class CrashingEngine(RuleEngine):
    """Fails in its third call; calls are counted over all instances of a test by the list it is given."""

    def __init__(self, calls: list[int]):
        super().__init__(engine().answers)
        self.calls = calls

    def generate(self, conversations, **options):  # type: ignore[no-untyped-def, override]
        self.calls.append(len(conversations))
        if len(self.calls) == 3:
            raise Crash
        return super().generate(conversations, **options)


def test_after_a_crash_only_the_unfinished_block_is_asked_again(tmp_path: Path) -> None:
    whole = predictions(tmp_path / "whole").of(model(engine), task())
    calls: list[int] = []
    with pytest.raises(Crash):
        predictions(tmp_path).of(model(lambda: CrashingEngine(calls)), task())
    resumed = predictions(tmp_path).of(model(lambda: CrashingEngine(calls)), task())
    assert resumed == whole
    assert calls == [4, 4, 3, 3]


@pytest.mark.parametrize("lost", range(1, 200, 13))
def test_a_file_cut_anywhere_is_completed(tmp_path: Path, lost: int) -> None:
    whole = predictions(tmp_path).of(model(engine), task())
    [path] = tmp_path.iterdir()
    intact = path.read_bytes()
    path.write_bytes(intact[:-lost])
    assert predictions(tmp_path).of(model(engine), task()) == whole
    assert path.read_bytes() == intact


def test_a_damaged_row_is_asked_again(tmp_path: Path) -> None:
    whole = predictions(tmp_path).of(model(engine), task())
    [path] = tmp_path.iterdir()
    rows = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*rows[:5], "{}", *rows[6:]]) + "\n", encoding="utf-8")
    assert predictions(tmp_path).of(model(engine), task()) == whole
    assert path.read_text(encoding="utf-8").splitlines() == rows


def test_a_stop_keeps_what_is_finished(tmp_path: Path) -> None:
    requests = iter([False, True])
    with pytest.raises(Interrupted):
        predictions(tmp_path, stop_requested=lambda: next(requests)).of(model(engine), task())
    [path] = tmp_path.iterdir()
    assert len(path.read_text(encoding="utf-8").splitlines()) == 4


def test_progress_counts_every_request_once(tmp_path: Path) -> None:
    done: list[int] = []
    predictions(tmp_path).of(model(engine), task(), advance=done.append)
    assert sum(done) == NUM_ITEMS
    done.clear()
    predictions(tmp_path).of(model(must_not_load), task(), advance=done.append)
    assert sum(done) == NUM_ITEMS


def test_longest_prompts_are_asked_first(tmp_path: Path) -> None:
    asked = engine()
    predictions(tmp_path).of(model(lambda: asked), task())
    lengths = [len(text) for text in asked.asked]
    assert lengths == sorted(lengths, reverse=True)


def test_likelihoods_survive_the_file(tmp_path: Path) -> None:
    config = exam.Config(name="exam", split="test", mode="cloze")
    asked = build_task(config, [question(f"题{index}") for index in range(6)], seed=0)
    first = predictions(tmp_path).of(model(lambda: RuleEngine({}, habit="青霉素")), asked)
    assert first[0][0].total == 0.0
    assert first[0][1].total == -2.0
    assert predictions(tmp_path).of(model(must_not_load), asked) == first
    [path] = tmp_path.iterdir()
    assert json.loads(path.read_text(encoding="utf-8").splitlines()[0])["likelihoods"] == [
        [0.0, 3],
        [-2.0, 3],
    ]
