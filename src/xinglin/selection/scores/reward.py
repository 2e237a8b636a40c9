"""Reward: what a reward model gives to the last answer."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from xinglin.config.base import RewardInput
from xinglin.data.records import Conversation, Record
from xinglin.errors import DataError, ModelError
from xinglin.selection.scores import BATCH_TOKENS, Context, Score, ScoreConfig, Unscored, Value

RECORDS = ("conversation",)


class Config(ScoreConfig):
    """A reward model's opinion."""

    name: Literal["reward"]
    """This score."""
    model: RewardInput = None
    """The reward model: ``stage:NAME``, a local folder, or ``hub:org/name``. Default: the nearest earlier one."""
    normalise: bool = True
    """Count in deviations from the mean score of the answers that it was trained on, so that 0 is usual."""
    batch_tokens: int = Field(default=BATCH_TOKENS, gt=0)
    """Tokens of one forward pass. Changes speed and memory."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model."""


def open(config: Config, context: Context) -> Score:
    """
    Raises:
        ModelError: it cannot be loaded, or does not know its scale.
    """
    from xinglin.models.reward import RewardModel

    model = RewardModel.load(
        context.locate(str(config.model)),
        batch_tokens=config.batch_tokens,
        trust_remote_code=config.trust_remote_code,
    )
    if config.normalise and model.scale is None:
        raise ModelError(
            f"{config.model} was not trained here and does not know its mean score; set normalise: false"
        )

    def score(records: Sequence[Record]) -> list[Value]:
        try:
            requests = [_request(record) for record in records]
            return list(model.score(requests, normalise=config.normalise))
        except DataError as error:
            if len(records) > 1:
                return [value for record in records for value in score([record])]
            return [Unscored("not_scorable", str(error))]

    return score


def _request(record: Record) -> tuple[tuple, str]:
    assert isinstance(record, Conversation)
    if record.tools:
        raise DataError(f"{record.origin}: reward models here do not know tools")
    return record.messages[:-1], record.messages[-1].content
