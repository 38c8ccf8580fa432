"""Quarantine: keeps the bytes of damaged objects, and all that is known of them, before they are deleted."""

from __future__ import annotations

import json
import os
from contextlib import suppress

from rsdos.engine.engine import Engine
from rsdos.errors import DamagedContainer, DamagedObject
from rsdos.layout import Layout
from rsdos.model import FRAME_SIZE, ObjectMeta
from rsdos.storage import posix
from rsdos.storage.permissions import make_directory


def new_directory(engine: Engine, name: str) -> str:
    """Make a new directory in quarantine, durably, called ``name`` and a number. Return its path."""
    parent = engine.layout.quarantine
    engine.layout.make(parent)
    number = 1
    while True:
        path = os.path.join(parent, f"{name}-{number}")
        try:
            make_directory(path)
        except FileExistsError:
            number += 1
            continue
        posix.sync_directory(parent)
        posix.sync_directory(engine.layout.root)
        return path


def write_report(path: str, what: dict[str, object]) -> str:
    """Write a JSON document and sync it. Return its path. The directory is not synced."""
    posix.replace_file(path, json.dumps(what, indent=1).encode())
    return path


def clean_quarantine(layout: Layout) -> int:
    """Remove documents that a killed run has left unfinished. Return their number. Under the maintenance lock.

    The next run writes each of them again, unless it makes a new directory.
    """
    unfinished = [
        os.path.join(directory, name)
        for directory, _, names in os.walk(layout.quarantine)
        for name in names
        if name.endswith(".json.new")
    ]
    return sum(map(posix.remove, unfinished))


def move_to_quarantine(engine: Engine, key: str, reason: str, directory: str) -> str:
    """Copy the stored bytes of every copy of a damaged object to ``directory``. Return the path of the description.

    ``<key>.json`` has the reason and the index entry of each copy, ``<key>.<n>`` the bytes of a packed copy, and
    ``<key>.loose`` the loose file. All files are synced. Existing ones are written again.
    """
    with suppress(FileExistsError):
        make_directory(directory)
    base = os.path.join(directory, key)
    copies: list[ObjectMeta] = []
    with suppress(DamagedContainer, DamagedObject):
        copies = engine.packed.copies_of(bytes.fromhex(key))
    for number, meta in enumerate(copies):
        if meta.extent is not None:
            path = engine.layout.pack(meta.extent.pack_id)
            _copy(path, meta.extent.offset, meta.extent.length, f"{base}.{number}")
    for path in engine.loose.names.files(bytes.fromhex(key)):
        _copy(path, 0, posix.length_of(path), f"{base}.loose{os.path.splitext(path)[1]}")
    described = {"key": key, "reason": reason, "copies": [_as_json(meta) for meta in copies]}
    posix.replace_file(f"{base}.json", json.dumps(described, indent=1).encode())
    posix.sync_directory(directory)
    return f"{base}.json"


def _as_json(meta: ObjectMeta) -> dict[str, object]:
    return meta._asdict() | {
        "place": meta.place.value,
        "codec": meta.codec.name.lower(),
        "extent": meta.extent and meta.extent._asdict(),
    }


def _copy(path: str, offset: int, length: int, target: str) -> None:
    """Copy the existing part of a range of a file. Do nothing when the file is gone."""
    with suppress(FileNotFoundError), posix.open_for_reading(path) as source:
        posix.remove(target)
        with posix.create(target) as fd:
            end = min(offset + length, os.fstat(source).st_size)
            for at in range(offset, end, FRAME_SIZE):
                posix.write_at(fd, at - offset, posix.read_at(source, at, min(FRAME_SIZE, end - at)))
            posix.sync_file(fd)
