"""What a client is made of: waits, limits, budget, ledger, settings."""

import asyncio
import json
import os
import random
import time
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from xinglin.data.records import Message
from xinglin.endpoint import Budget, CapReached, Caps, Endpoint, Ledger, Prices, Reply, Request, Usage
from xinglin.endpoint.budget import usage_of
from xinglin.endpoint.limits import Limits
from xinglin.endpoint.tokens import estimate_tokens
from xinglin.endpoint.waiting import backoff_seconds, retry_after_seconds
from xinglin.errors import RunError

NOW = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        (" 1.5 ", 1.5),
        ("-3", 0.0),
        ("inf", None),
        ("nan", None),
        ("soon", None),
        ("Mon, 04 May 2026 12:00:30 GMT", 30.0),
        ("Mon, 04 May 2026 12:00:30 -0000", 30.0),
        ("Mon, 04 May 2026 11:59:00 GMT", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(header, seconds):
    assert retry_after_seconds(header, now=NOW) == seconds


def test_waits_double_with_jitter_up_to_the_longest():
    dice = random.Random(1)
    for attempt in range(1, 12):
        full = min(20.0, 2.0 ** (attempt - 1))
        waits = [backoff_seconds(attempt, first=1.0, longest=20.0, dice=dice) for _ in range(50)]
        assert full / 2 <= min(waits) < max(waits) <= full


def endpoint(**settings):
    return Endpoint.model_validate({"base_url": "http://127.0.0.1:8000/v1", "model": "m", **settings})


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:8000/v1", True),
        ("http://localhost:8000/v1", True),
        ("http://localhost./v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://10.1.2.3/v1", True),
        ("http://192.168.1.5/v1", True),
        ("http://172.16.0.1/v1", True),
        ("http://8.8.8.8/v1", False),
        ("https://example.org/v1", False),
        ("http://localhost.example.org/v1", False),
        ("http://127.0.0.1.example.org/v1", False),
        ("http://intranet/v1", False),
        ("http://0.0.0.0/v1", False),
    ],
)
def test_what_is_local(url, local):
    assert endpoint(base_url=url).is_local is local
    assert endpoint(base_url=url, local=not local).is_local is not local


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": "ftp://x/v1"},
        {"base_url": "https://user:secret@host/v1"},
        {"base_url": "https://host/v1?key=secret"},
        {"key_variable": "sk-123"},
        {"parameters": {"stream": True}},
        {"attempts": 0},
        {"key": "sk-123"},
    ],
)
def test_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        endpoint(**wrong)


def test_tokens_are_estimated_a_little_high():
    assert estimate_tokens("高血压患者") == 5
    assert 2 <= estimate_tokens("take two") <= 3
    assert estimate_tokens("") == 0


def request(text="问", **parameters):
    return Request("m", (Message("user", text),), parameters)


def answer(text):
    return Reply(text, "stop", 3, 4, "2026-01-01T00:00:00+00:00")


def test_keys_tell_prompts_models_parameters_and_samples_apart():
    requests = [
        request(),
        request("问 "),
        request(temperature=0.5),
        request(temperature=0.6),
        Request("n", (Message("user", "问"),), {}),
        Request("m", (Message("system", "问"),), {}),
        Request("m", (Message("user", "问"),), {}, sample=1),
    ]
    assert len({each.key for each in requests}) == len(requests)
    assert request(a=1, b=2).key == request(b=2, a=1).key


def test_a_ledger_keeps_replies_and_drops_a_line_that_was_cut(tmp_path):
    path = tmp_path / "ledger.jsonl"
    with Ledger(path) as ledger:
        for number in range(5):
            ledger.add(request(f"问{number}"), answer(f"答{number}\n\u2028\ud800"))
        assert ledger.find(request("别的")) is None
    whole = path.read_bytes()
    rows = [json.loads(line) for line in whole.splitlines()]
    assert rows[2]["messages"] == [{"role": "user", "content": "问2"}]
    for cut in (1, 20, len(whole.splitlines()[-1])):
        path.write_bytes(whole[:-cut])
        with Ledger(path) as ledger:
            assert len(ledger) == 4 and ledger.find(request("问4")) is None
            assert ledger.find(request("问3")).text.startswith("答3\n")
            ledger.add(request("问4"), answer("新"))
        with Ledger(path) as ledger:
            assert ledger.find(request("问4")).text == "新" and len(ledger) == 5 and not ledger.damaged


