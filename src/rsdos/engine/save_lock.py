"""The lock of a running save: what the save has stored is not collected before it is published (docs/concurrency.md).

The lock protects progress alone. If it is lost, because somebody removed the files in ``locks/``, gc may take what the
save has stored; the save sees that by the epoch, and stores it again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import NamedTuple

from rsdos import names
from rsdos.engine.engine import Engine
from rsdos.storage.base import Storage
from rsdos.storage.checked_json import decode_document, encode_document
from rsdos.storage.opened import HeldLock

_MOST_BYTES = 1 << 24
"""Of the note in a save lock: that of a million packs."""


class SaveLock(NamedTuple):
    """A held save lock: its number, and the epoch of the container at the beginning of the save."""

    number: int
    epoch: int


class RunningSave(NamedTuple):
    """A save that is running: its process and machine, since when (seconds since 1970), and what is not its own.

    ``lengths`` are the committed lengths of the packs when it began, by pack id: everything behind them may be its. A
    process of 0 has not said yet what it is.
    """

    pid: int
    host: str
    since: float
    lengths: Mapping[int, int]


@contextmanager
def hold_save_lock(engine: Engine) -> Iterator[SaveLock]:
    """Hold a save lock for the length of a block: step 1 of a save.

    Nothing that is stored in the block, by this process or another, is collected while the block runs. The kernel frees
    the lock when the process dies. Any number of saves run at a time, each with a lock of its own.

    Raise `InvalidOption` for a container of version 1, `ReadOnlyContainer`, `DamagedContainer`, OSError.
    """
    publisher = engine.packed.publisher
    with engine.objects.writing():
        if engine.directory is not None:
            engine.layout.make(engine.layout.locks)
        number, lock = _take_free(engine.layout.storage)
    with lock:
        with engine.objects.writing():
            engine.packed.original.check()
            # Until the note is there, it is an older one or none, and protects more than it has to.
            moment = publisher.begin()
            lock.describe("")  # The note of an earlier save may be longer.
            lock.write_note(_encode(moment.lengths))
        yield SaveLock(number, moment.live.epoch)


def _take_free(storage: Storage) -> tuple[int, HeldLock]:
    for number in count(1):
        lock = storage.lock(names.save_lock(number), wait=False)
        if lock is not None:
            return number, lock
    raise AssertionError("unreachable")


def _encode(lengths: Mapping[int, int]) -> bytes:
    return encode_document(
        {
            "pid": os.getpid(),
            "host": os.uname().nodename,
            "since": time.time(),
            "packs": [[pack_id, length] for pack_id, length in lengths.items()],
        }
    )


def running_saves(engine: Engine) -> list[RunningSave]:
    """Return the saves that are running.

    What a save has stored before a state of the index was loaded is protected by what this call returns after that. A
    save that has not written its note yet, or whose note is damaged, protects everything. Raise `ReadOnlyContainer`.
    """
    storage = engine.layout.storage
    try:
        numbers = names.numbers_among(storage.list(names.LOCKS), names.SAVE_LOCKS)
    except FileNotFoundError:
        return []
    with engine.objects.writing():  # A lock is tried by a descriptor that may write.
        return [_decode(storage, number) for number in numbers if _is_taken(storage, number)]


def _is_taken(storage: Storage, number: int) -> bool:
    lock = storage.lock(names.save_lock(number), wait=False)
    if lock is None:
        return True
    lock.release()
    return False


def _decode(storage: Storage, number: int) -> RunningSave:
    try:
        members = decode_document(storage.read_note(names.save_lock(number), _MOST_BYTES))
        pid, host, since = int(members["pid"]), str(members["host"]), float(members["since"])
        lengths = {int(pack_id): int(length) for pack_id, length in members["packs"]}
    except (ValueError, KeyError, TypeError, OverflowError):
        return RunningSave(0, "", 0.0, {})
    return RunningSave(pid, host, since, lengths)
