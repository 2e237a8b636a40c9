"""Marks by a real server on loopback: paid for once, and nothing personal goes to one that is not local."""

import json
from functools import partial

import pytest

from chat_server import ChatServer, last_user, serving
from xinglin.data.records import Conversation, Message, Origin
from xinglin.endpoint import Reply, client
from xinglin.endpoint.limits import Limits
from xinglin.errors import EndpointError
from xinglin.selection.scores import Context, Unscored, judge


def talk(question, answer):
    return Conversation((Message("user", question), Message("assistant", answer)), Origin("t", 1))


RECORDS = [talk("我叫王建国，电话13812345678，头痛怎么办？", "请就诊。"), talk("What helps?", "Nothing.")]


@pytest.fixture
def marking(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    server = ChatServer(
        lambda body: "<think>maybe 3</think> 8分" if "医学编辑" in last_user(body) else "none"
    )
    with serving(server) as url:

        def mark(*blocks, **options):
            blocks = blocks or (RECORDS,)
            endpoint = {"base_url": url, "model": "m", "attempts": 1, **options.pop("endpoint", {})}
            rows = json.dumps({"name": "judge", "endpoint": endpoint, **options})
            config = judge.Config.model_validate_json(rows)
            context = Context(str, tmp_path, 0, tmp_path / "cache", tmp_path)
            with context.until_done:
                score = judge.open(config, context)
                return [value for block in blocks for value in score(block)]

        yield server, mark


def test_marks_are_read_and_paid_for_once(marking):
    server, mark = marking
    good, none = mark()
    assert good == 8.0 and isinstance(none, Unscored) and none.reason == "no_mark"
    assert mark() == [good, none] and server.requests == 2
    assert "13812345678" in server.raw[0] + server.raw[1], "a local machine sees records as they are"


def test_the_pace_is_kept_from_block_to_block(marking, monkeypatch):
    server, mark = marking
    monkeypatch.setattr(client, "Limits", partial(Limits, window_seconds=1.0))
    mark(RECORDS, [talk("q", "a")], endpoint={"requests_per_minute": 2})
    assert server.times[2] - server.times[0] >= 0.5


def test_nothing_personal_leaves_the_house(marking):
    server, mark = marking
    mark(endpoint={"local": False})
    sent = "".join(last_user(body) for body in server.bodies)
    assert "13812345678" not in sent and "王建国" not in sent and "头痛" in sent


def test_a_cap_ends_the_stage(marking):
    _, mark = marking
    with pytest.raises(EndpointError, match="score judge: max_requests 1 is reached; raise it under caps"):
        mark(caps={"max_requests": 1})


def test_what_another_score_spent_does_not_count(marking):
    server, mark = marking
    mark(caps={"max_requests": 2})
    mark(label="again", caps={"max_requests": 2}, max_new_tokens=8)
    assert server.requests == 4


def test_marks_in_prose():
    for text, value in (
        ("10", 10.0),
        ("评分：7/10 分", 7.0),
        ("Score: 9.", 9.0),
        ("1到10分中给8分", 8.0),
        ("8分。\n\n1. 准确\n2. 安全", 8.0),
        ("8\n(10 would be perfect)", 8.0),
        ("1. 准确：好\n2. 安全：好\n总分：6", 6.0),
    ):
        assert judge._value(Reply(text, "stop", 1, 1, "")) == value


def test_a_number_in_a_reply_that_was_cut_off_is_no_mark():
    assert judge._value(Reply("8\n因为", "length", 1, 1, "")) == 8.0
    cut = judge._value(Reply("这个回答有3个问题，首先", "length", 1, 1, ""))
    assert isinstance(cut, Unscored) and cut.reason == "no_mark"
