"""Storing what no release of rsdos stores: bytes under the key of others, and documents that nobody has checked."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from rsdos import Container
from rsdos.engine.publish import newest_refs
from rsdos.model import FRAME_SIZE, PackKind, Place, RecordFlag, Stored
from rsdos.trees.entry import Attributes, EntryKind, TreeEntry
from rsdos.trees.refs_document import encode_refs
from tests.data import key_of
from tests.unit.trees.reference import leaf

TIME = "2026-11-26T17:30:00Z"
EVIL = b"evil"
"""The content of the files of hostile trees."""


def give_to(container: Container, key: str, other: str) -> None:
    """Append the stored bytes of an object under another key, as a maker does who writes the entries himself."""
    meta = container.meta(key)
    assert meta.extent is not None
    with open(container.engine.layout.pack(meta.extent.pack_id), "rb") as file:
        file.seek(meta.extent.offset)
        data = file.read(meta.length)
    flags = RecordFlag.FRAMED if meta.size > FRAME_SIZE else RecordFlag.NONE
    with container.engine.packed.writer() as writer:
        writer.add_stored(bytes.fromhex(other), Stored(meta.codec, flags, meta.length, meta.size), [data])
        writer.commit()


def line(fields: Any) -> bytes:
    """A document as it is written, whatever is in it. A text that begins with ``raw:`` stands there without quotes."""
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    before, *raws = text.split('"raw:')
    for raw in raws:
        value, _, rest = raw.partition('"')
        before += value.replace("'", '"') + rest
    return before.encode() + b"\n"


class Forge:
    """Makes the pages, snapshots and refs of one hostile branch, ``bad``, beside what a container has.

    ``twist`` is given all bytes before they are hashed, so that what it changes has a right hash all the same.
    """

    def __init__(self, container: Container, twist: Callable[[bytes], bytes] = lambda data: data) -> None:
        self.container = container
        self.before = newest_refs(container.engine)
        self.base: dict[str, Any] = json.loads(encode_refs(self.before.refs))
        self.file_key = bytes.fromhex(key_of(EVIL))
        self.objects: list[bytes] = []
        self.documents: list[bytes] = []
        """Refs documents that are published after one another. Without any, one that has the snapshots."""
        self.snapshots: list[str] = []
        self._twist = twist

    def store(self, data: bytes) -> bytes:
        """Store a page or a snapshot; return its digest."""
        data = self._twist(data)
        self.objects.append(data)
        return sha256(data).digest()

    # --- trees

    def file(self, path: bytes, **other: Any) -> TreeEntry:
        return TreeEntry(path, EntryKind.FILE, len(EVIL), self.file_key)._replace(**other)

    def version(self, root: bytes, **members: Any) -> None:
        """Add a version of the branch, with a tree."""
        self.snapshots.append(self.store(line(self.record(root, **members))).hex())

    def record(self, root: bytes, **members: Any) -> dict[str, Any]:
        record = {
            "type": "rsdos snapshot",
            "version": 1,
            "tree": root.hex(),
            "attributes": [],
            "entries": 1,
            "files": 1,
        }
        more = {"size": 4, "time": TIME, "author": "", "message": "", "parents": [], "derived_from": [], "metadata": {}}
        return {**record, **more, "skipped": {"special": 0}, **members}

    def entries(self, *entries: TreeEntry, attributes: Attributes = Attributes.NONE, **members: Any) -> None:
        """Add a version of the branch with these entries, in one page that nobody has checked."""
        names = [name for name, flag in (("times", 1), ("modes", 2)) if attributes & flag]
        self.version(self.store(leaf(entries, attributes)), **{"attributes": names, "entries": len(entries), **members})

    def good_tree(self) -> bytes:
        return self.store(leaf([self.file(b"a")], Attributes.NONE))

    # --- refs

    def bad(self) -> dict[str, Any]:
        """The branch as a refs document has it. Without versions so far it gets a good one."""
        if not self.snapshots:
            self.version(self.good_tree())
        rows = [[number, key, TIME] for number, key in enumerate(self.snapshots, 1)]
        return {"next": len(rows) + 1, "versions": rows}

    def refs(self, **members: Any) -> dict[str, Any]:
        """The refs document that is next, with other members."""
        after = {"number": self.base["number"] + 1, "previous": self.before.live.refs}
        branches = {**self.base["branches"], "bad": self.bad()}
        return {**self.base, **after, "branches": branches, **members}

    def document(self, data: bytes) -> str:
        """Publish a refs document, after those that were given before; return its key."""
        data = self._twist(data)
        self.documents.append(data)
        return key_of(data)

    def publish(self) -> None:
        """Store and publish all of it."""
        publisher = self.container.engine.packed.publisher
        self.container.engine.objects.insert_many([EVIL], to=Place.PACKED, kind=PackKind.HELD)
        objects = self.objects
        for document in self.documents or [self._twist(line(self.refs()))]:
            publisher.publish((*objects, document), self.container.engine.packed.live())
            objects = []
