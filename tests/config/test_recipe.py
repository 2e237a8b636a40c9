from pathlib import Path

import pytest

from xinglin.config.recipe import Recipe, load_recipe
from xinglin.errors import RecipeError


def load(tmp_path: Path, text: str, *sets: str) -> Recipe:
    (tmp_path / "words.txt").write_text("a b", encoding="utf-8")
    path = tmp_path / "toy.yaml"
    path.write_text(text.replace("TMP", str(tmp_path)), encoding="utf-8")
    return load_recipe(path, sets=sets, package="toy_stages")


def problems(tmp_path: Path, text: str, *sets: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load(tmp_path, text, *sets)
    return [str(problem).replace(f"{tmp_path}/", "") for problem in caught.value.problems]


WORDS = "  words: {kind: words, files: [TMP/words.txt]}\n"


def test_inputs_default_to_the_nearest_earlier_stage(tmp_path: Path) -> None:
    recipe = load(
        tmp_path,
        "model: tiny:qwen3\nstages:\n" + WORDS + "  one: {kind: count}\n  two: {kind: count, adapter: true}\n"
        "  all: {kind: join, models: [null, base, stage:one]}\n  last: {kind: join}\n",
    )
    texts = {
        name: {field: reference.text for field, reference in stage.inputs.items()}
        for name, stage in recipe.stages.items()
    }
    assert texts == {
        "words": {},
        "one": {"model": "base", "data": "stage:words"},
        "two": {"model": "stage:one", "data": "stage:words"},
        "all": {"models.0": "stage:two", "models.1": "base", "models.2": "stage:one"},
        "last": {"models.0": "stage:all"},
    }
    assert recipe.stages["all"].config.model_dump()["models"] == ["stage:two", "base", "stage:one"]
    assert recipe.name == "toy"
    assert recipe.stages["words"].sources.keys() == {str(tmp_path / "words.txt")}


def test_the_text_spells_out_overrides_and_inputs_and_loads_to_the_same(tmp_path: Path) -> None:
    text = "model: tiny:qwen3\nstages:\n" + WORDS + "  one: {kind: count}\n"
    recipe = load(tmp_path, text, "stages.one.steps=9", "seed=3")
    again = load(tmp_path, recipe.text)
    assert again.stages["one"].config == recipe.stages["one"].config
    assert (again.seed, again.stages["one"].config.model_dump()["steps"]) == (3, 9)
    assert "data: stage:words" in recipe.text


def test_all_problems_at_once_with_lines_and_cures(tmp_path: Path) -> None:
    text = """\
name: bad
sed: 3
model: ./nowhere
stages:
  words:
    kind: words
    files: [nothere.txt]
    clean: {lowr: true, limit: many}
  count:
    kind: count
    data: stage:word
    steps: -1
    rate: '1e-4'
  other:
    kind: cont
  third: {kind: count, data: stage:later, model: stage:words, pause_seconds: no}
  later: {kind: words, files: x}
  empty: {kind: words}
  none:
"""
    found = problems(tmp_path, text, "stages.cout.steps=3", "stages.count.adapter=1")
    assert found == [
        "toy.yaml:2: sed: unknown key; did you mean 'seed'?",
        f"toy.yaml:3: model: there is no folder {Path.cwd() / 'nowhere'}; "
        "write stage:NAME for a stage, hub:org/name for a download",
        "toy.yaml:8: stages.words.clean.limit: got the text 'many', expected a whole number or 'none'",
        "toy.yaml:8: stages.words.clean.lowr: unknown key; did you mean 'lower'?",
        "toy.yaml:11: stages.count.data: there is no stage 'word'; did you mean 'words'?",
        "toy.yaml:12: stages.count.steps: got -1, expected more than 0",
        "toy.yaml:13: stages.count.rate: got the text '1e-4', expected a number; write it without quotes",
        "toy.yaml:15: stages.other.kind: unknown toy_stage 'cont'; did you mean 'count'?",
        "toy.yaml:16: stages.third.pause_seconds: got the text 'no', expected a number",
        "toy.yaml:16: stages.third.model: stage 'words' makes a dataset, this needs a model or an adapter; "
        "name another one",
        "toy.yaml:16: stages.third.data: stage 'later' does not come earlier; move it up",
        "toy.yaml:17: stages.later.files: got the text 'x', expected a list",
        "toy.yaml:18: stages.empty.files: is missing; add it: Text files to read",
        "toy.yaml:19: stages.none: is no mapping; write none: {kind: …} with one of count, fail, join, judge, team, "
        "words",
        "--set: stages.count.adapter: got 1, expected true or false",
        "--set: stages.cout.kind: is missing; did you mean 'count'?",
    ]


def test_missing_files_models_and_data(tmp_path: Path) -> None:
    text = "stages:\n  words: {kind: words, files: [gone.txt]}\n  one: {kind: count}\n"
    assert problems(tmp_path, text) == [
        f"toy.yaml:2: stages.words: gone.txt: there is no such file; paths start from {Path.cwd()}",
        "toy.yaml:3: stages.one.model: needs the recipe's model; add a line 'model: …' at the top, e.g. tiny:qwen3",
    ]
    text = "model: tiny:qwen3\nstages: {words: {kind: word}, one: {kind: count}}\n"
    assert problems(tmp_path, text) == [
        "toy.yaml:2: stages.words.kind: unknown toy_stage 'word'; did you mean 'words'?"
    ], "what follows from a problem is not another one"
    text = "model: tiny:qwen3\nstages: {one: {kind: count}}\n"
    assert problems(tmp_path, text) == [
        "toy.yaml:2: stages.one.data: no earlier stage makes a dataset; add one before it, or name a folder here"
    ]


def test_the_head(tmp_path: Path) -> None:
    assert problems(tmp_path, "name: a/b\nstages: {}\n") == [
        "toy.yaml:1: name: got the text 'a/b', expected text like ^[A-Za-z0-9][A-Za-z0-9._-]*$",
        "toy.yaml:2: stages: got an empty mapping, expected at least one entry",
    ]
    assert problems(tmp_path, "seed: 1\n")[0].startswith("toy.yaml:1: stages: is missing; add it: Stage name")
    assert problems(tmp_path, "seed: -1\nstages: {x: {kind: join}}\n")[0].endswith(
        "seed: got -1, expected at least 0"
    )
    assert "expected text like" in problems(tmp_path, "stages:\n  ../x: {kind: join}\nmodel: tiny:a")[0]


def test_local_folders_are_known_by_their_files(tmp_path: Path) -> None:
    for folder, file, text in [
        ("model", "config.json", "{}"),
        ("adapter", "adapter_config.json", "{}"),
        ("data", "artifact.json", '{"kind": "dataset"}'),
        ("damaged", "artifact.json", "{"),
        ("empty", "other", ""),
    ]:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).write_text(text, encoding="utf-8")
    recipe = load(
        tmp_path, "model: TMP/model\nstages: {one: {kind: count, model: TMP/adapter, data: TMP/data}}\n"
    )
    kinds = {field: (each.kind, each.produces) for field, each in recipe.stages["one"].inputs.items()}
    assert kinds == {"model": ("model", ("adapter",)), "data": ("artifact", ("dataset",))}
    text = (
        "model: TMP/data\nstages:\n  a: {kind: join, models: [TMP/damaged, TMP/empty, stage:a]}\n"
        "  b: {kind: count, data: TMP/model, model: hub:org/name}\n"
    )
    assert problems(tmp_path, text) == [
        f"toy.yaml:1: model: {tmp_path}/data is a dataset, this needs a model or an adapter; name another one".replace(
            f"{tmp_path}/", ""
        ),
        "toy.yaml:3: stages.a.models.0: damaged/artifact.json is damaged; make that artifact again",
        "toy.yaml:3: stages.a.models.1: empty has no artifact.json, config.json or adapter_config.json; "
        "name the folder that has",
        "toy.yaml:3: stages.a.models.2: stage 'a' does not come earlier",
        "toy.yaml:4: stages.b.data: model is a model, this needs a dataset; name another one",
    ]


