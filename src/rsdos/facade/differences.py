"""What differs between two directories of snapshots."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

from rsdos.facade.entry import SnapshotEntry, snapshot_entry
from rsdos.trees.diff import Change, diff_entries, diff_trees

if TYPE_CHECKING:
    from rsdos.facade.snapshot_path import SnapshotPath
    from rsdos.trees.entry import TreeEntry

_MOST = 1 << 17
"""So many differences are searched for renames: they are held in memory, at 600 bytes each."""


class Difference(NamedTuple):
    """One path that differs between two directories."""

    path: str
    """The path below the two directories; "" for two files that were compared."""
    change: str
    """"added", "removed", "modified" (content, target of a link, x bit; times and modes if both trees have them),
    "kind" (what was a file is a directory, for example), or "renamed"."""
    old: SnapshotEntry | None
    """The entry there; None for what is added."""
    new: SnapshotEntry | None
    """The entry here; None for what is removed."""

    @property
    def differs(self) -> tuple[str, ...]:
        """What of a modified or renamed entry differs: "content", "target" (of a link), "executable", "mode", "time".

        "mode" and "time" only if both trees have them.
        """
        old, new = self.old, self.new
        if old is None or new is None or self.change == "kind":
            return ()
        aspects = {
            "content": old.is_file and old.key != new.key,
            "target": old.target != new.target,
            "executable": old.kind != new.kind,
            "mode": None not in (old.mode, new.mode) and old.mode != new.mode,
            "time": None not in (old.mtime, new.mtime) and old.mtime != new.mtime,
        }
        return tuple(name for name, is_other in aspects.items() if is_other)


def differences(old: SnapshotPath, new: SnapshotPath) -> Iterator[Difference]:
    """Yield what differs between two directories, in tree order; or between two files. Links to them are followed.

    Equal pages are not read, if both have the same path. Raise FileNotFoundError.
    """
    old, new = old.resolve(), new.resolve()
    under = os.fsencode(old.path)
    shared = old.snapshot.reader.attributes & new.snapshot.reader.attributes
    if not (old.is_dir() and new.is_dir()):
        found = diff_entries(_bare(old), _bare(new), shared)
    elif old.path == new.path:
        changes = diff_trees(old.snapshot.reader, new.snapshot.reader, under)
        found = (change._replace(path=change.path[len(under) + 1 :]) for change in changes) if under else changes
    else:
        found = diff_entries(_below(old), _below(new), shared)
    for change in found:
        yield difference_of(change, old.path, new.path)


def _bare(path: SnapshotPath) -> Iterator[TreeEntry]:
    """Yield the entry of a file without its path."""
    entry = path.snapshot.reader.entry(os.fsencode(path.path))
    if entry is not None:  # The root has none.
        yield entry._replace(path=b"")


def _below(top: SnapshotPath) -> Iterator[TreeEntry]:
    """Yield the entries below a directory, with their paths below it."""
    under = os.fsencode(top.path)
    cut = len(under) + 1 if under else 0
    for listing in top.snapshot.reader.walk(under):
        for entry in listing.entries():
            yield entry._replace(path=entry.path[cut:])


def difference_of(change: Change, old: str = "", new: str = "") -> Difference:
    """Return a change with text in place of bytes; ``old`` and ``new`` are the directories that it is below."""
    path = os.fsdecode(change.path)
    return Difference(path, change.kind, _at(old, path, change.old), _at(new, path, change.new))


def _at(top: str, path: str, entry: TreeEntry | None) -> SnapshotEntry | None:
    """Return an entry with its whole path."""
    return None if entry is None else snapshot_entry(entry)._replace(path=f"{top}/{path}".strip("/"))


def with_renames(found: Iterable[Difference]) -> Iterator[Difference]:
    """Replace what was removed and added with the same content by one "renamed" each.

    Empty files are not renamed: too many are alike. Beyond 131,072 differences none is: they would fill the memory.
    """
    rest = iter(found)
    held = list(islice(rest, _MOST + 1))
    if len(held) > _MOST:
        yield from chain(held, rest)
        return
    removed = defaultdict(list)
    for difference in reversed(held):
        if difference.change == "removed" and difference.old and difference.old.key and difference.old.size:
            removed[difference.old.key].append(difference)
    renamed: dict[int, Difference] = {}
    gone = set()
    for at, difference in enumerate(held):
        if difference.change == "added" and difference.new and removed.get(difference.new.key):
            old = removed[difference.new.key].pop()
            gone.add(old.path)
            renamed[at] = Difference(difference.path, "renamed", old.old, difference.new)
    for at, difference in enumerate(held):
        if at in renamed:
            yield renamed[at]
        elif difference.change != "removed" or difference.path not in gone:
            yield difference
