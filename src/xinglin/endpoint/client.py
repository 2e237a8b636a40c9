"""A client of one endpoint: limits, attempts, budget and ledger around ``POST /chat/completions``."""

import asyncio
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from xinglin.endpoint.budget import Budget, Usage, usage_of
from xinglin.endpoint.config import Endpoint
from xinglin.endpoint.ledger import Ledger, Reply, Request, now
from xinglin.endpoint.limits import Limits
from xinglin.endpoint.tokens import estimate_prompt, estimate_tokens
from xinglin.endpoint.waiting import AGAIN, backoff_seconds, retry_after_seconds
from xinglin.errors import EndpointError
from xinglin.runtime.environment import secret_of

FIRST_WAIT_SECONDS = 1.0
KNOCKS = 3
"""Attempts to reach an endpoint that has not answered yet; later it may be restarting, and all attempts are made."""
SCHEMA = "response_format"
_NOBODY = "no_connection"
_SHOWN = 200
_EMPTY_PURSE = (
    *("insufficient_quota", "insufficient_balance", "Insufficient Balance", "Arrearage"),
    *("billing_hard_limit", "billing_not_active"),
)
"""In an error that no waiting cures. Ordinary rate limits also name billing pages."""
_ABOUT_THE_TEXT = (
    *("context_length", "maximum context", "context length", "too long", "too many tokens", "max_model_len"),
    *("content_filter", "content_policy", "data_inspection", "DataInspection", "sensitive", "moderation"),
)
"""In a refusal of this one prompt."""


class NoReply(Exception):
    """A request that failed for good: a reason in one word, and what was said."""

    def __init__(self, reason: str, detail: str):
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


class _Again(Exception):
    """An attempt that failed and may succeed later: reason, detail, seconds that the server asks for, and whether it
    may have been charged for."""

    def __init__(self, reason: str, detail: str, *, wait: float | None = None, charged: bool = False):
        super().__init__(reason, detail)
        self.reason, self.detail, self.wait, self.charged = reason, detail, wait, charged


class _WithoutSchema(Exception):
    """The endpoint does not know JSON schemas; the request is made again without."""


@dataclass(frozen=True)
class _Answer:
    """What HTTP brought."""

    status: int
    body: bytes
    retry_after: str | None


