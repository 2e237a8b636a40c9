"""NEFTune: noise of the paper's size for each sequence, in training only, the same for any packing."""

import math

import numpy as np
import pytest
import torch

from xinglin.data.packing import pack_groups, pack_sequences
from xinglin.models.attention import packed_attention
from xinglin.models.neftune import Noise
from xinglin.models.packed import PackedModel

LENGTHS = (40, 10, 160)


@pytest.fixture
def noisy(tiny):
    """A model with noise, and the list of what its embedding gave out."""
    model = tiny()
    wrapper = PackedModel(model)
    Noise(wrapper, alpha=5.0)
    seen = []
    model.model.embed_tokens.register_forward_hook(lambda module, args, out: seen.append((args[0], out)))
    return wrapper, seen


def noise(wrapper, seen, packed):
    """(T, H) what the last passes added to the embeddings."""
    seen.clear()
    with packed_attention(wrapper.core):
        wrapper(packed)
    weight = wrapper.core.model.embed_tokens.weight
    return torch.cat([out[0] - weight[ids[0]] for ids, out in seen]).detach()


def sequences(lengths=LENGTHS):
    random = np.random.default_rng(0)
    return [(random.integers(0, 300, length), np.ones(length, dtype=bool)) for length in lengths]


def test_each_sequence_has_uniform_noise_by_its_own_length(noisy):
    wrapper, seen = noisy
    wrapper.train()
    torch.manual_seed(0)
    found = noise(wrapper, seen, pack_sequences(sequences()))
    for part, length in zip(found.split(LENGTHS), LENGTHS, strict=True):
        reach = 5.0 / math.sqrt(length * 64)
        assert part.abs().max() <= reach * 1.0001 and part.abs().max() > 0.98 * reach
        assert part.std().item() == pytest.approx(reach / math.sqrt(3), rel=0.06)
        assert abs(part.mean().item()) < 4 * reach / math.sqrt(3 * part.numel())


def test_none_in_evaluation_or_without_gradient(noisy):
    wrapper, seen = noisy
    packed = pack_sequences(sequences())
    assert not noise(wrapper.eval(), seen, packed).any()
    with torch.no_grad():
        assert not noise(wrapper.train(), seen, packed).any()


def test_unpacked_and_shared_sequences_count_their_own_length(noisy):
    wrapper, seen = noisy
    wrapper.train()
    seen.clear()
    wrapper(pack_sequences(sequences()))  # outside of packed attention: one at a time
    weight = wrapper.core.model.embed_tokens.weight
    for (ids, out), length in zip(seen, LENGTHS, strict=True):
        assert (out[0] - weight[ids[0]]).abs().max().item() == pytest.approx(
            5 / math.sqrt(length * 64), rel=0.03
        )
    (ids, trained), *_ = sequences((50,))
    other = ids.copy()
    other[40:] += 1
    found = noise(wrapper, seen, pack_groups([[(ids, trained), (other, trained)]]))
    assert len(found) == 60 and found.abs().max().item() <= 5 / math.sqrt(50 * 64) * 1.0001
