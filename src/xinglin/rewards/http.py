"""HTTP: scores from a service of one's own.

It gets ``POST {"samples": [{"prompt": [{"role", "content"}], "answer", "finish", "tokens", "meta"}]}`` as JSON and
replies ``{"scores": [1.5, …]}``, a number for each sample in order.
"""

import itertools
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from http.client import HTTPException
from typing import Annotated, Any, Literal

from pydantic import Field

from xinglin.config.parts import Positive
from xinglin.data.records import Message
from xinglin.endpoint.waiting import AGAIN, retry_after_seconds
from xinglin.errors import RewardError
from xinglin.rewards import Context, Reward, RewardConfig, Sample

FIRST_WAIT_SECONDS = 0.5
"""Before the second attempt; each further wait is twice as long."""


class Config(RewardConfig):
    """What a service says."""

    name: Literal["http"]
    """Which reward: a file in ``rewards/``."""
    url: Annotated[str, Field(pattern=r"^https?://\S+$")]
    """Where to post to."""
    mean: float = 0.0
    """Subtracted from what it replies: about its mean over answers of the model before training."""
    scale: Annotated[float, Field(gt=0)] = 1.0
    """Divides the difference: about the deviation there, so that its weight compares with that of rules."""
    batch_size: Positive = 64
    """Samples in one request."""
    timeout_seconds: Annotated[float, Field(gt=0)] = 60.0
    """How long to wait for one reply."""
    retries: Annotated[int, Field(ge=0)] = 5
    """Further attempts after a failed one, with waits of 0.5, 1, 2, … seconds before them, or of what ``Retry-After``
    asks for, up to ``timeout_seconds``."""


def build(config: Config, context: Context) -> Reward:
    """Asks once for a trial.

    Raises:
        RewardError: nobody answers there, or not as this file says.
    """

    def score(samples: Sequence[Sample]) -> list[float]:
        return [score for batch in _batches(samples, config.batch_size) for score in _ask(batch, config)]

    score([Sample((Message("user", "你好"),), "您好。", "stop", 3)])
    return score


def _batches(samples: Sequence[Sample], size: int) -> Iterator[Sequence[Sample]]:
    return (samples[start : start + size] for start in range(0, len(samples), size))


def _ask(samples: Sequence[Sample], config: Config) -> list[float]:
    body = json.dumps({"samples": [_to_json(sample) for sample in samples]}, ensure_ascii=False).encode()
    reply = _post(body, config)
    try:
        scores = json.loads(reply)["scores"]
        if len(scores) != len(samples) or not all(type(score) in (int, float) for score in scores):
            raise ValueError
    except (ValueError, TypeError, KeyError):
        shown = reply[:200].decode("utf-8", "replace")
        raise RewardError(
            f"{config.url} replied {shown!r} to {len(samples)} samples; "
            'it must reply {"scores": [...]} with one number for each'
        ) from None
    return [(score - config.mean) / config.scale for score in scores]


def _post(body: bytes, config: Config) -> bytes:
    request = urllib.request.Request(config.url, body, {"Content-Type": "application/json"})
    for attempt in itertools.count(1):
        try:
            with urllib.request.urlopen(request, timeout=config.timeout_seconds) as reply:
                return reply.read()
        except urllib.error.HTTPError as error:
            reason, again = f"it replies {error.code} {error.reason}", error.code in AGAIN
            asked = retry_after_seconds(error.headers.get("Retry-After")) or 0.0
        except (OSError, HTTPException) as error:
            reason, again, asked = str(getattr(error, "reason", error)) or type(error).__name__, True, 0.0
        if not again or attempt > config.retries:
            cure = "start the service there, or correct the URL"
            raise RewardError(f"{config.url} gives no scores ({reason}; {attempt} attempts); {cure}")
        time.sleep(max(FIRST_WAIT_SECONDS * 2 ** (attempt - 1), min(asked, config.timeout_seconds)))
    raise AssertionError


def _to_json(sample: Sample) -> dict[str, Any]:
    return {
        "prompt": [message.to_json() for message in sample.prompt],
        "answer": sample.answer,
        "finish": sample.finish,
        "tokens": sample.tokens,
        "meta": dict(sample.meta),
    }
