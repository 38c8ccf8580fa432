"""What is measured: each case is a verb, on data, from a state."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks import states
from benchmarks.data import Data, files_below
from benchmarks.sides import FLOOR, PEERS, YARDSTICKS, Side, key_of
from benchmarks.states import State, keys_of

_RANGE = 64 << 10
_RANGES = 100
_VISITS = 100

Work = Callable[[], int]
"""The part that is timed; returns how many units it did."""


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the tables, ``title`` says what is done. ``prepare`` gets an open side and returns what is timed."""

    name: str
    title: str
    verb: str
    prepare: Callable[[Side, Data], Work]
    unit: str = "objects"
    state: State = states.EMPTY
    changes: bool = True
    """Whether it changes the container: it gets a fresh copy then."""
    durable: bool = False
    on_tmpfs: bool = False
    threads: int | None = None
    """Threads that may help with compression, where a side has any: 0 is none."""
    only: tuple[str, ...] = ()
    """These sides, if they can; none: all that can."""
    quick: bool = True
    """Whether `make bench-quick` has it."""


def _insert_packed(side: Side, data: Data, dataset: str = "text-1k", compress: bool = False) -> Work:
    payloads = data.payloads(dataset)
    return lambda: len(side.insert_packed(payloads, compress))


def _insert_again(side: Side, data: Data) -> Work:
    payloads = data.payloads("text-1k")
    side.insert_packed(payloads, compress=False)
    return lambda: len(side.insert_packed(payloads, compress=False))


def _insert_loose(side: Side, data: Data) -> Work:
    payloads = data.payloads("text-1k", data.level.loose_singles)
    return lambda: sum(1 for _ in map(side.insert_loose, payloads))


def _insert_many_loose(side: Side, data: Data) -> Work:
    payloads = data.payloads("text-1k", data.level.synced)
    return lambda: len(side.insert_many_loose(payloads))


def _insert_tree(side: Side, data: Data, jobs: int = 0, compress: bool = False) -> Work:
    count = data.level.of("text-1k").count

    def work() -> int:
        side.insert_files([data.tree], jobs, compress)
        return count

    return work


def _insert_library(side: Side, data: Data, compress: bool = False) -> Work:
    places = data.library
    count = sum(1 for _ in files_below(places))

    def work() -> int:
        side.insert_files(places, 0, compress)
        return count

    return work


def _extract_many(side: Side, data: Data) -> Work:
    keys = keys_of(side.path)
    return lambda: sum(1 for _ in side.extract_many(keys))


def _some_keys(side: Side, data: Data, count: int) -> Sequence[str]:
    return keys_of(side.path)[:count]


def _extract_each(side: Side, data: Data) -> Work:
    keys = _some_keys(side, data, data.level.singles)
    side.extract(keys[-1])
    return lambda: sum(1 for _ in map(side.extract, keys))


def _visit(side: Side, data: Data) -> Work:
    keys = _some_keys(side, data, _VISITS)
    side.close()
    return lambda: sum(1 for _ in map(side.visit, keys))


