"""Settings of adaptation and merging as a recipe writes them, and what is said about wrong ones."""

import pytest

from xinglin.config.describe import settings
from xinglin.config.parts import TrainingConfig
from xinglin.config.recipe import load_recipe
from xinglin.errors import RecipeError
from xinglin.stages.merge import Config as MergeConfig

HEAD = """\
model: tiny:qwen3
stages:
  data: {kind: data, splits: {train: {sources: [{path: "sample:documents"}]}}}
  full: {kind: pretrain, tuning: full}
  first: {kind: pretrain, model: base}
"""


def load(tmp_path, text):
    path = tmp_path / "toy.yaml"
    path.write_text(HEAD + text, encoding="utf-8")
    return load_recipe(path)


def problem(tmp_path, text):
    with pytest.raises(RecipeError) as caught:
        load(tmp_path, text)
    (found,) = caught.value.problems
    return str(found).replace(f"{tmp_path}/", "")


def test_continue_is_an_ordinary_key(tmp_path):
    recipe = load(tmp_path, "  second: {kind: pretrain, continue: same}\n")
    config = recipe.stages["second"].config
    assert config.continue_ == "same" and config.model_dump(mode="json")["continue"] == "same"
    again = type(config).model_validate_json(config.model_dump_json())
    assert again == config
    rows = {row.key: row for row in settings(TrainingConfig)}
    assert (rows["continue"].type, rows["continue"].default) == ("new | same", "new")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{kind: pretrain, continue: sme}",
            "toy.yaml:6: stages.s.continue: got the text 'sme', expected 'new' or 'same'; did you mean 'same'?",
        ),
        (
            "{kind: pretrain, contine: same}",
            "toy.yaml:6: stages.s.contine: unknown key; did you mean 'continue'?",
        ),
        (
            "{kind: pretrain, tuning: full, continue: same}",
            "continue is for tuning: lora, not for full; leave it out",
        ),
        (
            "{kind: pretrain, tuning: full, quantization: 4bit}",
            "quantization is for tuning: lora, not for full",
        ),
        ("{kind: pretrain, lora: {dora: true, init: pissa}}", "dora with init pissa cannot be saved exactly"),
        (
            "{kind: merge, model: stage:full}",
            "stage:full is a full model already; name an adapter, or a method",
        ),
        (
            "{kind: merge, method: ties, models: [stage:full]}",
            "method ties needs model, what the models were",
        ),
        ("{kind: merge, method: ties, model: base}", "method ties needs at least one model in models"),
        (
            "{kind: merge, method: slerp, model: base, models: [stage:full, stage:first]}",
            "method slerp needs one other model in models",
        ),
        (
            "{kind: merge, method: linear, model: base, models: [stage:full], weights: [1, 2]}",
            "2 weights for 1 models; give one for each",
        ),
        (
            "{kind: merge, method: linear, model: base, models: [stage:full], density: 0.5}",
            "density is not for method linear; leave it out",
        ),
        (
            "{kind: merge, models: [stage:full]}",
            "models is not for method stack; choose another one, such as linear",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path, text, message):
    assert message in problem(tmp_path, f"  s: {text}\n")


def test_a_sweep_of_merges_is_a_recipe(tmp_path):
    recipe = load(
        tmp_path,
        "  second: {kind: pretrain, model: base, tuning: full}\n"
        "  ties: {kind: merge, method: ties, model: base, models: [stage:full, stage:first], density: 0.2}\n"
        "  linear: {kind: merge, method: linear, model: base, models: [stage:full, stage:second]}\n"
        "  stack: {kind: merge, model: stage:first}\n",
    )
    assert [reference.text for reference in recipe.stages["ties"].inputs.values()] == [
        "base",
        "stage:full",
        "stage:first",
    ]
    assert list(recipe.stages["stack"].inputs) == ["model"]
    config = recipe.stages["ties"].config
    assert MergeConfig.model_validate_json(config.model_dump_json()) == config
