import json
from pathlib import Path

import pytest
from rule_engine import RuleEngine

from xinglin.data.records import Message
from xinglin.errors import DataError, ModelError, RunError, XinglinError
from xinglin.runtime.artifact import FILE, Artifact
from xinglin.serve.model import Model, Sampling, find, read_messages


@pytest.fixture
def model() -> Model:
    return Model(RuleEngine(), label="rules")


def write_stage(run: Path, name: str, *, kind: str, finished: str) -> Path:
    folder = run / "stages" / name
    folder.mkdir(parents=True)
    artifact = Artifact(folder, name, kind, stage_kind=name, fingerprint="f", finished=finished)
    (folder / FILE).write_text(json.dumps(artifact.to_json()), encoding="utf-8")
    return folder


class TestChat:
    def test_takes_a_question_or_messages(self, model: Model):
        assert model.chat("hello") == "You said: hello"
        assert model.chat([{"role": "user", "content": "hello"}]) == "You said: hello"

    def test_history_is_the_callers_list_and_nothing_else(self, model: Model):
        history = [
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "noted"},
            {"role": "user", "content": "what did I say"},
        ]
        before = json.dumps(history)
        assert model.chat(history) == "one"
        assert model.chat("what did I say") == "nothing"
        assert json.dumps(history) == before

    def test_system_prompt(self, model: Model):
        assert model.chat("who are you", system="杏林") == "I am 杏林."

    def test_stream_gives_the_same_text_in_pieces(self, model: Model):
        pieces = list(model.chat("头痛怎么办", stream=True))
        assert len(pieces) > 1
        assert "".join(pieces) == model.chat("头痛怎么办")

    def test_a_cut_answer_is_reported(self, model: Model, caplog: pytest.LogCaptureFixture):
        assert model.chat("hello", max_new_tokens=4) == "You "
        assert "1 of 1 answers were cut at max_new_tokens=4" in caplog.text

    @pytest.mark.parametrize(
        ("sampling", "name"),
        [
            ({"max_new_tokens": 0}, "max_new_tokens"),
            ({"temperature": -0.1}, "temperature"),
            ({"top_p": 0.0}, "top_p"),
        ],
    )
    def test_impossible_sampling_is_refused(self, model: Model, sampling: dict[str, float], name: str):
        with pytest.raises(ModelError, match=name):
            model.chat("hello", **sampling)  # type: ignore[call-overload]


class TestPredict:
    def test_answers_in_order(self, model: Model):
        prompts = ["b", [{"role": "user", "content": "a"}], "c"]
        assert model.predict(prompts) == ["You said: b", "You said: a", "You said: c"]
        assert model.predict([]) == []

    @pytest.mark.parametrize("prompts", ["hello", [{"role": "user", "content": "hello"}]])
    def test_a_single_prompt_is_not_taken_for_a_list(self, model: Model, prompts: object):
        with pytest.raises(DataError, match=r"write \[prompt\]"):
            model.predict(prompts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "roles",
    [
        [],
        ["system"],
        ["assistant"],
        ["user", "user"],
        ["user", "assistant"],
        ["user", "system", "user"],
        ["system", "system", "user"],
        ["human"],
        ["tool"],
    ],
)
def test_wrong_roles_name_the_cure(roles: list[str]):
    with pytest.raises(DataError, match="end on a user message"):
        read_messages([{"role": role, "content": "x"} for role in roles])


@pytest.mark.parametrize(
    "row", ["hello", {"role": "user"}, {"role": "user", "content": None}, {"content": "x"}]
)
def test_malformed_message_is_named_by_its_place(row: object):
    with pytest.raises(DataError, match="message 1"):
        read_messages([{"role": "user", "content": "x"}, row])  # type: ignore[list-item]


def test_system_prompt_beside_a_system_message_is_refused():
    with pytest.raises(DataError, match="system, system, user"):
        read_messages([{"role": "system", "content": "a"}, {"role": "user", "content": "b"}], system="c")


class TestFit:
    conversation = read_messages(
        [{"role": "system", "content": "sys"}]
        + [{"role": role, "content": f"{role} {turn}"} for turn in range(3) for role in ("user", "assistant")]
        + [{"role": "user", "content": "last"}]
    )

    @staticmethod
    def model(context_tokens: int) -> Model:
        return Model(RuleEngine(context_tokens=context_tokens), label="rules")

    def test_all_stays_while_it_fits(self):
        size = len(RuleEngine().renderer.prompt_ids(self.conversation))
        assert self.model(size + 10).fit(self.conversation, max_new_tokens=10).left_out == 0
        assert self.model(size + 9).fit(self.conversation, max_new_tokens=10).left_out == 1

    def test_oldest_exchanges_go_and_the_system_message_stays(self):
        window = self.model(90).fit(self.conversation, max_new_tokens=10)
        assert window.left_out == 2
        assert [message.content for message in window.messages] == ["sys", "user 2", "assistant 2", "last"]
        assert len(self.conversation) == 8

    def test_the_last_question_always_stays(self):
        window = self.model(12).fit(self.conversation, max_new_tokens=10)
        assert [message.content for message in window.messages] == ["sys", "last"]

    def test_without_a_system_message(self):
        window = self.model(12).fit(self.conversation[1:], max_new_tokens=10)
        assert window == ([Message("user", "last")], 3)


class TestFind:
    def test_a_run_gives_its_last_finished_model(self, tmp_path: Path):
        write_stage(tmp_path, "sft", kind="model", finished="2026-01-01T10:00:00+00:00")
        dpo = write_stage(tmp_path, "dpo", kind="adapter", finished="2026-01-01T11:00:00+00:00")
        write_stage(tmp_path, "exam", kind="evaluation", finished="2026-01-01T12:00:00+00:00")
        (tmp_path / "stages" / "merge").mkdir()
        spec, label = find(tmp_path)
        assert spec == str(dpo)
        assert "'dpo'" in label

    def test_a_run_without_a_model_lists_what_is_finished(self, tmp_path: Path):
        write_stage(tmp_path, "data", kind="dataset", finished="2026-01-01T10:00:00+00:00")
        with pytest.raises(RunError, match="finished stages: data"):
            find(tmp_path)

    def test_an_artifact_that_is_no_model_is_refused(self, tmp_path: Path):
        folder = write_stage(tmp_path, "data", kind="dataset", finished="2026-01-01T10:00:00+00:00")
        with pytest.raises(ModelError, match="stage 'data' made no model but: dataset"):
            find(folder)

    def test_one_stage_of_a_run(self, tmp_path: Path):
        folder = write_stage(tmp_path, "sft", kind="model", finished="2026-01-01T10:00:00+00:00")
        assert find(folder).spec == str(folder)

    def test_any_other_folder_and_ids_go_to_the_engine_as_they_are(self, tmp_path: Path):
        assert find(tmp_path).spec == str(tmp_path)
        assert find("hub:org/name").spec == "hub:org/name"

    def test_missing_folder(self, tmp_path: Path):
        with pytest.raises(ModelError, match="no such folder"):
            find(tmp_path / "absent")


def test_load_of_an_empty_folder_is_a_user_error(tmp_path: Path):
    with pytest.raises(XinglinError, match=r"config\.json"):
        Model.load(tmp_path)


def test_sampling_defaults_are_greedy():
    assert Sampling() == Sampling(max_new_tokens=512, temperature=0.0, top_p=1.0, seed=0)
