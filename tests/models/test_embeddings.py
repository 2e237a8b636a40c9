"""New rows are means of old ones; old logits do not move; tied heads stay tied."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from xinglin.config.tiny import ARCHITECTURES
from xinglin.models.embeddings import Extension, extend_embeddings, read_extension

PARTS = [(3, 5), (7,), (400, 9)]
"""Of tokens 400, 401 and 402; the last one begins with the first one."""
OLD_PARTS = [(3, 5), (7,), (3, 5, 9)]


def build(architecture, *, tied, tiny):
    model = tiny(architecture)
    if tied:
        return model
    config = AutoConfig.for_model(**{**model.config.to_dict(), "tie_word_embeddings": False})
    torch.manual_seed(1)
    return AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_rows(architecture, tied, tiny, tmp_path):
    model = build(architecture, tied=tied, tiny=tiny).eval()
    ids = torch.arange(1, 40)[None]
    with torch.no_grad():
        before = model(ids).logits
    old = {name: part.weight.detach().clone() for name, part in matrices(model).items()}
    rows = extend_embeddings(model, PARTS, first_new_id=400, multiple=128)
    assert rows == model.config.vocab_size == 512
    for name, part in matrices(model).items():
        assert part.weight.shape[0] == 512
        torch.testing.assert_close(part.weight[:400], old[name][:400], rtol=0, atol=0)
        for row, parts in enumerate(OLD_PARTS, start=400):
            torch.testing.assert_close(part.weight[row], old[name][list(parts)].mean(0))
        torch.testing.assert_close(part.weight[403:], old[name].mean(0).expand(109, -1))
    assert (model.get_output_embeddings().weight is model.get_input_embeddings().weight) == tied
    with torch.no_grad():
        torch.testing.assert_close(model(ids).logits[..., :400], before, rtol=1e-5, atol=1e-5)
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert (again.get_output_embeddings().weight is again.get_input_embeddings().weight) == tied
    torch.testing.assert_close(again.get_output_embeddings().weight, model.get_output_embeddings().weight)


def test_rows_beyond_the_tokens_are_used_first_and_never_taken_away(tiny):
    model = tiny()
    model.resize_token_embeddings(768, mean_resizing=False)
    assert extend_embeddings(model, PARTS, first_new_id=400, multiple=128) == 768
    assert extend_embeddings(model, PARTS, first_new_id=400, multiple=100) == 800
    weight = model.get_input_embeddings().weight
    torch.testing.assert_close(weight[401], weight[7])
    torch.testing.assert_close(weight[403:], weight[:400].mean(0).expand(397, -1))


def test_means_are_taken_in_float32(tiny):
    model = tiny().to(torch.bfloat16)
    exact = model.get_input_embeddings().weight[:300].float().mean(0)
    extend_embeddings(model, [tuple(range(300))], first_new_id=400, multiple=1)
    assert torch.equal(model.get_input_embeddings().weight[400], exact.to(torch.bfloat16))


def test_the_record_of_an_extension(tmp_path):
    assert read_extension(tmp_path) is None
    extension = Extension(400, ["痛", "糖尿病", "\n"], 512)
    extension.save(tmp_path)
    assert read_extension(tmp_path) == extension


def matrices(model):
    return {"in": model.get_input_embeddings(), "out": model.get_output_embeddings()}
