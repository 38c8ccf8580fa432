"""The disk states that a power loss may leave, from a recorded trace of calls.

A file's bytes are safe from its own sync on, a name from the sync of its directory on. What is not safe may be there
or not, whole or in part, in any order; but what one call does to names is done whole or not at all, and of the calls
for one name a later one that has reached the disk counts, as on every file system with a journal.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from tests.crash.shim import Call, Kind

SECTOR = 512
_VOLATILE = ("-shm",)
"""SQLite's memory between processes: no power loss keeps it, and nothing is read from it after one."""


@dataclass
class File:
    """One file, whatever its names: the bytes that are safe, and what was done to it since."""

    stable: bytes = b""
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)
    """(offset, bytes), or (length, None) for a truncation."""

    def sync(self) -> None:
        self.stable = applied(self.stable, self.pending)
        self.pending = []


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    to: str


Entry = File | Link | str
"""What a name leads to; of a directory what it is told apart by, wherever it is moved to."""


@dataclass
class Change:
    """One call's doing to names: each (directory, name) leads to a file or directory now, or to nothing."""

    names: dict[tuple[str, str], Entry | None]


Tree = dict[str, bytes | str | Link | None]
"""By relative path: a file's bytes, or the path that it is another name of, or a link; None for a directory."""

Choose = Callable[[list[Change]], list[Change]]
Content = Callable[[File], bytes]


def applied(data: bytes, writes: list[tuple[int, bytes | None]]) -> bytes:
    """Bytes after some writes; a gap reads as zeros."""
    result = bytearray(data)
    for offset, written in writes:
        if written is None:
            result = result[:offset].ljust(offset, b"\0")
        else:
            result = result.ljust(offset, b"\0")
            result[offset : offset + len(written)] = written
    return bytes(result)


class Replay:
    """A disk that plays recorded calls, from a directory of which all is safe at first."""

    def __init__(self, template: Path, root: Path) -> None:
        """``root`` is where the calls were recorded; what it held at the beginning is in ``template``."""
        self._root = str(root)
        self._stable: dict[str, dict[str, Entry]] = {}
        self._now: dict[str, dict[str, Entry]] = {}
        self._made = 0
        self._inodes: dict[int, File] = {}
        self._pending: list[Change] = []
        self._at: dict[str, File] = {}
        seen: dict[int, File] = {}
        for directory, directories, names in os.walk(template):
            here = os.path.normpath(os.path.join(self._root, os.path.relpath(directory, template)))
            entries: dict[str, Entry] = {name: os.path.join(here, name) for name in directories}
            for name in (*directories, *names):
                path = Path(directory, name)
                if path.is_symlink():
                    entries[name] = Link(os.readlink(path))
                elif name in names:
                    entries[name] = seen.setdefault(path.stat().st_ino, File(path.read_bytes()))
            self._now[here] = dict(entries)
            self._stable[here] = entries
        self.acknowledged: set[str] = set()

    def play(self, call: Call, *, sync: bool = True) -> None:
        """One more call. ``sync=False`` pretends that no sync reaches the disk."""
        place = self._place(call.path)
        match call.kind:
            case Kind.MARK:
                self.acknowledged.add(call.path)
            case Kind.CREATE:
                file = self._inodes[call.inode] = File()
                self._change({place: file})
            case Kind.WRITE:
                self._file(call).pending.append((call.offset, call.data))
            case Kind.TRUNCATE:
                self._file(call).pending.append((call.offset, None))
            case Kind.SYNC if sync and call.is_directory:
                self._sync_names(self._directory(call.path))
            case Kind.SYNC if sync:
                self._file(call).sync()
            case Kind.MKDIR:
                self._made += 1
                made = f"{call.path} {self._made}"
                self._now[made], self._stable[made] = {}, {}
                self._change({place: made})
            case Kind.SYMLINK:
                self._change({place: Link(call.other)})
            case Kind.UNLINK | Kind.RMDIR:
                self._change({place: None})
            case Kind.LINK:
                self._change({self._place(call.other): self._named(place)})
            case Kind.RENAME:
                self._change({place: None, self._place(call.other): self._named(place)})
            case _:
                pass

    def _directory(self, path: str) -> str:
        """The directory that has this path now."""
        at = self._root
        for name in os.path.relpath(path, self._root).split(os.sep) if path != self._root else ():
            entry = self._now[at][name]
            assert isinstance(entry, str), f"{path}: through a link"
            at = entry
        return at

    def _place(self, path: str) -> tuple[str, str]:
        directory, name = os.path.split(path)
        inside = f"{directory}/".startswith(f"{self._root}/")
        return (self._directory(directory) if inside else directory), name

    def _named(self, place: tuple[str, str]) -> Entry:
        return self._now[place[0]][place[1]]

    def _file(self, call: Call) -> File:
        file = self._inodes.get(call.inode)
        if file is None and call.path.endswith(" (deleted)"):
            return File()
        if file is None:
            # One of those that were there; met under its path for the first time.
            found = self._named(self._place(call.path))
            assert isinstance(found, File)
            file = self._inodes[call.inode] = found
        return file

    def _change(self, names: dict[tuple[str, str], Entry | None]) -> None:
        _put(self._now, names)
        self._pending.append(Change(names))

    def _sync_names(self, directory: str) -> None:
        """All that was done to this directory's names is safe, and with it the other half of each rename."""
        done = [change for change in self._pending if any(place[0] == directory for place in change.names)]
        for change in done:
            _put(self._stable, change.names)
        self._pending = [change for change in self._pending if change not in done]

    # What is left.

    def leave(self, choose: Choose, content: Content) -> Tree:
        """What is there after a power loss now."""
        names = {directory: dict(entries) for directory, entries in self._stable.items()}
        for change in choose(self._pending):
            _put(names, change.names)
        tree: Tree = {}
        self._gather(names, self._root, "", content, tree, {})
        return tree

    def _gather(
        self,
        names: dict[str, dict[str, Entry]],
        directory: str,
        relative: str,
        content: Content,
        tree: Tree,
        first: dict[int, str],
    ) -> None:
        for name, entry in sorted(names.get(directory, {}).items()):
            path = os.path.join(relative, name)
            if isinstance(entry, Link):
                tree[path] = entry
            elif isinstance(entry, str):
                tree[path] = None
                self._gather(names, entry, path, content, tree, first)
            elif id(entry) in first:
                tree[path] = first[id(entry)]
            elif not name.endswith(_VOLATILE):
                tree[path] = content(entry)
                first[id(entry)] = path