def test_damaged_lines_of_a_ledger_are_left_alone_and_counted(tmp_path):
    path = tmp_path / "ledger.jsonl"
    with Ledger(path) as ledger:
        ledger.add(request(), answer("答"))
    path.write_bytes(b"not json\n" + path.read_bytes() + b'{"key": "x"}\n')
    with Ledger(path) as ledger:
        assert (len(ledger), ledger.damaged, ledger.find(request()).text) == (1, 2, "答")
        ledger.write_used(tmp_path / "used.jsonl")
    assert len((tmp_path / "used.jsonl").read_bytes().splitlines()) == 1
    assert path.read_bytes().startswith(b"not json\n")


def test_a_ledger_is_of_one_process_at_a_time(tmp_path):
    with (
        Ledger(tmp_path / "l"),
        pytest.raises(RunError, match="another run uses this ledger"),
        Ledger(tmp_path / "l"),
    ):
        pass
    if os.geteuid():
        (tmp_path / "l").chmod(0)
        with pytest.raises(RunError, match="name another path"), Ledger(tmp_path / "l"):
            pass


def test_no_cap_is_exceeded_by_requests_under_way():
    prices = Prices(prompt=1e6, completion=2e6)

    async def spend(caps, requests):
        budget = Budget(caps)
        most = 0.0

        async def one():
            nonlocal most
            worst = usage_of(1, 2, prices)
            await budget.reserve(worst)
            await asyncio.sleep(0.001)
            await budget.settle(worst, usage_of(1, 1, prices))
            most = max(most, budget.spent.cost)

        found = await asyncio.gather(*(one() for _ in range(requests)), return_exceptions=True)
        return budget, [each for each in found if each], most

    budget, stopped, most = asyncio.run(spend(Caps(max_cost=20.0), 30))
    # A request costs 5 at worst and 3 in the end: six fit into 20, the seventh might not.
    assert budget.spent == Usage(6, 6, 6, 18.0) and most <= 20
    assert len(stopped) == 24 and all(isinstance(each, CapReached) for each in stopped)
    assert budget.reached == "max_cost 20"
    budget, stopped, _ = asyncio.run(spend(Caps(max_requests=7), 30))
    assert budget.spent.requests == 7 and budget.reached == "max_requests 7"
    budget, stopped, _ = asyncio.run(spend(Caps(max_tokens=100), 30))
    assert budget.spent.tokens == 60 and not stopped


def test_what_was_spent_survives(tmp_path):
    path = tmp_path / "spent.jsonl"

    async def spend(budget):
        worst = Usage(1, 5, 5)
        await budget.reserve(worst)
        await budget.settle(worst, Usage(1, 5, 3, 0.25))

    asyncio.run(spend(Budget(Caps(), path)))
    asyncio.run(spend(Budget(Caps(), path)))
    path.write_bytes(path.read_bytes() + b'{"requests": 1, "pro')
    budget = Budget(Caps(max_requests=2), path)
    assert budget.spent == Usage(2, 10, 6, 0.5)
    with pytest.raises(CapReached):
        asyncio.run(spend(budget))


def entered(limits, tokens):
    async def run():
        start = time.monotonic()
        times = []
        for each in tokens:
            await limits.enter(each)
            times.append(time.monotonic() - start)
        return times

    return asyncio.run(run())


def test_no_window_holds_more_requests_or_tokens():
    times = entered(Limits(requests=3, window_seconds=0.2), [1] * 8)
    assert all(later - earlier >= 0.199 for earlier, later in zip(times, times[3:], strict=False))
    assert times[2] < 0.1
    times = entered(Limits(tokens=10, window_seconds=0.2), [6, 4, 1, 50, 1])
    assert times[1] < 0.1 and times[2] >= 0.199 and times[3] >= 0.399 and times[4] >= 0.599


def test_what_was_not_used_is_free_again():
    async def run():
        limits = Limits(tokens=10, window_seconds=30.0)
        entry = await limits.enter(9)
        waiting = asyncio.create_task(limits.enter(9))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        limits.settle(entry, 1)
        return await asyncio.wait_for(waiting, 1)

    assert asyncio.run(run()).tokens == 9


def test_a_pause_holds_everybody():
    limits = Limits()
    started = time.monotonic()
    limits.pause(0.15)
    entered(limits, [1])
    assert time.monotonic() - started >= 0.149
