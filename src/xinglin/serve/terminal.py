"""Chat in the terminal: streaming, with history and commands; or line by line from a pipe.

Answers go to stdout and everything else to stderr, so a script that pipes questions in gets answers only.
"""

import contextlib
import io
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console
from rich.text import Text

from xinglin.data.records import Message
from xinglin.engines import Finish
from xinglin.errors import DataError, XinglinError
from xinglin.plugins import nearest
from xinglin.runtime import atomic
from xinglin.serve.model import Model, Sampling

NOTICE = "Research model, no medical advice. 研究模型，回答不构成医疗建议。"
PROMPT = "> "

# C0 and C1 controls except tab and line feed: model output must not be able to drive the user's terminal.
_CONTROLS = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160)])


def run(
    path: str | Path,
    *,
    system: str | None = None,
    max_new_tokens: int = 512,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
) -> None:
    """Chat with the model at ``path`` (see ``Model.load``) until ``/exit``, Ctrl-D or the end of the pipe.

    Raises:
        XinglinError: the model cannot be loaded, or a piped line cannot be answered.
    """
    sampling = Sampling(max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p, seed=seed)
    console = Console(stderr=True, highlight=False)
    with console.status(f"loading {path} …"):
        model = Model.load(path)
    talk(Session(model, sampling=sampling, system=system, console=console))


@dataclass
class Session:
    """One conversation at the terminal."""

    model: Model
    sampling: Sampling = field(default_factory=Sampling)
    system: str | None = None
    console: Console = field(default_factory=lambda: Console(stderr=True, highlight=False))
    history: list[Message] = field(default_factory=list)
    """User and assistant in turn: every exchange, also those that no longer fit into the model's window."""
    asked: int = 0
    left_out: int = 0
    saved_to: Path | None = None

    def tell(self, text: str, *, style: str = "dim") -> None:
        self.console.print(Text(text, style=style))

    def take(self, line: str) -> bool:
        """Obey or answer one line of input; False when the user wants to leave."""
        if not line.startswith("/"):
            if line.strip():
                self.ask(line.strip())
            return True
        name, _, argument = line.partition(" ")
        if name == "/exit":
            return False
        if name not in COMMANDS:
            hint = nearest(name, list(COMMANDS))
            raise DataError(f"{name}: no such command; {hint} (a question may start with a space, then '/')")
        COMMANDS[name].action(self, argument.strip())
        return True

    def ask(self, question: str) -> None:
        """Stream an answer. An exchange enters the history only when it is complete."""
        asked = Message("user", question)
        window = self.model.fit(
            [*self.prefix(), *self.history, asked], max_new_tokens=self.sampling.max_new_tokens
        )
        if window.left_out > self.left_out:
            self.tell(
                f"(the window is full: left out are the oldest {window.left_out} of {len(self.history) // 2} exchanges)"
            )
        self.left_out = window.left_out
        # A new seed for every question: asked again after /undo, the model may answer something else.
        sampling = replace(self.sampling, seed=self.sampling.seed + self.asked)
        self.asked += 1
        with contextlib.closing(self.model.stream(window.messages, sampling=sampling)) as stream:
            answer, finish = _print_stream(stream)
        if finish == "length":
            self.tell(f"(cut at {self.sampling.max_new_tokens} tokens; --max-tokens sets the limit)")
        if not answer.strip():
            self.tell("(the model answered nothing; the question is forgotten)")
            return
        self.history += [asked, Message("assistant", answer)]

    def prefix(self) -> list[Message]:
        return [] if self.system is None else [Message("system", self.system)]


def talk(session: Session) -> None:
    """Run a session on stdin and stdout."""
    # Whatever the locale: garbled questions are errors, and a character the terminal lacks is no crash.
    _set_errors(sys.stdin, "strict")
    _set_errors(sys.stdout, "replace")
    if sys.stdin.isatty() and sys.stdout.isatty():
        _talk_to_person(session)
    else:
        for line in _piped_lines():
            if not session.take(line):
                return


