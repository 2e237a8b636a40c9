"""Settings of an endpoint."""

import ipaddress
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from xinglin.config.base import Config
from xinglin.config.parts import Above, AtLeastZero, Positive


class Prices(Config):
    """What the endpoint charges, in any currency."""

    prompt: AtLeastZero
    """For a million tokens of prompts."""
    completion: AtLeastZero
    """For a million tokens of replies."""


class Endpoint(Config):
    """A model behind an OpenAI-compatible HTTP interface."""

    base_url: Annotated[str, Field(pattern=r"^https?://[^\s@?#]+$")]
    """Where it is, up to and without ``/chat/completions``, e.g. the ``/v1`` of a vLLM server."""
    model: str
    """What the endpoint calls the model."""
    key_variable: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    """Environment variable that holds the key. The key itself stands in no recipe, log or file. Default: no key."""
    local: bool | None = None
    """Whether the machine is one of yours, so that texts may be sent as they are. Default: yes for loopback and private
    addresses and ``localhost``, no for all else."""
    concurrency: Positive = 8
    """Requests at the same time."""
    requests_per_minute: Positive | None = None
    """At most so many in any minute."""
    tokens_per_minute: Positive | None = None
    """At most so many tokens of prompts and replies in any minute. A reply that is not there yet counts in full."""
    timeout_seconds: Above = 120.0
    """How long a whole reply may take, however slowly it drips."""
    attempts: Positive = 6
    """How often a request is made until it has failed. Waits between them double, from one second on. An
    endpoint that has never answered, and to which there is no connection, is tried three times."""
    max_wait_seconds: Above = 300.0
    """Longest wait between two attempts. An endpoint that asks for a longer one ends the stage; it can go on later."""
    failures_in_row: Positive = 10
    """So many failed requests without a success between them end the stage."""
    structured: Literal["auto", "off"] = "auto"
    """``auto``: asks for replies that follow a JSON schema, until the endpoint says that it does not know these."""
    limit_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the endpoint calls the longest reply. Some reasoning models only take the second."""
    parameters: dict[str, Any] = Field(default={})
    """What else goes into every request, e.g. ``{top_p: 0.9}`` or ``{reasoning_effort: low}``."""
    prices: Prices | None = None
    """For forecasts, and for caps on what is spent."""

    @field_validator("parameters")
    @classmethod
    def _of_the_request_only(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted({"model", "messages", "stream", "n"} & parameters.keys()):
            raise ValueError(f"'{taken[0]}' is set by the task itself; leave it out")
        return parameters

    @property
    def host(self) -> str:
        return (urlsplit(self.base_url).hostname or "").rstrip(".")

    @property
    def is_local(self) -> bool:
        """Whether texts stay on machines of the user. A name is never looked up: only what it says counts."""
        return _is_local(self.host) if self.local is None else self.local

    @property
    def title(self) -> str:
        """For messages: model and host."""
        return f"{self.model} at {self.host}"


def _is_local(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or (address.is_private and not address.is_unspecified)
