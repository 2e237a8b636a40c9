"""Cleaning: texts brought into one writing, and records that are not fit to learn from taken out."""

from collections import Counter
from collections.abc import Callable
from functools import cached_property
from typing import Any

from pydantic import Field, model_validator

from xinglin import plugins
from xinglin.config.base import Config
from xinglin.config.validate import build
from xinglin.data.filters import PACKAGE
from xinglin.data.records import Record, kind_of
from xinglin.data.removal import Removal
from xinglin.data.writing.normalise import Normalise, Normaliser
from xinglin.errors import PluginError

STEP = "clean"
Judge = Callable[[Record], str | None]


class Clean(Config):
    """Which texts are changed and which records are taken out. ``standard`` means all defaults."""

    normalise: Normalise = Normalise()
    """How texts are brought into one writing before they are judged."""
    filters: dict[str, bool | dict[str, Any]] = Field(default={})
    """Filters beside the standard ones, by name (``xinglin list filters``): ``true``, ``false``, or settings, e.g.
    ``{unfinished: {strict: true}, advertisement: false}``."""

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, value: Any) -> Any:
        return {} if value == "standard" else value

    @model_validator(mode="after")
    def _filters_exist(self) -> "Clean":
        for name in self.filters:
            _settings(name, self.filters[name])
        return self

    @cached_property
    def chosen(self) -> dict[str, Config]:
        """The filters that are on, sorted by name, with their settings."""
        asked = {name: plugins.load(PACKAGE, name).STANDARD for name in plugins.names(PACKAGE)} | self.filters
        return {name: _settings(name, asked[name]) for name in sorted(asked) if asked[name] is not False}


def _settings(name: str, given: bool | dict[str, Any]) -> Config:
    """Raises ValueError for what a filter does not have, as validators do."""
    try:
        model: type[Config] = plugins.load(PACKAGE, name).Settings
    except PluginError as error:
        raise ValueError(str(error)) from error
    return build(model, given if isinstance(given, dict) else {}, name=f"filters.{name}")


class Cleaning:
    """Applies ``config`` to records, one at a time; what becomes of one depends on nothing else."""

    def __init__(self, config: Clean):
        self.config = config
        self.records = 0
        """Records seen."""
        self.changes: Counter[str] = Counter()
        """Records that normalisation changed, by setting."""
        self.removed: Counter[str] = Counter()
        """Records removed, by filter."""
        self._normalise = Normaliser(config.normalise)
        self._filters = [
            (name, plugins.load(PACKAGE, name), settings) for name, settings in config.chosen.items()
        ]

    def __reduce__(self) -> tuple[type["Cleaning"], tuple[Clean], dict[str, Any]]:
        """Another process gets the config and the counts; modules cannot be pickled."""
        counts = {"records": self.records, "changes": self.changes, "removed": self.removed}
        return Cleaning, (self.config,), counts

    def merge(self, other: "Cleaning") -> None:
        """Add what another one counted."""
        self.records += other.records
        self.changes.update(other.changes)
        self.removed.update(other.removed)

    def apply(self, record: Record) -> Record | Removal:
        """The record as it is to be used, or the first filter by name that removes it."""
        self.records += 1
        record, changed = self._normalise(record)
        self.changes.update(changed)
        kind = kind_of(record)
        for name, filter, settings in self._filters:
            if kind in filter.KINDS and (detail := filter.judge(record, settings)):
                self.removed[name] += 1
                return Removal(STEP, name, detail)
        return record

    def to_json(self) -> dict[str, Any]:
        """The counts, for a data set's card."""
        return {
            "records": self.records,
            "kept": self.records - self.removed.total(),
            "changed": dict(self.changes.most_common()),
            "removed": dict(self.removed.most_common()),
        }
