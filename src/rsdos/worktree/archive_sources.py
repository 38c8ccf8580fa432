"""Reads archives from their beginning to their end: tar, zip, and lists of stored files."""

from __future__ import annotations

import errno
import json
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from calendar import timegm
from collections.abc import Callable, Iterator
from functools import partial
from typing import IO, BinaryIO, NamedTuple, TypeVar

from rsdos.errors import InvalidName, InvalidOption, UnreadableSource
from rsdos.model import DIGEST_BYTES, Readable
from rsdos.trees.entry import EntryKind
from rsdos.worktree.archive_members import Members, path_in_tree
from rsdos.worktree.special import SpecialFiles

_SECOND = 10**9
_BOUND = 1 << 63
_MOST_LINE = 1 << 20
"""Bytes of a line of a list: a path of 32 KiB takes 200 KiB if each byte is escaped."""

_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    UnicodeError,
    NotImplementedError,
)
"""Python's errors for a damaged archive, and (the last one) for a compression that it does not know."""


_M = TypeVar("_M")


class ArchiveFile(NamedTuple):
    """A file of an archive. Open it before the next one is taken."""

    number: int
    """The number of its member."""
    size: int
    open: Callable[[], Readable]


class Archive:
    """The members of one archive, which is read once. One thread."""

    def __init__(self, source: BinaryIO, name: str, members: Members) -> None:
        """``members`` gets all of them; ``name`` is for messages."""
        self._source = source
        self._name = name
        self._members = members
        self._links: list[tuple[int, int]] = []
        self.special = SpecialFiles()
        """Members that are neither files nor links nor directories: they are passed over."""

    def tar(self) -> Iterator[ArchiveFile]:
        """Yield the files of a tar archive, which may be compressed. Raise `UnreadableSource`, `InvalidName`."""
        return self._readable(self._tar)

    def zip(self) -> Iterator[ArchiveFile]:
        """Yield the files of a zip archive. Raise `InvalidOption` for a stream that has no positions."""
        if not self._source.seekable():
            raise InvalidOption("a zip archive must be a file: its list of members is at its end")
        return self._readable(self._zip)

    def list(self) -> Iterator[ArchiveFile]:
        """Read a list. It yields no file: all of them are stored already."""
        return self._readable(self._list)

    def finish(self) -> None:
        """Give hard links the contents of their files. Call this when all files are stored."""
        for first, number in self._links:
            self._members.copy_content(first, number)

    def _open(self, open_member: Callable[[_M], IO[bytes] | None], member: _M) -> Readable:
        try:
            stream = open_member(member)
        except _DAMAGE as error:
            raise self._damage(error) from error
        assert stream is not None, "it is a regular file"
        return _Guarded(stream, self._damage)

    def _damage(self, error: Exception) -> UnreadableSource:
        what = "cannot be read here" if isinstance(error, NotImplementedError) else "is damaged"
        return UnreadableSource(self._name, errno.EIO, f"the archive {what}: {error}")

    def _readable(self, read: Callable[[], Iterator[ArchiveFile]]) -> Iterator[ArchiveFile]:
        try:
            yield from read()
        except _DAMAGE as error:
            raise self._damage(error) from error

    # tar

    def _tar(self) -> Iterator[ArchiveFile]:
        with tarfile.open(fileobj=self._source, mode="r|*", encoding="utf-8", errors="surrogateescape") as archive:
            while (member := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # tarfile keeps all of them: a KiB for each.
                if not 0 <= member.size < _BOUND:
                    raise tarfile.ReadError(f"{member.name!r:.300} has the size {member.size}")
                path = path_in_tree(_bytes(member.name))
                if not path:
                    continue
                if member.isreg():
                    kind = EntryKind.EXECUTABLE if member.mode & stat.S_IXUSR else EntryKind.FILE
                    number = self._add(path, kind, member, member.size)
                    yield ArchiveFile(number, member.size, partial(self._open, archive.extractfile, member))
                elif member.isdir():
                    self._add(path, EntryKind.DIRECTORY, member, 0)
                elif member.issym():
                    target = _bytes(member.linkname)
                    self._add(path, EntryKind.LINK, member, len(target), target)
                elif member.islnk():
                    self._links.append(self._members.add_link(path, path_in_tree(_bytes(member.linkname))))
                else:
                    self.special.add(path)

    def _add(self, path: bytes, kind: EntryKind, member: tarfile.TarInfo, size: int, target: bytes = b"") -> int:
        return self._members.add(path, kind, size, target, _mtime(member), member.mode)

    # zip

    def _zip(self) -> Iterator[ArchiveFile]:
        with zipfile.ZipFile(self._source) as archive:
            for member in archive.infolist():
                path = path_in_tree(_bytes(member.filename))
                mode = member.external_attr >> 16 if member.create_system == _UNIX else 0
                if not path:
                    continue
                mtime = _zip_mtime(member)
                if member.is_dir():
                    self._members.add(path, EntryKind.DIRECTORY, 0, b"", mtime, mode or 0o755)
                elif member.flag_bits & 1:
                    raise UnreadableSource(self._name, errno.EACCES, f"{member.filename!r:.300} is encrypted")
                elif stat.S_ISLNK(mode):
                    target = archive.open(member).read(_MOST_TARGET)
                    self._members.add(path, EntryKind.LINK, len(target), target, mtime, 0o777)
                elif mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode):
                    self.special.add(path)
                else:
                    kind = EntryKind.EXECUTABLE if mode & stat.S_IXUSR else EntryKind.FILE
                    number = self._members.add(path, kind, member.file_size, b"", mtime, mode or 0o644)
                    yield ArchiveFile(number, member.file_size, partial(self._open, archive.open, member))

    # lists

    def _list(self) -> Iterator[ArchiveFile]:
        for line in iter(partial(self._source.readline, _MOST_LINE), b""):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                name, key, size = os.fsencode(row["path"]), bytes.fromhex(row["key"]), int(row["size"])
                kind = EntryKind.EXECUTABLE if row.get("kind") == "executable" else EntryKind.FILE
                if len(key) != DIGEST_BYTES or not 0 <= size < _BOUND:
                    raise ValueError("its key or size is not valid")
            except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
                raise UnreadableSource(
                    self._name, errno.EINVAL, f"not a line of a list: {line!r:.200} ({error})"
                ) from error
            if path := path_in_tree(name.lstrip(b"/")):
                number = self._members.add(path, kind, size, b"", 0, 0o755 if kind is EntryKind.EXECUTABLE else 0o644)
                self._members.set_content(number, key, size)
        yield from ()


