"""Losses of GRPO and RLOO against TRL 1.16's own on random answers, and PPO's sums against loops in float64."""

import math
from collections import defaultdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from xinglin.data.packing import Step
from xinglin.train.rl.methods import GRPO, PPO, RLOO, Batch, Kl
from xinglin.train.rl.rollout import Rollout

COUNTS = (3, 7, 1, 5, 6, 2)
OWNERS = torch.arange(len(COUNTS)).repeat_interleave(torch.tensor(COUNTS))
LONGEST = 9


def numbers(seed, scale=1.0):
    return torch.randn(sum(COUNTS), generator=torch.Generator().manual_seed(seed)) * scale


def batch(found, **known):
    return Batch(found, known.__getitem__, OWNERS, torch.tensor(COUNTS))


def step():
    indices = (np.arange(2), np.arange(2, len(COUNTS)))
    return Step(1.0, (indices,), tokens=100, trained_tokens=sum(COUNTS), groups=3)


def padded(flat):
    rows = torch.zeros(len(COUNTS), LONGEST)
    for row, part in enumerate(flat.split(COUNTS)):
        rows[row, : len(part)] = part
    return rows


def trl_loss(trainer, log_probs, old, advantages, reference=None, **settings):
    """The loss that TRL computes from the same numbers."""
    mask = padded(torch.ones(sum(COUNTS)))
    fake = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *unused, **unused_too: (padded(log_probs), mask * 0, None),
        aux_loss_enabled=False,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        importance_sampling_level="token",
        beta=0.0,
        epsilon_low=0.2,
        epsilon_high=0.28,
        loss_type="dapo",
        use_vllm=False,
        max_completion_length=LONGEST,
        current_gradient_accumulation_steps=1,
        _entropy_bonus_enabled=False,
        _metrics={"train": defaultdict(list)},
        model=SimpleNamespace(training=True),
        accelerator=SimpleNamespace(num_processes=1, reduce=lambda x, **_: x, gather=lambda x: x),
        args=SimpleNamespace(delta=None, use_bias_correction_kl=False, steps_per_generation=1),
    )
    vars(fake).update(settings)
    whole = torch.ones(len(COUNTS), 4, dtype=torch.long)
    inputs = {
        "prompt_ids": whole,
        "prompt_mask": whole,
        "completion_ids": mask.long(),
        "completion_mask": mask,
        "advantages": advantages,
        "old_per_token_logps": padded(old),
        "old_logps": padded(old).sum(1),
        "num_items_in_batch": mask.sum(),
    }
    if reference is not None:
        inputs["ref_per_token_logps"] = padded(reference)
    return trainer._compute_loss(fake, None, inputs)


def compared(method, trainer, seed, *, scale, reference=None, **settings):
    """(our loss, our gradient, TRL's loss, its gradient)"""
    old = -numbers(seed).abs()
    advantages = torch.randn(len(COUNTS), generator=torch.Generator().manual_seed(seed + 500))
    results = []
    for ours in (True, False):
        now = (old + numbers(seed + 1, scale)).requires_grad_()
        if ours:
            known = {"log_probs": old, "advantages": advantages[OWNERS], "reference": reference}
            total, _ = method.loss(batch({"log_probs": now}, **known))
            loss = total / method.weight(step())
        else:
            loss = trl_loss(trainer, now, old, advantages, reference, **settings)
        loss.backward()
        results += [loss.detach(), now.grad]
    return results


def grpo(**settings):
    defaults = {"normalization": "dapo", "scale_advantages": True, "ratio": "token", "kl": Kl(0.0)}
    rest = {"clip_low": 0.2, "clip_high": 0.28, "entropy_coefficient": 0.0, "max_new_tokens": LONGEST}
    return GRPO(**(defaults | rest | settings))


@pytest.mark.parity
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {}),
        ({"normalization": "grpo"}, {"loss_type": "grpo"}),
        ({"normalization": "dr_grpo"}, {"loss_type": "dr_grpo"}),
        ({"kl": Kl(0.1)}, {"beta": 0.1}),
        (
            {"normalization": "grpo", "ratio": "sequence"},
            {"loss_type": "grpo", "importance_sampling_level": "sequence"},
        ),
    ],
    ids=["dapo", "grpo", "dr_grpo", "kl", "gspo"],
)
def test_grpo_is_that_of_trl(seed, ours, theirs):
    trainer = pytest.importorskip("trl").GRPOTrainer
    reference = -numbers(seed + 9).abs() if "beta" in theirs else None
    loss, slope, their_loss, their_slope = compared(
        grpo(**ours), trainer, seed, scale=0.3, reference=reference, **theirs
    )
    torch.testing.assert_close(loss, their_loss)
    torch.testing.assert_close(slope, their_slope)


@pytest.mark.parity
@pytest.mark.parametrize("seed", range(5))
def test_rloo_is_that_of_trl(seed):
    trainer = pytest.importorskip("trl").RLOOTrainer
    method = RLOO(kl=Kl(0.05), clip=0.2, entropy_coefficient=0.0, whiten_advantages=False)
    loss, slope, their_loss, their_slope = compared(method, trainer, seed, scale=0.1, epsilon_high=0.2)
    torch.testing.assert_close(loss, their_loss)
    torch.testing.assert_close(slope, their_slope)


