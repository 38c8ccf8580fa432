"""Fetch: learn the newest state of a remote, and bring the small files of its index into the cache; no objects."""

from __future__ import annotations

from dataclasses import dataclass

from rsdos.engine.engine import Engine
from rsdos.maintenance.remotes.connect import RemoteConnection, note_head
from rsdos.notebook import ShownAsTable
from rsdos.progress import Stopwatch
from rsdos.storage.counted import Requests


@dataclass(frozen=True, slots=True)
class FetchReport(ShownAsTable):
    """The newest state of a remote: the ``number`` of its newest commit, the one that was ``seen`` before (0: none),
    and its ``objects``, those that snapshots hold too.
    """

    remote: str
    seen: int
    number: int
    objects: int
    requests: Requests
    seconds: float


def fetch(engine: Engine, there: RemoteConnection) -> FetchReport:
    """Load the newest state of a remote, and note it.

    Args:
        engine: the open container.
        there: the remote, from `connected`.

    Raises:
        DamagedContainer: the newest state of the remote cannot be read.
        OSError: a system call or a request failed.
    """
    watch = Stopwatch()
    packed = there.engine.packed
    packed.refresh()
    note_head(engine, there, there.head)
    seen = there.remote.seen.number if there.remote.seen else 0
    return FetchReport(there.remote.name, seen, there.head.number, packed.count(), there.requests, watch.seconds)
