"""Items through a misbehaving server: order, resuming, caps, and what leaves the house."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from synthesis_toys import Workshop, document, talk

from chat_server import ChatServer, cut_json, disconnect, error, last_user, serving, wrong_schema
from xinglin import plugins
from xinglin.data.deidentify import Deidentification
from xinglin.data.records import texts
from xinglin.endpoint import Caps
from xinglin.errors import EndpointError, Interrupted
from xinglin.synthesis.gate import Gate
from xinglin.synthesis.wording import LANGUAGES, packaged

RECORDS = [
    document(
        f"第{name}种病的患者应当多休息，清淡饮食，保持心情平静，症状加重时到门诊就诊，不要自行停药，定期复查相关指标。",
        row,
    )
    for row, name in enumerate("甲乙丙丁戊己庚辛壬癸子丑", 1)
]
TASK = {"name": "questions_from_text"}


def answer(body):
    text = last_user(body)
    name = text[text.index("第") + 1]
    if "<问题>" in text:
        return f"第{name}种病的患者应当多休息，清淡饮食，保持心情平静，症状加重时到门诊就诊。"
    return f"第{name}种病的患者应当注意什么？"


@pytest.fixture(autouse=True)
def taught(workshop):
    workshop.server.answer = answer


def said(records):
    return [texts(record) for record in records]


@pytest.mark.parametrize("concurrency", [1, 3, 16])
def test_the_records_do_not_depend_on_concurrency(workshop, concurrency):
    workshop.settings["concurrency"] = concurrency
    workshop.server.seconds = 0.002
    made = workshop.make(TASK, RECORDS)
    assert [record.origin.row for record in made] == list(range(1, 13))
    assert [text[0][1] for text in said(made)] == list("甲乙丙丁戊己庚辛壬癸子丑")
    assert workshop.server.most_at_once <= concurrency


def test_nor_on_what_the_server_does_meanwhile(workshop):
    workshop.settings |= {"attempts": 8, "max_wait_seconds": 0.02}
    workshop.server.faults = [error(429), cut_json, disconnect, error(500), wrong_schema, error(503)] * 3
    assert len(workshop.make(TASK, RECORDS)) == 12
    assert workshop.budget.spent.requests == workshop.server.requests == 24 + 18


def test_failures_are_counted_and_asked_for_again(workshop):
    workshop.server.always = lambda body: error(500) if "丙" in last_user(body) else None
    assert len(workshop.make(TASK, RECORDS)) == 11
    assert dict(workshop.accounts.failed) == {"http_500": 1}
    assert [(row["status"], row["origin"]) for row in workshop.rejected] == [("failed", "books.jsonl:3")]
    workshop.server.always, before = lambda body: None, workshop.server.requests
    assert len(workshop.make(TASK, RECORDS)) == 12 and workshop.server.requests == before + 2


def test_equal_texts_are_asked_about_once(workshop):
    made = workshop.make(TASK, [RECORDS[0]] * 5)
    assert len(made) == 5 and workshop.server.requests == 2
    assert len({json.dumps(record.meta) for record in made}) == 1


def test_a_second_run_pays_nothing(workshop):
    first = workshop.make(TASK, RECORDS)
    before = workshop.server.requests
    assert workshop.make(TASK, RECORDS) == first and workshop.server.requests == before
    assert workshop.budget.spent.requests == 0


@pytest.mark.parametrize("cap", [{"max_requests": 9}, {"max_tokens": 20_000}])
def test_a_cap_leaves_the_rest_unreached(workshop, cap):
    workshop.caps = Caps(**cap)
    made = workshop.make(TASK, RECORDS)
    accounts = workshop.accounts
    assert accounts.items == 12 and accounts.made == len(made)
    if "max_requests" in cap:
        assert workshop.server.requests == 9 and accounts.made >= 3
        assert workshop.budget.reached == "max_requests 9"
    workshop.caps = Caps()
    assert len(workshop.make(TASK, RECORDS)) == 12 and workshop.server.requests == 24


def test_a_cap_may_fail_the_stage(workshop):
    workshop.caps = Caps(max_requests=4, when_reached="fail")
    with pytest.raises(
        EndpointError, match=r"max_requests 4 is reached after \d+ items; raise it under caps"
    ):
        workshop.make(TASK, RECORDS)
    workshop.caps = Caps()
    assert len(workshop.make(TASK, RECORDS)) == 12 and workshop.server.requests == 24


def test_a_wrong_key_ends_it_at_once(workshop):
    workshop.server.always = lambda body: error(401)
    with pytest.raises(EndpointError, match="HTTP 401"):
        workshop.make(TASK, RECORDS)
    assert workshop.server.requests <= 8


def test_a_stop_keeps_what_was_paid_for(workshop):
    workshop.server.seconds = 0.05
    workshop.settings["concurrency"] = 1
    workshop.stop_requested = lambda: workshop.server.requests >= 6
    with pytest.raises(Interrupted):
        workshop.make(TASK, RECORDS)
    workshop.stop_requested = lambda: False
    workshop.make(TASK, RECORDS)
    assert workshop.server.requests <= 24 + 1


CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from synthesis_toys import Workshop
import test_production as here
workshop = Workshop(Path({folder!r}), None, {url!r})
print(len(workshop.make(here.TASK, here.RECORDS)))
"""


