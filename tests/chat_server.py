"""A real server on loopback that speaks ``POST /v1/chat/completions``, and misbehaves where it is told to."""

import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]


def last_user(body: Body) -> str:
    return body["messages"][-1]["content"]


class ChatServer:
    """``answer(body)`` gives the text of a reply. ``faults`` are used up first, one for each request; a fault is a
    function of the handler. ``always`` is looked up for each request: a fault, or None."""

    def __init__(self, answer: Callable[[Body], str] = lambda body: f"re: {last_user(body)}"):
        self.answer = answer
        self.faults: list[Callable[[Any], None]] = []
        self.always: Callable[[Body], Callable[[Any], None] | None] = lambda body: None
        self.finish: Callable[[Body], str] = lambda body: "stop"
        self.seconds = 0.0
        """How long a reply takes."""
        self.bodies: list[Body] = []
        self.raw: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.answered: Counter[str] = Counter()
        """Last message -> replies that were sent whole."""
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()

    @property
    def requests(self) -> int:
        return len(self.bodies)

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        raw = handler.rfile.read(int(handler.headers["Content-Length"]))
        body = json.loads(raw)
        with self._lock:
            self.bodies.append(body)
            self.raw.append(raw.decode())
            self.headers.append(dict(handler.headers))
            self.times.append(time.monotonic())
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            fault = self.faults.pop(0) if self.faults else self.always(body)
        try:
            time.sleep(self.seconds)
            if fault:
                fault(handler)
                return
            reply(handler, completion(self.answer(body), self.finish(body)))
            with self._lock:
                self.answered[last_user(body)] += 1
        finally:
            with self._lock:
                self._at_once -= 1


def completion(text: str, finish: str = "stop") -> Body:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    message = {"role": "assistant", "content": text}
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": usage}


def reply(handler: Any, body: Any, status: int = 200, **headers: str) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)


def error(status: int, message: str = "no", **headers: str) -> Callable[[Any], None]:
    return lambda handler: reply(handler, {"error": {"message": message}}, status, **headers)


def hang(seconds: float) -> Callable[[Any], None]:
    return lambda handler: time.sleep(seconds)


def cut_json(handler: Any) -> None:
    reply(handler, json.dumps(completion("whole"))[:40].encode())


def deep_json(handler: Any) -> None:
    reply(handler, b"[" * 200_000)


def endless_usage(handler: Any) -> None:
    usage = {"prompt_tokens": float("inf"), "completion_tokens": 1}
    reply(handler, {**completion("whole"), "usage": usage})


def wrong_schema(handler: Any) -> None:
    reply(handler, {"hello": ["world"]})


def short_body(handler: Any) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices"')
    handler.wfile.flush()
    handler.connection.shutdown(socket.SHUT_RDWR)


def disconnect(handler: Any) -> None:
    """Reset the connection instead of answering."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.shutdown(socket.SHUT_RDWR)


def drip(handler: Any, *, every: float = 0.05) -> None:
    """A byte now and then, for longer than anybody waits."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    for _ in range(200):
        try:
            handler.wfile.write(b" ")
            handler.wfile.flush()
        except OSError:
            return
        time.sleep(every)


@contextmanager
def serving(server: ChatServer) -> Iterator[str]:
    """Run ``server``; yields its base URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            try:
                server.handle(self)
            except OSError:
                self.close_connection = True

        def log_message(self, *arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, *arguments: object) -> None:
            pass

    http = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_address[1]}/v1"
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
