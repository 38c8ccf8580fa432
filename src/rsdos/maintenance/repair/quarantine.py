"""Quarantine: keeps the bytes and the index entries of damaged objects before these are deleted."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress

from rsdos.engine.engine import Engine
from rsdos.errors import DamagedContainer, DamagedObject
from rsdos.index.dictionaries import PackDictionary
from rsdos.layout import Layout
from rsdos.model import Extent, ObjectMeta
from rsdos.storage import posix
from rsdos.stores.quarantine import Quarantine


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


def copy_damaged(engine: Engine, key: str, reason: str, quarantine: Quarantine) -> str:
    """Copy the stored bytes of every copy of a damaged object to quarantine. Return the path of the description.

    ``<key>.json`` has the reason and the index entry of each copy, ``<key>.<n>`` the bytes of a packed copy,
    ``<key>.loose`` the loose file, and ``<dictionary>.dictionary.<n>`` both copies of a dictionary that one needs.
    All files are synced. Existing ones are written again.
    """
    copies: list[ObjectMeta] = []
    dictionaries: dict[Extent, PackDictionary] = {}
    with suppress(DamagedContainer, DamagedObject):
        copies = engine.packed.inspection.copies_of(bytes.fromhex(key))
        dictionaries = engine.packed.inspection.dictionaries_of(bytes.fromhex(key))
    for number, meta in enumerate(copies):
        if meta.extent is not None:
            path = engine.layout.pack(meta.extent.pack_id)
            quarantine.copy(path, meta.extent.offset, meta.extent.length, f"{key}.{number}")
            if place := dictionaries.get(meta.extent):
                for copy, offset in enumerate(place.offsets):
                    quarantine.copy_once(path, offset, place.length, f"{place.key}.dictionary.{copy}")
    for path in engine.loose.names.files(bytes.fromhex(key)):
        quarantine.copy(path, 0, posix.length_of(path), f"{key}.loose{os.path.splitext(path)[1]}")
    described = {"key": key, "reason": reason, "copies": [_as_json(meta, dictionaries) for meta in copies]}
    return quarantine.report(f"{key}.json", described)


def _as_json(meta: ObjectMeta, dictionaries: Mapping[Extent, PackDictionary]) -> dict[str, object]:
    place = dictionaries.get(meta.extent) if meta.extent else None
    return meta._asdict() | {
        "dictionary": place and place.key,
        "place": meta.place.value,
        "codec": meta.codec.name.lower(),
        "extent": meta.extent and meta.extent._asdict(),
    }
