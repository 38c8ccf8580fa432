"""A proxy on loopback between an S3 client and its service, which does to requests what networks and servers do.

It knows HTTP and nothing else. Requests are read whole, so that a fault hits the same one in every run.
"""

from __future__ import annotations

import http.client
import random
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.patience import HANG


class Kind(Enum):
    """What becomes of a request."""

    DROP = "the connection is cut, nothing is forwarded"
    DELAY = "forwarded after a number of seconds"
    STALL = "no answer until the proxy is closed; nothing is forwarded"
    ANSWER = "answered with a status; nothing is forwarded"
    APPLIED = "forwarded, then answered with another status"
    LOST = "forwarded, then the connection is cut"
    TWICE = "forwarded twice, the second answer is given"
    LATE = "the connection is cut, and forwarded when `Proxy.deliver_late` is called"
    CUT_UP = "half of the request's body is forwarded, then both connections are cut"
    CUT_DOWN = "half of the answer's body is given, then the connection is cut"
    FLIP_UP = "one bit of the request's body is flipped"
    FLIP_DOWN = "one bit of the answer's body is flipped"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. ``value``: the status of ANSWER and APPLIED, the seconds of DELAY."""

    kind: Kind
    value: float = 0


FAULTS = [
    Fault(Kind.DROP),
    Fault(Kind.DELAY, 0.05),
    Fault(Kind.ANSWER, 503),
    Fault(Kind.ANSWER, 500),
    Fault(Kind.APPLIED, 500),
    Fault(Kind.APPLIED, 503),
    Fault(Kind.LOST),
    Fault(Kind.TWICE),
    Fault(Kind.LATE),
    Fault(Kind.CUT_UP),
    Fault(Kind.CUT_DOWN),
    Fault(Kind.FLIP_UP),
    Fault(Kind.FLIP_DOWN),
    Fault(Kind.ANSWER, 409),
]
"""Those that a network, a proxy or a server does to a request. (412 is an answer.)"""


@dataclass(frozen=True, slots=True)
class Request:
    """A request of the client. ``name`` is the object's, below its bucket; ``query`` as it was sent."""

    method: str
    name: str
    query: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


Rule = Callable[[Request], Fault | None]
"""Chooses the fault of a request. Any thread."""

# What one connection says of itself; each side of the proxy has its own.
_OF_A_CONNECTION = {"connection", "expect", "keep-alive", "transfer-encoding", "content-length"}
_CODES = {409: "OperationAborted", 412: "PreconditionFailed", 500: "InternalError", 503: "SlowDown"}


