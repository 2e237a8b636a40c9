"""Rewards that know the right answer or ask a model: exam answers, a reward model, a service."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import ValidationError
from reward_toys import build, config, context, sample, score

from xinglin import plugins
from xinglin.data.prompts import EXAM
from xinglin.errors import DataError, RewardError
from xinglin.rewards import PACKAGE, Sample, http

OPTIONS = {"A": "青霉素", "B": "四环素", "C": "头孢"}


@pytest.mark.parametrize(
    ("right", "answer", "expected"),
    [
        ("B", "答案：B", 1),
        ("B", "妊娠期不宜使用四环素类，故选B。", 1),
        ("B", "The answer is A.", 0),
        ("B", "不知道", 0),
        ("B", "A或B", 0),
        ("AC", "答案：A、C", 1),
        ("CA", "答案：AC", 1),
        ("AC", "答案：A", 0),
        ("B", "<think>A不对</think><answer>B</answer>", 1),
        ("B", "<think>选B</think><answer>A</answer>", 0),
        ("B", "<think>应该选B", 0),
        ("B", "", 0),
    ],
)
def test_exam_answer(right: str, answer: str, expected: float) -> None:
    asked = sample("哪项禁用？", answer, meta={EXAM: {"options": OPTIONS, "answer": right}})
    assert score("exam_answer", asked, record="question") == expected


def test_exam_answers_need_questions() -> None:
    with pytest.raises(DataError, match="no right answer to a conversation; name a split of exam questions"):
        build("exam_answer")
    with pytest.raises(DataError, match="without options and right answer"):
        build("exam_answer", record="question")([sample("问", "B")])


class Judge:
    """Counts characters; its scores have mean 10 and deviation 2."""

    def __init__(self, scale: Any = (10, 2)):
        self.scale = scale

    def score(self, requests, *, normalise=False):
        raw = [float(len(answer)) for _, answer in requests]
        return [(score - 10) / 2 for score in raw] if normalise else raw


def test_a_reward_model_that_is_loaded_already() -> None:
    module = plugins.load(PACKAGE, "model")
    loaded = context(scorers={"stage:reward": Judge()})
    samples = [sample("问", "一二三四"), sample("问", "一" * 12)]
    options = {"model": "stage:reward"}
    assert module.build(config("model", **options), loaded)(samples) == [-3.0, 1.0]
    assert module.build(config("model", normalise=False, **options), loaded)(samples) == [4.0, 12.0]
    unscaled = context(scorers={"stage:reward": Judge(None)})
    with pytest.raises(
        RewardError, match=r"stage:reward .* does not know its mean score; set normalise: false"
    ):
        module.build(config("model", **options), unscaled)


class Service(BaseHTTPRequestHandler):
    """Scores the length of answers; ``plan`` holds what to do with the next requests instead."""

    plan: list[Any]
    seen: list[Any]

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["samples"]
        self.seen.append(asked)
        status, reply = 200, {"scores": [len(row["answer"]) for row in asked]}
        if self.plan:
            status, reply = self.plan.pop(0)
        body = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Silence."""


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(http, "FIRST_WAIT_SECONDS", 0.001)
    Service.plan, Service.seen = [], []
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        Service.url = f"http://127.0.0.1:{server.server_address[1]}/score"
        yield Service
        server.shutdown()
        thread.join()


def test_http_batches_and_scales(service: Any) -> None:
    ask = build("http", url=service.url, batch_size=2, mean=1.0, scale=2.0)
    samples = [sample("问", "字" * n, meta={"department": "内科"}) for n in (3, 5, 7)]
    assert ask(samples) == [1.0, 2.0, 3.0]
    assert [len(batch) for batch in service.seen] == [1, 2, 1], "a trial, then batches of two"
    assert service.seen[1][0] == {
        "prompt": [{"role": "user", "content": "问"}],
        "answer": "字字字",
        "finish": "stop",
        "tokens": 3,
        "meta": {"department": "内科"},
    }
    assert ask([]) == []


def test_http_tries_again_while_that_may_help(service: Any) -> None:
    ask = build("http", url=service.url, retries=3)
    service.plan[:] = [(503, {}), (429, {})]
    assert ask([sample("问", "字字")]) == [2.0]
    service.plan[:] = [(500, {})] * 4
    with pytest.raises(RewardError, match=r"it replies 500 .*; 4 attempts"):
        ask([sample("问", "字字")])
    service.plan[:] = [(404, {})] * 4
    with pytest.raises(RewardError, match=r"it replies 404 .*; 1 attempts"):
        ask([sample("问", "字字")])


@pytest.mark.parametrize(
    "reply", [{"scores": []}, {"scores": ["1"]}, {"score": [1]}, [1], {"scores": [True]}]
)
def test_http_replies_that_are_no_scores_are_shown(service: Any, reply: Any) -> None:
    service.plan[:] = [(200, reply)]
    with pytest.raises(RewardError, match=r"replied .* to 1 samples; it must reply"):
        build("http", url=service.url)


def test_an_endpoint_that_nobody_listens_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "FIRST_WAIT_SECONDS", 0.001)
    url = "http://127.0.0.1:9/score"
    with pytest.raises(
        RewardError, match=rf"^{url} gives no scores \(.*refused.*; 3 attempts\); start the service"
    ):
        build("http", url=url, retries=2)
    with pytest.raises(ValidationError, match="url"):
        config("http", url="localhost:80")


def test_samples_tell_question_and_answer_apart() -> None:
    thought = Sample((), "<think>想</think> 答 ", "stop", 1)
    assert (thought.final, thought.question, thought.exam) == ("答", "", None)
