"""Refs as bytes. docs/format.md has the members."""

from __future__ import annotations

from typing import Any

from rsdos.errors import DamagedTree, InvalidName, InvalidOption
from rsdos.hashing import SHA256
from rsdos.trees.documents import REFS_TYPE, decode_line, encode_line, is_time
from rsdos.trees.names import check_ref_name
from rsdos.trees.record import is_count
from rsdos.trees.refs import Branch, Operation, Refs, Version

VERSION = 1

LARGEST_REFS = 64 << 20
"""Bytes that a refs document may have: about 680,000 versions, 98 bytes each."""

_MEMBERS = ["branches", "container_id", "number", "operation", "previous", "tags"]


def encode_refs(refs: Refs) -> bytes:
    """Return the bytes of a refs document. Raise `InvalidOption` above 64 MiB, and for a number that none can have."""
    if not is_count(refs.number) or not all(is_count(branch.next) for branch in refs.branches.values()):
        raise InvalidOption("the refs document cannot be written: behind the largest number there is no next one")
    fields = {
        "type": REFS_TYPE,
        "version": VERSION,
        "container_id": refs.container_id,
        "number": refs.number,
        "previous": refs.previous,
        "operation": refs.operation._asdict(),
        "tags": dict(refs.tags),
        "branches": {
            name: {"next": branch.next, "versions": branch.versions} for name, branch in refs.branches.items()
        },
    }
    return encode_line(fields, LARGEST_REFS, "the refs document")


def decode_refs(data: bytes, key: str = "") -> Refs:
    """Return the refs of these bytes. Raise `DamagedTree`, with the key that was asked for."""
    fields = decode_line(data, REFS_TYPE, VERSION, LARGEST_REFS, key)
    try:
        if sorted(fields) != _MEMBERS:
            raise ValueError("its members are not those of a refs document")
        return _refs(fields)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedTree(key, str(error)) from None


def _refs(fields: dict[str, Any]) -> Refs:
    container_id, number, previous = fields["container_id"], fields["number"], fields["previous"]
    if not isinstance(container_id, str) or len(container_id) != 32 or not is_count(number) or number == 0:
        raise ValueError("its container_id or number is none")
    if previous != "" and not SHA256.is_key(previous):
        raise ValueError("the key of the document before is none")
    operation = _operation(fields["operation"])
    tags, branches = fields["tags"], {name: _branch(branch) for name, branch in fields["branches"].items()}
    for name in (*tags, *branches):
        _check_name(name)
    if not all(map(SHA256.is_key, tags.values())) or tags.keys() & branches.keys():
        raise ValueError("a tag has no key, or the name of a branch")
    return Refs(container_id, number, previous, operation, tags, branches)


def _operation(fields: dict[str, Any]) -> Operation:
    names = fields["names"]
    operation = Operation(fields["verb"], tuple(names), fields["time"], fields["by"])
    texts = (operation.verb, operation.time, operation.by, *operation.names)
    if len(fields) != 4 or not isinstance(names, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError("its operation is none")
    return operation


def _check_name(name: str) -> None:
    try:
        check_ref_name(name)
    except InvalidName as error:
        raise ValueError(f"a name that none may have: {error}") from None


def _branch(fields: dict[str, Any]) -> Branch:
    following, rows = fields["next"], fields["versions"]
    if set(fields) != {"next", "versions"} or not is_count(following) or not isinstance(rows, list):
        raise ValueError("the members of a branch are others")
    before = 0
    versions = []
    for number, snapshot, time in rows:
        if not is_count(number) or not before < number < following:
            raise ValueError("the numbers of a branch are out of order")
        if not SHA256.is_key(snapshot) or not is_time(time):
            raise ValueError("a version of a branch has no key, or no time")
        before = number
        versions.append(Version(number, snapshot, time))
    return Branch(following, tuple(versions))
