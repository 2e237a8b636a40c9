"""What tasks are given and what they give back."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from xinglin.config.base import Config
from xinglin.config.parts import AtLeastZero, Positive
from xinglin.data.records import Message, Record, texts
from xinglin.data.writing.language import chinese_share, contains_chinese

CHINESE_TEXT = 0.3
"""Share of Chinese from which a record is asked about in Chinese."""


class TaskConfig(Config):
    """What every task has."""

    name: str
    """Which task: a file in ``synthesis/tasks/``."""
    temperature: AtLeastZero = 0.7
    """Of the sampling."""
    max_new_tokens: Positive = 1024
    """Longest reply. One that is cut off is rejected."""
    tries: Positive = 2
    """How often an item is made until it is rejected."""
    prompts: str | None = None
    """A YAML file with prompts of yours, of the form of ``synthesis/prompts/NAME.yaml``, for those that it names."""


class Form(BaseModel):
    """What a reply in JSON looks like: base of the models that tasks ask for."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class QuestionAnswer(Form):
    question: str = Field(min_length=1)
    answer: str = Field(min_length=1)


@dataclass(frozen=True)
class Item:
    """What one or more records are made of."""

    record: Record
    """The source; what is made has its origin."""
    value: Any = None
    """What the task wants to remember about it."""

    @property
    def chinese(self) -> bool:
        return is_chinese(texts(self.record))


class Expected(NamedTuple):
    """A request of a task, for forecasts: its prompt is about as long as that of the item's first one."""

    replies: int = 0
    """How many earlier replies it holds too."""
    tokens: int = 0
    """How much else."""
    judge: bool = False
    """Whether the judge gets it."""


class Rejected(Exception):
    """What came back is not good enough: a reason in one word of snake_case, and a detail."""

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


FormType = TypeVar("FormType", bound=Form)


class Ask(Protocol):
    """Asks the model about one item, in the item's language."""

    chinese: bool

    async def __call__(
        self,
        prompt: str,
        *,
        history: Sequence[Message] = (),
        sample: int = 0,
        temperature: float | None = None,
        judge: bool = False,
        **values: Any,
    ) -> str:
        """The text that answers ``prompt``, filled with ``values``.

        Args:
            prompt: its name; a user message, or before a ``history`` the system message.
            sample: which of several replies to the same.
            judge: ask the judge of the task, if it has one of its own.

        Raises:
            Rejected: the reply was cut off or is empty.
        """
        ...

    async def form(
        self, prompt: str, form: type[FormType], *, judge: bool = False, **values: Any
    ) -> FormType:
        """The same for a reply in JSON. One that is not of the form gets one chance of repair.

        Raises:
            Rejected: it is not of the form then either.
        """
        ...


def is_chinese(said: Iterable[str]) -> bool:
    """Whether texts are Chinese, mixed ones by their share; numbers alone are not."""
    text = "\n".join(said)
    share = chinese_share(text)
    return contains_chinese(text) if share is None else share >= CHINESE_TEXT
