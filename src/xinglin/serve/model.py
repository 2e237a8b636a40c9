"""A trained model to talk to: found in a run or a folder, asked through an engine, without hidden state."""

import logging
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, TypedDict, Unpack, cast, overload

from xinglin.data.records import Message, Role
from xinglin.data.window import Window, fit_window
from xinglin.engines import Finish, Generation
from xinglin.errors import DataError, ModelError, RunError
from xinglin.runtime.artifact import FILE, Artifact

_log = logging.getLogger("xinglin")

Row = Mapping[str, str]
"""``{"role": "user", "content": …}``."""


class Prompts(Protocol):
    """The part of ``data.rendering.Renderer`` that chat needs."""

    def prompt_ids(self, messages: Sequence[Message]) -> Sequence[int]:
        """Tokens up to where the assistant is to speak."""
        ...


class ChatEngine(Protocol):
    """An engine that can also stream, and that says how much its model can read."""

    @property
    def renderer(self) -> Prompts: ...

    @property
    def context_tokens(self) -> int: ...

    def generate(
        self,
        conversations: Sequence[Sequence[Message]],
        *,
        max_new_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> list[Generation]: ...

    def stream(
        self,
        messages: Sequence[Message],
        *,
        max_new_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> Generator[str, None, Finish]: ...


class SamplingOptions(TypedDict, total=False):
    """``Sampling`` as keyword arguments."""

    max_new_tokens: int
    temperature: float
    top_p: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How answers are drawn."""

    max_new_tokens: int = 512
    temperature: float = 0.0
    """0 takes the likeliest token every time."""
    top_p: float = 1.0
    """Draw from the smallest set of tokens that holds this share of the probability."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise ModelError(f"max_new_tokens {self.max_new_tokens}: give at least 1")
        if self.temperature < 0:
            raise ModelError(f"temperature {self.temperature}: give 0 (the likeliest token) or more")
        if not 0 < self.top_p <= 1:
            raise ModelError(f"top_p {self.top_p}: give a share above 0 and up to 1 (every token)")


class Model:
    """Answers conversations. The history is the caller's list; nothing is remembered between calls."""

    def __init__(self, engine: ChatEngine, *, label: str):
        self.engine = engine
        self.label = label
        """Which model this is, in words for the user."""

    @classmethod
    def load(cls, path: str | Path, *, device: str | None = None) -> "Model":
        """The model of a folder, a finished stage, a run (its last finished model) or a ``hub:`` id.

        Raises:
            ModelError: nothing loadable there, or no tokenizer beside it.
            RunError: a run without a finished model.
        """
        spec, label = find(path)
        from xinglin.engines.transformers import TransformersEngine

        return cls(TransformersEngine.load(spec, device=device), label=label)

    def __repr__(self) -> str:
        return f"Model({self.label})"

    @overload
    def chat(
        self,
        messages: str | Sequence[Row],
        *,
        system: str | None = ...,
        stream: Literal[False] = ...,
        **sampling: Unpack[SamplingOptions],
    ) -> str: ...

    @overload
    def chat(
        self,
        messages: str | Sequence[Row],
        *,
        system: str | None = ...,
        stream: Literal[True],
        **sampling: Unpack[SamplingOptions],
    ) -> Iterator[str]: ...

    def chat(
        self,
        messages: str | Sequence[Row],
        *,
        system: str | None = None,
        stream: bool = False,
        **sampling: Unpack[SamplingOptions],
    ) -> str | Iterator[str]:
        """The assistant's next message, whole or in pieces as it is written.

        Args:
            messages: a question, or ``[{"role", "content"}, …]`` that ends on a user message.
            system: a system message to put first.
            sampling: ``max_new_tokens=512, temperature=0.0, top_p=1.0, seed=0``, see ``Sampling``.

        Raises:
            DataError: roles out of order, or more text than the model can read.
            ModelError: impossible sampling.
        """
        options = Sampling(**sampling)
        conversation = read_messages(messages, system=system)
        if stream:
            return self.stream(conversation, sampling=options)
        return self._generate([conversation], options)[0]

    def predict(
        self,
        prompts: Sequence[str | Sequence[Row]],
        *,
        system: str | None = None,
        **sampling: Unpack[SamplingOptions],
    ) -> list[str]:
        """One answer per prompt, in order, computed in batches. Arguments and errors as in ``chat``."""
        if isinstance(prompts, str) or any(isinstance(prompt, Mapping) for prompt in prompts):
            raise DataError(
                "predict takes a list of prompts or conversations; write [prompt] for a single one"
            )
        options = Sampling(**sampling)
        return self._generate([read_messages(prompt, system=system) for prompt in prompts], options)

    def stream(self, messages: Sequence[Message], *, sampling: Sampling) -> Generator[str, None, Finish]:
        """Pieces of the answer; the generator returns why the answer ended."""
        return self.engine.stream(messages, **asdict(sampling))

    def fit(self, messages: Sequence[Message], *, max_new_tokens: int) -> Window:
        """Leave out the oldest exchanges until the rest and an answer share the context window.

        The system message and the last question always stay, and may alone be more than the model takes.
        """
        room = self.engine.context_tokens - max_new_tokens
        return fit_window(messages, room=room, count=lambda kept: len(self.engine.renderer.prompt_ids(kept)))

    def _generate(self, conversations: list[list[Message]], sampling: Sampling) -> list[str]:
        answers = self.engine.generate(conversations, **asdict(sampling))
        if cut := sum(answer.finish == "length" for answer in answers):
            limit = sampling.max_new_tokens
            _log.warning("%d of %d answers were cut at max_new_tokens=%d", cut, len(answers), limit)
        return [answer.text for answer in answers]


def read_messages(messages: str | Sequence[Row], *, system: str | None = None) -> list[Message]:
    """A conversation to answer, checked: an optional system message, then user and assistant in turn.

    Raises:
        DataError: a message of another form, or roles out of order.
    """
    rows: list[Row] = [{"role": "user", "content": messages}] if isinstance(messages, str) else list(messages)
    if system is not None:
        rows = [{"role": "system", "content": system}, *rows]
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping) or not all(
            isinstance(row.get(key), str) for key in ("role", "content")
        ):
            raise DataError(f"message {number}: {row!r:.80}; write {{'role': 'user', 'content': '…'}}")
    roles = [row["role"] for row in rows]
    turns = roles[1:] if roles[:1] == ["system"] else roles
    if turns != (["user", "assistant"] * len(turns))[: len(turns)] or len(turns) % 2 == 0:
        raise DataError(
            f"roles {', '.join(roles) or 'none'}: give an optional system message, then user and assistant "
            "in turn, and end on a user message"
        )
    return [Message(cast(Role, row["role"]), row["content"]) for row in rows]


class Source(NamedTuple):
    spec: str
    """What an engine loads."""
    label: str
    """The same in words; names the stage that was chosen."""


def find(path: str | Path) -> Source:
    """Resolve a run to its last finished model; check an artifact's kind; pass on anything else.

    Raises:
        ModelError: no such folder, or an artifact that is no model.
        RunError: a run without a finished model.
    """
    folder = Path(path)
    if str(path).startswith(("hub:", "tiny:")):
        return Source(str(path), str(path))
    if not folder.is_dir():
        raise ModelError(
            f"{path}: no such folder; give a run, a finished stage, a model folder or hub:ORG/NAME"
        )
    if (folder / FILE).is_file():
        artifact = Artifact.load(folder)
        if not _is_model(artifact):
            raise ModelError(
                f"{folder}: stage '{artifact.stage}' made no model but: {artifact.kind}; give a model stage"
            )
        return Source(str(folder), f"stage '{artifact.stage}' ({artifact.stage_kind}) in {folder}")
    if (folder / "stages").is_dir():
        return _last_model(folder)
    return Source(str(folder), str(folder))


def _last_model(run: Path) -> Source:
    finished = [Artifact.load(file.parent) for file in (run / "stages").glob(f"*/{FILE}")]
    models = [artifact for artifact in finished if _is_model(artifact)]
    if not models:
        names = ", ".join(sorted(artifact.stage for artifact in finished)) or "none"
        raise RunError(
            f"{run}: no finished model in this run (finished stages: {names}); run the recipe again to finish it"
        )
    last = max(models, key=lambda artifact: artifact.finished)
    return Source(str(last.folder), f"stage '{last.stage}' ({last.stage_kind}) of {run}")


def _is_model(artifact: Artifact) -> bool:
    return artifact.kind in ("model", "adapter")
