"""What a rule that takes a record out leaves behind: the step, the reason, a detail."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Removal:
    """Why a record that could be read is not in the data set."""

    step: str
    """The part of the data stage: ``clean``, ``duplicates``, ``leaks``."""
    reason: str
    """One stable word in snake_case, to count by."""
    detail: str
    """What was found, for a person; holds nothing that could identify a patient."""

    def to_json(self) -> dict[str, str]:
        return asdict(self)
