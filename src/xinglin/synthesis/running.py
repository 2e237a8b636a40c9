"""Items through a task, several at a time, results in their order."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, Literal, TypeVar

from xinglin.data.records import Record
from xinglin.endpoint import CapReached, NoReply
from xinglin.errors import Interrupted
from xinglin.synthesis.asking import Asking, Desk
from xinglin.synthesis.task import Item, Rejected

LOOK_SECONDS = 0.2
"""How often it is looked whether to stop."""
AHEAD = 4
"""Results that may wait for a slow one before them, for each item that is worked on."""
Status = Literal["made", "rejected", "failed", "not_reached"]
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Result:
    """What became of an item."""

    item: Item
    status: Status
    records: tuple[Record, ...] = ()
    reason: str = ""
    detail: str = ""
    said: tuple[dict[str, str], ...] = ()
    """Prompts and replies of the last try, if it was rejected."""


async def make_item(task: ModuleType, item: Item, desk: Desk) -> Result:
    """Try until what is made is good enough.

    Raises:
        EndpointError: nothing can be made as things are.
    """
    result = Result(item, "rejected")
    for trial in range(desk.config.tries):
        ask = Asking(desk, item, trial)
        try:
            records = await task.make(item, desk.config, ask)
        except Rejected as error:
            result = Result(item, "rejected", (), error.reason, error.detail, tuple(ask.said))
        except NoReply as error:
            return Result(item, "failed", (), error.reason, error.detail)
        except CapReached as error:
            return Result(item, "not_reached", (), "cap_reached", str(error))
        else:
            provenance = ask.provenance()
            made = (replace(record, meta={**record.meta, "synthesis": provenance}) for record in records)
            return Result(item, "made", tuple(made))
    return result


async def in_order(
    items: Iterator[Item],
    make: Callable[[Item], Coroutine[Any, Any, _Result]],
    *,
    done: Callable[[_Result], None],
    at_once: int,
    stop_requested: Callable[[], bool],
) -> None:
    """Work on ``at_once`` items, the first ones first, and hand over each result when those before it are there.

    An item is finished before another is begun in its place, so that a cap leaves few that are half paid for.

    Raises:
        Interrupted: a stop was requested.
    """
    waiting: deque[asyncio.Task[_Result]] = deque()
    places = asyncio.Semaphore(at_once)

    async def make_here(item: Item) -> _Result:
        async with places:
            return await make(item)

    try:
        for item in items:
            waiting.append(asyncio.create_task(make_here(item)))
            if len(waiting) >= AHEAD * at_once:
                done(await _finished(waiting, stop_requested))
        while waiting:
            done(await _finished(waiting, stop_requested))
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def _finished(waiting: deque[asyncio.Task[_Result]], stop_requested: Callable[[], bool]) -> _Result:
    """The result of the first of ``waiting``; an error of any of them is raised at once."""
    while True:
        if stop_requested():
            raise Interrupted
        running = [task for task in waiting if not task.done()]
        for task in waiting:
            if task.done() and (error := task.exception()):
                raise error
        if waiting[0].done():
            return waiting.popleft().result()
        await asyncio.wait(running, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