def ppo(**settings):
    defaults = {"kl": Kl(0.1), "critic": "shared", "gamma": 0.9, "lam": 0.8, "clip": 0.2, "value_clip": 0.1}
    rest = {"value_coefficient": 0.5, "entropy_coefficient": 0.01, "whiten_rewards": False}
    return PPO(**(defaults | rest | settings))


def rollout(seed, *, group=1):
    lengths = torch.tensor(COUNTS) + 4
    made = Rollout(
        ids=torch.zeros(int(lengths.sum()), dtype=torch.int32),
        lengths=lengths,
        counts=torch.tensor(COUNTS),
        group=group,
        stopped=torch.ones(len(COUNTS), dtype=torch.bool),
        scores=torch.randn(len(COUNTS), generator=torch.Generator().manual_seed(seed + 70)),
    )
    names = ("log_probs", "reference", "values")
    made.tokens = {name: numbers(seed + place) for place, name in enumerate(names)}
    return made


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("whiten_rewards", [False, True])
def test_ppo_follows_the_definition(seed, whiten_rewards):
    """KL in the reward, the score at the last token, GAE, whitening, both clipped losses, entropy, one mean."""
    method, made = ppo(whiten_rewards=whiten_rewards), rollout(seed)
    log_probs, reference, values = (
        made.tokens[name].double() for name in ("log_probs", "reference", "values")
    )
    method.prepare(made, coefficient=0.1)
    rewards = -0.1 * (log_probs - reference)
    ends = np.cumsum(COUNTS) - 1
    for end, score in zip(ends, made.scores.tolist(), strict=True):
        rewards[end] += score
    if whiten_rewards:
        rewards = (rewards - rewards.mean()) / (rewards.var() + 1e-8).sqrt() + rewards.mean()
    advantages = torch.zeros_like(rewards)
    for end, count in zip(ends, COUNTS, strict=True):
        ahead = following = 0.0
        for at in range(end, end - count, -1):
            ahead = float(rewards[at] + 0.9 * following - values[at]) + 0.9 * 0.8 * ahead
            following = float(values[at])
            advantages[at] = ahead
    returns = advantages + values
    white = (advantages - advantages.mean()) / (advantages.var() + 1e-8).sqrt()
    torch.testing.assert_close(made.tokens["advantages"].double(), white, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(made.tokens["returns"].double(), returns, atol=1e-4, rtol=1e-4)
    now, new_values, entropy = (
        numbers(seed + 20, 0.2) + made.tokens["log_probs"],
        numbers(seed + 21),
        numbers(5),
    )
    found = {"log_probs": now, "values": new_values, "entropy": entropy}
    total, metrics = method.loss(batch(found, **made.tokens))
    expected = policy = value = 0.0
    for at in range(sum(COUNTS)):
        ratio = math.exp(float(now[at].double() - log_probs[at]))
        gain = min(ratio * white[at], min(max(ratio, 0.8), 1.2) * white[at])
        near = values[at] + min(max(float(new_values[at] - values[at]), -0.1), 0.1)
        error = max((new_values[at] - returns[at]) ** 2, (near - returns[at]) ** 2) / 2
        policy, value = policy - gain, value + error
        expected += -gain + 0.5 * error - 0.01 * entropy[at]
    assert float(total) == pytest.approx(float(expected), rel=1e-4)
    assert float(metrics["policy_loss"][0]) == pytest.approx(float(policy), rel=1e-3, abs=1e-3)
    assert float(metrics["value_loss"][0]) == pytest.approx(float(value), rel=1e-4)
    assert method.weight(step()) == sum(COUNTS)


def test_rloo_takes_the_divergence_of_an_answer_off_its_score():
    made = rollout(0, group=3)
    kl = (made.tokens["log_probs"] - made.tokens["reference"]).split(COUNTS)
    worth = [float(score - 0.2 * part.sum()) for score, part in zip(made.scores, kl, strict=True)]
    RLOO(kl=Kl(0.2), clip=0.2, entropy_coefficient=0, whiten_advantages=False).prepare(made, coefficient=0.2)
    for at, part in enumerate(made.tokens["advantages"].split(COUNTS)):
        others = [worth[other] for other in range(at // 3 * 3, at // 3 * 3 + 3) if other != at]
        assert part.tolist() == pytest.approx([worth[at] - sum(others) / 2] * COUNTS[at], abs=1e-5)


def test_groups_without_difference_are_counted():
    made = rollout(0, group=2)
    made.scores = torch.tensor([1.0, 1, 0, 1, -2, -2])
    grpo().prepare(made, coefficient=0)
    assert made.facts["groups_without_difference"] == 2
    advantages = [set(part.tolist()) for part in made.tokens["advantages"].split(COUNTS)]
    assert advantages[0] == advantages[1] == {0.0} and all(each != {0.0} for each in advantages[2:4])
