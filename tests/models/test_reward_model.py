"""A reward model scores text as transformers' classifier does: whole, as an adapter, merged, on a shared trunk."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

from xinglin.config.parts import Lora
from xinglin.config.tiny import ARCHITECTURES
from xinglin.data.records import Message
from xinglin.data.rendering import Renderer
from xinglin.errors import DataError, ModelError
from xinglin.models.adapter import write_base
from xinglin.models.attention import packed_attention
from xinglin.models.load import load_model
from xinglin.models.lora import add_lora, save_lora
from xinglin.models.merge import merge_stack
from xinglin.models.packed import PackedModel
from xinglin.models.reward import RewardModel, Scale, share_or_load, write_scale
from xinglin.models.score_head import add_score_head, load_classifier, padding_id


def ask(*texts):
    roles = ("user", "assistant") * len(texts)
    return [Message(role, text) for role, text in zip(roles, texts, strict=False)]


REQUESTS = [
    (ask("高血压吃什么药？"), "氨氯地平，请遵医嘱。"),
    (ask("高血压吃什么药？"), "不知道"),
    (ask("孕妇发热", "几天了？", "两天"), "请看产科医生。"),
    (ask("hi"), ""),
    ([Message("system", "你是医生"), *ask("chest pain")], "call an ambulance at once " * 4),
]


@pytest.fixture
def chat_tokenizer(tokenizer):
    from xinglin.data.templates import load_template

    tokenizer.chat_template = load_template("chatml")
    return tokenizer


@pytest.fixture
def base(tiny, chat_tokenizer, tmp_path):
    """A full language model's folder."""
    folder = tmp_path / "base"
    tiny("qwen3", seed=3).save_pretrained(folder)
    chat_tokenizer.save_pretrained(folder)
    return folder


def train_randomly(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)


def make_reward_adapter(base, folder, tokenizer, *, seed=1):
    """A LoRA reward model over ``base`` with random weights, saved as the reward stage saves it."""
    model, _ = load_model(str(base))
    wrapped = add_lora(add_score_head(model, Renderer(tokenizer), seed=0), Lora(rank=4), seed=seed)
    train_randomly(wrapped, seed)
    save_lora(wrapped, folder, base=str(base))
    tokenizer.save_pretrained(folder)
    write_base(folder, str(base), seed=0)
    return folder


@torch.no_grad()
def one_by_one(classifier, tokenizer, requests=REQUESTS):
    """What ``transformers`` alone makes of the template's rendering, without packing."""
    scores = []
    for messages, answer in requests:
        rows = [{"role": m.role, "content": m.content} for m in [*messages, Message("assistant", answer)]]
        ids = tokenizer.apply_chat_template(rows, return_tensors="pt")["input_ids"]
        scores.append(classifier.eval()(input_ids=ids).logits.item())
    return scores


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_packed_scores_are_those_of_transformers(architecture, tiny, chat_tokenizer, tmp_path):
    renderer = Renderer(chat_tokenizer)
    classifier = add_score_head(tiny(architecture, seed=2), renderer, seed=5)
    classifier.save_pretrained(tmp_path)
    chat_tokenizer.save_pretrained(tmp_path)
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    expected = one_by_one(theirs, chat_tokenizer)
    assert np.std(expected) > 0.05
    for batch_tokens in (1, 60, 4096):
        ours = RewardModel.load(str(tmp_path), batch_tokens=batch_tokens)
        assert ours.score(REQUESTS) == pytest.approx(expected, abs=1e-5)
    padded = chat_tokenizer.pad(
        [{"input_ids": list(range(5))}, {"input_ids": list(range(9))}], return_tensors="pt"
    )
    assert theirs(**padded).logits.shape == (2, 1), "a batch needs no more than what is saved"


