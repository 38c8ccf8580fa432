"""A container on object storage whose index has millions of entries, and no objects but one; see `cold_index`."""

from __future__ import annotations

import time

import numpy as np

from rsdos import Container
from rsdos.engine.engine import Engine
from rsdos.index.digests import PREFIX
from rsdos.index.entries import RECORD, Entries
from rsdos.index.remote_index import RemoteIndex
from rsdos.model import Durability
from rsdos.stores.packed.store import PackedStore

_ASKED = 40


def fill(url: str, endpoint: str, count: int) -> list[str]:
    """Make the container, with a merged index of so many entries. Return some of the keys."""
    with Container.create(url, endpoint=endpoint, container_version=3) as container:
        container.insert_many([b"the pack of all entries"])
        index = _index(container.engine)
        manifest = index.newest()
        (pack_id,) = manifest.pack_ids
        entries = _entries(count, pack_id)
        segment = index.new_segment(entries)
        index.commit(lambda now: now.with_segments(now.segments, segment), Durability.FULL)
        digests = entries.take(np.random.default_rng(20).integers(0, count, _ASKED)).digests()
    return [digest.hex() for digest in digests]


def _entries(count: int, pack_id: int) -> Entries:
    chance = np.random.default_rng(18)
    prefixes = np.sort(chance.integers(0, 1 << 64, count, dtype=np.uint64)).astype(PREFIX)
    records = np.zeros(count, RECORD)
    records["tail"] = chance.integers(0, 256, (count, 24), dtype=np.uint8).view("V24").ravel()
    records["offset"], records["pack_id"] = np.arange(count), pack_id
    return Entries(prefixes, records)


def look_up(url: str, endpoint: str, key: str) -> float:
    """Look for a key of a container whose newest manifest was just read, and nothing else. Return the seconds."""
    with Container(url, endpoint=endpoint) as container:
        index = _index(container.engine)
        newest = index.newest()
        begun = time.perf_counter()
        assert index.open(newest).find(bytes.fromhex(key)) is not None
        return time.perf_counter() - begun


def _index(engine: Engine) -> RemoteIndex:
    store = engine.packed
    assert isinstance(store, PackedStore) and isinstance(store.index, RemoteIndex)
    return store.index
