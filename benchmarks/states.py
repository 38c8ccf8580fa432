"""Containers that cases start from: made once for each side, copied for cases that change them."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.data import Data
from benchmarks.sides import Side

_PACKS = 100


@dataclass(frozen=True, slots=True)
class State:
    """A container with something in it; ``verb`` is what a side has to have to make it."""

    name: str
    verb: str
    make: Callable[[Side, Data], list[str]]
    borrowed: bool = False
    """A side that lives on another's container takes that one's."""


def _packed(dataset: str, compress: bool = False, packs: int = 1) -> Callable[[Side, Data], list[str]]:
    def make(side: Side, data: Data) -> list[str]:
        payloads = data.payloads(dataset)
        side.create(sum(map(len, payloads)) // packs if packs > 1 else None)
        keys = side.fill(payloads, compress)
        side.settle()
        return keys

    return make


def _loose(share: int) -> Callable[[Side, Data], list[str]]:
    def make(side: Side, data: Data) -> list[str]:
        side.create()
        return side.insert_many_loose(data.payloads("text-1k", data.level.loose // share))

    return make


def _stream(compress: bool) -> Callable[[Side, Data], list[str]]:
    def make(side: Side, data: Data) -> list[str]:
        side.create()
        key = side.insert_stream(data.stream("text"), compress)
        side.settle()
        return [key]

    return make


def _empty(side: Side, data: Data) -> list[str]:
    side.create()
    return []


EMPTY = State("empty", "create", _empty)
PACKED = State("packed", "insert_packed", _packed("text-1k"))
PACKED_100K = State("packed-100k", "insert_packed", _packed("text-100k"))
COMPRESSED = State("compressed", "insert_packed", _packed("text-1k", compress=True))
HUNDRED_PACKS = State("hundred-packs", "insert_packed", _packed("text-1k", packs=_PACKS), borrowed=True)
LOOSE = State("loose", "insert_loose", _loose(1))
STREAM = State("stream", "insert_stream", _stream(compress=False))
STREAM_COMPRESSED = State("stream-compressed", "insert_stream", _stream(compress=True))

_ALL = (EMPTY, PACKED, PACKED_100K, COMPRESSED, HUNDRED_PACKS, LOOSE, STREAM, STREAM_COMPRESSED)
STATES = {state.name: state for state in _ALL}


def make_state(state: State, side: Side, data: Data) -> None:
    """Make the container at the side's path, and the list of its keys beside it."""
    keys = state.make(side, data)
    side.close()
    keys_file(side.path).write_text(json.dumps(keys))


def keys_file(path: Path) -> Path:
    """Where the keys of a state's container are."""
    return path.with_name(path.name + ".keys")


def keys_of(path: Path, *, shuffled: bool = True) -> list[str]:
    """The keys of a state's container, in an order that has nothing to do with theirs."""
    keys: list[str] = json.loads(keys_file(path).read_text())
    if shuffled:
        random.Random(1).shuffle(keys)
    return keys


def copy_state(path: Path, to: Path) -> None:
    """A container of its own for a case that changes it."""
    shutil.copytree(path, to, symlinks=True)
    shutil.copyfile(keys_file(path), keys_file(to))
