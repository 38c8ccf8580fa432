"""A run of a scan with keys: an object of the store for each file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import compress

from rsdos.trees.entry import KINDS, Attributes, Listing
from rsdos.worktree.compare import ComparedRun
from rsdos.worktree.ignore import Selection
from rsdos.worktree.rows import NO_ROW, ROW_BYTES, ctimes_of, modes_of, mtimes_of, settle, sizes_of
from rsdos.worktree.run_files import RunFiles


class FilledRun(RunFiles):
    """A run of a scan with the key of each file. It is complete when `Filler` yields it."""

    __slots__ = ("compared", "is_same", "positions", "rows", "targets")

    def __init__(self, compared: ComparedRun, is_same: bool) -> None:
        old, found = compared.old, compared.found
        self.compared = compared
        self.is_same = is_same
        """Whether the tree has exactly these entries, and the state these rows."""
        self.positions: Sequence[int] = ()
        """The position of each entry in the tree's run; -1 if the tree has none of that name. () if `is_same`."""
        self.rows = found.rows
        """The rows of the entries for the new state."""
        self.targets: list[bytes] = []
        """The targets of links."""
        if is_same:
            super().__init__(compared.directory, (), [], (), ())
        else:
            rows = found.rows
            super().__init__(compared.directory, found.names, sizes_of(rows).tolist(), mtimes_of(rows), ctimes_of(rows))
            self.positions = compared.positions() if old.names else [-1] * len(found.names)
            self.rows = settle(rows, found.clock)
            self.targets = [b""] * len(found.names)

    def fill(self, trusted: Sequence[int]) -> list[int]:
        """Take keys and targets from the tree for entries with a trusted position there. Return the other positions."""
        old = self.compared.old
        rest = []
        for at, then in enumerate(trusted):
            if then < 0:
                rest.append(at)
            else:
                self.keys[at] = old.keys[then]
                self.targets[at] = old.targets[then]
        return rest

    def drop(self) -> None:
        """Remove the dropped entries from the run."""
        if not self.dropped:
            return
        keep = [at not in self.dropped for at in range(len(self.keys))]
        found = self.compared.found
        rows = [found.rows[at : at + ROW_BYTES] for at in range(0, len(found.rows), ROW_BYTES)]
        kept = found._replace(
            names=list(compress(found.names, keep)),
            rows=b"".join(compress(rows, keep)),
            kinds=bytes(compress(found.kinds, keep)),
        )
        self.rows = settle(kept.rows, kept.clock)
        self.compared = self.compared._replace(found=kept)
        self.names = kept.names
        self.keys = list(compress(self.keys, keep))
        self.sizes = list(compress(self.sizes, keep))
        self.targets = list(compress(self.targets, keep))
        self.positions = list(compress(self.positions, keep))
        self.dropped = set()

    def rows_of(self, selection: Selection, kept: Iterable[bytes]) -> bytes:
        """Return the rows of the covered entries. ``kept`` are paths that only the tree has: they get `NO_ROW`."""
        prefix, found, rows = self.compared.prefix, self.compared.found, self.rows
        covered = {
            prefix + name: rows[at * ROW_BYTES : (at + 1) * ROW_BYTES]
            for at, (name, kind) in enumerate(zip(found.names, found.kinds, strict=True))
            if selection.entry(prefix + name, KINDS[kind])
        }
        covered |= dict.fromkeys(kept, NO_ROW)
        return b"".join([covered[path] for path in sorted(covered)])

    def listing(self, attributes: Attributes) -> Listing:
        """Return the entries as the new tree has them."""
        found, old = self.compared.found, self.compared.old
        return Listing(
            self.compared.directory,
            found.names,
            found.kinds,
            old.sizes if self.is_same else self.sizes,
            old.keys if self.is_same else self.keys,
            old.targets if self.is_same else self.targets,
            mtimes_of(found.rows) if attributes & Attributes.TIMES else None,
            modes_of(found.rows) if attributes & Attributes.MODES else None,
        )