class Proxy:
    """The running proxy. `fault` may be changed at any time; `seen` has all requests and their faults, in order."""

    def __init__(self, service: str, fault: Rule | None = None) -> None:
        """Begin to serve. ``service`` is the URL of the service; the proxy's own is `url`."""
        self.fault = fault
        self.seen: list[tuple[Request, Fault | None]] = []
        self._service = urlsplit(service).netloc
        self._late: list[Request] = []
        self._closed = threading.Event()
        self._changed = threading.Condition()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End: every connection is cut. Idempotent."""
        if not self._closed.is_set():
            self._closed.set()
            self._server.shutdown()
            self._thread.join()
            self._server.cut_all()
            self._server.server_close()

    def deliver_late(self) -> list[int]:
        """Forward the requests that were held back by LATE, and return the statuses of their answers."""
        with self._changed:
            late, self._late = self._late, []
        return [self.forward(request)[0] for request in late]

    def wait_for_requests(self, count: int) -> None:
        """Wait until so many requests have come."""
        with self._changed:
            self._changed.wait_for(lambda: len(self.seen) >= count)

    def choose(self, request: Request) -> Fault | None:
        """Return the fault of a request, and note both."""
        with self._changed:
            fault = self.fault and self.fault(request)
            self.seen.append((request, fault))
            self._changed.notify_all()
            if fault and fault.kind is Kind.LATE:
                self._late.append(request)
            return fault

    def wait(self, seconds: float | None) -> None:
        """Wait so long, or until the proxy is closed."""
        self._closed.wait(seconds)

    def forward(self, request: Request, length: int | None = None) -> tuple[int, list[tuple[str, str]], bytes]:
        """Send a request to the service, the first ``length`` bytes of its body at most, and return the answer.

        The answer is 502 if the service cannot be reached or cuts the connection.
        """
        connection = http.client.HTTPConnection(self._service, timeout=HANG)
        try:
            connection.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers:
                connection.putheader(name, value)
            if request.body or request.method in ("PUT", "POST"):
                connection.putheader("Content-Length", str(len(request.body)))
            connection.endheaders(request.body[:length])
            if length is not None and length < len(request.body):
                return 502, [], b""
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        except (OSError, http.client.HTTPException):
            return 502, [], b""
        finally:
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    """Serves each connection in a thread, and can cut all of them."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    proxy: Proxy

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._connections: set[socket.socket] = set()

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        assert isinstance(request, socket.socket)
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        assert isinstance(request, socket.socket)
        self._connections.discard(request)
        super().shutdown_request(request)

    def cut_all(self) -> None:
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has gone is no error."""


class _Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:  # The name that http.server asks for.
        request = self._read()
        fault = self.server.proxy.choose(request) or Fault(Kind.DELAY)
        proxy = self.server.proxy
        match fault.kind:
            case Kind.DROP | Kind.LATE:
                self._cut()
            case Kind.STALL:
                proxy.wait(None)
                self._cut()
            case Kind.ANSWER:
                self._refuse(int(fault.value))
            case Kind.APPLIED:
                proxy.forward(request)
                self._refuse(int(fault.value))
            case Kind.LOST:
                proxy.forward(request)
                self._cut()
            case Kind.CUT_UP:
                proxy.forward(request, len(request.body) // 2)
                self._cut()
            case Kind.TWICE:
                proxy.forward(request)
                self._answer(*proxy.forward(request))
            case Kind.FLIP_UP:
                self._answer(*proxy.forward(_flipped(request)))
            case Kind.FLIP_DOWN:
                status, headers, body = proxy.forward(request)
                self._answer(status, headers, flip_one(body))
            case Kind.CUT_DOWN:
                status, headers, body = proxy.forward(request)
                self._answer(status, headers, body, len(body) // 2)
                self._cut()
            case Kind.DELAY:
                proxy.wait(fault.value)
                self._answer(*proxy.forward(request))

    do_PUT = do_POST = do_DELETE = do_HEAD = do_GET

    def _read(self) -> Request:
        length = int(self.headers.get("Content-Length", 0))
        headers = tuple((name, value) for name, value in self.headers.items() if name.lower() not in _OF_A_CONNECTION)
        parts = urlsplit(self.path)
        name = parts.path.lstrip("/").partition("/")[2]
        return Request(self.command, name, parts.query, self.path, headers, self.rfile.read(length))

    def _answer(self, status: int, headers: Sequence[tuple[str, str]], body: bytes, length: int | None = None) -> None:
        """Give an answer; with ``length`` only so many bytes of its body."""
        self.send_response_only(status)
        told = {name.lower(): value for name, value in headers}
        for name, value in headers:
            if name.lower() not in _OF_A_CONNECTION:
                self.send_header(name, value)
        # A HEAD answers with the length of what it does not send.
        whole = told.get("content-length", "0") if self.command == "HEAD" else str(len(body))
        if status != 204:
            self.send_header("Content-Length", whole)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:length])

    def _refuse(self, status: int) -> None:
        code = _CODES.get(status, "InternalError")
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>the proxy</Message></Error>".encode()
        self._answer(status, [("Content-Type", "application/xml")], body)

    def _cut(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


def flip_one(data: bytes) -> bytes:
    """Return the bytes with the lowest bit of the middle one flipped."""
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] if data else data


def _flipped(request: Request) -> Request:
    return Request(request.method, request.name, request.query, request.target, request.headers, flip_one(request.body))


def first(count: int, fault: Fault, when: Callable[[Request], bool] = lambda _: True) -> Rule:
    """Return a rule: the first ``count`` requests that ``when`` accepts get the fault."""
    left = [count]

    def rule(request: Request) -> Fault | None:
        if left[0] <= 0 or not when(request):
            return None
        left[0] -= 1
        return fault

    return rule


def seeded(seed: int, share: float, faults: Sequence[Fault], when: Callable[[Request], bool] = lambda _: True) -> Rule:
    """Return a rule: a ``share`` of the requests that ``when`` accepts get one of the faults, by the seed's dice."""
    dice = random.Random(seed)

    def rule(request: Request) -> Fault | None:
        return dice.choice(faults) if when(request) and dice.random() < share else None

    return rule
