"""Quarantine: a directory for files that a repair replaces or drops. Nothing in it is removed or overwritten."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from itertools import count

from rsdos.layout import Layout
from rsdos.model import FRAME_SIZE
from rsdos.storage import posix
from rsdos.storage.permissions import make_directory


def free_name(path: str) -> str:
    """Return this path if it is free, otherwise the same with a number."""
    number, name = 0, path
    while os.path.lexists(name):
        number += 1
        name = f"{path}.{number}"
    return name


class Quarantine:
    """A directory of a container's quarantine, made when it is first needed. One thread.

    The caller holds the maintenance lock of the container that the quarantine is in.
    """

    def __init__(self, layout: Layout, name: str = "") -> None:
        """Use a new directory ``quarantine/<name>-<number>`` or, without a ``name``, ``quarantine/`` itself."""
        self._layout = layout
        self._name = name
        self._directory = ""
        self._copied: set[str] = set()
        self.moved: list[str] = []
        """The paths in the quarantine of files that were moved or linked there."""

    @property
    def is_used(self) -> bool:
        """Whether anything was put into it."""
        return bool(self._directory)

    @property
    def directory(self) -> str:
        """The directory. The first use makes it, durably."""
        if not self._directory:
            self._directory = self._made()
        return self._directory

    def _made(self) -> str:
        parent = self._layout.quarantine
        self._layout.make(parent)
        if not self._name:
            return parent
        for number in count(1):
            path = os.path.join(parent, f"{self._name}-{number}")
            try:
                make_directory(path)
            except FileExistsError:
                continue
            posix.sync_directory(parent)
            posix.sync_directory(self._layout.root)
            return path
        raise AssertionError("unreachable")

    def free_path(self, name: str) -> str:
        """Return a free path in the directory: ``name``, or the same with a number."""
        return free_name(os.path.join(self.directory, name))

    def link(self, path: str) -> None:
        """Give a file another name in the directory, durably. Do nothing if it is gone, or has such a name already."""
        if not os.path.lexists(path):
            return
        target = os.path.join(self.directory, os.path.basename(path))
        for number in count(1):
            try:
                os.link(path, target, follow_symlinks=False)
                posix.sync_directory(self.directory)
                break
            except FileExistsError:
                if os.path.samestat(os.lstat(target), os.lstat(path)):
                    break
            target = os.path.join(self.directory, f"{os.path.basename(path)}.{number}")
        self.moved.append(target)

    def move(self, path: str) -> None:
        """Move a file here, overwriting nothing. For a moment it has both names. The old directory is not synced."""
        self.link(path)
        posix.remove(path)

    def copy(self, path: str, offset: int, length: int, name: str) -> None:
        """Copy the existing bytes of a range of a file to ``name``, and sync them. Do nothing if the file is gone.

        An existing copy is written again. The directory is not synced: see `report`.
        """
        target = os.path.join(self.directory, name)
        with suppress(FileNotFoundError), posix.open_for_reading(path) as source:
            posix.remove(target)
            with posix.create(target) as fd:
                end = min(offset + length, os.fstat(source).st_size)
                for at in range(offset, end, FRAME_SIZE):
                    posix.write_at(fd, at - offset, posix.read_at(source, at, min(FRAME_SIZE, end - at)))
                posix.sync_file(fd)

    def copy_once(self, path: str, offset: int, length: int, name: str) -> None:
        """Do `copy`, unless this run has copied a file to that name already."""
        if name not in self._copied:
            self.copy(path, offset, length, name)
            self._copied.add(name)

    def report(self, name: str, what: Mapping[str, object] | list[object]) -> str:
        """Write a JSON document to ``name``, durably, and replace an older one. Return its path."""
        path = os.path.join(self.directory, name)
        posix.replace_file(path, json.dumps(what, indent=1).encode())
        posix.sync_directory(self.directory)
        return path
