"""The rule that each directory has an entry in its parent, checked while a tree is read in its order."""

from __future__ import annotations

from rsdos.trees.entry import EntryKind, Listing

_DIRECTORY = bytes([EntryKind.DIRECTORY])


class Parents:
    """Holds the names of the directories in each directory on the way to the present one."""

    def __init__(self, top: bytes = b"") -> None:
        """Check what is below ``top``. Its own listing comes first, if there is one."""
        self._above: list[tuple[bytes, set[bytes]]] = [(top, set())]

    def fault(self, run: Listing) -> str:
        """Return what is wrong with the directory of the next run, or ""."""
        above = self._above
        directory = run.directory
        if above[-1][0] != directory:
            parent, slash, name = directory.rpartition(b"/")
            while len(above) > 1 and above[-1][0] != parent:
                above.pop()
            if above[-1][0] != parent or bool(slash) != bool(parent) or name not in above[-1][1]:
                return "a directory without an entry in its parent"
            above.append((directory, set()))
        if _DIRECTORY in run.kinds:
            names = above[-1][1]
            names.update([name for name, kind in zip(run.names, run.kinds, strict=True) if kind == EntryKind.DIRECTORY])
        return ""
