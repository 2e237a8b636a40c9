"""A vocabulary is extended, trained on, merged and loaded again, and nobody loses the new tokens on the way."""

import json

import pytest
import torch
from stage_toys import Stages

from xinglin.config.recipe import load_recipe
from xinglin.data.records import Message
from xinglin.engines.transformers import TransformersEngine
from xinglin.errors import DataError, RecipeError
from xinglin.models.embeddings import read_extension
from xinglin.models.load import load_model
from xinglin.models.tokenizer import load_tokenizer

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

ENGLISH = ["Chest pain needs an ambulance.", "Drink water and rest.", "Take paracetamol for the fever."]
CHINESE = ["高血压患者应低盐饮食。", "糖尿病患者应控制血糖。", "高血压和糖尿病患者应定期测量血压。"]
SMALL = {"data": "stage:data", "max_tokens": 64, "batch_size": 4, "log_every_steps": 1}


@pytest.fixture
def stages(tmp_path):
    """A data stage whose tokenizer knows English only."""

    def split(name, texts, **settings):
        (tmp_path / f"{name}.jsonl").write_text(
            "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts * 3),
            encoding="utf-8",
        )
        return {"sources": [{"path": str(tmp_path / f"{name}.jsonl")}], **settings}

    splits = {
        "english": split("english", ENGLISH),
        "train": split("train", CHINESE),
        "dev": split("dev", CHINESE[:1], held_out=True),
    }
    stages = Stages(tmp_path / "run", base="tiny:llama:64x2")
    stages.run(
        "data", {"tokenizer": "base", "splits": splits, "vocabulary": 400, "tokenizer_splits": ["english"]}
    )
    return stages


def test_extended_trained_merged_and_loaded(stages):
    made = stages.run("vocabulary", {"model": "base", "data": "stage:data", "characters": 100, "pieces": 5})
    facts = made.details["vocabulary"]
    distinct = len(set("".join(CHINESE)))
    assert (facts["characters_added"], facts["rows"]) == (distinct, 384)
    ratio = facts["characters_per_token"]
    assert ratio["train"]["after"] > 2.5 * ratio["train"]["before"] and ratio["dev"]["after"] > 0.9
    assert ratio["english"]["after"] == ratio["english"]["before"]
    assert made.metrics["vocabulary.characters_per_token"]["value"] == ratio["train"]["after"]
    extension = read_extension(made.folder)
    assert extension.added[:3] == facts["first_tokens"][:3]
    tokenizer = load_tokenizer(str(made.folder))
    assert tokenizer.convert_tokens_to_ids(extension.added) == list(
        range(extension.first_new_id, len(tokenizer))
    )
    trained = stages.run("pretrain", {**SMALL, "model": "stage:vocabulary", "eval_split": "dev", "epochs": 2})
    merged = stages.run("merge", {"model": "stage:pretrain"})
    for stage in (trained, merged):
        model, again = load_model(str(stage.folder))
        assert again.get_vocab() == tokenizer.get_vocab()
        assert model.get_input_embeddings().weight.shape[0] == model.config.vocab_size == 384
        assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    tokens = trained.details["train"]["tokens"]
    assert tokens == 2 * 3 * sum(len(tokenizer(text)["input_ids"]) + 1 for text in CHINESE)


@pytest.mark.parametrize("rows", ["new", "all"])
def test_an_adapter_that_trains_rows_merges_and_answers(stages, rows):
    stages.run("vocabulary", {"model": "base", "data": "stage:data", "characters": 100})
    lora = {"rank": 4, "train_embeddings": rows}
    settings = {**SMALL, "model": "stage:vocabulary", "lora": lora, "optimizer": {"learning_rate": 1e-2}}
    trained = stages.run("pretrain", {**settings, "epochs": 5})
    stages.run("merge", {"model": "stage:pretrain"})
    models = [load_model(str(stages.made[name].folder)) for name in ("vocabulary", "pretrain", "merge")]
    before, adapted, after = (model.model.get_input_embeddings().weight for model in models)
    torch.testing.assert_close(after, adapted)
    first = read_extension(stages.made["vocabulary"].folder).first_new_id
    assert not torch.equal(before[first:], after[first:])
    assert torch.equal(before[:first], after[:first]) == (rows == "new")
    assert trained.details["train"]["final_loss"] < trained.details["train"]["first_loss"]
    engine = TransformersEngine.load(str(stages.made["merge"].folder))
    (answer,) = engine.generate([[Message("user", "高血压患者")]], max_new_tokens=8)
    assert answer.tokens > 0
    (likelihood,) = engine.log_likelihoods([([Message("user", "首选什么药？")], "高血压")])
    assert likelihood.tokens == 3


def test_a_stage_twice_gives_the_same_bytes(stages):
    settings = {"model": "base", "data": "stage:data", "characters": 5, "dtype": "bfloat16"}
    one, two = (stages.run("vocabulary", settings, name=name) for name in ("one", "two"))
    for name in ("model.safetensors", "tokenizer.json", "vocabulary.json"):
        assert (one.folder / name).read_bytes() == (two.folder / name).read_bytes()
    assert load_model(str(one.folder), dtype=torch.bfloat16).model.dtype == torch.bfloat16
    again = stages.run("vocabulary", settings | {"model": "stage:one", "dtype": "auto"}, name="again")
    assert json.loads((again.folder / "config.json").read_text())["dtype"] == "bfloat16"
    assert read_extension(again.folder).first_new_id == read_extension(one.folder).first_new_id + 5


def test_what_makes_no_sense_is_refused(stages, tmp_path):
    wanted = {"model": "base", "data": "stage:data", "characters": 5}
    with pytest.raises(DataError, match="split 'dev' is held out"):
        stages.run("vocabulary", wanted | {"splits": ["train", "dev"]})
    with pytest.raises(DataError, match="no split 'trian'; did you mean 'train'"):
        stages.run("vocabulary", wanted | {"splits": ["trian"]})
    with pytest.raises(DataError, match="nothing that occurs 2 times can be added"):
        stages.run("vocabulary", wanted | {"splits": ["english"]})
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "model: tiny:llama\nstages:\n"
        "  data: {kind: data, splits: {train: {sources: [{path: 'sample:documents'}]}}, tokenizer_splits: [trian]}\n"
        "  vocabulary: {kind: vocabulary}\n",
        encoding="utf-8",
    )
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe)
    assert "adds nothing; set characters, pieces, or both" in str(caught.value)
    assert "tokenizer_splits: no split 'trian'" in str(caught.value)
