"""The learning rate is a function of the step alone; vectors are not decayed."""

import pytest

from xinglin.config.parts import Optimizer
from xinglin.train.optim import build_optimizer, learning_rate, warmup_steps


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
@pytest.mark.parametrize("warmup", [0, 0.1, 20])
def test_it_warms_up_peaks_and_falls_to_the_end(schedule, warmup):
    config = Optimizer(learning_rate=0.1, schedule=schedule, warmup=warmup, final_ratio=0.2)
    rates = [learning_rate(config, step, 200) for step in range(200)]
    warm = warmup_steps(config, 200)
    assert warm == {0: 0, 0.1: 20, 20: 20}[warmup]
    assert rates[: warm + 1] == sorted(rates[: warm + 1])
    assert max(rates) == rates[warm] == pytest.approx(0.1)
    assert rates[warm:] == sorted(rates[warm:], reverse=True)
    assert rates[-1] == pytest.approx(0.1 if schedule == "constant" else 0.02, rel=0.05)
    if schedule == "linear":
        assert rates[warm + (200 - warm) // 2] == pytest.approx(0.06)


def test_only_matrices_are_decayed(tiny):
    decayed, spared = build_optimizer(tiny(), Optimizer(weight_decay=0.3)).param_groups
    assert decayed["weight_decay"] == 0.3 and spared["weight_decay"] == 0.0
    assert all(parameter.ndim >= 2 for parameter in decayed["params"])
    assert all(parameter.ndim == 1 for parameter in spared["params"])
