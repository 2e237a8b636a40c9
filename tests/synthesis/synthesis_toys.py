"""A task, a server and records, without a stage around them."""

import json

from pydantic import TypeAdapter

from xinglin import plugins
from xinglin.data.deidentify import Deidentification
from xinglin.data.records import Conversation, Document, Message, Origin, from_json
from xinglin.endpoint import Budget, Caps, Endpoint, Ledger
from xinglin.runtime.progress import Bar
from xinglin.stages.synthesize import Task
from xinglin.synthesis.accounts import Accounts, Rejections
from xinglin.synthesis.gate import Gate
from xinglin.synthesis.production import Shop, Writer, produce
from xinglin.synthesis.tasks import PACKAGE

TASK = TypeAdapter(Task)


def document(text, row=1, **meta):
    return Document(text, Origin("books.jsonl", row), meta)


def talk(*turns, row=1, **meta):
    roles = ("user", "assistant")
    messages = tuple(Message(roles[i % 2], text) for i, text in enumerate(turns))
    return Conversation(messages, Origin("talk.jsonl", row), meta)


class Workshop:
    """``workshop.make({"name": "polish"}, records)`` -> the records that the server's replies become."""

    def __init__(self, folder, server, url):
        self.folder, self.server, self.url = folder, server, url
        self.settings = {"concurrency": 4, "timeout_seconds": 30.0, "attempts": 1}
        self.caps = Caps()
        self.rules = Deidentification(mode="off")
        self.stop_requested = lambda: False
        self.accounts = Accounts()
        self.rejected = []
        self.budget = None

    def make(self, task, records=(), *, seed=5):
        config = TASK.validate_python(task)
        module = plugins.load(PACKAGE, config.name)
        given = lambda: iter(records) if module.READS else module.own_records(config)
        endpoint = Endpoint.model_validate({"base_url": self.url, "model": "m", **self.settings})
        gate, self.accounts, self.budget = Gate(self.rules), Accounts(), Budget(self.caps)
        screen = module.screen(given(), config) if hasattr(module, "screen") else None
        path, rejected = self.folder / "made.jsonl", self.folder / "rejected.jsonl"
        with Ledger(self.folder / "ledger.jsonl") as ledger, Rejections(rejected) as rejections:
            shop = Shop(module, config, endpoint, gate, ledger, self.budget, self.stop_requested)
            writer = Writer(path, rejections, screen, self.accounts)
            items = module.items(map(gate.record, given()), config, seed)
            produce(shop, items, writer, Bar(None, "test", None))
        self.rejected = [json.loads(line) for line in rejected.read_text(encoding="utf-8").splitlines()]
        lines = path.read_text(encoding="utf-8").splitlines()
        counts = self.accounts
        failed = counts.rejected.total() + counts.failed.total()
        assert counts.items == counts.made + failed + counts.not_reached
        assert counts.records == len(lines)
        return [from_json(json.loads(line), Origin("", 0)) for line in lines]