class Client:
    """Asks ``endpoint``; an asynchronous context manager.

    Args:
        first_wait_seconds: before a second attempt.
        limits: default: those of ``endpoint``.

    Raises:
        EndpointError: its key is not there.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        ledger: Ledger,
        budget: Budget,
        *,
        first_wait_seconds: float = FIRST_WAIT_SECONDS,
        limits: Limits | None = None,
    ):
        self.endpoint, self.ledger, self.budget = endpoint, ledger, budget
        self.reused = 0
        """Requests that the ledger answered."""
        self._key = key_of(endpoint)
        self._first_wait = first_wait_seconds
        self._limits = limits or Limits(endpoint.requests_per_minute, endpoint.tokens_per_minute)
        self._slots = asyncio.Semaphore(endpoint.concurrency)
        self._under_way: dict[str, asyncio.Future[Reply]] = {}
        self._dice = random.Random()  # only waits follow from it, and those must differ between processes
        self._knows_schemas = endpoint.structured == "auto"
        self._ever_answered = False
        self._failed_in_row = 0

    async def __aenter__(self) -> Self:
        import httpx2

        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        # Neither a proxy nor a redirect may carry away what is meant for a machine of the user. The slots alone
        # decide how many connections there are: a wait for one would count as the endpoint's.
        self._http = httpx2.AsyncClient(
            headers=headers,
            timeout=None,
            limits=httpx2.Limits(),
            follow_redirects=False,
            trust_env=not self.endpoint.is_local,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def ask(self, request: Request) -> Reply:
        """The reply to ``request``: from the ledger, from an equal request under way, else from the endpoint.

        Raises:
            NoReply: it failed for good.
            CapReached: the budget does not allow it.
            EndpointError: no request can succeed as things are.
        """
        if found := self.ledger.find(request):
            self.reused += 1
            return found
        if waiting := self._under_way.get(request.key):
            return await asyncio.shield(waiting)
        future = self._under_way[request.key] = asyncio.get_running_loop().create_future()
        try:
            async with self._slots:
                reply = await self._attempts(request)
            self.ledger.add(request, reply)
            future.set_result(reply)
            return reply
        except BaseException as error:
            # Who waits for the same gets the same error; a cancelled one must not look like theirs.
            future.set_exception(error) if isinstance(error, Exception) else future.cancel()
            future.exception() if not future.cancelled() else None
            raise
        finally:
            del self._under_way[request.key]

    async def _attempts(self, request: Request) -> Reply:
        attempt = 0
        while True:
            attempt += 1
            try:
                reply = await self._attempt(request)
            except _WithoutSchema:
                self._knows_schemas = False
            except _Again as error:
                if attempt >= KNOCKS and error.reason == _NOBODY and not self._ever_answered:
                    raise EndpointError(
                        f"{self.endpoint.title}: {error.detail}; start it, or correct base_url "
                        f"('{self.endpoint.base_url}')"
                    ) from None
                if attempt >= self.endpoint.attempts:
                    raise self._failed(error) from None
                await self._wait(attempt, error)
            else:
                self._failed_in_row, self._ever_answered = 0, True
                return reply

    def _failed(self, last: _Again) -> Exception:
        """What a request comes to whose attempts are used up."""
        self._failed_in_row += 1
        if self._failed_in_row < self.endpoint.failures_in_row:
            return NoReply(last.reason, f"{last.detail} ({self.endpoint.attempts} attempts)")
        return EndpointError(
            f"{self.endpoint.title}: {self._failed_in_row} requests in a row failed, the last one with "
            f"{last.detail}; run again when it answers (what was paid for is kept)"
        )

    async def _wait(self, attempt: int, error: _Again) -> None:
        longest = self.endpoint.max_wait_seconds
        if error.wait is not None:
            if error.wait > longest:
                raise EndpointError(
                    f"{self.endpoint.title}: asks to wait {error.wait:.0f} seconds, more than max_wait_seconds "
                    f"{longest:g}; run again later (what was paid for is kept)"
                )
            self._limits.pause(error.wait)
        wait = backoff_seconds(attempt, first=self._first_wait, longest=longest, dice=self._dice)
        await asyncio.sleep(max(wait, error.wait or 0.0))

    async def _attempt(self, request: Request) -> Reply:
        prompt = estimate_prompt(request.messages)
        longest = int(request.parameters.get(self.endpoint.limit_name, 0))
        worst = usage_of(prompt, longest, self.endpoint.prices)
        await self.budget.reserve(worst)
        spent = Usage()
        try:
            entry = await self._limits.enter(prompt + longest)
            # A reply that never came, since the server or the user broke it off, may be charged for all the same.
            spent = worst
            try:
                reply = _reply(await self._post(request), request)
                spent = usage_of(reply.prompt_tokens, reply.completion_tokens, self.endpoint.prices)
                return reply
            except Exception as error:
                charged = isinstance(error, _Again) and error.charged
                spent = worst if charged else Usage(requests=1)
                raise
            finally:
                self._limits.settle(entry, spent.tokens)
        finally:
            await self.budget.settle(worst, spent)

    async def _post(self, request: Request) -> bytes:
        parameters = {
            name: value for name, value in request.parameters.items() if name != SCHEMA or self._knows_schemas
        }
        messages = request.to_json()["messages"]
        answer = await self._send({"model": request.model, "messages": messages, **parameters})
        if answer.status == 200:
            return answer.body
        raise self._refused(answer, schema=SCHEMA in parameters)

    async def _send(self, body: Mapping[str, Any]) -> _Answer:
        import httpx2

        seconds = self.endpoint.timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                answer = await self._http.post(
                    f"{self.endpoint.base_url.rstrip('/')}/chat/completions", json=body
                )
        except TimeoutError:
            raise _Again("timeout", f"no whole reply within {seconds:g} seconds", charged=True) from None
        except httpx2.ConnectError as error:
            raise _Again(_NOBODY, f"no connection ({self._safe(str(error))})") from None
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            detail = self._safe(str(error)) or type(error).__name__
            raise _Again("disconnected", f"a reply that broke off ({detail})", charged=True) from None
        return _Answer(answer.status_code, answer.content, answer.headers.get("retry-after"))

    def _refused(self, answer: _Answer, *, schema: bool) -> Exception:
        """What an HTTP error means."""
        status = answer.status
        said = self._safe(answer.body[:2000].decode("utf-8", "replace"))
        detail = f"HTTP {status}: {said[:_SHOWN]!r}"
        if status in AGAIN and not any(word in said for word in _EMPTY_PURSE):
            return _Again(f"http_{status}", detail, wait=retry_after_seconds(answer.retry_after))
        if (
            status in (400, 422)
            and schema
            and any(word in said for word in (SCHEMA, "json_schema", "schema"))
        ):
            return _WithoutSchema()
        if status in (400, 413, 422) and any(word in said for word in _ABOUT_THE_TEXT):
            return NoReply("refused_by_server", detail)
        if status in (400, 422) and self._ever_answered:
            return NoReply("bad_request", detail)
        return EndpointError(f"{self.endpoint.title}: {detail}; {_cure(status, self.endpoint)}")

    def _safe(self, text: str) -> str:
        return text.replace(self._key, "…") if self._key else text


def key_of(endpoint: Endpoint) -> str | None:
    """The key of ``endpoint``, from the environment.

    Raises:
        EndpointError: its variable is not set.
    """
    if endpoint.key_variable is None:
        return None
    key = (secret_of(endpoint.key_variable) or "").strip()
    if not key or not key.isascii() or not key.isprintable():
        wrong = "is not set" if not key else "holds what cannot be a key"
        raise EndpointError(
            f"{endpoint.title}: environment variable {endpoint.key_variable} {wrong}; export the key there"
        )
    return key


def _cure(status: int, endpoint: Endpoint) -> str:
    variable = endpoint.key_variable
    return {
        401: f"correct the key in {variable}" if variable else "name the variable of its key as key_variable",
        402: "top up the account",
        403: f"this key may not use model '{endpoint.model}'; take another",
        404: f"correct base_url ('{endpoint.base_url}') or model ('{endpoint.model}')",
        429: "top up the account",
    }.get(status, "correct base_url, model or parameters" if status < 500 else "ask who runs it")


def _reply(body: bytes, request: Request) -> Reply:
    """Raises: _Again, it is not what an endpoint replies."""
    try:
        row = json.loads(body)
        choice = row["choices"][0]
        text = choice["message"].get("content") or ""
        if not isinstance(text, str):
            raise TypeError
        # No file and no request can hold half of a surrogate pair, on which texts end that were cut elsewhere.
        text = text.encode("utf-8", "ignore").decode("utf-8")
        usage = row.get("usage") or {}
        prompt = usage.get("prompt_tokens") or estimate_prompt(request.messages)
        completion = usage.get("completion_tokens") or estimate_tokens(text)
        finish = str(choice.get("finish_reason") or "stop")
        return Reply(text, finish, int(prompt), int(completion), now())
    except (ValueError, OverflowError, RecursionError):
        raise _Again("broken_json", "a reply that is no whole JSON", charged=True) from None
    except (KeyError, IndexError, TypeError, AttributeError):
        raise _Again("wrong_schema", "JSON that is no chat completion", charged=True) from None
