"""The learning rate is a function of the step alone."""

import pytest

from xinglin.config.parts import Optimizer
from xinglin.train.schedule import learning_rate, warmup_steps


def rates(steps=200, **settings):
    config = Optimizer(learning_rate=0.1, **settings)
    return [learning_rate(config, step, steps) for step in range(steps)]


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant", "wsd"])
@pytest.mark.parametrize("warmup", [0, 0.1, 20])
def test_it_warms_up_peaks_and_falls_to_the_end(schedule, warmup):
    found = rates(schedule=schedule, warmup=warmup, final_ratio=0.2)
    warm = warmup_steps(Optimizer(warmup=warmup), 200)
    assert warm == {0: 0, 0.1: 20, 20: 20}[warmup]
    assert found[: warm + 1] == sorted(found[: warm + 1])
    assert max(found) == found[warm] == pytest.approx(0.1)
    assert found[warm:] == sorted(found[warm:], reverse=True)
    assert found[-1] == pytest.approx(0.1 if schedule == "constant" else 0.02, rel=0.06)
    if schedule == "linear":
        assert found[warm + (200 - warm) // 2] == pytest.approx(0.06)


def test_wsd_is_flat_until_its_decay():
    found = rates(schedule="wsd", warmup=20, decay_share=0.25)
    assert found[20:151] == [pytest.approx(0.1)] * 131
    assert found[151] < 0.1 and found[175] == pytest.approx(0.1 * (1 - 0.5**0.5))
    assert min(rates(schedule="wsd", warmup=0.9, decay_share=1.0)) > 0  # a decay that warm-up cuts short


def test_inverse_square_root():
    found = rates(schedule="inverse_sqrt", warmup=10)
    assert found[10] == pytest.approx(0.1) and found[30] == pytest.approx(0.1 / 3**0.5)