def _has_many(side: Side, data: Data) -> Work:
    keys = keys_of(side.path)
    missing = [key_of(key.encode())[: len(key)] for key in keys[: len(keys) // 2]]
    asked = keys[len(missing) :] + missing
    random.Random(2).shuffle(asked)

    def work() -> int:
        assert side.has_many(asked) == len(keys) - len(missing)
        return len(asked)

    return work


def _list_keys(side: Side, data: Data) -> Work:
    return side.list_keys


def _call(verb: str, side: Side, data: Data) -> Work:
    count = len(keys_of(side.path))

    def work() -> int:
        getattr(side, verb)()
        return count

    return work


def _insert_stream(side: Side, data: Data, kind: str = "text", compress: bool = False) -> Work:
    def work() -> int:
        side.insert_stream(data.stream(kind), compress)
        return data.level.stream

    return work


def _extract_stream(side: Side, data: Data) -> Work:
    (key,) = keys_of(side.path)
    return lambda: side.extract_stream(key)


def _extract_range(side: Side, data: Data) -> Work:
    (key,) = keys_of(side.path)
    chance = random.Random(3)
    offsets = [chance.randrange(data.level.stream - _RANGE) for _ in range(_RANGES)]

    def work() -> int:
        for offset in offsets:
            assert len(side.extract_range(key, offset, _RANGE)) == _RANGE
        return len(offsets)

    return work


def _start(verb: str, side: Side, data: Data) -> Work:
    def work() -> int:
        for _ in range(data.level.starts):
            getattr(side, verb)()
        return data.level.starts

    return work


_RIVALS = ("ours", FLOOR, *PEERS)
_ALL = (*_RIVALS, *YARDSTICKS)

CASES = (
    Case("insert-raw", "insert_many to packs, raw, relaxed", "insert_packed", _insert_packed, only=_ALL),
    Case("insert-raw-full", "insert_many to packs, raw, full", "insert_packed", _insert_packed, durable=True,
         only=_ALL),
    Case(
        "insert-zstd", "insert_many to packs, compressed, one thread", "insert_packed",
        partial(_insert_packed, compress=True), threads=0, only=_ALL,
    ),
    Case(
        "insert-zstd-threads", "insert_many to packs, compressed, as it comes", "insert_packed",
        partial(_insert_packed, compress=True), only=("ours", FLOOR, "dos"), quick=False,
    ),
    Case("insert-again", "insert_many of what is there", "insert_packed", _insert_again, only=_RIVALS, quick=False),
    Case(
        "insert-noise", "insert_many to packs, incompressible", "insert_packed",
        partial(_insert_packed, dataset="noise-1k"), only=_RIVALS, quick=False,
    ),
    Case(
        "insert-10k", "insert_many to packs, 10 KB", "insert_packed", partial(_insert_packed, dataset="text-10k"),
        only=_RIVALS, quick=False,
    ),
    Case(
        "insert-100k", "insert_many to packs, 100 KB", "insert_packed", partial(_insert_packed, dataset="text-100k"),
        only=_RIVALS, quick=False,
    ),
    Case("add-files", "add-files -r as it comes, a tree of 1 KB files, raw", "insert_files", _insert_tree, "files",
         only=("ours", FLOOR, "dos")),
    Case("add-files-one", "the same, --jobs 1", "insert_files", partial(_insert_tree, jobs=1), "files",
         only=("ours",)),
    Case("add-files-jobs", "the same, --jobs 2", "insert_files", partial(_insert_tree, jobs=2), "files",
         only=("ours",)),
    Case("add-files-zstd", "add-files -r --jobs 2, a tree of 1 KB files, compressed", "insert_files",
         partial(_insert_tree, jobs=2, compress=True), "files", only=("ours", FLOOR, "dos", "git")),
    Case("add-library", "add-files -r as it comes, this Python's library, raw", "insert_files", _insert_library,
         "files", only=("ours", FLOOR, "dos"), quick=False),
    Case("add-library-zstd", "add-files -r as it comes, this Python's library, compressed", "insert_files",
         partial(_insert_library, compress=True), "files", only=("ours", FLOOR, "dos", "git"), quick=False),
    Case("extract-many", "extract_many, random order, raw", "extract_many", _extract_many,
         state=states.PACKED, changes=False, only=_ALL),
    Case("extract-many-zstd", "extract_many, random order, compressed", "extract_many", _extract_many,
         state=states.COMPRESSED, changes=False, only=_RIVALS),
    Case("extract-packed", "extract of one packed object", "extract", _extract_each,
         state=states.PACKED, changes=False, only=_ALL),
    Case("visit", "open, has, open, read, close: AiiDA's pattern, 100 packs", "visit", _visit, "visits",
         state=states.HUNDRED_PACKS, changes=False, only=("ours", "ours-v1", "dos")),
    Case("insert-loose", "insert of one loose object, relaxed", "insert_loose", _insert_loose,
         only=(*_RIVALS, "files")),
    Case("insert-loose-tmpfs", "insert of one loose object, relaxed, tmpfs", "insert_loose", _insert_loose,
         on_tmpfs=True, only=_RIVALS),
    Case("insert-loose-full", "insert of one loose object, full", "insert_loose", _insert_loose, durable=True,
         only=(*_RIVALS, "files")),
    Case("insert-many-loose", "insert_many to loose, full", "insert_loose", _insert_many_loose, durable=True,
         only=("ours", FLOOR, "dos", "files")),
    Case("extract-loose", "extract of one loose object", "extract", _extract_each,
         state=states.LOOSE, changes=False, only=(*_RIVALS, "files")),
    Case("pack", "pack all loose, clean=False", "pack", partial(_call, "pack"), state=states.LOOSE, only=_RIVALS),
    Case("pack-clean", "pack all loose, and clean", "pack_and_clean", partial(_call, "pack_and_clean"),
         state=states.LOOSE, only=_RIVALS),
    Case("stream-in", "one large stream in, raw", "insert_stream", _insert_stream, "bytes", only=_RIVALS),
    Case("stream-in-noise", "one large random stream in, raw", "insert_stream", partial(_insert_stream, kind="noise"),
         "bytes", only=_RIVALS, quick=False),
    Case("stream-in-zstd", "one large stream in, zstd", "insert_stream", partial(_insert_stream, compress=True),
         "bytes", only=("ours", FLOOR, "dos")),
    Case("stream-in-zstd-alone", "one large stream in, zstd, one thread", "insert_stream",
         partial(_insert_stream, compress=True), "bytes", threads=0, only=("ours",)),
    Case("stream-out", "one large stream out of a pack, raw", "extract_stream", _extract_stream, "bytes",
         state=states.STREAM, changes=False, only=_RIVALS),
    Case("stream-out-zstd", "one large stream out of a pack, zstd", "extract_stream", _extract_stream, "bytes",
         state=states.STREAM_COMPRESSED, changes=False, only=("ours", "dos")),
    Case("range", "64 KiB anywhere in the zstd stream", "extract_range", _extract_range, "ranges",
         state=states.STREAM_COMPRESSED, changes=False, only=_RIVALS),
    Case("has-many", "has_many, half missing", "has_many", _has_many, "keys",
         state=states.PACKED, changes=False, only=_ALL),
    Case("list", "list all keys", "list_keys", _list_keys, "keys", state=states.PACKED, changes=False, only=_ALL,
         quick=False),
    Case("repack", "repack, 1 KB objects", "repack", partial(_call, "repack"), state=states.PACKED,
         only=("ours", FLOOR)),
    Case("repack-100k", "repack, 100 KB objects", "repack", partial(_call, "repack"), state=states.PACKED_100K,
         only=("ours", FLOOR), quick=False),
    Case("start-version", "start: --version", "show_version", partial(_start, "show_version"), "starts", only=_RIVALS),
    Case("start-status", "start: status", "show_status", partial(_start, "show_status"), "starts", only=_RIVALS),
)  # fmt: skip
BY_NAME = {case.name: case for case in CASES}
