"""A server that may be taught, and a task beside it."""

import pytest
from synthesis_toys import Workshop

from chat_server import ChatServer, serving


@pytest.fixture
def workshop(tmp_path):
    server = ChatServer()
    with serving(server) as url:
        yield Workshop(tmp_path, server, url)
