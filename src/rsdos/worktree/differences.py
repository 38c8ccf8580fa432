"""Differences between a working directory and the tree that it is compared with."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rsdos.errors import UnreadableSource
from rsdos.hashing import SHA256
from rsdos.storage.posix import opener_in
from rsdos.trees.diff import Change
from rsdos.trees.entry import KINDS, Attributes, EntryKind, TreeEntry
from rsdos.worktree.compare import ComparedRun
from rsdos.worktree.contents import read_content
from rsdos.worktree.new_state import NewState
from rsdos.worktree.open_directories import OpenDirectories
from rsdos.worktree.rows import ROW, ROW_BYTES, settle
from rsdos.worktree.scan import DirectoryScan

if TYPE_CHECKING:
    from rsdos.worktree.filled import FilledRun


Beside = Callable[[Sequence[bytes]], Mapping[bytes, TreeEntry]]
"""Returns the tree's entries that the runs lack: see `rsdos.worktree.base.Base.beside`."""


def changed_entries(run: FilledRun, attributes: Attributes, beside: Beside) -> Iterator[Change]:
    """Yield the entries of a run that differ from those of the tree: first those on the disk, then those gone."""
    before, gone = _counterparts(run.compared, run.positions, beside)
    for entry, old in zip(run.listing(attributes).entries(), before, strict=True):
        if old is None or not _is_equal(entry, old):
            yield Change(entry.path, old, entry)
    yield from (Change(old.path, old, None) for old in gone)


def _counterparts(
    run: ComparedRun, positions: Sequence[int], beside: Beside
) -> tuple[list[TreeEntry | None], list[TreeEntry]]:
    """Return the tree's entry for each entry on the disk, and the tree's entries that are gone."""
    prefix, names = run.prefix, run.found.names
    entries = list(run.old.entries())
    others = beside([prefix + name for name, then in zip(names, positions, strict=True) if then < 0])
    before = [
        entries[then] if then >= 0 else others.get(prefix + name) for name, then in zip(names, positions, strict=True)
    ]
    there = set(positions)
    return before, [old for at, old in enumerate(entries) if at not in there]


def _is_equal(entry: TreeEntry, old: TreeEntry) -> bool:
    """Return whether an entry is that of the tree. Equal keys or targets have equal sizes, which are not compared."""
    return (
        (entry.kind, entry.key, entry.target) == (old.kind, old.key, old.target)
        and (entry.mtime is None or old.mtime is None or entry.mtime == old.mtime)
        and (entry.mode is None or old.mode is None or entry.mode == old.mode)
    )


def _files_of(run: ComparedRun) -> int:
    """Return the number of files and links in a run, as they are on the disk."""
    kinds = run.found.kinds
    return len(kinds) - kinds.count(EntryKind.DIRECTORY)


class Differences:
    """The differences of a working directory from a tree, in tree order. Iterate it once; one thread.

    A file is hashed only if it may have the content in the tree: it has the same size, but other times, or is not
    settled. The new state gets the rows of all entries that are found to be equal to the tree's.
    """

    def __init__(
        self,
        scan: DirectoryScan,
        top: OpenDirectories,
        runs: Iterator[ComparedRun],
        beside: Beside,
        attributes: Attributes,
        new_state: NewState | None,
        tell: Callable[[int], None],
    ) -> None:
        """``attributes`` are those of the tree. ``tell`` receives the raw bytes that were read."""
        self.files = 0
        """Files and links of the working directory so far, without those that were left out."""
        self.read = 0
        """Files that were read."""
        self._scan = scan
        self._top = top
        self._runs = runs
        self._beside = beside
        self._attributes = attributes
        self._new_state = new_state
        self._tell = tell

    def __iter__(self) -> Iterator[Change]:
        for run in self._runs:
            if run.is_same:
                self.files += _files_of(run)
                if self._new_state is not None:
                    self._new_state.keep(run.old_rows)
            else:
                yield from self._changes(run)

    def _changes(self, run: ComparedRun) -> list[Change]:
        found = run.found
        positions = run.positions()
        trusted = run.trusted(positions)
        settled = settle(found.rows, found.clock)
        rows = [run.old_rows[at : at + ROW_BYTES] for at in range(0, len(run.old_rows), ROW_BYTES)]
        olds, gone = _counterparts(run, positions, self._beside)
        changes = []
        self.files += _files_of(run)
        for at, (before, then) in enumerate(zip(olds, positions, strict=True)):
            if trusted[at] >= 0:
                continue
            entry = self._entry(run, at, before)
            if entry is None:
                self.files -= 1
                if before is not None and then >= 0:
                    changes.append(Change(before.path, before, None))
            elif before is not None and _is_equal(entry, before):
                if then >= 0:
                    rows[then] = settled[at * ROW_BYTES : (at + 1) * ROW_BYTES]
            else:
                changes.append(Change(entry.path, before, entry))
        changes += [Change(before.path, before, None) for before in gone]
        changes.sort(key=lambda change: change.path)
        if self._new_state is not None:
            joined = b"".join(rows)
            if joined == run.old_rows:
                self._new_state.keep(joined)
            else:
                self._new_state.add(joined)
        return changes

    def _entry(self, run: ComparedRun, at: int, before: TreeEntry | None) -> TreeEntry | None:
        """Return an entry as it is on the disk; None if it is gone, or left out because it cannot be read."""
        found = run.found
        name, kind = found.names[at], KINDS[found.kinds[at]]
        size, mtime, _, _, mode, _ = ROW.unpack_from(found.rows, at * ROW_BYTES)
        entry = TreeEntry(
            run.prefix + name,
            kind,
            0 if kind == EntryKind.DIRECTORY else size,
            mtime=mtime if self._attributes & Attributes.TIMES else None,
            mode=mode & 0o777 if self._attributes & Attributes.MODES else None,
        )
        try:
            if kind == EntryKind.LINK:
                target = os.readlink(name, dir_fd=self._top.open(run.directory))
                return entry._replace(target=target, size=len(target))
            if kind.is_file and before is not None and before.kind.is_file and before.size == size:
                return entry._replace(key=self.key_of(entry.path))
        except FileNotFoundError:
            return None
        except OSError as error:
            self._scan.refuse(entry.path, error)
            return None
        return entry

    def key_of(self, path: bytes) -> bytes:
        """Return the digest of a file's content. Raise `UnreadableSource`, FileNotFoundError, `SourceChanged`."""
        directory, _, name = path.rpartition(b"/")
        self.read += 1
        try:
            content = read_content(opener_in(self._top.open(directory)), name, lambda: self._top.path_of(path))
        except UnreadableSource as error:
            raise OSError(error.errno or 0, error.reason, error.path) from error
        hasher = SHA256.new()
        for part in (content,) if isinstance(content, bytes) else content:
            hasher.update(part)
            self._tell(len(part))
        return hasher.digest()
