"""Model: the score of a reward model that an earlier stage has trained."""

from typing import Literal

from xinglin.config.base import RewardInput
from xinglin.errors import RewardError
from xinglin.rewards import Context, Reward, RewardConfig


class Config(RewardConfig):
    """A reward model's opinion."""

    name: Literal["model"]
    """Which reward: a file in ``rewards/``."""
    model: RewardInput = None
    """The reward model: ``stage:NAME``, a local folder, or ``hub:org/name``. Default: the nearest earlier one."""
    normalise: bool = True
    """Subtract the mean of the scores that it gave in training and divide by their deviation, so that its weight
    compares with that of rules."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model."""


def build(config: Config, context: Context) -> Reward:
    """
    Raises:
        ModelError: it cannot be loaded.
        RewardError: its scores cannot be normalised.
    """
    reference = str(config.model)
    scorer = context.scorers.get(reference)
    if scorer is None:
        from xinglin.models.reward import RewardModel

        scorer = RewardModel.load(
            context.locate(reference), device=context.device, trust_remote_code=config.trust_remote_code
        )
    if config.normalise and scorer.scale is None:
        raise RewardError(
            f"{reference} was not trained here and does not know its mean score; set normalise: false"
        )
    return lambda samples: scorer.score(
        [(sample.prompt, sample.answer) for sample in samples], normalise=config.normalise
    )
