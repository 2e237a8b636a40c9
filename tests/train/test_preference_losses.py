"""Preference losses: equal to TRL's own code on random numbers, finite at the edges, each in its own words."""

from types import SimpleNamespace
from typing import get_args

import pytest
import torch
from torch.nn.functional import logsigmoid

from xinglin.stages.dpo import Config
from xinglin.train.preference_losses import LOSSES, REFERENCE_FREE, Pairs, PreferenceLoss


def random_pairs(seed=0, number=7):
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, 40, (number, 2), generator=generator).float()
    policy, reference = (-tokens * 2 * torch.rand(number, 2, generator=generator) for _ in range(2))
    return Pairs(policy.requires_grad_(), reference, tokens)


def slopes(losses, pairs):
    (gradient,) = torch.autograd.grad(losses.sum(), pairs.policy, retain_graph=True)
    return gradient


def assert_same(ours, theirs, pairs):
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(slopes(ours, pairs), slopes(theirs, pairs))


@pytest.mark.parity
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_simpo_is_trls(label_smoothing):
    cpo = pytest.importorskip("trl.experimental.cpo")
    pairs = random_pairs()
    trainer = SimpleNamespace(
        alpha=0.0,
        beta=2.5,
        loss_type="simpo",
        simpo_gamma=1.4,
        label_smoothing=label_smoothing,
        accelerator=SimpleNamespace(device="cpu"),
    )
    means = pairs.policy / pairs.tokens
    theirs, chosen, rejected = cpo.CPOTrainer.cpo_loss(trainer, means[:, 0], means[:, 1])
    loss = PreferenceLoss("simpo", beta=2.5, gamma=1.4, label_smoothing=label_smoothing)
    assert_same(loss(pairs), theirs, pairs)
    torch.testing.assert_close(loss.rewards(pairs), torch.stack([chosen, rejected], 1))


@pytest.mark.parity
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_conservative_dpo_is_trls(label_smoothing):
    """TRL keeps label smoothing for its reference-free sigmoid loss: ours with a reference of nothing."""
    cpo = pytest.importorskip("trl.experimental.cpo")
    pairs = random_pairs()
    pairs = pairs._replace(reference=torch.zeros_like(pairs.reference))
    trainer = SimpleNamespace(
        alpha=0.0,
        beta=0.2,
        loss_type="sigmoid",
        label_smoothing=label_smoothing,
        accelerator=SimpleNamespace(device="cpu"),
    )
    theirs, *_ = cpo.CPOTrainer.cpo_loss(trainer, pairs.policy[:, 0], pairs.policy[:, 1])
    assert_same(PreferenceLoss("sigmoid", beta=0.2, label_smoothing=label_smoothing)(pairs), theirs, pairs)


@pytest.mark.parity
def test_orpo_is_trls():
    experimental = pytest.importorskip("trl.experimental.orpo")
    pairs = random_pairs()
    means = pairs.policy / pairs.tokens
    trainer = SimpleNamespace(beta=0.3, accelerator=SimpleNamespace(device="cpu"))
    theirs, *_ = experimental.ORPOTrainer.odds_ratio_loss(trainer, means[:, 0], means[:, 1])
    assert_same(PreferenceLoss("orpo", beta=0.3)(pairs), -theirs, pairs)
    with_sft = PreferenceLoss("orpo", beta=0.3, sft_weight=1.0)(pairs)
    assert_same(with_sft, -theirs - means[:, 0], pairs)


def test_orpo_survives_certainty():
    policy = torch.tensor([[0.0, -900.0], [-1e-9, -1e-9], [-900.0, 0.0]], requires_grad=True)
    pairs = Pairs(policy, torch.zeros(3, 2), torch.ones(3, 2))
    losses = PreferenceLoss("orpo", beta=0.3)(pairs)
    assert losses.isfinite().all() and slopes(losses, pairs).isfinite().all()


def test_kto_by_hand():
    pairs = random_pairs()._replace(kl=torch.tensor(0.7))
    loss = PreferenceLoss("kto", beta=0.3, desirable_weight=1.5, undesirable_weight=0.5)
    total = 0.0
    for (chosen, rejected), (chosen_reference, rejected_reference) in zip(
        pairs.policy.tolist(), pairs.reference.tolist(), strict=True
    ):
        good = 1 / (1 + 2.718281828459045 ** -(0.3 * (chosen - chosen_reference - 0.7)))
        bad = 1 / (1 + 2.718281828459045 ** -(0.3 * (0.7 - rejected + rejected_reference)))
        total += (1.5 * (1 - good) + 0.5 * (1 - bad)) / 2
    assert loss(pairs).sum().item() == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_prefers_the_chosen_answer(name):
    """At the reference its gradient widens the gap between the two; SFT adds the chosen answer's own."""
    settings = {"beta": 0.1, "label_smoothing": 0.1 if name in ("robust", "exo_pair") else 0.0}
    pairs = random_pairs(number=50)
    level = pairs._replace(reference=pairs.policy.detach())
    gradient = slopes(PreferenceLoss(name, **settings)(level), level)
    assert (gradient[:, 0] < gradient[:, 1]).all()
    added = PreferenceLoss(name, **settings, sft_weight=2.0)(pairs) - PreferenceLoss(name, **settings)(pairs)
    torch.testing.assert_close(added, -2 * pairs.policy[:, 0] / pairs.tokens[:, 0], rtol=1e-4, atol=1e-5)


def test_robust_is_unbiased():
    """Its mean over flipped and unflipped labels, at the rate that it is told, is the loss of the true labels."""
    pairs = random_pairs()
    flipped = Pairs(pairs.policy.flip(1), pairs.reference.flip(1), pairs.tokens.flip(1))
    loss = PreferenceLoss("robust", beta=0.2, label_smoothing=0.25)
    expected = 0.75 * loss(pairs) + 0.25 * loss(flipped)
    torch.testing.assert_close(expected, -logsigmoid(0.2 * pairs.delta))


def test_the_stage_knows_every_loss():
    assert set(get_args(Config.model_fields["loss"].annotation)) == set(LOSSES)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"loss": "ipo", "gamma": 0.0}, "gamma means nothing to loss ipo; leave it out, or use simpo"),
        ({"loss": "hinge", "label_smoothing": 0.1}, "label_smoothing means nothing to loss hinge"),
        ({"loss": "sigmoid", "desirable_weight": 2.0}, "desirable_weight means nothing to loss sigmoid"),
        ({"loss": "robust"}, "loss robust needs label_smoothing above 0"),
        *[({"loss": name, "reference": "precomputed"}, "reference means nothing") for name in REFERENCE_FREE],
        ({"reference": "adapter_off", "tuning": "full"}, "adapter_off needs tuning lora"),
        ({"reference": "adapter_off", "lora": {"init": "pissa"}}, "use precomputed"),
    ],
)
def test_settings_that_make_no_sense_for_a_loss_are_refused(settings, complaint):
    with pytest.raises(ValueError, match=complaint):
        Config.model_validate({"kind": "dpo", **settings})


def test_defaults_of_the_losses():
    def loss(**settings):
        return Config.model_validate({"kind": "dpo", **settings}).pair_loss()

    assert loss() == PreferenceLoss("sigmoid", beta=0.1, gamma=0.05)
    assert loss(loss="simpo") == PreferenceLoss("simpo", beta=2.0, gamma=1.0)
    assert loss(loss="simpo", gamma=0.0).gamma == 0
    assert loss(loss="orpo").sft_weight == 1 and loss(loss="orpo", sft_weight=0.0).sft_weight == 0
