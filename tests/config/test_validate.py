import math
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, model_validator
from ruamel.yaml.comments import CommentedMap

from xinglin.config.base import Config
from xinglin.config.describe import settings
from xinglin.config.load import Document
from xinglin.config.validate import validate


class Cat(Config):
    name: Literal["cat"]
    lives: int = 9
    """Left."""


class Dog(Config):
    name: Literal["dog"]
    bark: bool = True


class Zoo(Config):
    animal: Annotated[Cat | Dog, Field(discriminator="name")] = Cat(name="cat")
    """Who lives here. Some more words."""
    targets: Literal["all"] | list[str] = "all"
    pair: tuple[int, int] = (0, 1)
    where: Path = Path("x")
    share: Annotated[float, Field(ge=0, lt=1)] | None = None
    parts: dict[str, Dog] = Field(default={})
    low: int = 0
    high: int = 1

    @model_validator(mode="after")
    def _ordered(self) -> "Zoo":
        if self.low > self.high:
            raise ValueError("low is above high; swap them")
        return self


def explain(data: dict[str, Any]) -> list[str]:
    config, problems = validate(
        Zoo, data, document=Document(Path("zoo.yaml"), CommentedMap(data)), keys=("zoo",)
    )
    assert (config is None) == bool(problems)
    return [str(problem).removeprefix("zoo.yaml:1: zoo") for problem in problems]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"animal": {"name": "cow"}}, [".animal.name: got the text 'cow', expected 'cat' or 'dog'"]),
        ({"animal": {"lives": 3}}, [".animal.name: is missing; add it"]),
        ({"animal": {"name": "dog", "live": 3}}, [".animal.live: unknown key; known: bark, name"]),
        ({"animal": {"name": "cat", "live": 3}}, [".animal.live: unknown key; did you mean 'lives'?"]),
        ({"animal": 3}, [".animal: got 3, expected a mapping"]),
        ({"targets": [1]}, [".targets.0: got 1, expected text"]),
        ({"targets": "al"}, [".targets: got the text 'al', expected 'all' or a list; did you mean 'all'?"]),
        ({"share": 1}, [".share: got 1, expected less than 1.0"]),
        ({"share": math.inf}, [".share: got inf, expected a finite number"]),
        ({"share": math.nan}, [".share: got nan, expected a finite number"]),
        ({"parts": {"x": {"name": "dog", "brk": 1}}}, [".parts.x.brk: unknown key; did you mean 'bark'?"]),
        ({"low": 3}, [": low is above high; swap them"]),
        ({"low": True}, [".low: got true, expected a whole number"]),
        ({"low": 1.5}, [".low: got 1.5, expected a whole number"]),
        ({"low": None}, [".low: got nothing, expected a whole number"]),
    ],
)
def test_pydantic_in_plain_words(data: dict[str, Any], said: list[str]) -> None:
    assert explain(data) == said


def test_yaml_fills_tuples_and_paths() -> None:
    config, problems = validate(
        Zoo, {"pair": [2, 3], "where": "a/b"}, document=Document(Path("zoo.yaml"), CommentedMap())
    )
    assert config is not None and not problems
    assert (config.pair, config.where) == ((2, 3), Path("a/b"))


def test_settings_describe_every_field() -> None:
    rows = {row.key: (row.type, row.default, row.doc) for row in settings(Zoo)}
    assert rows["share"] == ("number >= 0, < 1", "null", "")
    assert rows["targets"] == ("all | list of text", "all", "")
    assert rows["parts.*.bark"] == ("true | false", "true", "")
    assert rows["animal"][2] == "Who lives here. Some more words."
