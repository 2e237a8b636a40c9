"""What the stages that score answers share: the rewards that a recipe may list."""

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Union

from pydantic import AfterValidator, Field

from xinglin import plugins
from xinglin.rewards import PACKAGE, RewardConfig

if TYPE_CHECKING:
    Reward = RewardConfig
else:
    _CONFIGS = tuple(plugins.load(PACKAGE, name).Config for name in plugins.names(PACKAGE))
    Reward = Annotated[Union[_CONFIGS], Field(discriminator="name")]  # noqa: UP007

LIBRARY = ("engines", "evaluate", "rewards")
"""Packages whose code decides what a stage with rewards makes, beyond those of its artifact."""


def _distinct(rewards: list[RewardConfig]) -> list[RewardConfig]:
    twice = [title for title, count in Counter(reward.title for reward in rewards).items() if count > 1]
    if twice:
        raise ValueError(f"reward '{twice[0]}' is there twice; give one a label")
    return rewards


Rewards = Annotated[list[Reward], AfterValidator(_distinct)]
"""Field type: rewards with different titles, each a ``name``, a ``weight`` and options (``xinglin list rewards``)."""
