"""The protocol with one of its rules taken away: the model must find what each of them is for."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from rsdos.errors import Expired
from rsdos.index import ids, remote_commits, remote_index, reservations
from rsdos.index.loading import IndexLoader
from rsdos.index.manifest import Manifest
from rsdos.index.remote_commits import RemoteCommits
from rsdos.index.remote_state import Reservation
from rsdos.storage import chance
from rsdos.stores.base import Store
from rsdos.stores.batch import Absent
from rsdos.stores.packed.ahead import ReadAhead
from rsdos.stores.packed.reader import RecordReader
from rsdos.stores.packed.repack import Repack
from rsdos.stores.packed.writer import PackedBatch
from rsdos.stores.remote import batch, dead, in_flight
from tests.protocol import documents
from tests.protocol.bucket import Bucket
from tests.protocol.scheduler import Scheduler


def _without_reservations() -> AbstractContextManager[object]:
    """What a commit takes into use need not be reserved any more."""
    take = reservations.take_reserved

    def take_what_is_left(reserved: Sequence[Reservation], ids: Collection[int], token: str) -> tuple[Reservation, ...]:
        left = tuple(reserved)
        for number in ids:
            try:
                left = take(left, [number], token)
            except Expired:
                pass
        return left

    return patch.object(reservations, "take_reserved", take_what_is_left)


def _manifests_deleted() -> AbstractContextManager[object]:
    """Old manifests are removed, and their numbers are free again."""
    empty = Bucket.empty

    def remove(bucket: Bucket, name: str, sender: object) -> None:
        if documents.is_manifest(name):
            bucket.remove(name, sender)
        else:
            empty(bucket, name, sender)

    return patch.object(Bucket, "empty", remove)


def _no_second_look() -> AbstractContextManager[object]:
    """Duplicates that were there when they were looked up are there."""
    return patch.object(PackedBatch, "_absent_from", lambda *_: Absent(()))


def _deletes_passed_over() -> AbstractContextManager[object]:
    """A repack takes no notice of what was deleted since it copied."""
    return patch.object(Repack, "is_overtaken", lambda *_: False)


def _reservations_not_respected() -> AbstractContextManager[object]:
    """A collector removes what no manifest names, although it is reserved: it may be on its way."""
    begin = dead.DeadNames.__init__

    def begin_without(names: dead.DeadNames, *arguments: Any) -> None:
        begin(names, *arguments)
        names._reserved = []

    return patch.object(dead.DeadNames, "__init__", begin_without)


def _repairs_of_an_older_state() -> AbstractContextManager[object]:
    """A repair publishes what it has made, whatever others have committed since it looked."""
    restore = RemoteCommits.restore

    def restore_whatever(commits: RemoteCommits, make: Callable[[], Manifest | None]) -> Manifest | None:
        made = make()
        return restore(commits, lambda: made)

    return patch.object(RemoteCommits, "restore", restore_whatever)


MUTANTS: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "without reservations": _without_reservations,
    "manifests deleted": _manifests_deleted,
    "no second look at duplicates": _no_second_look,
    "deletes passed over by a repack": _deletes_passed_over,
    "a collector that does not respect reservations": _reservations_not_respected,
    "a repair of an older state": _repairs_of_an_older_state,
}


@contextmanager
def small_world(random_: random.Random, scheduler: Scheduler) -> Iterator[None]:
    """Make bounds so small that a short run meets them, and take all chance from the run."""

    def token(bits: int) -> str:
        return f"{random_.getrandbits(bits):0{bits // 4}x}"

    with ExitStack() as stack:
        for module, name, value in (
            (chance, "token", token),
            (chance, "pause", lambda seconds: None),
            (chance, "now", lambda: float(scheduler.steps)),
            (chance, "fraction", random_.random),
            # For a second lookups need not ask whether there is a newer manifest.
            (IndexLoader, "clock", staticmethod(lambda: scheduler.steps / 20)),
            (Store, "clock", staticmethod(lambda: scheduler.steps / 20)),
            (dead, "NEWEST", 3),
            (batch, "MOST_PACKS", 2),
            (remote_index, "MOST_SEGMENTS", random_.choice((4, 64))),
            (remote_index, "MOST_UNMERGED", random_.choice((6, 256))),
            (ids, "RESERVED_AT_ONCE", random_.choice((1, 3, 16))),
            (remote_commits, "CROWDED", random_.choice((3, 2048))),
            (reservations, "MOST_RETIRED", random_.choice((4, 65536))),
            # A machine is one thread here, which is stepped: no read is waited for.
            (ReadAhead, "clock", float),
            (RecordReader, "clock", float),
            (in_flight.InFlight, "add", lambda self, do: do()),
            (in_flight.InFlight, "wait", lambda self: None),
        ):
            stack.enter_context(patch.object(module, name, value))
        yield