_UNIX = 3
"""The `create_system` of zip members that were made on Unix: only these have a mode."""

_MOST_TARGET = 4096


class _Guarded:
    """A file of an archive. Reading it raises `UnreadableSource` where the archive is damaged."""

    def __init__(self, stream: IO[bytes], damage: Callable[[Exception], UnreadableSource]) -> None:
        self._stream = stream
        self._damage = damage

    def read(self, size: int, /) -> bytes:
        try:
            return self._stream.read(size)
        except _DAMAGE as error:
            raise self._damage(error) from error


def _mtime(member: tarfile.TarInfo) -> int:
    """Return the mtime in ns: exactly what a pax header says."""
    text = member.pax_headers.get("mtime", "")
    if not text:
        return _clamped(int(member.mtime) * _SECOND)
    sign = -1 if text.startswith("-") else 1
    whole, _, fraction = text.lstrip("-").partition(".")
    try:
        return _clamped(sign * (int(whole or "0") * _SECOND + int(fraction[:9].ljust(9, "0") or "0")))
    except ValueError:
        raise InvalidName(member.name, f"its time is not a number: {text!r:.40}") from None


def _zip_mtime(member: zipfile.ZipInfo) -> int:
    """Return the mtime in ns, or 0 if it is not a date: some programs write zeros."""
    try:
        return _clamped(timegm((*member.date_time, 0, 0, 0)) * _SECOND)
    except ValueError:
        return 0


def _clamped(time: int) -> int:
    return max(-_BOUND, min(time, _BOUND - 1))


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
