"""A snapshot as bytes: its tree, its origin, and its author's description."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rsdos.errors import DamagedTree, InvalidOption
from rsdos.hashing import SHA256
from rsdos.trees.documents import RECORD_TYPE, decode_line, encode_line, is_time
from rsdos.trees.entry import Attributes

VERSION = 1

LARGEST_RECORD = 1 << 20
"""Bytes that a snapshot may have."""

MOST_NESTED = 100
"""How deep metadata may be nested. Python's JSON takes some 900 levels, and fewer the deeper its caller is nested."""

_NAMES = {"times": Attributes.TIMES, "modes": Attributes.MODES}

_MEMBERS = {
    *("attributes", "author", "derived_from", "entries", "files", "message"),
    *("metadata", "parents", "size", "skipped", "time", "tree"),
}


@dataclass(frozen=True, slots=True)
class SnapshotRecord:
    """What a snapshot says. Keys are hex, ``size`` is that of all files, times are as `is_time` wants them."""

    tree: str
    attributes: Attributes
    entries: int
    files: int
    size: int
    time: str
    author: str = ""
    message: str = ""
    parents: tuple[str, ...] = ()
    derived_from: tuple[str, ...] = ()
    """Snapshots of this or other containers: provenance, nothing is kept for it."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=lambda: {"special": 0})
    """How many entries of the directory were left out, by reason."""


def encode_record(record: SnapshotRecord) -> bytes:
    """Return the bytes of a snapshot; their SHA-256 is its key. The same record gives the same bytes.

    Raise `InvalidOption` for metadata that JSON does not give back as it is or that is nested more than 100 deep, for
    other values that a record cannot have, and above 1 MiB.
    """
    fields = {
        "type": RECORD_TYPE,
        "version": VERSION,
        "tree": record.tree,
        "attributes": [name for name, flag in _NAMES.items() if record.attributes & flag],
        "entries": record.entries,
        "files": record.files,
        "size": record.size,
        "time": record.time,
        "author": record.author,
        "message": record.message,
        "parents": list(record.parents),
        "derived_from": list(record.derived_from),
        "metadata": record.metadata,
        "skipped": dict(record.skipped),
    }
    fault = _fault(fields) if _is_json(record.metadata) else "the metadata has what JSON has not"
    if fault:
        raise InvalidOption(f"a snapshot cannot be written: {fault}")
    return encode_line(fields, LARGEST_RECORD, "a snapshot")


def decode_record(data: bytes, key: str = "") -> SnapshotRecord:
    """Return the snapshot of these bytes. Raise `DamagedTree`, with the key that was asked for."""
    fields = decode_line(data, RECORD_TYPE, VERSION, LARGEST_RECORD, key)
    fault = "its members are not those of a snapshot" if fields.keys() != _MEMBERS else _fault(fields)
    if fault:
        raise DamagedTree(key, fault)
    attributes = Attributes.NONE
    for name in fields.pop("attributes"):
        attributes |= _NAMES[name]
    parents, derived_from = tuple(fields.pop("parents")), tuple(fields.pop("derived_from"))
    return SnapshotRecord(attributes=attributes, parents=parents, derived_from=derived_from, **fields)


def is_count(value: object) -> bool:
    """Return whether a value of JSON is a number of things."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 64


def _are_keys(value: object) -> bool:
    return isinstance(value, list) and all(map(SHA256.is_key, value))


def _fault(fields: dict[str, Any]) -> str:
    """Return what is wrong with the members of a snapshot, or ""."""
    skipped = fields["skipped"]
    good = {
        "tree": SHA256.is_key(fields["tree"]),
        "attributes": fields["attributes"] in ([], ["times"], ["modes"], ["times", "modes"]),
        "entries": is_count(fields["entries"]),
        "files": is_count(fields["files"]),
        "size": is_count(fields["size"]),
        "time": is_time(fields["time"]),
        "author": isinstance(fields["author"], str),
        "message": isinstance(fields["message"], str),
        "parents": _are_keys(fields["parents"]),
        "derived_from": _are_keys(fields["derived_from"]),
        "metadata": isinstance(fields["metadata"], dict),
        "skipped": isinstance(skipped, dict) and all(map(is_count, skipped.values())),
    }
    wrong = [name for name, is_good in good.items() if not is_good]
    if wrong:
        return f"its {wrong[0]} is not what a snapshot has"
    return f"its metadata is nested more than {MOST_NESTED} deep" if _is_nested_deeper(fields["metadata"]) else ""


def _is_nested_deeper(metadata: Mapping[str, Any]) -> bool:
    level: list[Any] = [metadata]
    for _ in range(MOST_NESTED):
        members = (member for value in level for member in (value.values() if isinstance(value, dict) else value))
        level = [member for member in members if isinstance(member, dict | list)]
        if not level:
            return False
    return True


def _is_json(value: Mapping[str, Any]) -> bool:
    """Return whether JSON gives the value back as it is: a number as a key, or a tuple, would come back as another."""
    try:
        return bool(json.loads(json.dumps(value)) == value)
    except (TypeError, ValueError, RecursionError):
        return False
