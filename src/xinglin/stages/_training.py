"""What the training stages share: what they refuse, the artifact that they make, and what they will take."""

from collections.abc import Collection, Iterable, Mapping

from xinglin.config.parts import TrainingConfig
from xinglin.data.templates import load_template
from xinglin.errors import DataError, ModelError
from xinglin.runtime.stage_run import StageRun

PRODUCES = ("model", "adapter")
DISTRIBUTED = True


def produces(config: TrainingConfig, kinds: Mapping[str, tuple[str, ...]]) -> str:
    """The kind of artifact that a training stage makes."""
    return "adapter" if config.tuning == "lora" else "model"


def check(config: TrainingConfig, kinds: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse to go on with the adapter of what is surely none, before any work."""
    if config.continue_ == "same" and kinds.get("model") == ("model",):
        raise ModelError(f"continue: same needs an adapter, and {config.model} is a full model; leave it out")


def require_records(
    splits: Iterable[str], records: Mapping[str, str], kinds: Collection[str], *, cure: str
) -> None:
    """Refuse splits that hold another kind of record.

    Args:
        records: {split: kind} of those whose kind is known.
        kinds: those that can be used.

    Raises:
        DataError: names the split, what it holds, and the cure.
    """
    for split in splits:
        if split in records and records[split] not in kinds:
            raise DataError(f"split '{split}' holds {records[split]}s; {cure}")


def sources(config: TrainingConfig) -> dict[str, str]:
    """The packaged template, if the config names one; an unknown name is refused."""
    return {"template": load_template(config.template)} if config.template else {}


def plan(config: TrainingConfig, run: StageRun) -> dict[str, str]:
    """Tokens, a forecast of memory, and what looks wrong, for ``--dry-run``."""
    from xinglin.train.forecast import describe
    from xinglin.train.lints import foresee

    return {**describe(config, run), **foresee(config, run)}
