"""The members of an archive in the order of a tree. Their names are untrusted: none may lead out of the tree."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import pairwise

from rsdos.errors import InvalidName
from rsdos.model import DIGEST_BYTES
from rsdos.trees.entry import KINDS, EntryKind, TreeEntry, tree_order
from rsdos.trees.limits import check_path


def path_in_tree(name: bytes) -> bytes:
    """Return the path of a member: its name without empty parts and ``.``; b"" for the root.

    Raise `InvalidName` for a name that is absolute, leads up, or that no tree can have.
    """
    if name.startswith(b"/"):
        raise InvalidName(name, "a name in an archive must not begin with a slash")
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise InvalidName(name, "the name leads out of the archive")
    path = b"/".join(parts)
    if path:
        check_path(path)
    return path


class Members:
    """The members of an archive as columns, 200 bytes a member. One thread."""

    def __init__(self) -> None:
        self._paths: list[bytes] = []
        self._kinds = bytearray()
        self._sizes = array("Q")
        self._keys = bytearray()
        self._mtimes = array("q")
        self._modes = array("H")
        self._targets: dict[int, bytes] = {}
        self._at: dict[bytes, int] | None = None

    def __len__(self) -> int:
        return len(self._paths)

    def key(self, number: int) -> bytes:
        """Return the digest of a file."""
        return bytes(self._keys[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES])

    def add(self, path: bytes, kind: EntryKind, size: int, target: bytes, mtime: int, mode: int) -> int:
        """Add a member. Return its number. The key of a file is set later."""
        number = len(self._paths)
        self._paths.append(path)
        self._kinds.append(kind)
        self._sizes.append(size)
        self._keys += bytes(DIGEST_BYTES)
        self._mtimes.append(mtime)
        self._modes.append(mode & 0o777)
        if target:
            self._targets[number] = target
        if self._at is not None:
            self._at[path] = number
        return number

    def set_content(self, number: int, key: bytes, size: int) -> None:
        """Set the digest and the size of a file."""
        self._keys[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES] = key
        self._sizes[number] = size

    def add_link(self, path: bytes, to: bytes) -> tuple[int, int]:
        """Add another name of a file that was added before. Return the numbers of both. Raise `InvalidName`."""
        if self._at is None:
            self._at = {path: number for number, path in enumerate(self._paths)}
        first = self._at.get(to, -1)
        if first < 0 or not KINDS[self._kinds[first]].is_file:
            raise InvalidName(to, "the archive has a hard link to it, but no such file before the link")
        kind = KINDS[self._kinds[first]]
        return first, self.add(path, kind, self._sizes[first], b"", self._mtimes[first], self._modes[first])

    def copy_content(self, first: int, number: int) -> None:
        """Give a file the content of another."""
        self.set_content(number, self.key(first), self._sizes[first])

    def entries(self) -> Iterator[TreeEntry]:
        """Yield the entries in tree order. If members have the same name, the last counts. Add missing directories.

        Raise `InvalidName` if the archive has a name below a member that is not a directory.
        """
        order = sorted(range(len(self._paths)), key=lambda number: tree_order(self._paths[number]))
        last = {self._paths[number]: number for number in order} if self._has_twice(order) else None
        if last is not None:
            order = [number for number in order if last[self._paths[number]] == number]
        missing = self._missing_directories(order)
        at = 0
        for path in sorted(missing, key=tree_order):
            key = tree_order(path)
            while at < len(order) and tree_order(self._paths[order[at]]) < key:
                yield self._entry(order[at])
                at += 1
            yield TreeEntry(path, EntryKind.DIRECTORY, 0, mtime=0, mode=0o755)
        yield from map(self._entry, order[at:])

    def _has_twice(self, order: list[int]) -> bool:
        paths = self._paths
        return any(paths[one] == paths[other] for one, other in pairwise(order))

    def _missing_directories(self, order: list[int]) -> set[bytes]:
        paths, kinds = self._paths, self._kinds
        needed: set[bytes] = set()
        for directory in {paths[number].rpartition(b"/")[0] for number in order}:
            above = directory
            while above and above not in needed:
                needed.add(above)
                above = above.rpartition(b"/")[0]
        for number in order:
            if paths[number] in needed:
                if kinds[number] != EntryKind.DIRECTORY:
                    raise InvalidName(paths[number], "it is not a directory, but the archive has entries below it")
                needed.discard(paths[number])
        return needed

    def _entry(self, number: int) -> TreeEntry:
        kind = KINDS[self._kinds[number]]
        target = self._targets.get(number, b"")
        size = self._sizes[number] if kind.is_file else len(target)
        key = self.key(number) if kind.is_file else b""
        return TreeEntry(self._paths[number], kind, size, key, target, self._mtimes[number], self._modes[number])
