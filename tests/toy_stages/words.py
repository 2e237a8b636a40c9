"""Read words from text files."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from xinglin.config.base import Config as Part
from xinglin.config.base import StageConfig
from xinglin.errors import DataError
from xinglin.runtime.artifact import sha256
from xinglin.runtime.stage_run import Outcome, StageRun

PRODUCES = "dataset"


class Clean(Part):
    lower: bool = False
    """Write all letters small."""
    limit: Annotated[int, Field(gt=0)] | Literal["none"] = "none"
    """Keep this many words."""


class Config(StageConfig):
    files: list[str]
    """Text files to read."""
    clean: Clean = Clean()
    """How to clean the words."""


def sources(config: Config) -> dict[str, str]:
    for file in config.files:
        if not Path(file).is_file():
            raise DataError(f"{file}: there is no such file; paths start from {Path.cwd()}")
    return {file: sha256(Path(file)) for file in config.files}


def run(config: Config, run: StageRun) -> Outcome:
    words = [word for file in config.files for word in Path(file).read_text(encoding="utf-8").split()]
    if config.clean.lower:
        words = [word.lower() for word in words]
    (run.out / "words.txt").write_text("\n".join(words), encoding="utf-8")
    tokenizer = {"vocabulary": len(set(words)), "characters_per_token": 1.0, "trained": True}
    return Outcome("dataset", details={"splits": {}, "tokenizer": tokenizer})
