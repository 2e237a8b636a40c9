"""Settings of de-identification: what is looked for, and what stands there afterwards."""

import re
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from xinglin.config.base import Config
from xinglin.data.deidentify.scanning import TYPES
from xinglin.plugins import nearest


class PatternConfig(Config):
    """A regular expression of yours as a detector."""

    type: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    """What it finds: a known type, or a new word, which placeholders then show."""
    regex: str
    """What to look for. With a group named ``value``, that group is what is replaced. Boundaries are written with
    ``(?<!…)`` and ``(?!…)``: a backslash b does not see the end of a number before a Chinese character."""

    @field_validator("regex")
    @classmethod
    def _compiles(cls, regex: str) -> str:
        try:
            if re.compile(regex).match(""):
                raise ValueError(
                    f"'{regex}' is found in an empty text; it must ask for at least one character"
                )
        except re.error as error:
            raise ValueError(f"'{regex}' is no regular expression ({error})") from error
        return regex


class ModelConfig(Config):
    """A token-classification model as a detector, for names that no rule sees."""

    path: str
    """Folder or hub name of any Hugging Face model for token classification."""
    labels: dict[str, str] = Field(min_length=1)
    """Its labels, without ``B-`` and ``I-``, to the types that they stand for: ``{PER: patient_name}``."""
    threshold: float = Field(default=0.5, ge=0, le=1)
    """The least probability of a token's label."""
    max_tokens: int = Field(default=512, ge=16)
    """Tokens that the model sees at once; longer texts are read in windows that overlap by a quarter."""
    device: str | None = None
    """Where it runs. Default: the CPU."""

    @field_validator("labels")
    @classmethod
    def _known(cls, labels: dict[str, str]) -> dict[str, str]:
        _check_types(labels.values())
        return labels


class Deidentification(Config):
    """Finds personal data of patients and clinicians in Chinese and English texts, and replaces them."""

    mode: Literal["report", "replace", "off"] = "report"
    """``report`` counts and changes nothing; ``replace`` puts something else there; ``off`` does not look."""
    style: Literal["placeholder", "surrogate"] = "placeholder"
    """``placeholder``: what it was, ``<患者姓名>`` or ``[PHONE]``, in the language of the text. ``surrogate``: an
    invented value of the same form, the same one for the same original wherever it stands. In both, dates are shifted
    and ages of 90 or more become ``90+``."""
    types: list[str] | None = None
    """What to look for. Default: every type."""
    keep: list[str] = Field(default=[])
    """Types to leave as they are."""
    max_shift_days: int = Field(default=365, ge=1, le=36500)
    """All dates of a patient or dialogue move by the same number of days, at most this, back or forth, never 0."""
    patient_field: str = "patient_id"
    """Field of ``meta`` that says whose record it is: records that share it share their shift. It is replaced too."""
    dialogue_field: str = "dialogue_id"
    """The same for records without a patient. Those with neither share their shift with the rest of their row."""
    key_variable: str = "XINGLIN_DEIDENTIFY_KEY"
    """Environment variable that may hold the secret that surrogates and shifts follow from."""
    key_file: str = "~/.xinglin/deidentify.key"
    """File with that secret, where the variable is not set; made once, readable by you alone. Whoever has it can tell
    whether a guess is the original: keep it away from the data."""
    patterns: list[PatternConfig] = Field(default=[])
    """Regular expressions of yours, beside the detectors."""
    model: ModelConfig | None = None
    """A model that looks too. Slow without a GPU."""
    examples: int = Field(default=3, ge=0)
    """Places of each type to show in the report. Values and all other digits are masked; a few characters around
    are shown, so 0 is safest where the report leaves the house."""

    @model_validator(mode="after")
    def _types_exist(self) -> Self:
        own = [pattern.type for pattern in self.patterns]
        _check_types([name for name in [*(self.types or ()), *self.keep] if name not in own])
        return self

    def wanted(self) -> frozenset[str]:
        """The types that count."""
        own = {pattern.type for pattern in self.patterns}
        return frozenset((TYPES.keys() | own) if self.types is None else self.types) - frozenset(self.keep)


def _check_types(names: object) -> None:
    for name in names:  # type: ignore[attr-defined]
        if name not in TYPES:
            raise ValueError(f"unknown type '{name}'; {nearest(name, list(TYPES))}")
