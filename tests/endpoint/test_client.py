"""Asking a real server that misbehaves."""

import asyncio
import json
import re
import threading
import time

import pytest

import chat_server
from chat_server import (
    ChatServer,
    cut_json,
    deep_json,
    disconnect,
    drip,
    endless_usage,
    error,
    hang,
    serving,
    short_body,
    wrong_schema,
)
from xinglin.data.records import Message
from xinglin.endpoint import Budget, CapReached, Caps, Client, Endpoint, Ledger, NoReply, Request, Usage
from xinglin.endpoint.limits import Limits
from xinglin.errors import EndpointError


class Asking:
    """A server, and what it takes to ask it."""

    def __init__(self, folder, server, url):
        self.folder, self.server, self.url = folder, server, url
        self.caps = Caps()
        self.limits = None
        self.settings = {"timeout_seconds": 30.0, "attempts": 3}
        self.budget = None

    def __call__(self, *texts, **parameters):
        """The reply to each text, or the exception."""
        requests = [Request("m", (Message("user", text),), {"max_tokens": 9, **parameters}) for text in texts]
        endpoint = Endpoint.model_validate({"base_url": self.url, "model": "m", **self.settings})

        async def ask():
            self.budget = Budget(self.caps)
            with Ledger(self.folder / "ledger.jsonl") as ledger:
                client = Client(endpoint, ledger, self.budget, first_wait_seconds=0.01, limits=self.limits)
                async with client:
                    return await asyncio.gather(*map(client.ask, requests), return_exceptions=True)

        found = asyncio.run(ask())
        return [each.text if hasattr(each, "text") else each for each in found]


@pytest.fixture
def asking(tmp_path):
    server = ChatServer()
    with serving(server) as url:
        yield Asking(tmp_path, server, url)


def test_a_reply_is_paid_for_once(asking):
    assert asking("甲", "乙", "甲") == ["re: 甲", "re: 乙", "re: 甲"]
    assert asking.server.requests == 2 and asking.budget.spent == Usage(2, 20, 10)
    assert asking("乙", "丙") == ["re: 乙", "re: 丙"]
    assert asking.server.requests == 3 and asking.budget.spent.requests == 1
    first = {"model": "m", "messages": [{"role": "user", "content": "甲"}], "max_tokens": 9}
    assert asking.server.bodies.count(first) == 1


@pytest.mark.parametrize(
    "fault",
    [
        *(error(500), error(503), error(429)),
        *(cut_json, deep_json, endless_usage, wrong_schema, short_body, disconnect),
    ],
)
def test_what_may_pass_is_tried_again(asking, fault):
    asking.server.faults = [fault, fault]
    assert asking("甲") == ["re: 甲"]
    assert asking.server.requests == 3 == asking.budget.spent.requests


@pytest.mark.parametrize("fault", [drip, hang(4.0)])
def test_what_takes_too_long_is_tried_again(asking, fault):
    asking.settings["timeout_seconds"] = 1.0
    asking.server.faults = [fault]
    assert asking("甲") == ["re: 甲"]
    assert asking.server.requests == 2


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (error(500), "http_500"),
        (cut_json, "broken_json"),
        (wrong_schema, "wrong_schema"),
        (disconnect, "disconnected"),
        (short_body, "disconnected"),
        (drip, "timeout"),
        (hang(2.0), "timeout"),
    ],
)
def test_what_does_not_pass_has_a_reason(asking, fault, reason):
    asking.settings["timeout_seconds"] = 0.5 if reason == "timeout" else 30.0
    asking.server.faults = [fault] * 3
    (failed,) = asking("甲")
    asking.settings["timeout_seconds"] = 30.0
    (fine,) = asking("乙")
    assert isinstance(failed, NoReply) and failed.reason == reason and "3 attempts" in failed.detail
    assert fine == "re: 乙"


