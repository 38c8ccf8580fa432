"""GETs of ranges without a client library: what a request costs that is signed, by a connection that is kept."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

from tests.ceph.endpoint import Endpoint
from tests.ceph.s3 import connected, send_by


class LeanGets:
    """GETs of one object, ``path`` is "/bucket/name". One thread."""

    def __init__(self, endpoint: Endpoint, path: str) -> None:
        self._endpoint = endpoint
        self._path = path
        self._connection = connected(endpoint)

    def get(self, start: int, length: int) -> bytes:
        """Return a range, which is there."""
        asked = {"range": f"bytes={start}-{start + length - 1}"}
        answer = send_by(self._connection, self._endpoint, "GET", self._path, headers=asked)
        assert answer.status == 206 and len(answer.body) == length, answer.status
        return answer.body

    def length(self) -> int:
        """Return the bytes of the object."""
        return int(send_by(self._connection, self._endpoint, "HEAD", self._path).headers["content-length"])

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def spans(
    endpoint: Endpoint, path: str, count: int, length: int, use: Callable[[bytes], int] = len, threads: int = 4
) -> float:
    """Get ranges one behind the other, at most so many, by threads with a connection each. Return MB a second.

    ``use`` gets each range, in its thread, and returns its bytes.
    """
    with closing(LeanGets(endpoint, path)) as gets:
        size = gets.length()
    starts = list(range(0, size, length))[:count]
    own = threading.local()
    opened: list[LeanGets] = []

    def connect() -> None:
        own.gets = LeanGets(endpoint, path)
        opened.append(own.gets)

    def get(start: int) -> int:
        return use(own.gets.get(start, min(length, size - start)))

    try:
        with ThreadPoolExecutor(threads, initializer=connect) as pool:
            begun = time.perf_counter()
            total = sum(pool.map(get, starts))
            return total / 1e6 / (time.perf_counter() - begun)
    finally:
        for gets in opened:
            with suppress(OSError):
                gets.close()


def hash_each(data: bytes) -> int:
    """Hash objects of 1 MiB that lie one behind the other. Return the bytes of all."""
    for at in range(0, len(data), 1 << 20):
        hashlib.sha256(memoryview(data)[at : at + (1 << 20)]).digest()
    return len(data)
