"""Export: a tree as a tar archive or a list of its files, written to a stream. The same tree gives the same bytes.

An archive has the form that every program reads (ustar; pax headers where a name, a link or a time needs them). It has
no owners, and its times are 0 unless the caller asks for times.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from rsdos.errors import DamagedObject, DamagedTree, ObjectNotFound
from rsdos.model import BytesLike
from rsdos.notebook import ShownAsTable
from rsdos.progress import SILENCE, Stopwatch, by_files, step
from rsdos.trees.documents import parse_time
from rsdos.trees.entry import EntryKind, TreeEntry
from rsdos.worktree.archive_read import entry_batches, read_together
from rsdos.worktree.checkout_files import OnDamage
from rsdos.worktree.named_tree import NamedTree, check_under, named_tree
from rsdos.worktree.options import PathReason

if TYPE_CHECKING:
    from rsdos.engine.engine import Engine
    from rsdos.protocols import Progress


class ExportFormat(Enum):
    """The form of an export."""

    TAR = "tar"
    LIST = "list"
    """A line of JSON for each file, as ``rsdos add-files --json`` prints them."""


class ExportTimes(Enum):
    """The times in an archive."""

    ZERO = "zero"
    """No times: the same tree gives the same bytes."""
    KEPT = "kept"
    """The times of the tree; if it has none, the time of the snapshot."""


class Target(Protocol):
    """A binary stream to write to."""

    def write(self, data: BytesLike, /) -> object:
        """Write all of ``data``."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What to export, and how."""

    reference: str
    under: bytes = b""
    """The directory of the tree; b"": all of it."""
    format: ExportFormat = ExportFormat.TAR
    times: ExportTimes = ExportTimes.ZERO
    on_damage: OnDamage = OnDamage.STOP


@dataclass(frozen=True, slots=True)
class ExportReport(ShownAsTable):
    """What was exported: all entries, the files among them and their bytes."""

    snapshot: str
    entries: int
    files: int
    size: int
    failed: tuple[PathReason, ...]
    """The entries that were left out, because they are damaged or missing."""
    seconds: float


_BLOCK = 512
_RECORD = 20 * _BLOCK
"""Bytes: an archive is padded to a multiple of this, as by tar."""

_TYPES = {
    EntryKind.FILE: tarfile.REGTYPE,
    EntryKind.EXECUTABLE: tarfile.REGTYPE,
    EntryKind.LINK: tarfile.SYMTYPE,
    EntryKind.DIRECTORY: tarfile.DIRTYPE,
}
_MODES = {EntryKind.FILE: 0o644, EntryKind.EXECUTABLE: 0o755, EntryKind.LINK: 0o777, EntryKind.DIRECTORY: 0o755}

_SECOND = 10**9


def export(engine: Engine, options: ExportOptions, target: Target, progress: Progress = SILENCE) -> ExportReport:
    """Write an archive to a stream, in the memory of some MiB.

    Raise `RefNotFound`, FileNotFoundError and NotADirectoryError for ``under``, `DamagedObject` and `DamagedTree`, and
    what the stream raises. After an error the stream has an incomplete archive.
    """
    watch = Stopwatch()
    with engine.protect_packs():
        named = named_tree(engine, options.reference)
        check_under(named.tree, options.under)
        size = named.tree.totals(options.under).size if options.format is ExportFormat.TAR else 0
        with step(progress, "Exporting", size, "bytes"):
            run = _Export(engine, options, named, target, progress)
            if options.format is ExportFormat.TAR:
                run.write_tar()
            else:
                run.write_list()
    return ExportReport(named.snapshot, run.entries, run.files, run.size, tuple(run.failed), watch.seconds)


class _Export:
    def __init__(
        self, engine: Engine, options: ExportOptions, named: NamedTree, target: Target, progress: Progress
    ) -> None:
        self._engine = engine
        self._options = options
        self._named = named
        self._target = target
        self._told = by_files(progress)
        self._cut = len(options.under) + 1 if options.under else 0
        self.entries = self.files = self.size = 0
        self.failed: list[PathReason] = []

    def write_tar(self) -> None:
        length = 0
        for batch in entry_batches(self._entries()):
            contents = read_together(self._engine, batch)
            for entry in batch:
                try:
                    parts = self._parts(entry, contents.get(entry.key)) if entry.kind.is_file else iter(())
                except (DamagedObject, ObjectNotFound) as error:
                    self._fail(PathReason(entry.path[self._cut :], str(error)), error)
                else:
                    length += self._add(entry, parts)
        end = _RECORD - length % _RECORD
        self._target.write(bytes(end if end >= 2 * _BLOCK else end + _RECORD))

    def write_list(self) -> None:
        for entry in self._entries():
            if entry.kind.is_file:
                row = {"key": entry.key.hex(), "path": os.fsdecode(entry.path[self._cut :]), "size": entry.size}
                if entry.kind is EntryKind.EXECUTABLE:
                    row["kind"] = "executable"
                self._target.write(json.dumps(row).encode() + b"\n")
                self._count(entry)

    def _entries(self) -> Iterator[TreeEntry]:
        for listing in self._named.tree.walk(self._options.under, self._lose):
            yield from listing.entries()

    def _lose(self, error: DamagedTree) -> None:
        after, through = error.range or (b"", b"")
        self._fail(PathReason(after, f"the entries after it, up to {os.fsdecode(through)!r}, are lost: {error}"), error)

    def _fail(self, failed: PathReason, error: Exception) -> None:
        if self._options.on_damage is OnDamage.STOP:
            raise error
        self.failed.append(failed)

    def _add(self, entry: TreeEntry, parts: Iterator[BytesLike]) -> int:
        """Write one entry. Return the bytes that it takes. A large file that is found damaged here ends the export."""
        header = self._header(entry)
        self._target.write(header)
        size = 0
        for part in parts:
            self._target.write(part)
            size += len(part)
        padding = -size % _BLOCK
        if padding:
            self._target.write(bytes(padding))
        self._count(entry)
        return len(header) + size + padding

    def _parts(self, entry: TreeEntry, content: bytes | None) -> Iterator[BytesLike]:
        """Return the content of a file. Raise `DamagedObject` if it is not as large as the tree says."""
        key = entry.key.hex()
        size = self._engine.objects.meta(key).size if content is None else len(content)
        if size != entry.size:
            raise DamagedObject(key, f"it has {size} bytes, but the tree says {entry.size}")
        return iter((content,)) if content is not None else self._engine.objects.parts(key)

    def _count(self, entry: TreeEntry) -> None:
        self.entries += 1
        if entry.kind.is_file:
            self.files += 1
            self.size += entry.size
            self._told(1, entry.size)

    def _header(self, entry: TreeEntry) -> bytes:
        info = tarfile.TarInfo(os.fsdecode(entry.path[self._cut :]))
        info.type = _TYPES[entry.kind]
        info.mode = _MODES[entry.kind] if entry.mode is None else entry.mode
        info.linkname = os.fsdecode(entry.target)
        info.size = entry.size if entry.kind.is_file else 0
        if self._options.times is ExportTimes.KEPT:
            time = entry.mtime if entry.mtime is not None else parse_time(self._named.record.time) * _SECOND
            seconds, rest = divmod(time, _SECOND)
            info.mtime = seconds
            if rest or seconds < 0:
                sign, (seconds, rest) = "-" if time < 0 else "", divmod(abs(time), _SECOND)
                info.pax_headers = {"mtime": f"{sign}{seconds}.{rest:09}"}
        return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
