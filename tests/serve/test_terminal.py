import codecs
import io
import json
import os
import pty
import re
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rule_engine import RuleEngine

from xinglin.data.accounting import Quarantine, SourceAccount
from xinglin.data.records import Conversation
from xinglin.data.sources import Source, read
from xinglin.errors import DataError
from xinglin.serve.model import Model, Sampling
from xinglin.serve.terminal import NOTICE, Session, talk

SCRIPT = Path(__file__).with_name("rule_engine.py")

ESCAPES = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]")

Pipe = Callable[..., tuple[str, str]]


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Pipe:
    """Feed bytes or lines to a chat; returns its stdout and stderr."""

    def feed(lines: str | bytes, *, context_tokens: int = 10_000, **session: object) -> tuple[str, str]:
        data = lines if isinstance(lines, bytes) else lines.encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
        model = Model(RuleEngine(context_tokens=context_tokens), label="rules")
        talk(Session(model, **session))  # type: ignore[arg-type]
        captured = capsys.readouterr()
        return captured.out, captured.err

    return feed


class TestPipe:
    def test_prints_the_answers_and_nothing_else(self, pipe: Pipe):
        out, err = pipe("hello\n\n头痛怎么办\n")
        assert out == "You said: hello\n多休息；\n突发剧烈头痛请立即就医。\n"
        assert err == ""

    def test_lines_are_turns_of_one_conversation(self, pipe: Pipe):
        assert pipe("one\ntwo\nwhat did I say")[0].splitlines()[-1] == "one | two"

    def test_system_prompt(self, pipe: Pipe):
        assert pipe("who are you\n", system="杏林")[0] == "I am 杏林.\n"

    def test_exit_ends_before_the_rest(self, pipe: Pipe):
        assert pipe("hello\n/exit\nhello\n")[0] == "You said: hello\n"

    def test_what_is_not_utf8_is_an_error(self, pipe: Pipe):
        with pytest.raises(DataError, match="not utf-8"):
            pipe("高血压".encode("gbk"))

    def test_unknown_command_names_the_nearest(self, pipe: Pipe):
        with pytest.raises(DataError, match="did you mean '/save'"):
            pipe("/sav\n")

    def test_a_question_may_start_with_a_slash_after_a_space(self, pipe: Pipe):
        assert pipe(" /etc\n")[0] == "You said: /etc\n"

    def test_terminal_controls_of_an_answer_are_left_out(self, pipe: Pipe):
        assert pipe("escape\n")[0] == "[31mred\n"

    def test_cut_answers_are_reported(self, pipe: Pipe):
        out, err = pipe("hello\n", sampling=Sampling(max_new_tokens=4))
        assert out == "You \n"
        assert "cut" in err

    def test_asking_again_draws_again(self, pipe: Pipe):
        out, _ = pipe("draw\n/undo\ndraw\n", sampling=Sampling(temperature=1.0, seed=5))
        assert out == "drawn with seed 5\ndrawn with seed 6\n"


class TestCommands:
    def test_help_lists_every_command(self, pipe: Pipe):
        _, err = pipe("/help\n")
        assert [line.split()[0] for line in err.splitlines() if line.startswith("/")] == [
            "/help",
            "/clear",
            "/save",
            "/system",
            "/undo",
            "/exit",
        ]

    def test_clear_forgets(self, pipe: Pipe):
        assert pipe("one\n/clear\nwhat did I say\n")[0].endswith("nothing\n")

    def test_undo_forgets_the_last_exchange(self, pipe: Pipe):
        out, err = pipe("one\ntwo\n/undo\nwhat did I say\n")
        assert out.endswith("\none\n")
        assert "forgotten: two" in err
        with pytest.raises(DataError, match="nothing has been said"):
            pipe("/undo\n")

    def test_system_sets_and_removes(self, pipe: Pipe):
        out, _ = pipe("/system a nurse\nwho are you\n/system\nwho are you\n")
        assert out == "I am a nurse.\nI am no one.\n"

    def test_an_empty_answer_is_not_kept(self, pipe: Pipe):
        out, err = pipe("say nothing\nwhat did I say\n")
        assert out == "\nnothing\n"
        assert "answered nothing" in err


