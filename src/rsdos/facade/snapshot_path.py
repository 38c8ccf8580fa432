"""Paths inside of a snapshot, with the interface of `pathlib.Path` as far as it reads."""

from __future__ import annotations

import io
import os
import posixpath
import re
from collections.abc import Iterator
from functools import total_ordering
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from rsdos.errors import InvalidOption
from rsdos.facade.entry import SnapshotEntry, inner_path, is_a_directory, mode_of, no_such_path, not_a_directory
from rsdos.ingest.patterns import expression

if TYPE_CHECKING:
    from rsdos.facade.snapshot_tree import SnapshotTree

_MAGIC = re.compile(r"[*?\[]")
_READING = ("r", "rt", "rb")


@total_ordering
class SnapshotPath:
    """A path inside of a snapshot: pure, so that it may name what is not there. Any thread; equal by snapshot and path.

    It has what `pathlib.Path` has for reading: ``/``, ``name``, ``suffix``, ``parent``, ``iterdir``, ``glob``,
    ``is_file``, ``stat``, ``open``, ``read_bytes`` and so on. Like there, symbolic links are followed, but inside of
    the snapshot only: a link that leads out of it leads nowhere. Reads are verified. FileNotFoundError,
    NotADirectoryError and IsADirectoryError say what is wrong with a path, and reads may raise `DamagedObject`,
    `DamagedTree` and, after a forget and a gc, `ObjectNotFound`.

    Examples:
        >>> labels = container.snapshots["flowers"] / "labels.csv"
        >>> labels.read_bytes()
    """

    __slots__ = ("path", "snapshot")

    path: str
    """The path below the root of the snapshot, without slashes around it; "" is the root."""

    snapshot: SnapshotTree

    def __init__(self, snapshot: SnapshotTree, *parts: str) -> None:
        """Join ``parts``. One that begins with a slash begins at the root of the snapshot again."""
        self.snapshot = snapshot
        self.path = inner_path(posixpath.join("", *parts))

    # --- the path as text -------------------------------------------------------------------------------------------

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the path; none for the root."""
        return tuple(self.path.split("/")) if self.path else ()

    @property
    def name(self) -> str:
        """The last part; "" for the root."""
        return self.path.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The last extension of the name with its dot; "" without one."""
        return PurePosixPath(self.path).suffix

    @property
    def suffixes(self) -> list[str]:
        """All extensions of the name, each with its dot."""
        return PurePosixPath(self.path).suffixes

    @property
    def stem(self) -> str:
        """The name without `suffix`."""
        return PurePosixPath(self.path).stem

    @property
    def parent(self) -> SnapshotPath:
        """The directory of the path; the root's is the root."""
        return SnapshotPath(self.snapshot, self.path.rpartition("/")[0])

    @property
    def parents(self) -> tuple[SnapshotPath, ...]:
        """All directories above the path, the nearest first, the root last."""
        parts = self.parts
        return tuple(SnapshotPath(self.snapshot, *parts[:at]) for at in range(len(parts) - 1, -1, -1))

    def joinpath(self, *parts: str) -> SnapshotPath:
        """Return this path with ``parts`` behind it."""
        return SnapshotPath(self.snapshot, self.path, *parts)

    __truediv__ = joinpath

    def with_name(self, name: str) -> SnapshotPath:
        """Return this path with another last part. Raise `InvalidOption` for the root, and for what is no name."""
        if not self.path or name in ("", ".") or "/" in name:
            raise InvalidOption(f"{name!r:.100} is no name for a path in {self.path or 'the root'!r:.100}")
        return self.parent / name

    def with_suffix(self, suffix: str) -> SnapshotPath:
        """Return this path with another extension, or without one for ""."""
        if suffix and (not suffix.startswith(".") or suffix == "."):
            raise InvalidOption(f"a suffix begins with a dot: {suffix!r:.100}")
        return self.with_name(self.stem + suffix)

    def with_stem(self, stem: str) -> SnapshotPath:
        """Return this path with another name in front of its extension."""
        return self.with_name(stem + self.suffix)

    def is_relative_to(self, other: SnapshotPath | str) -> bool:
        """Return whether the path is ``other``, or below it."""
        above = self._text(other)
        return not above or self.path == above or self.path.startswith(above + "/")

    def relative_to(self, other: SnapshotPath | str) -> str:
        """Return the rest of the path below ``other``, as text. Raise `InvalidOption` if it is not below."""
        if not self.is_relative_to(other):
            raise InvalidOption(f"{self.path!r:.100} is not below {self._text(other)!r:.100}")
        return self.path.removeprefix(self._text(other)).lstrip("/")

    def match(self, pattern: str) -> bool:
        """Return whether the path, from its end, matches a pattern; one that begins with a slash matches it whole."""
        wanted = pattern if pattern.startswith("/") else f"/**/{pattern}"
        return expression(wanted).fullmatch(self.path) is not None

    def _text(self, other: SnapshotPath | str) -> str:
        return other.path if isinstance(other, SnapshotPath) else SnapshotPath(self.snapshot, other).path

    # --- what is there ----------------------------------------------------------------------------------------------

    @property
    def entry(self) -> SnapshotEntry:
        """What is at this path, a link as itself; links above it are followed. Raise FileNotFoundError."""
        found = self._own()
        if found is None:
            raise no_such_path(str(self))
        return found

    def _own(self) -> SnapshotEntry | None:
        found = self.snapshot.entry(self.path)
        if found is None and "/" in self.path:
            above = self.snapshot.resolve(self.parent.path)
            found = self.snapshot.entry(f"{above.path}/{self.name}") if above is not None and above.is_dir else None
        return found

    def _followed(self) -> SnapshotEntry:
        found = self.snapshot.resolve(self.path)
        if found is None:
            raise no_such_path(str(self))
        return found

    def resolve(self) -> SnapshotPath:
        """Return the path that this one leads to through links. Raise FileNotFoundError if it leads nowhere."""
        return SnapshotPath(self.snapshot, self._followed().path)

    def exists(self) -> bool:
        """Return whether the path leads to anything."""
        return self.snapshot.resolve(self.path) is not None

    def is_file(self) -> bool:
        """Return whether the path leads to a file."""
        found = self.snapshot.resolve(self.path)
        return found is not None and found.is_file

    def is_dir(self) -> bool:
        """Return whether the path leads to a directory."""
        found = self.snapshot.resolve(self.path)
        return found is not None and found.is_dir

    def is_symlink(self) -> bool:
        """Return whether a symbolic link is at this path."""
        found = self._own()
        return found is not None and found.is_link

    def readlink(self) -> str:
        """Return the target of the link at this path, as it was saved. Raise `InvalidOption` for what is no link."""
        entry = self.entry
        if not entry.is_link:
            raise InvalidOption(f"{self}: is no link")
        return entry.target

    @property
    def key(self) -> str:
        """The key of the file's object."""
        return self._file().key

    @property
    def size(self) -> int:
        """The raw bytes of the file; 0 for a directory."""
        return self._followed().size

    def stat(self) -> os.stat_result:
        """Return size, mode and time of what the path leads to.

        The mode is that which a checkout gives it; the time is its own if the tree has times, or the snapshot's.
        """
        return self._status(self._followed())

    def lstat(self) -> os.stat_result:
        """Return the same of what is at the path itself."""
        return self._status(self.entry)

    def _status(self, entry: SnapshotEntry) -> os.stat_result:
        nanoseconds = entry.mtime
        if nanoseconds is None:
            nanoseconds = int(self.snapshot.time.timestamp()) * 1_000_000_000
        seconds = nanoseconds // 1_000_000_000
        named = {f"st_{which}time": nanoseconds / 1e9 for which in "amc"}
        named |= {f"st_{which}time_ns": nanoseconds for which in "amc"}
        return os.stat_result((mode_of(entry), 0, 0, 1, 0, 0, entry.size, seconds, seconds, seconds), named)

    # --- directories ------------------------------------------------------------------------------------------------

    def iterdir(self) -> Iterator[SnapshotPath]:
        """Yield the paths of a directory, sorted by the bytes of their names."""
        found = self._followed()
        if not found.is_dir:
            raise not_a_directory(str(self))
        for entry in self.snapshot.listing(found.path):
            yield self / entry.name

    def walk(self) -> Iterator[SnapshotPath]:
        """Yield all paths below this one, directories included, in the order of the tree. Follow no link below."""
        start = self._followed()
        if not start.is_dir:
            raise not_a_directory(str(self))
        cut = len(start.path) + 1 if start.path else 0
        for entry in self.snapshot.walk(start.path):
            yield self / entry.path[cut:]

    def glob(self, pattern: str) -> Iterator[SnapshotPath]:
        """Yield all paths below this one that match a pattern, in the order of the tree.

        ``*``, ``?`` and ``[a-z]`` match any characters but the slash, ``**`` as a part matches any directories, and at
        the end all that is below. ``**`` follows no link. Raise `InvalidOption` for an empty or absolute pattern.
        """
        parts = [part for part in pattern.split("/") if part not in ("", ".")]
        if not parts or pattern.startswith("/"):
            raise InvalidOption(f"a pattern is relative and not empty: {pattern!r:.100}")
        return self._glob(parts)

    def rglob(self, pattern: str) -> Iterator[SnapshotPath]:
        """Yield all paths below this one, at any depth, that match a pattern; see `glob`."""
        return self.glob(f"**/{pattern}")

    def _glob(self, parts: list[str]) -> Iterator[SnapshotPath]:
        if not parts:
            if self.exists() or self.is_symlink():
                yield self
            return
        head, rest = parts[0], parts[1:]
        if head == "**":
            yield from self._deep(parts) if self.is_dir() else ()
        elif not _MAGIC.search(head):
            yield from (self / head)._glob(rest)
        elif self.is_dir():
            fits = expression(f"/{head}").fullmatch
            for path in self.iterdir():
                if fits(path.name):
                    yield from path._glob(rest)

    def _deep(self, parts: list[str]) -> Iterator[SnapshotPath]:
        """Yield what matches a pattern that begins with ``**``: all below is compared with one expression."""
        while parts[1:2] == ["**"]:
            parts = parts[1:]
        if len(parts) == 1:
            yield from self.walk()
            return
        fits = expression("/" + "/".join(parts)).fullmatch
        cut = len(self.path) + 1 if self.path else 0
        for path in self.walk():
            if fits(path.path[cut:]):
                yield path

    # --- content ----------------------------------------------------------------------------------------------------

    def _file(self) -> SnapshotEntry:
        found = self._followed()
        if not found.is_file:
            raise is_a_directory(str(self))
        return found

    def read_bytes(self) -> bytes:
        """Return the bytes of the file."""
        return self.snapshot.container.engine.objects.extract(self._file().key)

    def read_text(self, encoding: str | None = None, errors: str | None = None, newline: str | None = None) -> str:
        """Return the text of the file; UTF-8 without ``encoding``."""
        with self.open("r", encoding=encoding, errors=errors, newline=newline) as stream:
            return str(stream.read())

    def open(
        self,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[Any]:
        """Open the file for reading: "rb" a seekable binary stream, "r" text, in UTF-8 without ``encoding``.

        ``buffering`` is taken and not used. Raise `InvalidOption` for another mode: a snapshot never changes.
        """
        if mode not in _READING:
            raise InvalidOption(f"a snapshot is only read: mode is {' or '.join(_READING)}, not {mode!r:.20}")
        stream = self.snapshot.container.engine.objects.open(self._file().key)
        if mode == "rb":
            return stream
        return io.TextIOWrapper(stream, encoding=encoding or "utf-8", errors=errors, newline=newline)

    # --- as a value -------------------------------------------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SnapshotPath):
            return NotImplemented
        return self.path == other.path and self.snapshot == other.snapshot

    def __lt__(self, other: SnapshotPath) -> bool:
        return (self.snapshot.key, self.parts) < (other.snapshot.key, other.parts)

    def __hash__(self) -> int:
        return hash((self.snapshot, self.path))

    def __str__(self) -> str:
        return f"{self.snapshot.label}:{self.path}"

    def __repr__(self) -> str:
        return f"SnapshotPath({str(self)!r})"
