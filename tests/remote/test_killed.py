"""Every operation of version 3, killed at every call that changes the medium, whether that arrives or not.

What was acknowledged stays, what was deleted stays so, others go on at once, and a collector leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rsdos import Container
from rsdos.maintenance import collect, gc, repack
from rsdos.model import PackKind
from rsdos.storage.base import Storage
from rsdos.stores.packs import Packing
from rsdos.stores.remote.placed import names_of
from rsdos.stores.stats import MIN_OVERHEAD
from tests.data import key_of, noise
from tests.remote.machines import DAY, Bucket, KilledStorage, is_whole, newest, nth_change, packed_of

TARGET = 1 << 14


def contents(*numbers: int) -> dict[str, bytes]:
    return {key_of(data): data for data in (noise(1000, number) for number in numbers)}


THERE = contents(*range(40))
DELETED = dict(list(THERE.items())[:5])
NEW = contents(*range(100, 130))
HELD = key_of(noise(500, 1000))


def opened(storage: Storage) -> Container:
    """Return a container whose calls are made by one thread, in one order."""
    container = Container(storage)
    packed_of(container).packing = Packing(TARGET, 1)
    return container


def filled() -> Bucket:
    """Return a bucket with objects, some of which are deleted, in several packs and segments."""
    bucket = Bucket()
    Container.create(bucket, pack_size_target=TARGET).close()
    for at in range(0, 40, 8):
        Container(bucket).insert_many(list(THERE.values())[at : at + 8])
    Container(bucket).delete(DELETED)
    Container(bucket).engine.objects.insert_many([noise(500, 1000)], kind=PackKind.HELD)
    return bucket


def optimize(storage: Storage) -> None:
    engine = opened(storage).engine
    repack.execute(engine, repack.plan(engine, repack.RepackOptions(min_overhead=MIN_OVERHEAD)))


def collect_held(storage: Storage) -> None:
    engine = opened(storage).engine
    gc.execute(engine, gc.plan(engine))


OPERATIONS: dict[str, Callable[[Storage], object]] = {
    "insert": lambda storage: opened(storage).insert_many(NEW.values()),
    "delete": lambda storage: opened(storage).delete(list(THERE)[5:15]),
    "repack": lambda storage: opened(storage).repack(min_dead=0.0, compression="zstd"),
    "optimize": optimize,
    "merge": lambda storage: opened(storage).merge(),
    "gc": collect_held,
    "retain": lambda storage: opened(storage).retain(list(THERE)[15:]),
}


@pytest.mark.parametrize("arrives", [False, True], ids=["lost", "arrived"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_that_is_killed_anywhere_loses_nothing_and_brings_nothing_back(name: str, arrives: bool) -> None:
    may_go = set(list(THERE)[5:15]) if name in ("delete", "retain") else set()
    for at in range(200):
        bucket = filled()
        try:
            OPERATIONS[name](KilledStorage(bucket, nth_change(at), arrives=arrives))
        except OSError:
            pass
        else:
            break
        present = dict(Container(bucket).extract_many({*Container(bucket)} - {HELD}))
        assert {*THERE} - {*DELETED} - may_go <= present.keys() <= {*THERE, *NEW} - {*DELETED}
        assert all({**THERE, **NEW}[key] == data for key, data in present.items())
        # Another machine goes on at once, with the same and with more.
        OPERATIONS[name](bucket)
        Container(bucket).insert_many([noise(1000, 5000)])
        bucket.now += 8 * DAY
        engine = Container(bucket).engine
        collect.execute(engine, collect.plan(engine))
        assert {*bucket.names("packs"), *bucket.names("segments")} == names_of(newest(bucket))
        after = {*Container(bucket)} - {HELD}
        expected = {*THERE} - {*DELETED} - may_go | {key_of(noise(1000, 5000))}
        if name == "insert":
            expected |= {*NEW}
        assert after == expected
        assert is_whole(bucket)
    else:
        raise AssertionError("it never ended")
    assert at > 1
