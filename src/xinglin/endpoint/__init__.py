"""Asking models behind OpenAI-compatible endpoints: other people's, one's own vLLM, anything that speaks
``POST /chat/completions``.

    Endpoint     where, which model, how fast: settings of a recipe; the key is in an environment variable alone
    Request      messages and parameters; ``key`` is the hash of both and of the model
    Ledger       replies on disk, one line each, found again by that key: nothing is paid for twice
    Budget       what was spent, and the caps on it
    Client       asks: from the ledger, else the endpoint, within limits, again where that may help
"""

from xinglin.endpoint.budget import Budget, CapReached, Caps, Usage
from xinglin.endpoint.client import Client, NoReply
from xinglin.endpoint.config import Endpoint, Prices
from xinglin.endpoint.ledger import Ledger, Reply, Request

__all__ = [
    "Budget",
    "CapReached",
    "Caps",
    "Client",
    "Endpoint",
    "Ledger",
    "NoReply",
    "Prices",
    "Reply",
    "Request",
    "Usage",
]