def test_inputs_in_settings_in_lists(tmp_path: Path) -> None:
    recipe = load(
        tmp_path,
        "model: tiny:qwen3\nstages:\n  judge: {kind: judge}\n  late: {kind: judge}\n"
        "  a: {kind: join, judges: &judges [{name: plain}, {name: judged}]}\n"
        "  b: {kind: join, judges: [{name: judged, model: stage:judge}, {name: judged}]}\n"
        "  last: {kind: judge}\n"
        "  c: {kind: join, judges: *judges}\n",
    )
    texts = {
        name: {field: each.text for field, each in recipe.stages[name].inputs.items()}
        for name in ("a", "b", "c")
    }
    assert texts == {
        "a": {"models.0": "base", "judges.1.model": "stage:late"},
        "b": {"models.0": "stage:a", "judges.0.model": "stage:judge", "judges.1.model": "stage:late"},
        "c": {"models.0": "stage:b", "judges.1.model": "stage:last"},
    }
    assert recipe.stages["a"].config.model_dump()["judges"][1] == {"name": "judged", "model": "stage:late"}
    again = load(tmp_path, recipe.text)
    assert {name: stage.config for name, stage in again.stages.items()} == {
        name: stage.config for name, stage in recipe.stages.items()
    }


def test_bad_inputs_in_settings_in_lists(tmp_path: Path) -> None:
    text = (
        "model: tiny:qwen3\nstages:\n  one: {kind: join}\n  two:\n    kind: join\n    model: [1]\n"
        "    judges:\n      - {name: judged, model: stage:none}\n      - name: judged\n        model: stage:one\n"
        "      - {name: judged, model: base}\n      - {name: plain, model: base}\n"
    )
    assert problems(tmp_path, text) == [
        "toy.yaml:6: stages.two.model: unknown key; did you mean 'models'?",
        "toy.yaml:8: stages.two.judges.0.model: there is no stage 'none'; did you mean 'one'?",
        "toy.yaml:10: stages.two.judges.1.model: stage 'one' makes a model, this needs a reward model; "
        "name another one",
        "toy.yaml:11: stages.two.judges.2.model: the recipe's model is a model, this needs a reward model; "
        "name another one",
        "toy.yaml:12: stages.two.judges.3.model: unknown key; known: name, weight",
    ]
    text = "model: tiny:qwen3\nstages:\n  one:\n    kind: join\n    judges:\n      - {name: judged}\n"
    assert problems(tmp_path, text) == [
        "toy.yaml:6: stages.one.judges.0.model: no earlier stage makes a reward model; "
        "add one before it, or name a folder here"
    ]