def _put(names: dict[str, dict[str, Entry]], change: dict[tuple[str, str], Entry | None]) -> None:
    for (directory, name), entry in change.items():
        if entry is None:
            names.setdefault(directory, {}).pop(name, None)
        else:
            names.setdefault(directory, {})[name] = entry


# The ways to lose.


def nothing(changes: list[Change]) -> list[Change]:
    """No name that is not safe is there."""
    return []


def all_names(changes: list[Change]) -> list[Change]:
    """Every name is there."""
    return changes


def synced(file: File) -> bytes:
    """The bytes that are safe."""
    return file.stable


def zeros(file: File) -> bytes:
    """Of the right length, but the bytes that are not safe are zeros: the length is told sooner than the bytes."""
    now = applied(file.stable, file.pending)
    return file.stable[: len(now)].ljust(len(now), b"\0")


class Lottery:
    """Some of what is not safe, by chance: names, writes, and sectors of a write."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)
        self._likely = self._random.choice((0.1, 0.5, 0.9))

    def names(self, changes: list[Change]) -> list[Change]:
        """Each call's doing is there or not, for itself."""
        return [change for change in changes if self._random.random() < self._likely]

    def content(self, file: File) -> bytes:
        """Each write is there, or not, or in part."""
        writes: list[tuple[int, bytes | None]] = []
        for offset, data in file.pending:
            chance = self._random.random()
            if chance < self._likely:
                writes.append((offset, data))
            elif data is not None and chance < self._likely + 0.1:
                writes += self._sectors(offset, data)
        return applied(file.stable, writes)

    def _sectors(self, offset: int, data: bytes) -> list[tuple[int, bytes | None]]:
        cuts = [0, *range(-offset % SECTOR or SECTOR, len(data), SECTOR), len(data)]
        parts = [(offset + a, data[a:b]) for a, b in pairwise(cuts)]
        return [part for part in parts if self._random.random() < 0.5]


def digest(tree: Tree) -> str:
    """Tells disk states apart."""
    hasher = hashlib.blake2b(digest_size=16)
    for path, entry in tree.items():
        data = f"-> {entry.to}" if isinstance(entry, Link) else entry
        hasher.update(f"{path}\0{type(data).__name__}\0{len(data or b'')}\0".encode())
        hasher.update(data.encode() if isinstance(data, str) else data or b"")
    return hasher.hexdigest()


def write(tree: Tree, path: Path) -> None:
    """Make the tree at ``path``."""
    path.mkdir(parents=True)
    for name, data in tree.items():
        if data is None:
            (path / name).mkdir()
        elif isinstance(data, Link):
            (path / name).symlink_to(data.to)
        elif isinstance(data, str):
            (path / name).hardlink_to(path / data)
        else:
            (path / name).write_bytes(data)
