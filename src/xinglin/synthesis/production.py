"""From items to a file of records: the asking, the counting, what is left out afterwards."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

from xinglin.data.accounting import Quarantine
from xinglin.data.copies.duplicates import SplitFile
from xinglin.data.copies.leaks import LeakReport, Leaks, find_leaks, load_protected
from xinglin.data.records import Record
from xinglin.endpoint import Budget, Client, Endpoint, Ledger, Usage
from xinglin.errors import EndpointError
from xinglin.runtime.progress import Bar
from xinglin.synthesis.accounts import Accounts, Rejections
from xinglin.synthesis.asking import Desk, endpoints
from xinglin.synthesis.gate import Gate
from xinglin.synthesis.running import Result, in_order, make_item
from xinglin.synthesis.task import Item, TaskConfig
from xinglin.synthesis.wording import Wording

Screen = Callable[[Record], str | None]


@dataclass(frozen=True)
class Shop:
    """What records are made with."""

    task: ModuleType
    config: TaskConfig
    endpoint: Endpoint
    gate: Gate
    ledger: Ledger
    budget: Budget
    stop_requested: Callable[[], bool]


@dataclass
class Writer:
    """Writes what is made, and counts; results come in the order of their items."""

    path: Path
    rejections: Rejections
    screen: Screen | None
    accounts: Accounts

    def __post_init__(self) -> None:
        self.path.write_bytes(b"")

    def add(self, result: Result) -> None:
        kept = [record for record in result.records if self._keeps(record)]
        self.accounts.add(result, len(kept))
        if not result.records and result.status != "not_reached":
            self.rejections.item(result)
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(record.to_json(), ensure_ascii=False) + "\n" for record in kept)

    def _keeps(self, record: Record) -> bool:
        reason = self.screen(record) if self.screen else None
        if reason:
            self.accounts.left_out[reason] += 1
            self.rejections.record(record, reason, "")
        return not reason


def produce(shop: Shop, items: Iterator[Item], writer: Writer, bar: Bar) -> int:
    """Make records of all items; returns how many requests the ledger answered.

    Raises:
        EndpointError: nothing can be made as things are, or a cap is reached and is to fail.
        Interrupted: a stop was requested; what was paid for is in the ledger.
    """
    return asyncio.run(_produce(shop, items, writer, bar))


async def _produce(shop: Shop, items: Iterator[Item], writer: Writer, bar: Bar) -> int:
    wording = Wording(shop.config.name, shop.config.prompts)
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(Client(endpoint, shop.ledger, shop.budget))
            for endpoint in endpoints(shop.endpoint, shop.config)
        ]
        desk = Desk(shop.config, wording, shop.gate, clients[0], clients[-1])

        def done(result: Result) -> None:
            if result.status == "not_reached" and shop.budget.caps.when_reached == "fail":
                raise EndpointError(
                    f"{shop.budget.reached} is reached after {writer.accounts.items} items; raise it under caps "
                    "(what was paid for is kept), or set when_reached: stop"
                )
            writer.add(result)
            bar.advance(1, made=writer.accounts.made, **_shown(shop.budget.spent))

        await in_order(
            items,
            partial(make_item, shop.task, desk=desk),
            done=done,
            at_once=shop.endpoint.concurrency,
            stop_requested=shop.stop_requested,
        )
        return sum(client.reused for client in clients)


def _shown(spent: Usage) -> dict[str, float]:
    cost = {"cost": spent.cost} if spent.cost else {}
    return {"requests": spent.requests, "tokens": spent.tokens, **cost}


def without_leaks(
    made: SplitFile, others: list[SplitFile], rules: Leaks, quarantine: Quarantine, writer: Writer
) -> LeakReport | None:
    """Search what was made for items of benchmarks and held-out splits; mode ``remove`` takes those records out."""
    if rules.mode == "off":
        return None
    found = find_leaks([made], load_protected(rules, others, quarantine), rules)
    removals = found.removals(made.name) if rules.mode == "remove" else {}
    if removals:
        from xinglin.data.splits import read_split  # loads transformers, which a recipe's check does not need

        lines = made.path.read_bytes().splitlines(keepends=True)
        for place, record in enumerate(read_split(made.path)):
            if removal := removals.get(place):
                writer.accounts.left_out["leak"] += 1
                writer.accounts.records -= 1
                writer.rejections.record(record, "leak", removal.detail)
        made.path.write_bytes(b"".join(line for place, line in enumerate(lines) if place not in removals))
    return found
