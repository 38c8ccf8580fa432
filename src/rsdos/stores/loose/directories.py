"""The directories that loose files are in: made when they are needed, and their names put on stable storage."""

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
    """Any number of threads. A directory stays, once it is there, but for what `remove_empty` removes."""

    def __init__(self, layout: Layout, durability: Durability) -> None:
        self._layout = layout
        self._full = durability is Durability.FULL
        self.seen: set[str] = set()
        """The directories that were there when this process looked."""
        self._settled: set[str] = set()
        """The directories whose names are known to survive a power loss."""
        self._ahead = 0
        """Directories that were made here."""
        self._synced_above = 0
        """Times that ``loose/`` was synced because the name of a directory was not known to be safe."""

    def ensure(self, directory: str) -> None:
        """Make a directory if it is not there. One call to the system at the first use, none from then on."""
        if directory in self.seen:
            return
        if not self._ahead and self._layout.check_loose(directory):
            self.seen.add(directory)  # As most are, until one was made here.
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
        """Make a directory that has gone since it was seen. Raises `NotAContainer` when the container is gone."""
        self._settled.discard(directory)
        self._layout.make(self._layout.loose)
        if directory != self._layout.loose:
            with suppress(FileExistsError):
                make_directory(directory)
        self.seen.add(directory)

    def _make_ahead(self) -> None:
        """Under full durability, make others as well: none at first, then 1, 2, 3, ...

        The name of each new one costs a sync of the directory above it, half as much as an insert does. So a
        container that fills up syncs that some 20 times instead of 256, and a small one has few that are empty.
        """
        ahead, self._ahead = self._ahead, self._ahead + 1
        cut = self._layout.loose_prefix_len
        if not ahead or not self._full or not 0 < cut <= _MOST_AHEAD:
            return
        names = (f"{self._layout.loose}/{number:0{cut}x}" for number in range(16**cut))
        with suppress(OSError):  # Nobody asked for it: the insert that needs it gets the error.
            for directory in islice((name for name in names if name not in self.seen), ahead):
                with suppress(FileExistsError):
                    make_directory(directory)
                self.seen.add(directory)

    def sync(self, directories: set[str], threads: Threads) -> None:
        """Put what is in some directories on stable storage, and once for each the name that it has itself.

        Where empty directories are removed, the names are synced each time: another process may have made one anew
        since, without syncing it. A directory that is gone is passed over: an insert that leans on its files looks for
        them later.
        """
        threads.each(_sync, list(directories))
        self._sync_names(directories)

    def sync_one(self, directory: str) -> None:
        """`sync` of one."""
        _sync(directory)
        if directory not in self._settled:
            self._sync_names({directory})

    def _sync_names(self, directories: set[str]) -> None:
        if self._layout.may_remove_directories:
            posix.sync_directory(self._layout.loose)
        elif not directories <= self._settled:
            # One sync is for all that are there. They are listed at the second: 100 us, and AiiDA, which opens and
            # closes the container for each object, never gets to it.
            present = directories | self.seen
            if self._synced_above == 1 and self._layout.loose_prefix_len:
                present.update(f"{self._layout.loose}/{name}" for name in os.listdir(self._layout.loose))
            self._synced_above += 1
            posix.sync_directory(self._layout.loose)
            self._settled |= present

    def remove_empty(self) -> None:
        """Remove the directories that nothing is in, where that is done. The caller holds the maintenance lock."""
        if not self._layout.may_remove_directories:
            return
        with suppress(FileNotFoundError), self._layout.open(self._layout.loose) as loose:
            for name in loose.names():
                if len(name) == self._layout.loose_prefix_len and loose.form.below(name):
                    self.seen.discard(f"{self._layout.loose}/{name}")
                    with suppress(OSError):  # Mostly: something is in it.
                        loose.remove_directory(name)


def _sync(directory: str) -> None:
    try:  # `suppress` is 1 us, and this comes with each object.
        posix.sync_directory(directory)
    except FileNotFoundError:
        pass
