"""What was spent, and caps on it that hold before a request is made."""

import asyncio
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from xinglin.config.base import Config
from xinglin.config.parts import Above, Positive
from xinglin.endpoint.config import Prices


class Caps(Config):
    """What may be spent at most. Replies found in the ledger cost nothing."""

    max_requests: Positive | None = None
    """HTTP requests, those that fail and are made again too."""
    max_tokens: Positive | None = None
    """Tokens of prompts and replies."""
    max_cost: Above | None = None
    """In the currency of the prices."""
    when_reached: Literal["stop", "fail"] = "stop"
    """``stop``: what is made by then is the result, and it says so. ``fail``: the stage fails; the ledger keeps what
    was paid for, so that it can go on with higher caps."""


@dataclass(frozen=True)
class Usage:
    """Requests, tokens and money."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.requests + other.requests,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cost + other.cost,
        )

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def to_json(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "cost": round(self.cost, 6),
        }


def usage_of(prompt_tokens: int, completion_tokens: int, prices: Prices | None) -> Usage:
    """One request with its price."""
    cost = (prompt_tokens * prices.prompt + completion_tokens * prices.completion) / 1e6 if prices else 0.0
    return Usage(1, prompt_tokens, completion_tokens, cost)


class CapReached(Exception):
    """A request was not made, because with it a cap could be exceeded: which one."""


@dataclass
class Budget:
    """Counts what is spent. What a request may cost at worst is set aside while it is under way, so that no cap is
    exceeded by requests that are made at the same time.

    ``path`` keeps a line for every request, so that an interrupted stage knows what it has spent already.
    """

    caps: Caps
    path: Path | None = None
    spent: Usage = Usage()
    reached: str = ""
    """The cap that was hit, in words; '' while there is none."""
    _aside: list[Usage] = field(default_factory=list)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def __post_init__(self) -> None:
        if self.path and self.path.exists():
            lines = self.path.read_bytes().splitlines(keepends=True)
            whole = [line for line in lines if line.endswith(b"\n")]
            self.path.write_bytes(b"".join(whole))
            self.spent = sum((Usage(**json.loads(line)) for line in whole), self.spent)

    async def reserve(self, worst: Usage) -> None:
        """Set ``worst`` aside, after others are settled if there is no room before.

        Raises:
            CapReached: there is no room even when nothing else is under way.
        """
        async with self._changed:
            while not self.reached and (cap := self._exceeded(worst)):
                if not self._aside:
                    self.reached = cap
                    self._changed.notify_all()
                    break
                await self._changed.wait()
            if self.reached:
                raise CapReached(self.reached)
            self._aside.append(worst)

    async def settle(self, worst: Usage, actual: Usage) -> None:
        """What was set aside as ``worst`` came to ``actual``."""
        async with self._changed:
            self._aside.remove(worst)
            self._spend(actual)
            self._changed.notify_all()

    def _spend(self, usage: Usage) -> None:
        self.spent += usage
        if self.path and usage != Usage():
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(usage)) + "\n")

    def _exceeded(self, more: Usage) -> str:
        total = sum(self._aside, self.spent) + more
        caps = self.caps
        for name, cap, value in (
            ("max_requests", caps.max_requests, total.requests),
            ("max_tokens", caps.max_tokens, total.tokens),
            ("max_cost", caps.max_cost, total.cost - 1e-9),
        ):
            if cap is not None and value > cap:
                return f"{name} {cap:g}"
        return ""
