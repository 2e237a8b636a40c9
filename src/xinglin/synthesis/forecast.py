"""What a stage would ask and spend, from its items, before anything is sent."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NoReturn

from xinglin.data.records import Message
from xinglin.endpoint import Endpoint
from xinglin.endpoint.budget import usage_of
from xinglin.endpoint.tokens import estimate_prompt
from xinglin.synthesis.asking import endpoints
from xinglin.synthesis.task import Ask, Expected, Item, Rejected, TaskConfig
from xinglin.synthesis.wording import Wording

LOOKED_AT = 50
"""Items whose prompts are measured."""


@dataclass(frozen=True)
class Forecast:
    """Without tries after rejections, repairs, and what is in the ledger already."""

    items: int
    requests: int
    prompt_tokens: int
    """About, and without the replies that prompts hold."""
    completion_tokens: int
    """At most: every reply is taken to be as long as it may be."""
    cost: float | None
    """At most, with every reply and every prompt that holds it as long as may be; None without prices."""

    def __str__(self) -> str:
        tokens = (
            f"about {self.prompt_tokens:,} tokens of prompts, at most {self.completion_tokens:,} of replies"
        )
        cost = f", costs at most {self.cost:,.2f} if nothing is tried again" if self.cost is not None else ""
        return f"{self.items:,} items, {self.requests:,} requests, {tokens}{cost}"


def forecast(task: ModuleType, config: TaskConfig, items: Iterator[Item], endpoint: Endpoint) -> Forecast:
    """Counts all items; measures the prompts of some, evenly spread."""
    wording = Wording(config.name, config.prompts)
    seen: list[int] = []
    step, count = 1, 0
    for item in items:
        if count % step == 0:
            seen.append(asyncio.run(_first_prompt(task, config, item, wording)))
            if len(seen) == 2 * LOOKED_AT:
                seen, step = seen[::2], 2 * step
        count += 1
    requests: Sequence[Expected] = task.requests(config)
    measured = [tokens for tokens in seen if tokens]
    first = sum(measured) / len(measured) if measured else 0
    return Forecast(
        items=count,
        requests=count * len(requests),
        prompt_tokens=round(count * sum(first + each.tokens for each in requests)),
        completion_tokens=count * len(requests) * config.max_new_tokens,
        cost=_cost(requests, first, config, endpoints(endpoint, config), count=count),
    )


class _Asked(BaseException):
    """Carries the first prompt out of a task; nothing in a task may catch it."""


class _Measuring:
    """An ``Ask`` that only looks at the prompt."""

    def __init__(self, item: Item, wording: Wording):
        self.chinese, self._wording = item.chinese, wording

    async def __call__(
        self,
        prompt: str,
        *,
        history: Sequence[Message] = (),
        sample: int = 0,
        temperature: float | None = None,
        judge: bool = False,
        **values: Any,
    ) -> NoReturn:
        text = self._wording.render(prompt, chinese=self.chinese, **values).text
        raise _Asked(estimate_prompt([Message("user", text), *history]))

    async def form(self, prompt: str, form: Any, *, judge: bool = False, **values: Any) -> NoReturn:
        await self(prompt, **values)
        raise AssertionError


async def _first_prompt(task: ModuleType, config: TaskConfig, item: Item, wording: Wording) -> int:
    """Tokens; 0 for an item that is rejected without a question."""
    ask: Ask = _Measuring(item, wording)
    try:
        await task.make(item, config, ask)
    except _Asked as asked:
        return int(asked.args[0])
    except Rejected:
        return 0
    raise AssertionError


def _cost(
    requests: Sequence[Expected], first: float, config: TaskConfig, asked: Sequence[Endpoint], *, count: int
) -> float | None:
    """Of ``count`` items at most, where those asked are the one that writes and the one that judges."""
    if not any(endpoint.prices for endpoint in asked):
        return None
    longest = config.max_new_tokens
    return count * sum(
        usage_of(
            round(first + each.tokens + each.replies * longest),
            longest,
            asked[-1 if each.judge else 0].prices,
        ).cost
        for each in requests
    )