def test_killed_and_run_again_it_asks_for_nothing_twice(tmp_path):
    server = ChatServer(answer)
    server.seconds = 0.05
    with serving(server) as url:
        code = CHILD.format(tests=str(Path(__file__).parent), folder=str(tmp_path), url=url)
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}

        def start():
            return subprocess.Popen(
                [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment
            )

        for stop_after in (5, 12):
            child = start()
            while server.requests < stop_after and child.poll() is None:
                time.sleep(0.005)
            assert child.poll() is None, "it must not be done yet"
            child.send_signal(signal.SIGKILL)
            child.communicate()
        ledger = tmp_path / "ledger.jsonl"
        kept = {
            json.loads(line)["messages"][-1]["content"]
            for line in ledger.read_text("utf-8").splitlines()
            if line.endswith("}")
        }
        ledger.write_bytes(ledger.read_bytes() + b'{"key": "half a li')
        before = Counter(last_user(body) for body in server.bodies)
        last = start()
        assert last.communicate()[0].strip() == "12"
    after = Counter(last_user(body) for body in server.bodies) - before
    assert len(kept) >= 4 and not kept & after.keys(), "what is in the ledger is never asked for again"
    assert sum(after.values()) == 24 - len(kept)
    assert len(Workshop(tmp_path, None, "http://127.0.0.1:9/v1").make(TASK, RECORDS)) == 12


CANARIES = ["13912345678", "张伟明", "li.na@example.com", "110101199003070038"]
PERSONAL = talk(
    "患者姓名：张伟明，电话13912345678，身份证号110101199003070038，邮箱li.na@example.com，感冒发烧38.5度吃啥",
    "吃点布洛芬 0.2g 一天三次 多喝水哈，有事打我电话13912345678",
)


@pytest.mark.parametrize(
    "task", [{"name": "polish"}, {"name": "patient_doctor"}, {"name": "preferences", "answers": 2}]
)
def test_nothing_personal_leaves_through_the_gate(workshop, monkeypatch, task):
    monkeypatch.setenv("XINGLIN_DEIDENTIFY_KEY", "k" * 32)
    workshop.settings["local"] = False
    workshop.rules = Deidentification(mode="replace")
    # A reply that invents a patient goes through the gate too, when it is sent back.
    workshop.server.answer = lambda body: "您好，我的电话是13812345679，请问发烧几天了？有没有咳嗽？"
    workshop.make(task | {"tries": 1}, [PERSONAL])
    sent = "\n".join(json.dumps(body, ensure_ascii=False) for body in workshop.server.bodies)
    assert workshop.server.requests and ("布洛芬" in sent or "发烧" in sent)
    assert not [canary for canary in [*CANARIES, "13812345679"] if canary in sent]
    kept = "\n".join(path.read_text("utf-8") for path in workshop.folder.glob("*.jsonl"))
    assert not [canary for canary in CANARIES if canary in kept]


def test_the_report_shows_nothing_personal_of_what_was_rejected(workshop):
    workshop.server.answer = lambda body: "请休息，有事打我电话13912345678，"
    workshop.make({"name": "polish", "tries": 1}, [PERSONAL])
    assert dict(workshop.accounts.rejected) == {"unfinished": 1}
    assert "请休息" in workshop.accounts.examples["unfinished"]
    assert "13912345678" not in workshop.accounts.examples["unfinished"]


def test_without_the_gate_texts_stay_as_they_are(workshop):
    workshop.server.answer = lambda body: "请休息。"
    workshop.make({"name": "polish", "tries": 1}, [PERSONAL])
    assert all(
        canary in workshop.server.raw[0].encode().decode("unicode_escape")
        or canary in str(workshop.server.bodies)
        for canary in CANARIES
    )


def test_our_prompts_pass_the_gate_as_they_are(monkeypatch):
    from xinglin.data.records import Message, Origin

    monkeypatch.setenv("XINGLIN_DEIDENTIFY_KEY", "k" * 32)
    gate = Gate(Deidentification(mode="replace"))
    folder = Path(sys.modules["xinglin.synthesis"].__path__[0])
    wordings = [
        wording[language]
        for path in sorted((folder / "prompts").glob("*.yaml"))
        for wording in packaged(f"prompts/{path.name}").values()
        for language in LANGUAGES
    ]
    wordings += [
        row[language] for row in packaged("constitution.yaml")["principles"] for language in LANGUAGES
    ]
    wordings += [row[language] for row in packaged("safety.yaml")["situations"] for language in LANGUAGES]
    for text in wordings:
        (message,) = gate.outgoing([Message("user", text)], Origin("", 0))
        assert message.content == text


def test_every_prompt_is_there_in_both_languages():
    folder = Path(sys.modules["xinglin.synthesis"].__path__[0])
    found = {path.stem for path in (folder / "prompts").glob("*.yaml")}
    assert found >= set(plugins.names("xinglin.synthesis.tasks"))
    for name in found:
        assert all(set(wording) == set(LANGUAGES) for wording in packaged(f"prompts/{name}.yaml").values())
