"""Merged weights are what PEFT's own merge gives, and the model that they are taken from stays as it is, to the bit."""

import copy

import pytest
import torch

from xinglin.config.parts import Lora
from xinglin.models.lora import add_lora
from xinglin.models.merged import merged_weights

SETTINGS = {
    "lora": {},
    "dora": {"dora": True},
    "rslora": {"rslora": True, "targets": ["q_proj", "down_proj"]},
    "embeddings": {"train_embeddings": "all"},
    "new tokens": {"train_embeddings": "new"},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.filterwarnings("ignore:.*tied.*:UserWarning")
def test_they_are_those_of_the_merged_model(tiny, settings, dtype):
    torch.manual_seed(0)
    adapted = add_lora(tiny("qwen3").to(dtype), Lora(**settings), seed=0, new_tokens=[3, 5])
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn_like(parameter)
    adapted.add_adapter("other", copy.deepcopy(adapted.peft_config["default"])) if not settings else None
    before = {name: tensor.clone() for name, tensor in adapted.state_dict().items()}
    found = dict(merged_weights(adapted))
    after = adapted.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert not any(getattr(module, "merged", False) for module in adapted.modules())
    expected = copy.deepcopy(adapted).merge_and_unload(adapter_names=["default"]).state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)


def test_without_an_adapter_they_are_the_weights(tiny):
    model = tiny("llama")
    found = dict(merged_weights(model))
    assert found.keys() == model.state_dict().keys()
    assert all(found[name].data_ptr() == tensor.data_ptr() for name, tensor in model.state_dict().items())
