"""How long to wait before asking a server again (RFC 9110, 10.2.3)."""

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

AGAIN = (408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529)
"""HTTP answers that may be others a moment later."""


def backoff_seconds(attempt: int, *, first: float, longest: float, dice: random.Random) -> float:
    """Before attempt ``attempt`` + 1: doubled each time, between half and all of it, so that clients part ways."""
    return min(longest, first * 2 ** (attempt - 1)) * (0.5 + dice.random() / 2)


def retry_after_seconds(header: str | None, *, now: datetime | None = None) -> float | None:
    """What ``Retry-After`` says: seconds, or a date. None where it says nothing that can be read."""
    if header is None:
        return None
    text = header.strip()
    try:
        seconds = float(text)
        return max(0.0, seconds) if seconds < float("inf") else None
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())
