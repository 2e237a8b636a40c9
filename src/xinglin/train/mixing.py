"""What it comes to when several splits are read together, from their sizes alone."""

from collections.abc import Mapping
from math import inf
from typing import Any

from xinglin.config.mixing import MixingConfig
from xinglin.config.parts import TrainingConfig
from xinglin.data.mixture import expected_epochs

Splits = Mapping[str, Mapping[str, Any]]
"""What a data set's artifact says about each split."""
_ADDED = ("tokens", "trained_tokens", "records")


def expected_readings(config: TrainingConfig, splits: Splits) -> dict[str, float]:
    """How often a stage reads each of several splits; {} if it reads one, or sizes are not known yet.

    ``max_steps`` may end it before.
    """
    if not isinstance(config, MixingConfig) or not config.mix:
        return {}
    names = [config.split, *(mixed.split for mixed in config.mix)]
    if not all(splits.get(name, {}).get("tokens") for name in names):
        return {}
    if config.priority is not None:
        times = [config.epochs, *(mixed.max_epochs or 1.0 for mixed in config.mix)]
    else:
        times = expected_epochs(
            [splits[name]["tokens"] for name in names],
            [config.own_share, *(mixed.share or 0.0 for mixed in config.mix)],
            epochs=config.epochs,
            most=[inf, *(mixed.max_epochs or inf for mixed in config.mix)],
        )
    return dict(zip(names, times, strict=True))


def facts_together(config: TrainingConfig, splits: Splits) -> Mapping[str, Any]:
    """The facts of the stage's split with a part of what is mixed in for each of its epochs; {} if not known."""
    own = splits.get(config.split, {})
    times = expected_readings(config, splits)
    if not times:
        return own
    added = {
        key: round(sum(splits[name][key] * n for name, n in times.items()) / config.epochs) for key in _ADDED
    }
    longest = max(splits[name]["lengths"]["max"] for name in times)
    return {**own, **added, "lengths": {**own["lengths"], "max": longest}}
