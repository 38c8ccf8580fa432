"""Removes the files of the other version after a migration in place, or after one that was reversed half-way."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

from rsdos.engine.engine import Engine
from rsdos.layout import Layout, V1Layout
from rsdos.maintenance.copies import WHOLE, quarantine_directory
from rsdos.migration import unfinished_migration
from rsdos.storage.directory import Directory


def clean_up(engine: Engine) -> None:
    """Remove the files of the version that the container does not have. The caller holds the maintenance lock.

    Foreign files are moved to quarantine and overwrite nothing there. Do nothing when no migration has begun, or when
    one to the other version is unfinished: it will be continued.
    """
    if unfinished_migration(engine.layout) == engine.config.version:
        layout = engine.layout
        with Directory(layout.root, WHOLE) as root:
            files, directories = _OLD[engine.config.version]
            for name in files:
                _remove_file(root, name)
            for name in directories:
                _remove_directory(root, name)
            root.sync()
            # Last, when all of them are removed and synced: only this file says that they may be removed.
            root.remove(os.path.basename(layout.migration))
            root.sync()


def _remove_file(root: Directory, name: str) -> None:
    """Remove a file of ours. Move a directory that has its name to quarantine."""
    try:
        root.remove(name)
    except IsADirectoryError:
        with quarantine_directory(root) as quarantine:
            root.move_to_quarantine(name, quarantine)
            quarantine.sync()


def _remove_directory(root: Directory, name: str) -> None:
    """Remove a directory and our files in it. Move foreign files to quarantine."""
    if name == _DUPLICATES:
        # The names there are ours, but a file is there because no good copy of its object was found elsewhere.
        _move_foreign(root, name)
    if name == _INDEX:
        # Manifests first: half an index must never look like a usable one.
        with suppress(FileNotFoundError), root.child(name) as index:
            for manifest in index.names():
                if manifest.startswith("manifest-") and index.form.has_file(manifest):
                    index.remove(manifest)
            index.sync()
    while root.remove_tree(name):
        _move_foreign(root, name)


def _move_foreign(root: Directory, name: str) -> None:
    with suppress(FileNotFoundError), root.child(name) as directory, quarantine_directory(root) as quarantine:
        for foreign in directory.names():
            with suppress(FileNotFoundError):
                directory.move_to_quarantine(foreign, quarantine)
        quarantine.sync()
        directory.sync()


def _base_names(paths: Sequence[str]) -> tuple[str, ...]:
    return tuple(map(os.path.basename, paths))


_DUPLICATES = "duplicates"
_INDEX = "index"
_version_2, _version_1 = Layout("."), V1Layout(".")
_OLD: dict[int, tuple[tuple[str, ...], tuple[str, ...]]] = {
    1: ((), _base_names((_version_2.index, _version_2.packed))),
    2: (_base_names(_version_1.database_files), _base_names((_version_1.packed, _version_1.duplicates))),
}
"""The files and directories to remove, by the version that the container has now."""