def test_a_model_that_scores_is_known_by_its_architecture(tmp_path: Path) -> None:
    for folder, file, text in [
        ("scorer", "config.json", '{"architectures": ["Qwen3ForSequenceClassification"]}'),
        ("adapter", "adapter_config.json", '{"task_type": "SEQ_CLS"}'),
        ("writer", "config.json", '{"architectures": ["Qwen3ForCausalLM"]}'),
    ]:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).write_text(text, encoding="utf-8")
    judges = "[{name: judged, model: TMP/scorer}, {name: judged, model: TMP/adapter}]"
    recipe = load(tmp_path, f"model: TMP/writer\nstages: {{one: {{kind: join, judges: {judges}}}}}\n")
    assert [each.produces for each in recipe.stages["one"].inputs.values()] == [
        ("model",),
        ("reward_model",),
        ("reward_model",),
    ]
    text = "model: TMP/writer\nstages: {one: {kind: join, judges: [{name: judged, model: TMP/writer}]}}\n"
    assert problems(tmp_path, text) == [
        "toy.yaml:2: stages.one.judges.0.model: writer is a model, this needs a reward model; name another one"
    ]


def test_a_tiny_model_takes_the_settings_of_its_own(tmp_path):
    """They are laid over the recipe, ``--set`` comes last, and a mistake in them has its line."""
    text = """\
model: hub:org/name
stages:
  data: {kind: data, splits: {train: {sources: [{path: "sample:dialogues"}]}}}
  sft: {kind: sft, epochs: 10, optimizer: &rate {learning_rate: 5e-5, weight_decay: 0.1}}
  again: {kind: sft, epochs: 3, optimizer: *rate}
tiny:
  stages:
    sft: {max_steps: 4, optimizer: {learning_rate: 2e-3}}
"""
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    assert load_recipe(path).stages["sft"].config.max_steps is None
    small = load_recipe(path, sets=["model=tiny:qwen3", "stages.sft.max_steps=9"]).stages
    assert (small["sft"].config.max_steps, small["sft"].config.epochs) == (9, 10)
    assert small["sft"].config.optimizer.learning_rate == 2e-3
    assert small["sft"].config.optimizer.weight_decay == 0.1
    assert small["again"].config.optimizer.learning_rate == 5e-5
    path.write_text(text.replace("max_steps: 4", "max_step: 4"), encoding="utf-8")
    with pytest.raises(RecipeError, match=r"recipe.yaml:8: stages.sft.max_step: unknown key"):
        load_recipe(path, sets=["model=tiny:qwen3"])