def test_what_broke_off_counts_as_used_in_full(asking):
    asking.server.faults = [cut_json, error(500)]
    asking("甲")
    assert asking.budget.spent.requests == 3
    assert asking.budget.spent.completion_tokens == 9 + 0 + 5


def test_retry_after_is_kept_by_all_requests(asking):
    asking.settings["concurrency"] = 4
    asking.server.faults = [error(429, Retry_After="0.5")]
    asking.server.always = lambda body: None
    started = time.monotonic()
    assert len(set(asking("甲"))) == 1
    assert asking.server.times[1] - asking.server.times[0] >= 0.49
    assert time.monotonic() - started < 3


def test_a_wait_that_is_too_long_ends_it(asking):
    asking.settings["max_wait_seconds"] = 20.0
    asking.server.faults = [error(429, Retry_After="3600")]
    (failed,) = asking("甲")
    assert isinstance(failed, EndpointError) and "asks to wait 3600 seconds" in str(failed)


@pytest.mark.parametrize(
    ("fault", "cure"),
    [
        (error(401), "name the variable of its key"),
        (error(403), "this key may not use model 'm'"),
        (error(404), "correct base_url"),
        (error(402), "top up the account"),
        (error(429, "insufficient_quota"), "top up the account"),
        (error(400, "unknown parameter"), "correct base_url, model or parameters"),
        (error(307, Location="http://elsewhere/"), "correct base_url"),
    ],
)
def test_what_no_attempt_cures_stops_at_once(asking, fault, cure):
    asking.server.faults = [fault]
    (failed,) = asking("甲")
    assert isinstance(failed, EndpointError) and cure in str(failed)
    assert asking.server.requests == 1


def test_a_refused_prompt_is_no_end(asking):
    asking.server.faults = [error(400, "This model's maximum context length is 10 tokens")]
    (failed,) = asking("甲")
    assert isinstance(failed, NoReply) and failed.reason == "refused_by_server"
    asking.server.always = lambda body: error(400, "odd") if "乙" in str(body) else None
    asking.settings["concurrency"] = 1
    fine, failed = asking("甲", "乙")
    assert fine == "re: 甲" and failed.reason == "bad_request"


def test_many_failures_in_a_row_end_it(asking):
    asking.settings |= {"failures_in_row": 2, "concurrency": 1, "attempts": 1}
    asking.server.always = lambda body: error(500)
    first, second, *_ = asking("甲", "乙", "丙")
    assert isinstance(first, NoReply) and isinstance(second, EndpointError)
    assert "2 requests in a row failed" in str(second)


def test_nobody_there(asking):
    asking.url = "http://127.0.0.1:9/v1"
    failed, *_ = asking("甲", "乙")
    assert isinstance(failed, EndpointError)
    assert re.search(
        r"no connection \(.*\); start it, or correct base_url \('http://127.0.0.1:9/v1'\)", str(failed)
    )
    asking.settings |= {"attempts": 2}
    (failed,) = asking("甲")
    assert isinstance(failed, NoReply) and failed.reason == "no_connection"


def test_no_more_at_once_than_asked_for(asking):
    asking.settings["concurrency"] = 3
    asking.server.seconds = 0.05
    assert len(asking(*map(str, range(12)))) == 12
    assert asking.server.most_at_once == 3


def test_as_many_at_once_as_asked_for(asking):
    asking.settings["concurrency"] = 120
    everybody = threading.Barrier(120)
    asking.server.answer = lambda body: str(everybody.wait(timeout=25))
    assert sorted(map(int, asking(*map(str, range(120))))) == list(range(120))
    assert asking.server.most_at_once == 120


def test_a_page_on_billing_in_a_rate_limit_is_no_empty_account(asking):
    asking.server.faults = [
        error(429, "Rate limit reached. Add a payment method: https://host/account/billing")
    ]
    assert asking("甲") == ["re: 甲"]