class TestSave:
    def test_writes_one_messages_row(self, pipe: Pipe, tmp_path: Path):
        path = tmp_path / "new" / "对话.jsonl"
        pipe(f"/system 杏林\n头痛怎么办\n谢谢\n/save {path}\n")
        [line] = path.read_text(encoding="utf-8").splitlines()
        assert json.loads(line)["messages"] == [
            {"role": "system", "content": "杏林"},
            {"role": "user", "content": "头痛怎么办"},
            {"role": "assistant", "content": "多休息；\n突发剧烈头痛请立即就医。"},
            {"role": "user", "content": "谢谢"},
            {"role": "assistant", "content": "You said: 谢谢"},
        ]
        assert list(path.parent.iterdir()) == [path]

    def test_the_messages_format_reads_it_again(self, pipe: Pipe, tmp_path: Path):
        path = tmp_path / "chat.jsonl"
        pipe(f"/system 杏林\n头痛怎么办\n谢谢\n/save {path}\n")
        account = SourceAccount()
        with Quarantine(tmp_path / "quarantine.jsonl") as quarantine:
            [record] = read(Source(path=str(path)), kind=None, account=account, quarantine=quarantine)
        assert isinstance(record, Conversation)
        assert [message.role for message in record.messages] == ["system", *["user", "assistant"] * 2]
        assert record.messages[2].content == "多休息；\n突发剧烈头痛请立即就医。"

    def test_saving_again_replaces_its_own_file_only(self, pipe: Pipe, tmp_path: Path):
        path = tmp_path / "chat.jsonl"
        pipe(f"one\n/save {path}\ntwo\n/save\n")
        assert "two" in path.read_text(encoding="utf-8")
        before = path.read_bytes()
        with pytest.raises(DataError, match="exists"):
            pipe(f"three\n/save {path}\n")
        with pytest.raises(DataError, match="exists"):
            pipe(f"one\n/save {tmp_path / 'a.jsonl'}\n/clear\nfour\n/save {tmp_path / 'a.jsonl'}\n")
        assert path.read_bytes() == before

    def test_default_name(self, pipe: Pipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.chdir(tmp_path)
        pipe("one\n/save\n")
        [path] = tmp_path.iterdir()
        assert re.fullmatch(r"chat-\d{8}-\d{6}\.jsonl", path.name)

    def test_nothing_to_save_and_nowhere_to_save(self, pipe: Pipe, tmp_path: Path):
        with pytest.raises(DataError, match="nothing has been said"):
            pipe("/save\n")
        (tmp_path / "file").write_text("")
        with pytest.raises(DataError, match="cannot be written"):
            pipe(f"one\n/save {tmp_path}/file/chat.jsonl\n")


def test_oldest_exchanges_leave_a_full_window_but_not_the_history(pipe: Pipe, tmp_path: Path):
    path = tmp_path / "chat.jsonl"
    lines = "".join(f"question {number}\n" for number in range(6))
    out, err = pipe(
        f"{lines}what did I say\n/save {path}\n", context_tokens=220, sampling=Sampling(max_new_tokens=60)
    )
    assert out.splitlines()[-1] == "question 4 | question 5"
    assert "the oldest 4 of 6 exchanges" in err
    assert len(json.loads(path.read_text(encoding="utf-8"))["messages"]) == 14


class Tty:
    """A chat process on its own pseudo-terminal."""

    def __init__(self, *, seconds_per_token: float = 0.0):
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            # Ignored where tests run in the background of a shell, and a new program inherits that.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.environ.update({"TERM": "xterm", "LC_ALL": "C.UTF-8", "COLUMNS": "200"})
            os.execv(sys.executable, [sys.executable, str(SCRIPT), str(seconds_per_token)])
        self.seen = ""
        self.decode = codecs.getincrementaldecoder("utf-8")().decode

    def insist(self, keys: str, text: str) -> None:
        """Type until ``text`` appears: input() prints its prompt a moment before it waits for keys, and a signal
        between the two may be lost."""
        for _ in range(5):
            self.type(keys)
            try:
                self.expect(text, seconds=3.0)
            except AssertionError:
                continue
            return
        self.expect(text)

    def expect(self, text: str, *, seconds: float = 15.0) -> str:
        """Read until ``text`` appears; returns what came before it, and goes on after it."""
        end = time.monotonic() + seconds
        while text not in self.seen:
            left = end - time.monotonic()
            assert left > 0 and select.select([self.descriptor], [], [], left)[0], (
                f"no {text!r} in {self.seen!r}"
            )
            self.seen += self.decode(os.read(self.descriptor, 4096))
            self.seen = ESCAPES.sub("", self.seen)
        before, _, self.seen = self.seen.partition(text)
        return before

    def type(self, text: str) -> None:
        os.write(self.descriptor, text.encode())

    def exit_code(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.fixture
def tty() -> Iterator[Callable[..., Tty]]:
    opened: list[Tty] = []

    def start(**options: float) -> Tty:
        opened.append(Tty(**options))
        opened[-1].expect("\n> ")
        return opened[-1]

    yield start
    for chat in opened:
        os.close(chat.descriptor)
        try:
            os.kill(chat.pid, signal.SIGKILL)
            os.waitpid(chat.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


class TestTty:
    def test_greets_answers_and_leaves_on_ctrl_d(self, tty: Callable[..., Tty]):
        chat = Tty()
        banner = chat.expect("\n> ")
        assert "rules" in banner and "/help" in banner and NOTICE in banner
        chat.type("头痛怎么办\n")
        chat.expect("突发剧烈头痛请立即就医。")
        chat.expect("> ")
        chat.type("\x04")
        assert chat.exit_code() == 0

    def test_ctrl_c_stops_the_answer_and_forgets_the_exchange(self, tty: Callable[..., Tty]):
        chat = tty(seconds_per_token=0.002)
        chat.type("one\n")
        chat.expect("You said: one")
        chat.expect("> ")
        chat.type("count\n")
        chat.expect("17 18 19")
        chat.type("\x03")
        chat.expect("stopped")
        chat.expect("> ")
        chat.type("what did I say\n")
        chat.expect("one\r\n")
        chat.expect("> ")
        chat.insist("\x03", "/exit leaves")
        chat.expect("> ")
        chat.type("/exit\n")
        assert chat.exit_code() == 0

    def test_errors_do_not_end_the_chat(self, tty: Callable[..., Tty]):
        chat = tty()
        chat.type("/sav\n")
        chat.expect("did you mean '/save'")
        chat.expect("> ")
        chat.type("hello\n")
        chat.expect("You said: hello")

    def test_line_editing_and_history_of_inputs(self, tty: Callable[..., Tty]):
        chat = tty()
        # A Chinese character is one backspace, ↑ brings the line back, Ctrl-A goes to its start.
        chat.type("头痛了\x7f\n")
        chat.expect("You said: 头痛\r\n")
        chat.expect("> ")
        chat.type("\x1b[A\x01我\n")
        chat.expect("You said: 我头痛\r\n")

    def test_pasted_lines_are_one_question(self, tty: Callable[..., Tty]):
        chat = tty()
        chat.type("\x1b[200~血压 150\n心率 90\x1b[201~\n")
        chat.expect("You said: 血压 150\r\n心率 90\r\n")
