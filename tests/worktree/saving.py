"""Snapshots for the tests of checkouts and archives: made from what a test says, without a directory."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from rsdos import Container
from rsdos.engine.publish import publish, read_refs
from rsdos.model import PackKind, Place
from rsdos.trees.build import build_tree
from rsdos.trees.entry import Attributes, EntryKind, TreeEntry, listings_of, tree_order
from rsdos.trees.record import SnapshotRecord, encode_record

TIME = "2026-11-26T17:30:00Z"


class File(NamedTuple):
    """A file of a snapshot."""

    data: bytes
    mode: int = 0o644
    mtime: int = 0


class Link(NamedTuple):
    target: bytes
    mtime: int = 0


class Directory(NamedTuple):
    mode: int = 0o755
    mtime: int = 0


Things = Mapping[bytes, "File | Link | Directory | bytes"]
"""Paths, and what they are: bytes are a file. Directories above them are added."""


def with_parents(things: Things) -> dict[bytes, File | Link | Directory]:
    """The same with all directories."""
    full: dict[bytes, File | Link | Directory] = {
        path: File(thing) if isinstance(thing, bytes) else thing for path, thing in things.items()
    }
    for path in things:
        above = path.rpartition(b"/")[0]
        while above:
            full.setdefault(above, Directory())
            above = above.rpartition(b"/")[0]
    return full


def save(container: Container, name: str, things: Things, attributes: Attributes = Attributes.NONE) -> str:
    """Save a snapshot as the next version of a branch. Return its key."""
    full = with_parents(things)
    files = {path: thing for path, thing in full.items() if isinstance(thing, File)}
    keys = container.engine.objects.insert_many(
        [thing.data for thing in files.values()], to=Place.PACKED, kind=PackKind.HELD
    )
    keys_of = dict(zip(files, keys, strict=True))
    entries = [_entry(path, full[path], keys_of.get(path, "")) for path in sorted(full, key=tree_order)]
    pages: list[bytes] = []
    root = build_tree(listings_of(entries, attributes), attributes, lambda digest, page: pages.append(page))
    return publish_root(container, name, root.key, pages, len(entries), len(files), attributes)


def publish_root(
    container: Container,
    name: str,
    root: bytes,
    pages: list[bytes],
    entries: int,
    files: int,
    attributes: Attributes = Attributes.NONE,
) -> str:
    """Publish a tree that is there as pages."""
    record = SnapshotRecord(root.hex(), attributes, entries, files, 0, TIME)
    document = encode_record(record)
    key = container.engine.objects.hash.digest_of(document).hex()
    refs, epoch = read_refs(container.engine)
    branch = refs.branches.get(name)
    parent = branch.newest.snapshot if branch and branch.newest else None
    publish(
        container.engine,
        epoch,
        lambda newest: newest.saved(name, key, TIME, "tests", parent),
        objects=[*pages, document],
    )
    return key


def _entry(path: bytes, thing: File | Link | Directory, key: str) -> TreeEntry:
    if isinstance(thing, File):
        kind = EntryKind.EXECUTABLE if thing.mode & stat.S_IXUSR else EntryKind.FILE
        return TreeEntry(path, kind, len(thing.data), bytes.fromhex(key), b"", thing.mtime, thing.mode)
    if isinstance(thing, Link):
        return TreeEntry(path, EntryKind.LINK, len(thing.target), b"", thing.target, thing.mtime, 0o777)
    return TreeEntry(path, EntryKind.DIRECTORY, 0, b"", b"", thing.mtime, thing.mode)


def read_back(top: Path | str) -> dict[bytes, File | Link | Directory]:
    """What a directory has: contents, targets, and the executable bit as the mode 0o755."""
    found: dict[bytes, File | Link | Directory] = {}

    def read(path: bytes, fd: int) -> None:
        for name in os.listdir(fd):
            own = os.fsencode(name)
            status = os.stat(own, dir_fd=fd, follow_symlinks=False)
            below = path + b"/" + own if path else own
            if stat.S_ISLNK(status.st_mode):
                found[below] = Link(os.readlink(own, dir_fd=fd))
            elif stat.S_ISDIR(status.st_mode):
                found[below] = Directory()
                inner = os.open(own, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
                try:
                    read(below, inner)
                finally:
                    os.close(inner)
            elif stat.S_ISREG(status.st_mode):
                with open(os.open(own, os.O_RDONLY, dir_fd=fd), "rb") as file:
                    found[below] = File(file.read(), 0o755 if status.st_mode & stat.S_IXUSR else 0o644)

    top_fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    try:
        read(b"", top_fd)
    finally:
        os.close(top_fd)
    return found