def test_an_interruption_counts_what_was_under_way_and_nothing_else(asking):
    asking.server.seconds = 5.0
    asking.settings["requests_per_minute"] = 1
    requests = [Request("m", (Message("user", text),), {"max_tokens": 9}) for text in "甲乙"]
    endpoint = Endpoint.model_validate({"base_url": asking.url, "model": "m", **asking.settings})
    budget = Budget(Caps())

    async def interrupt():
        with Ledger(asking.folder / "ledger.jsonl") as ledger:
            async with Client(endpoint, ledger, budget) as client:
                tasks = [asyncio.create_task(client.ask(request)) for request in requests]
                while not asking.server.requests:
                    await asyncio.sleep(0.01)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(interrupt())
    assert asking.server.requests == budget.spent.requests == 1
    assert budget.spent.completion_tokens == 9


class NotedLimits(Limits):
    async def enter(self, tokens):
        entry = await super().enter(tokens)
        self.begun.append(entry.at)
        return entry


def test_the_pace_is_kept(asking):
    asking.limits = NotedLimits(requests=2, window_seconds=0.3)
    asking.limits.begun = begun = []
    asking(*map(str, range(5)))
    assert len(begun) == asking.server.requests == 5
    assert begun[2] - begun[0] >= 0.3 and begun[3] - begun[1] >= 0.3 and begun[4] - begun[2] >= 0.3


def test_a_cap_stops_before_it_is_exceeded(asking):
    asking.caps = Caps(max_requests=2)
    found = asking("甲", "乙", "丙", "丁")
    assert sum(isinstance(each, CapReached) for each in found) == 2 and asking.server.requests == 2


def test_schemas_are_left_out_for_who_does_not_know_them(asking):
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}
    asking.server.always = lambda body: (
        error(400, "response_format is not supported") if "response_format" in body else None
    )
    asking.settings["concurrency"] = 1
    assert asking("甲", "乙", response_format=schema) == ["re: 甲", "re: 乙"]
    assert ["response_format" in body for body in asking.server.bodies] == [True, False, False]
    assert asking("甲", response_format=schema) == ["re: 甲"] and asking.server.requests == 3


def test_the_key_is_sent_and_shown_nowhere(asking, monkeypatch, capfd):
    secret = "sk-7f3a9c"
    monkeypatch.setenv("OUR_KEY", secret)
    asking.settings["key_variable"] = "OUR_KEY"
    asking("甲")
    assert asking.server.headers[0]["Authorization"] == f"Bearer {secret}"
    asking.server.faults = [error(401, f"Incorrect API key provided: {secret}")]
    (failed,) = asking("乙")
    assert "correct the key in OUR_KEY" in str(failed) and secret not in repr(failed)
    written = b"".join(path.read_bytes() for path in asking.folder.rglob("*") if path.is_file())
    assert secret.encode() not in written and secret not in str(capfd.readouterr())
    monkeypatch.delenv("OUR_KEY")
    with pytest.raises(EndpointError, match="environment variable OUR_KEY is not set; export the key there"):
        asking("丙")


def test_a_proxy_sees_nothing_of_a_local_endpoint(asking, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert asking("甲") == ["re: 甲"]


def test_half_a_character_is_left_out(asking):
    asking.server.answer = lambda body: "多喝水\ud83d。"
    assert asking("甲") == ["多喝水。"]


def test_replies_without_usage_are_estimated(asking):
    def bare(handler):
        body = chat_server.completion("高血压要少吃盐")
        del body["usage"]
        chat_server.reply(handler, body)

    asking.server.faults = [bare]
    asking("什么")
    assert 5 <= asking.budget.spent.prompt_tokens <= 9 and 7 <= asking.budget.spent.completion_tokens <= 9
    row = json.loads((asking.folder / "ledger.jsonl").read_text(encoding="utf-8"))
    assert row["reply"]["text"] == "高血压要少吃盐" and re.match(r"\d{4}-\d\d-\d\dT", row["date"])