def _talk_to_person(session: Session) -> None:
    # Importing it is what gives input() line editing and history; Windows has its own and no such module.
    with contextlib.suppress(ImportError):
        import readline

        # A pasted text of several lines is one question.
        readline.parse_and_bind("set enable-bracketed-paste on")
    session.tell(f"{session.model.label} · /help lists the commands, Ctrl-D leaves")
    session.tell(NOTICE, style="yellow")
    while True:
        try:
            line = input(PROMPT)
        except EOFError:
            print()
            return
        except KeyboardInterrupt:
            session.tell("\n(Ctrl-D or /exit leaves)")
            continue
        except UnicodeDecodeError as error:
            session.tell(f"that was no {error.encoding}: {error.reason}; type it again", style="red")
            continue
        try:
            if not session.take(line):
                return
        except KeyboardInterrupt:
            session.tell("\n(stopped; the question and the unfinished answer are forgotten)")
        except XinglinError as error:
            session.tell(str(error), style="red")


def _piped_lines() -> Iterator[str]:
    try:
        for line in sys.stdin:
            yield line.rstrip("\n")
    except UnicodeDecodeError as error:
        raise DataError(
            f"stdin: not {error.encoding} ({error.reason}); convert it, for example with iconv"
        ) from error


def _print_stream(stream: Generator[str, None, Finish]) -> tuple[str, Finish]:
    pieces: list[str] = []
    with _noted_interrupts() as noted:
        while True:
            try:
                piece = next(stream)
            except StopIteration as end:
                print(flush=True)
                return "".join(pieces), end.value
            if noted:
                raise KeyboardInterrupt
            pieces.append(piece)
            print(piece.translate(_CONTROLS), end="", flush=True)


@contextlib.contextmanager
def _noted_interrupts() -> Iterator[list[int]]:
    """Ctrl-C raises as ever, and is noted: raised while Python cleans up behind a token, it would be swallowed."""
    noted: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return

    def note(number: int, frame: object) -> None:
        noted.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)


def _set_errors(stream: object, errors: str) -> None:
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors=errors)


def _help(session: Session, _: str) -> None:
    width = max(len(command.usage) for command in COMMANDS.values())
    session.tell("\n".join(f"{command.usage:{width}}  {command.summary}" for command in COMMANDS.values()))
    session.tell("Ctrl-C stops an answer, Ctrl-D leaves, ↑ brings back earlier lines.")


def _clear(session: Session, _: str) -> None:
    session.history.clear()
    session.left_out = 0
    session.saved_to = None
    session.tell("(new conversation" + ("; the system prompt stays)" if session.system else ")"))


def _save(session: Session, argument: str) -> None:
    if not session.history:
        raise DataError("/save: nothing has been said yet")
    name = argument or session.saved_to or time.strftime("chat-%Y%m%d-%H%M%S.jsonl")
    path = Path(name).expanduser()
    if path != session.saved_to and path.exists():
        raise DataError(f"/save: {path} exists and holds something else; choose another name")
    row = {"messages": [message.to_json() for message in [*session.prefix(), *session.history]]}
    try:
        atomic.write_text(path, json.dumps(row, ensure_ascii=False) + "\n")
    except OSError as error:
        raise DataError(
            f"/save: {path} cannot be written ({error.strerror}); choose another place"
        ) from error
    session.saved_to = path
    session.tell(f"(saved {len(session.history) // 2} exchanges to {path})")


def _system(session: Session, argument: str) -> None:
    session.system = argument or None
    session.tell(f"(system prompt: {argument})" if argument else "(no system prompt)")


def _undo(session: Session, _: str) -> None:
    if not session.history:
        raise DataError("/undo: nothing has been said yet")
    question, _answer = session.history[-2:]
    del session.history[-2:]
    session.tell(f"(forgotten: {question.content})")


@dataclass(frozen=True)
class Command:
    usage: str
    summary: str
    action: Callable[[Session, str], None]


COMMANDS = {
    "/help": Command("/help", "this list", _help),
    "/clear": Command("/clear", "forget the conversation and start a new one", _clear),
    "/save": Command("/save [FILE]", "write the conversation as a messages row (JSON Lines)", _save),
    "/system": Command("/system [TEXT]", "set the system prompt; without TEXT remove it", _system),
    "/undo": Command("/undo", "forget the last question and its answer", _undo),
    "/exit": Command("/exit", "leave", lambda _session, _argument: None),
}
