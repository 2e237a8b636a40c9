"""No more requests and tokens in a minute than an endpoint takes, and pauses that it asks for."""

import asyncio
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field


@dataclass
class _Entry:
    at: float
    tokens: int


@dataclass
class Limits:
    """Lets requests through, first come, first served.

    In any ``window_seconds`` at most ``requests`` begin, and at most ``tokens`` are used by those that began. A
    request of more than ``tokens`` waits until it is alone.
    """

    requests: int | None = None
    tokens: int | None = None
    window_seconds: float = 60.0
    _entries: deque[_Entry] = field(default_factory=deque)
    _line: asyncio.Lock = field(default_factory=asyncio.Lock)
    _settled: asyncio.Event = field(default_factory=asyncio.Event)
    _closed_until: float = 0.0

    async def enter(self, tokens: int) -> _Entry:
        """Wait until a request of so many tokens may begin; what it gives goes to ``settle``."""
        async with self._line:
            while (wait := self._wait(tokens)) > 0:
                self._settled.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._settled.wait()
            entry = _Entry(time.monotonic(), tokens)
            if self.requests or self.tokens:
                self._entries.append(entry)
            return entry

    def settle(self, entry: _Entry, tokens: int) -> None:
        """So many tokens it were in the end; there may be room now for who waits."""
        entry.tokens = tokens
        self._settled.set()

    def pause(self, seconds: float) -> None:
        """Nothing begins for so long."""
        self._closed_until = max(self._closed_until, time.monotonic() + seconds)

    def _wait(self, tokens: int) -> float:
        now = time.monotonic()
        while self._entries and self._entries[0].at <= now - self.window_seconds:
            self._entries.popleft()
        wait = self._closed_until - now
        if not self._entries:
            return wait
        used = sum(entry.tokens for entry in self._entries)
        many = self.requests is not None and len(self._entries) >= self.requests
        if many or (self.tokens is not None and used + tokens > self.tokens):
            wait = max(wait, self._entries[0].at + self.window_seconds - now)
        return wait
