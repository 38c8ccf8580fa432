"""A writer in a process of its own, for races: it stores batch after batch until it is told to stop.

``python -m tests.ceph.writer URL NAME``: the credentials and the endpoint are in the environment. It prints the number
of a batch when that is acknowledged, and stops when its standard input ends.
"""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import threading
from itertools import count
from queue import SimpleQueue

from rsdos import Busy, CommitUnknown, Container, Expired, Unavailable
from tests.helpers import ROOT, child_environment

OBJECTS = 12
"""Objects of a batch."""


def batch(name: str, number: int) -> list[bytes]:
    """The objects of a batch: most are this writer's own, two are those of every writer, of different sizes."""
    dice = random.Random(f"{name} {number}")
    own = [f"{name} {number} {at} ".encode() + dice.randbytes(dice.randrange(3000)) for at in range(OBJECTS - 2)]
    return [*own, b"of all", b"of all %d" % number]


def write(url: str, name: str, until: threading.Event) -> None:
    """Store batches until the event is set, each as often as it takes. After a failure the container is opened anew."""
    numbers = count()
    number = next(numbers)
    while True:
        with contextlib.suppress(Unavailable, CommitUnknown, Expired, Busy), Container(url) as container:
            while True:
                container.insert_many(batch(name, number))
                print(number, flush=True)
                if until.is_set():
                    return
                number = next(numbers)


class Writer:
    """A running writer. One thread asks it; its acknowledgements come in a thread of their own."""

    def __init__(self, url: str, name: str, environment: dict[str, str], stored: SimpleQueue[Writer]) -> None:
        """``stored`` gets this writer once for each acknowledged batch."""
        self.name = name
        self.batches = 0
        """The batches that are acknowledged."""
        self._stored = stored
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.ceph.writer", url, name],
            cwd=ROOT,
            env=child_environment() | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.batches = int(line) + 1
            self._stored.put(self)
        self._stored.put(self)  # It has ended: a test that waits for it sees that.

    def kill(self) -> None:
        """Kill it (kill -9)."""
        self._process.kill()
        self._end()

    def stop(self) -> int:
        """Let it end after its present batch. Return its exit code."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        return self._end()

    @property
    def has_ended(self) -> bool:
        """Whether its process has ended."""
        return self._process.poll() is not None

    def objects(self) -> list[bytes]:
        """The objects that were acknowledged."""
        return [data for number in range(self.batches) for data in batch(self.name, number)]

    def _end(self) -> int:
        code = self._process.wait()
        self._reader.join()
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        return code


def wait_for(stored: SimpleQueue[Writer], batches: int) -> None:
    """Wait until so many more batches of any writers were acknowledged. Fail if a writer ends."""
    for _ in range(batches):
        writer = stored.get()
        assert not writer.has_ended, f"{writer.name} has ended"


def main() -> None:
    """Run as a child."""
    url, name = sys.argv[1:]
    until = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        until.set()

    threading.Thread(target=wait, daemon=True).start()
    write(url, name, until)


if __name__ == "__main__":
    main()
