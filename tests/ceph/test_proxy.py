"""The fault proxy does what it says, before a small service of the standard library."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from tests.ceph.daemons import free_port
from tests.ceph.proxy import Fault, Kind, Proxy, first, flip_one, seeded
from tests.patience import HANG

BODY = b"0123456789"


class Service(ThreadingHTTPServer):
    """Keeps what is put whole, and the methods and bodies of all requests that arrive whole."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Keeping)
        self.objects: dict[str, bytes] = {}
        self.arrived: list[tuple[str, bytes]] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has gone is no error."""


class _Keeping(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Service

    def log_message(self, *_: object) -> None: ...

    def do_PUT(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:
            return
        self.server.arrived.append(("PUT", body))
        is_new = self.path not in self.server.objects
        if is_new:
            self.server.objects[self.path] = body
        self._say(200 if is_new else 412, self.headers["x-tag"].encode())

    def do_GET(self) -> None:
        self.server.arrived.append((self.command, b""))
        self._say(200 if self.path in self.server.objects else 404, self.server.objects.get(self.path, b""))

    do_HEAD = do_GET

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def proxy(service: Service) -> Iterator[Proxy]:
    with Proxy(f"http://127.0.0.1:{service.server_address[1]}") as made:
        yield made


def ask(proxy: Proxy, method: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Send one request for the object "/bucket/a/b"."""
    connection = http.client.HTTPConnection(urlsplit(proxy.url).netloc, timeout=HANG)
    try:
        connection.request(method, "/bucket/a/b?x=1", body, {"x-tag": "mine"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def put(proxy: Proxy, fault: Fault | None = None) -> tuple[int, bytes]:
    proxy.fault = first(1, fault) if fault else None
    return ask(proxy, "PUT", BODY)


def get(proxy: Proxy, fault: Fault | None = None) -> tuple[int, bytes]:
    proxy.fault = first(1, fault) if fault else None
    return ask(proxy, "GET")


def kept(service: Service) -> bytes | None:
    return service.objects.get("/bucket/a/b?x=1")


def test_without_a_fault_requests_and_answers_pass_unchanged(proxy: Proxy, service: Service) -> None:
    assert put(proxy) == (200, b"mine")
    assert get(proxy) == (200, BODY)
    assert ask(proxy, "HEAD") == (200, b"")
    assert [(request.method, request.name, request.query) for request, _ in proxy.seen] == [
        (method, "a/b", "x=1") for method in ("PUT", "GET", "HEAD")
    ]


@pytest.mark.parametrize("kind", [Kind.DROP, Kind.CUT_UP])
def test_what_is_cut_on_its_way_does_not_arrive(proxy: Proxy, service: Service, kind: Kind) -> None:
    with pytest.raises((OSError, http.client.HTTPException)):
        put(proxy, Fault(kind))
    assert service.arrived == []
    assert put(proxy) == (200, b"mine")


@pytest.mark.parametrize("status", [409, 412, 503])
def test_an_answer_of_the_proxy_is_not_forwarded(proxy: Proxy, service: Service, status: int) -> None:
    got, text = put(proxy, Fault(Kind.ANSWER, status))
    assert (got, kept(service)) == (status, None)
    assert b"<Code>" in text


def test_what_was_applied_is_answered_with_an_error(proxy: Proxy, service: Service) -> None:
    assert put(proxy, Fault(Kind.APPLIED, 500))[0] == 500
    assert kept(service) == BODY


def test_a_lost_answer_leaves_the_object(proxy: Proxy, service: Service) -> None:
    with pytest.raises((OSError, http.client.HTTPException)):
        put(proxy, Fault(Kind.LOST))
    assert kept(service) == BODY


def test_what_arrives_twice_is_answered_for_the_second_time(proxy: Proxy, service: Service) -> None:
    assert put(proxy, Fault(Kind.TWICE))[0] == 412
    assert service.arrived == [("PUT", BODY)] * 2


def test_a_late_request_arrives_when_the_test_says_so(proxy: Proxy, service: Service) -> None:
    with pytest.raises((OSError, http.client.HTTPException)):
        put(proxy, Fault(Kind.LATE))
    assert kept(service) is None
    assert proxy.deliver_late() == [200]
    assert kept(service) == BODY
    assert proxy.deliver_late() == []


def test_a_stalled_request_ends_with_the_proxy(proxy: Proxy, service: Service) -> None:
    outcome: list[BaseException] = []

    def ask_in_vain() -> None:
        try:
            put(proxy, Fault(Kind.STALL))
        except (OSError, http.client.HTTPException) as error:
            outcome.append(error)

    thread = threading.Thread(target=ask_in_vain)
    thread.start()
    proxy.wait_for_requests(1)
    assert not outcome
    proxy.close()
    thread.join()
    assert outcome
    assert kept(service) is None


def test_one_bit_is_flipped_on_the_way_up_or_down(proxy: Proxy, service: Service) -> None:
    assert put(proxy, Fault(Kind.FLIP_UP))[0] == 200
    assert kept(service) == flip_one(BODY) != BODY
    assert get(proxy, Fault(Kind.FLIP_DOWN)) == (200, BODY)


def test_a_body_is_cut_on_its_way_down(proxy: Proxy) -> None:
    put(proxy)
    with pytest.raises(http.client.IncompleteRead) as caught:
        get(proxy, Fault(Kind.CUT_DOWN))
    assert caught.value.partial == BODY[:5]


def test_a_delay_changes_nothing_else(proxy: Proxy) -> None:
    assert put(proxy, Fault(Kind.DELAY, 0.01)) == (200, b"mine")


def test_a_service_that_is_gone_is_a_bad_gateway() -> None:
    with Proxy(f"http://127.0.0.1:{free_port()}") as proxy:
        assert put(proxy)[0] == 502


def test_the_same_seed_gives_the_same_faults() -> None:
    faults = [Fault(Kind.DROP), Fault(Kind.LOST)]
    with Proxy("http://127.0.0.1:1") as some:
        some.fault = lambda _: Fault(Kind.ANSWER, 409)
        put_it = [ask(some, "PUT", BODY)[0] for _ in range(3)]
        assert put_it == [409] * 3
        request = some.seen[0][0]
    one, other = seeded(7, 0.5, faults), seeded(7, 0.5, faults)
    drawn = [one(request) for _ in range(100)]
    assert drawn == [other(request) for _ in range(100)]
    assert {None, *faults} == set(drawn)
