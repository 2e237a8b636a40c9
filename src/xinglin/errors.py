"""The errors a user can cause or cure. Anything else is a bug and keeps its traceback.

XinglinError            one message that names the place, the value and the cure; exit code 2
├── RecipeError         problems in a recipe, all of them at once
├── PluginError         a name that no plugin has
├── DataError           a file, row or data set that cannot be used
├── ModelError          a model, adapter or tokenizer that cannot be used
├── CheckpointError     a checkpoint or artifact whose bytes are not what was written
├── RunError            a run folder that cannot be used
├── RewardError         a reward that cannot be computed
├── EndpointError       a model behind an endpoint that cannot be asked
└── TrainingError       training that cannot go on (non-finite loss, no trainable token)
Interrupted             Ctrl-C or SIGTERM arrived and everything is saved; exit code 130
"""

from dataclasses import dataclass


class XinglinError(Exception):
    """A message for the user: what is wrong, where, and what to do about it."""

    exit_code = 2


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a recipe. Printed as ``place: key: message; cure``."""

    place: str
    """``file:line``, or ``--set`` for an override."""
    key: str
    """Dotted path of the offending key, '' for the whole file."""
    message: str
    cure: str = ""

    def __str__(self) -> str:
        text = f"{self.place}: {self.key}: {self.message}" if self.key else f"{self.place}: {self.message}"
        return f"{text}; {self.cure}" if self.cure else text


class RecipeError(XinglinError):
    """Everything wrong with a recipe, found before any work starts."""

    def __init__(self, problems: list[Problem]):
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class PluginError(XinglinError):
    """No plugin of that name."""


class DataError(XinglinError):
    """A file, row or data set that cannot be used."""


class ModelError(XinglinError):
    """A model, adapter or tokenizer that cannot be used."""


class CheckpointError(XinglinError):
    """A checkpoint or artifact whose bytes are not what was written."""


class RunError(XinglinError):
    """A run folder that cannot be used: locked, foreign, or on a full disk."""


class RewardError(XinglinError):
    """A reward that cannot be computed: nobody answers, or not with a number."""


class EndpointError(XinglinError):
    """A model behind an endpoint that cannot be asked: no key, unknown, out of money, or gone."""


class TrainingError(XinglinError):
    """Training that cannot go on."""


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM arrived; the work so far is saved. Not an Exception: nobody may swallow it."""

    exit_code = 130