def test_an_adapter_loads_in_peft_and_merges_into_the_same_scores(base, chat_tokenizer, tmp_path):
    folder = make_reward_adapter(base, tmp_path / "reward", chat_tokenizer)
    plain = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
    expected = one_by_one(PeftModel.from_pretrained(plain, folder), chat_tokenizer)
    assert RewardModel.load(str(folder)).score(REQUESTS) == pytest.approx(expected, abs=1e-4)
    check = merge_stack(str(folder), tmp_path / "merged", dtype=torch.float32)
    assert check.max_logit_difference < 1e-3 < check.adapter_effect
    assert RewardModel.load(str(tmp_path / "merged")).score(REQUESTS) == pytest.approx(expected, abs=1e-4)


def test_an_adapter_on_an_adapter_merges(base, chat_tokenizer, tmp_path):
    lower = add_lora(load_model(str(base)).model, Lora(rank=4), seed=9)
    train_randomly(lower, 9)
    save_lora(lower, tmp_path / "sft", base=str(base))
    chat_tokenizer.save_pretrained(tmp_path / "sft")
    write_base(tmp_path / "sft", str(base), seed=0)
    folder = make_reward_adapter(tmp_path / "sft", tmp_path / "reward", chat_tokenizer)
    expected = RewardModel.load(str(folder)).score(REQUESTS)
    merge_stack(str(folder), tmp_path / "merged", dtype=torch.float32)
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged")
    assert one_by_one(theirs, chat_tokenizer) == pytest.approx(expected, abs=1e-4)


def test_on_a_shared_trunk_it_scores_the_same_and_leaves_no_trace(base, chat_tokenizer, tmp_path):
    folder = make_reward_adapter(base, tmp_path / "reward", chat_tokenizer)
    write_scale(folder, Scale(0.5, 2.0))
    expected = RewardModel.load(str(folder)).score(REQUESTS)
    policy = add_lora(load_model(str(base)).model, Lora(rank=2, dropout=0.5), seed=4)
    train_randomly(policy, 4)
    policy.train()
    trainable = {name for name, parameter in policy.named_parameters() if parameter.requires_grad}
    trunk, ids = PackedModel(policy), torch.arange(20)[None]

    def answers():
        policy.eval()
        logits = policy(input_ids=ids, use_cache=False).logits.detach()
        policy.train()
        return logits

    before, random = answers(), torch.get_rng_state()
    shared = RewardModel.on(trunk, str(folder), base=str(base))
    assert torch.equal(torch.get_rng_state(), random)
    assert shared.score(REQUESTS) == pytest.approx(expected, abs=1e-5)
    with packed_attention(trunk.core):  # as within a training step
        assert shared.score(REQUESTS) == pytest.approx(expected, abs=1e-5)
    assert shared.score(REQUESTS, normalise=True) == pytest.approx(
        [(s - 0.5) / 2 for s in expected], abs=1e-5
    )
    assert torch.equal(answers(), before) and policy.training
    assert {name for name, parameter in policy.named_parameters() if parameter.requires_grad} == trainable
    save_lora(policy, tmp_path / "policy", base=str(base))
    assert not {"reward"} & {path.name for path in (tmp_path / "policy").iterdir()}


def test_what_cannot_share_a_trunk_is_loaded_beside_it(base, tiny, chat_tokenizer, tmp_path, capsys):
    other = tmp_path / "other"
    tiny("llama", seed=8).save_pretrained(other)
    chat_tokenizer.save_pretrained(other)
    folder = make_reward_adapter(other, tmp_path / "reward", chat_tokenizer)
    expected = RewardModel.load(str(folder)).score(REQUESTS)
    policy = PackedModel(add_lora(load_model(str(base)).model, Lora(rank=2), seed=4))
    with pytest.raises(ModelError, match="its adapter was trained on another base; load it beside it"):
        RewardModel.on(policy, str(folder), base=str(base))
    found = share_or_load(str(folder), policy, base=str(base))
    assert found.score(REQUESTS) == pytest.approx(expected, abs=1e-5)
    assert "is loaded beside the policy: its adapter was trained on another base" in capsys.readouterr().out
    full = PackedModel(load_model(str(base)).model)
    share_or_load(str(folder), full, base=str(base))
    assert "the policy's own weights are trained" in capsys.readouterr().out
    merge_stack(str(folder), tmp_path / "merged", dtype=torch.float32)
    share_or_load(str(tmp_path / "merged"), policy, base=str(base))
    assert "it is no adapter, but a full model" in capsys.readouterr().out


