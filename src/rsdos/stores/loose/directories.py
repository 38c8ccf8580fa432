"""The directories of loose files: making them when they are needed, and syncing their names."""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import islice

from rsdos.codecs.workers import Threads
from rsdos.layout import Layout
from rsdos.model import Durability
from rsdos.storage import posix
from rsdos.storage.permissions import make_directory

_MOST_AHEAD = 2
"""Characters of a prefix up to which directories are made before they are needed: 256 of them, not 4,096."""


class LooseDirectories:
    """The directories of one container's loose files. Any number of threads. Only `remove_empty` removes any."""

    def __init__(self, layout: Layout, durability: Durability) -> None:
        self._layout = layout
        self._full = durability is Durability.FULL
        self.seen: set[str] = set()
        """The directories that this process has seen or made."""
        self._settled: set[str] = set()
        """The directories whose names are known to survive a power loss."""
        self._ahead = 0
        """The number of directories that were made here."""
        self._synced_above = 0
        """Times that ``loose/`` was synced because the name of a directory was not known to be durable."""

    def ensure(self, directory: str) -> None:
        """Make a directory if it is missing. One system call at the first use, none afterwards."""
        if directory in self.seen:
            return
        if not self._ahead and self._layout.check_loose(directory):
            self.seen.add(directory)  # The usual case, until a directory was made here.
            return
        try:
            make_directory(directory)
        except FileExistsError:
            self._layout.check_loose(directory)
            self.seen.add(directory)
        except FileNotFoundError:
            self.make_again(directory)
        else:
            self.seen.add(directory)
            self._make_ahead()

    def make_again(self, directory: str) -> None:
        """Make a directory that was removed since it was seen. Raise `NotAContainer` if the container is gone."""
        self._settled.discard(directory)
        self._layout.make(self._layout.loose)
        if directory != self._layout.loose:
            with suppress(FileExistsError):
                make_directory(directory)
        self.seen.add(directory)

    def _make_ahead(self) -> None:
        """Under full durability, make other directories as well: none at first, then 1, 2, 3, ...

        The name of each new directory costs a sync of ``loose/``, half as much as an insert. So a container that fills
        up makes some 20 of these syncs instead of 256, and a small container has few empty directories.
        """
        ahead, self._ahead = self._ahead, self._ahead + 1
        cut = self._layout.loose_prefix_len
        if not ahead or not self._full or not 0 < cut <= _MOST_AHEAD:
            return
        names = (f"{self._layout.loose}/{number:0{cut}x}" for number in range(16**cut))
        with suppress(OSError):  # An insert that needs the directory will get the error.
            for directory in islice((name for name in names if name not in self.seen), ahead):
                with suppress(FileExistsError):
                    make_directory(directory)
                self.seen.add(directory)

    def sync(self, directories: set[str], threads: Threads) -> None:
        """Put the entries of some directories on stable storage, and once also the name of each directory.

        If empty directories are removed, their names are synced each time: another process may have made one again
        without syncing it. A missing directory is skipped: an insert that relies on a file in it looks it up later.
        """
        threads.each(_sync, list(directories))
        self._sync_names(directories)

    def sync_one(self, directory: str) -> None:
        """Do `sync` for one directory."""
        _sync(directory)
        if directory not in self._settled:
            self._sync_names({directory})

    def _sync_names(self, directories: set[str]) -> None:
        if self._layout.may_remove_directories:
            posix.sync_directory(self._layout.loose)
        elif not directories <= self._settled:
            # One sync makes the names of all directories durable. They are listed at the second sync: that takes
            # 100 us, and AiiDA, which opens and closes the container for each object, never gets there.
            present = directories | self.seen
            if self._synced_above == 1 and self._layout.loose_prefix_len:
                present.update(f"{self._layout.loose}/{name}" for name in os.listdir(self._layout.loose))
            self._synced_above += 1
            posix.sync_directory(self._layout.loose)
            self._settled |= present

    def remove_empty(self) -> None:
        """Remove empty directories, if this container removes them. The caller holds the maintenance lock."""
        if not self._layout.may_remove_directories:
            return
        with suppress(FileNotFoundError), self._layout.open(self._layout.loose) as loose:
            for name in loose.names():
                if len(name) == self._layout.loose_prefix_len and loose.form.below(name):
                    self.seen.discard(f"{self._layout.loose}/{name}")
                    with suppress(OSError):  # Most are not empty.
                        loose.remove_directory(name)


def _sync(directory: str) -> None:
    try:  # `suppress` would be 1 us for each object.
        posix.sync_directory(directory)
    except FileNotFoundError:
        pass
