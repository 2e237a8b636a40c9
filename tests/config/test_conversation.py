"""Which models are taken for chat models, and that they are not pretrained on documents alone by accident."""

import json

import pytest

from xinglin.config.conversation import chat_sign
from xinglin.config.recipe import load_recipe
from xinglin.errors import RecipeError


def model(folder, *, template):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}", encoding="utf-8")
    settings = {"chat_template": "{{ messages }}"} if template == "settings" else {}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    if template == "file":
        (folder / "chat_template.jinja").write_text("{{ messages }}", encoding="utf-8")
    return str(folder)


@pytest.mark.parametrize(
    ("name", "template", "sign"),
    [
        ("plain", None, None),
        ("plain", "settings", "its tokenizer has a chat template"),
        ("plain", "file", "its tokenizer has a chat template"),
        ("Qwen3-0.6B-Base", "settings", None),
        ("gemma-3-1b-pt", "file", None),
        ("glm-4-9b-chat-hf", None, "its name says so"),
        ("gemma-3-1b-it", None, "its name says so"),
        ("Literature", None, None),
    ],
)
def test_signs_of_a_chat_model(tmp_path, name, template, sign):
    assert chat_sign(model(tmp_path / name, template=template)) == sign


def test_models_that_are_not_here_are_known_by_name():
    assert chat_sign("hub:org/Llama-3.1-8B-Instruct") == "its name says so"
    assert chat_sign("hub:org/Some-Model-Nobody-Has") is None
    assert chat_sign("tiny:qwen3") is None


@pytest.mark.parametrize(
    ("kind", "sign"), [("sft", "sft trained it"), ("dpo", "dpo trained it"), ("pretrain", None)]
)
def test_an_artifact_says_what_trained_it(tmp_path, kind, sign):
    folder = model(tmp_path / "made", template="file")
    (tmp_path / "made" / "artifact.json").write_text(json.dumps({"stage_kind": kind}), encoding="utf-8")
    assert chat_sign(folder) == sign


RECIPE = """\
model: {model}
stages:
  data:
    kind: data
    tokenizer: base
    splits:
      train: {{sources: [{{path: "sample:documents"}}]}}
      talk: {{sources: [{{path: "sample:dialogues"}}]}}
  {first}
  read: {{kind: pretrain, split: train{more}}}
"""


def problem(tmp_path, model, *, first="", more=""):
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.format(model=model, first=first, more=more), encoding="utf-8")
    try:
        load_recipe(path)
    except RecipeError as error:
        return str(error)
    return None


SFT = "sft: {kind: sft, split: talk}"
MIX = ", mix: [{split: talk, share: 0.5}]"


def test_a_chat_model_needs_replay_unless_told(tmp_path):
    chat = model(tmp_path / "talker", template="file")
    refused = problem(tmp_path, chat)
    assert (
        "recipe.yaml:" in refused and "talker is a chat model (its tokenizer has a chat template)" in refused
    )
    assert "or write replay: none" in refused
    assert problem(tmp_path, chat, more=", replay: none") is None
    assert problem(tmp_path, chat, more=MIX) is None


def test_what_was_made_a_chat_model_before_is_one(tmp_path):
    base = model(tmp_path / "plain", template=None)
    assert problem(tmp_path, base) is None
    assert "is a chat model (sft trained it)" in problem(tmp_path, base, first=SFT)
    merged = SFT + "\n  merge: {kind: merge}"
    assert "is a chat model (sft trained it)" in problem(tmp_path, base, first=merged)
    assert problem(tmp_path, base, first=SFT, more=", model: base") is None
    assert problem(tmp_path, "tiny:qwen3", first=SFT) is None, "a random one has nothing to forget"


def test_a_chat_model_that_was_pretrained_in_the_recipe_is_still_one(tmp_path):
    chat = model(tmp_path / "talker", template="file")
    first = "before: {kind: pretrain, split: talk, replay: none}"
    assert "talker is a chat model" in problem(tmp_path, chat, first=first)
