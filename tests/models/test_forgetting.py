"""Hidden tokens: the model's own attention under the same masks, the reference code's shares, no mask in evaluation."""

import numpy as np
import pytest
import torch

from xinglin.data.packing import pack_sequences
from xinglin.models.attention import packed_attention
from xinglin.models.forgetting import Forgetting
from xinglin.models.packed import PackedModel

LENGTHS = (40, 3, 17)


def sequences(lengths=LENGTHS):
    random = np.random.default_rng(0)
    return [(random.integers(0, 280, length), random.random(length) < 0.6) for length in lengths]


@pytest.fixture
def forgetful(tiny):
    """``forgetful(architecture)``: a model that forgets up to half, and the list of the masks that it drew."""

    def build(architecture="qwen3"):
        wrapper = PackedModel(tiny(architecture))
        Forgetting(wrapper, most=0.5)
        drawn = []
        wrapper.register_forward_pre_hook(lambda module, args: drawn.append(args[0].seen))
        return wrapper.train(), drawn

    return build


def gradients(model):
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    return found


def alone(model, packed, masks):
    """Log-probabilities, one sequence after another in the model's own attention under the masks that were drawn."""
    found = []
    for one, seen in zip(packed.apart(), masks, strict=True):
        if model.config.model_type == "bloom":
            added = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)[None, None]
            alibi = model.transformer.build_alibi_tensor(torch.ones(1, len(seen)), 2, torch.float32)
            states = model.transformer.word_embeddings_layernorm(
                model.transformer.word_embeddings(one.input_ids)
            )
            for layer in model.transformer.h:
                states = layer(states, alibi=alibi, attention_mask=added)[0]
            logits = model.lm_head(model.transformer.ln_f(states))[0]
        else:
            logits = model(input_ids=one.input_ids, attention_mask=seen[None, None], use_cache=False).logits[
                0
            ]
        found.append(logits[one.predictors].log_softmax(-1).gather(1, one.targets[:, None])[:, 0])
    return torch.cat(found)


@pytest.mark.parametrize("architecture", ["qwen3", "glm4", "bloom"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_models_own_attention_under_the_same_masks(forgetful, architecture, checkpointing):
    wrapper, drawn = forgetful(architecture)
    packed = pack_sequences(sequences())
    if checkpointing:
        wrapper.core.activation_checkpointing_enable()
    with packed_attention(wrapper.core):
        log_probs = wrapper(packed, want="log_probs")
        log_probs.sum().backward()
    found = gradients(wrapper.core)
    wrapper.core.activation_checkpointing_disable() if checkpointing else None
    expected = alone(wrapper.core, packed, drawn[0])
    expected.sum().backward()
    torch.testing.assert_close(log_probs, expected, atol=2e-5, rtol=1e-4)
    for name, gradient in gradients(wrapper.core).items():
        torch.testing.assert_close(found[name], gradient, atol=2e-4, rtol=1e-3, msg=name)


def test_shares_are_drawn_for_each_sequence_up_to_the_most(forgetful):
    wrapper, drawn = forgetful()
    packed = pack_sequences(sequences((60,) * 40))
    torch.manual_seed(0)
    with packed_attention(wrapper.core):
        wrapper(packed)
    past = torch.ones(60, 60, dtype=torch.bool).tril(-1)
    past[:, 0] = False
    hidden = torch.stack([(~seen)[past].float().mean() for seen in drawn[0]])
    assert hidden.min() < 0.1 and 0.4 < hidden.max() < 0.53
    assert hidden.mean().item() == pytest.approx(0.25, abs=4 * 0.5 / 12**0.5 / 40**0.5)
    for seen in drawn[0]:
        assert seen.diagonal().all() and seen[:, 0].all() and not seen.triu(1).any()


def test_a_step_draws_the_same_again_and_evaluation_nothing(forgetful):
    wrapper, drawn = forgetful()
    packed = pack_sequences(sequences())
    with packed_attention(wrapper.core):
        for _ in range(2):
            torch.manual_seed(5)
            wrapper(packed)
        with torch.no_grad():
            wrapper(packed)
        wrapper.eval()
        wrapper(packed)
    first, second, *unmasked = drawn
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    assert unmasked == [(), ()]
