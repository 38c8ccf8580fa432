"""Trees for tests: entries made from a seed, and a store of pages in memory."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from hashlib import sha256

from rsdos.errors import ObjectNotFound
from rsdos.trees.build import TreeRoot, build_tree
from rsdos.trees.entry import Attributes, EntryKind, TreeEntry
from rsdos.trees.tree import Tree
from tests.unit.trees.reference import in_tree_order, listings


class Pages:
    """Pages in memory, which counts what is read of them."""

    def __init__(self) -> None:
        self.data: dict[bytes, bytes] = {}
        self.read: list[bytes] = []
        self.calls = 0

    def put(self, key: bytes, page: bytes) -> None:
        assert sha256(page).digest() == key
        self.data[key] = page

    def get(self, keys: Sequence[bytes]) -> list[bytes]:
        self.calls += 1
        self.read += keys
        missing = [key for key in keys if key not in self.data]
        if missing:
            raise ObjectNotFound(missing[0].hex())
        return [self.data[key] for key in keys]

    def tree(self, root: bytes) -> Tree:
        return Tree(root, self.get)


def build(entries: Iterable[TreeEntry], attributes: Attributes = Attributes.NONE) -> tuple[TreeRoot, Pages]:
    pages = Pages()
    return build_tree(listings(entries, attributes), attributes, pages.put), pages


def file(path: bytes, number: int = 0, kind: EntryKind = EntryKind.FILE) -> TreeEntry:
    """A file of some content."""
    return TreeEntry(path, kind, number % 10_000, sha256(b"%d" % number).digest())


def link(path: bytes, target: bytes) -> TreeEntry:
    return TreeEntry(path, EntryKind.LINK, len(target), b"", target)


def directory(path: bytes) -> TreeEntry:
    return TreeEntry(path, EntryKind.DIRECTORY, 0)


def with_parents(entries: Iterable[TreeEntry]) -> list[TreeEntry]:
    """The entries in tree order, and all directories that they need."""
    found = {entry.path: entry for entry in entries}
    for path in list(found):
        parent = path.rpartition(b"/")[0]
        while parent:
            found.setdefault(parent, directory(parent))
            parent = parent.rpartition(b"/")[0]
    return in_tree_order(found.values())


def some_tree(seed: int, count: int, attributes: Attributes = Attributes.NONE) -> list[TreeEntry]:
    """About so many entries of all kinds, in directories of all sizes, with names of all bytes that a name may have."""
    chance = random.Random(seed)
    directories = [b""]
    entries = []
    for number in range(count):
        above = chance.choice(directories[-20:] if chance.random() < 0.5 else directories)
        name = b"%d" % number if chance.random() < 0.8 else bytes(chance.choices(_NAME_BYTES, k=chance.randint(3, 20)))
        path = above + b"/" + name if above else name
        match chance.randint(0, 19):
            case 0:
                entries.append(directory(path))
                directories.append(path)
            case 1:
                entries.append(link(path, b"../" + name))
            case 2:
                entries.append(file(path, number, EntryKind.EXECUTABLE))
            case _:
                entries.append(file(path, number))
    unique = {entry.path: entry for entry in reversed(entries)}
    plain = {path: entry for path, entry in unique.items() if all(_is_directory(unique, path))}
    return in_tree_order(dressed(entry, attributes, chance.randrange(1 << 40)) for entry in plain.values())


def dressed(entry: TreeEntry, attributes: Attributes, number: int) -> TreeEntry:
    return entry._replace(
        mtime=number - (1 << 39) if attributes & Attributes.TIMES else None,
        mode=number % 512 if attributes & Attributes.MODES else None,
    )


_NAME_BYTES = bytes(byte for byte in range(1, 256) if byte != ord("/"))


def _is_directory(unique: dict[bytes, TreeEntry], path: bytes) -> Iterable[bool]:
    parent = path.rpartition(b"/")[0]
    while parent:
        yield unique[parent].kind is EntryKind.DIRECTORY
        parent = parent.rpartition(b"/")[0]


def entries_of(tree: Tree, under: bytes = b"") -> list[TreeEntry]:
    return [entry for listing in tree.walk(under) for entry in listing.entries()]