def test_an_over_long_conversation_loses_its_oldest_exchanges(tiny, chat_tokenizer):
    renderer = Renderer(chat_tokenizer)
    classifier = add_score_head(tiny(seed=2), renderer, seed=5)
    model = RewardModel(PackedModel(classifier), renderer)
    long = ask("一" * 30, "二" * 30, "三" * 30, "四" * 30, "五")
    kept = ask("三" * 30, "四" * 30, "五")
    expected = model.score([(kept, "六")])
    model.context_tokens = len(model._encoded([(kept, "六")])[0])
    assert model.score([(long, "六")]) == pytest.approx(expected, abs=1e-6)
    with pytest.raises(DataError, match=r"with its question \d+ tokens, exceeds the reward model's window"):
        model.score([(ask("五"), "六" * 200)])


def test_the_head_follows_from_the_seed_and_the_end_is_never_padding(tiny, chat_tokenizer):
    renderer = Renderer(chat_tokenizer)
    heads = [add_score_head(tiny(seed=2), renderer, seed=seed).score.weight for seed in (5, 5, 6)]
    assert torch.equal(heads[0], heads[1]) and not torch.equal(heads[0], heads[2])
    assert heads[0].dtype == torch.float32 and 0.05 < heads[0].std() < 0.3
    before = chat_tokenizer.pad_token
    chat_tokenizer.pad_token = chat_tokenizer.eos_token  # as many published tokenizers have it
    try:
        found = padding_id(Renderer(chat_tokenizer))
        assert found not in Renderer(chat_tokenizer).stop_ids
    finally:
        chat_tokenizer.pad_token = before


def test_what_is_no_reward_model_is_refused(base, tiny, chat_tokenizer, tmp_path):
    with pytest.raises(ModelError, match="gives no score of an answer, so it is no reward model"):
        load_classifier(str(base))
    lora = add_lora(load_model(str(base)).model, Lora(rank=2), seed=0)
    save_lora(lora, tmp_path / "sft", base=str(base))
    with pytest.raises(ModelError, match="its adapter writes texts, so it is no reward model"):
        load_classifier(str(tmp_path / "sft"))
    folder = make_reward_adapter(base, tmp_path / "reward", chat_tokenizer)
    merge_stack(str(folder), tmp_path / "merged", dtype=torch.float32)
    for each in (folder, tmp_path / "merged"):
        with pytest.raises(ModelError, match="a reward model scores answers and writes none"):
            load_model(str(each))
    with pytest.raises(ModelError, match=r"has no reward\.json, so its scale is not known"):
        RewardModel.load(str(folder)).score(REQUESTS, normalise=True)
    Path(tmp_path / "merged" / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="the reward model's tokenizer has no chat template"):
        RewardModel.load(str(tmp_path / "merged"))
    config = AutoConfig.for_model("granite", vocab_size=300, hidden_size=64, num_hidden_layers=1)
    with pytest.raises(ModelError, match="'granite': transformers has no sequence classifier of it"):
        add_score_head(AutoModelForCausalLM.from_config(config), Renderer(chat_tokenizer), seed=0)
    small = json.loads((base / "config.json").read_text())
    assert small["vocab_size"] == len(chat_tokenizer)
    chat_tokenizer_more = type(chat_tokenizer).from_pretrained(base)
    chat_tokenizer_more.add_tokens(["甲乙丙丁"])
    classifier = add_score_head(tiny(seed=1), Renderer(chat_tokenizer), seed=0)
    with pytest.raises(ModelError, match=r"tokenizer has \d+ tokens and its embedding \d+ rows"):
        RewardModel(PackedModel(classifier), Renderer(chat_tokenizer_more))
