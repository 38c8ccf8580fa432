"""Trees as docs/format.md describes them, in the plainest code there is: what the real one is compared with.

It knows nothing of `rsdos.trees` but the names of its values.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import groupby
from typing import TypeVar
from zlib import crc32

from rsdos.trees.entry import Attributes, EntryKind, Listing, TreeEntry

T = TypeVar("T")


def parts(path: bytes) -> tuple[list[bytes], bytes]:
    """The sort key of a path: the parts of its directory, then its name."""
    *directory, name = path.split(b"/")
    return directory, name


def in_tree_order(entries: Iterable[TreeEntry]) -> list[TreeEntry]:
    return sorted(entries, key=lambda entry: parts(entry.path))


def hashed(path: bytes) -> int:
    directory, name = parts(path)
    return crc32(b"\0".join([b"\0".join(directory), name]))


def pages_of(
    entries: Iterable[TreeEntry], attributes: Attributes = Attributes.NONE
) -> tuple[bytes, dict[bytes, bytes]]:
    """The key of the root, and all pages by their keys."""
    pages: dict[bytes, bytes] = {}

    def put(page: bytes) -> bytes:
        key = sha256(page).digest()
        pages[key] = page
        return key

    level: list[tuple[bytes, int, int, bytes]] = []
    for group in cut(in_tree_order(entries), [hashed(entry.path) for entry in in_tree_order(entries)], 1 << 25, 1024):
        size = sum(entry.size for entry in group if entry.kind.is_file)
        level.append((group[-1].path, len(group), size, put(leaf(group, attributes))))
    if not level:
        return put(leaf([], attributes)), pages
    number = 1
    while len(level) > 1:
        below, level = level, []
        limit = 1 << (25 - 5 * number) if number <= 5 else 0
        for children in cut(below, [hashed(path) for path, _, _, _ in below], limit, 256):
            entry_sum, size_sum = sum(child[1] for child in children), sum(child[2] for child in children)
            level.append((children[-1][0], entry_sum, size_sum, put(inner(number, children, attributes))))
        number += 1
    return level[0][3], pages


def cut(items: Sequence[T], hashes: Sequence[int], below: int, most: int) -> Iterator[list[T]]:
    group: list[T] = []
    for item, number in zip(items, hashes, strict=True):
        group.append(item)
        if number < below or len(group) == most:
            yield group
            group = []
    if group:
        yield group


def leaf(entries: Sequence[TreeEntry], attributes: Attributes) -> bytes:
    runs = [(directory, len(list(group))) for directory, group in groupby(entries, lambda entry: entry.directory)]
    out = b"RSTR" + bytes([1, 0, attributes, 0]) + struct.pack("<II", len(entries), len(runs))
    out += b"".join(struct.pack("<I", count) for _, count in runs)
    out += b"".join(struct.pack("<H", len(directory)) for directory, _ in runs)
    out += b"".join(directory for directory, _ in runs)
    out += bytes(entry.kind for entry in entries)
    out += bytes(len(entry.name) for entry in entries)
    out += b"".join(entry.name for entry in entries)
    out += b"".join(struct.pack("<Q", entry.size) for entry in entries)
    out += b"".join(entry.key for entry in entries if entry.kind.is_file)
    links = [entry for entry in entries if entry.kind is EntryKind.LINK]
    out += b"".join(struct.pack("<H", len(entry.target)) for entry in links)
    out += b"".join(entry.target for entry in links)
    if attributes & Attributes.TIMES:
        out += b"".join(struct.pack("<q", entry.mtime) for entry in entries)
    if attributes & Attributes.MODES:
        out += b"".join(struct.pack("<H", entry.mode) for entry in entries)
    return out


def inner(level: int, children: Sequence[tuple[bytes, int, int, bytes]], attributes: Attributes) -> bytes:
    out = b"RSTR" + bytes([1, level, attributes, 0]) + struct.pack("<II", len(children), 0)
    split = [path.rpartition(b"/") for path, _, _, _ in children]
    out += b"".join(struct.pack("<H", len(directory)) for directory, _, _ in split)
    out += bytes(len(name) for _, _, name in split)
    out += b"".join(directory for directory, _, _ in split)
    out += b"".join(name for _, _, name in split)
    out += b"".join(struct.pack("<Q", count) for _, count, _, _ in children)
    out += b"".join(struct.pack("<Q", size) for _, _, size, _ in children)
    return out + b"".join(key for _, _, _, key in children)


def listings(entries: Iterable[TreeEntry], attributes: Attributes = Attributes.NONE) -> Iterator[Listing]:
    """The listings of entries, one for each directory."""
    for directory, group in groupby(in_tree_order(entries), lambda entry: entry.directory):
        some = list(group)
        yield Listing(
            directory,
            [entry.name for entry in some],
            bytes(entry.kind for entry in some),
            [entry.size for entry in some],
            [entry.key for entry in some],
            [entry.target for entry in some],
            [entry.mtime or 0 for entry in some] if attributes & Attributes.TIMES else None,
            [entry.mode or 0 for entry in some] if attributes & Attributes.MODES else None,
        )
