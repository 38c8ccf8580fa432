"""What a migration in place leaves to remove when its last step is done, or when it is turned round half-way."""

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
    """Remove what is of another version than the container is. The caller holds the maintenance lock.

    What is there and not ours goes to quarantine, over nothing. Does nothing when no migration has begun, or when one
    to another version is under way: that is to be gone on with.
    """
    if unfinished_migration(engine.layout) == engine.config.version:
        layout = engine.layout
        with Directory(layout.root, WHOLE) as root:
            files, directories = _OLD[engine.config.version]
            for name in files:
                root.remove(name)
            for name in directories:
                _remove_directory(root, name)
            root.sync()
            # Only when all that is gone for good: nothing else says that it may go.
            root.remove(os.path.basename(layout.migration))
            root.sync()


def _remove_directory(root: Directory, name: str) -> None:
    """Remove a directory with what is ours in it; the rest goes to quarantine."""
    if name == _DUPLICATES:
        # By its name a file there is ours; but it is there because nobody has found a good copy of it elsewhere.
        _set_aside(root, name)
    if name == _INDEX:
        # Manifests first: no half of an index must ever be taken for one that can be gone on with.
        with suppress(FileNotFoundError), root.child(name) as index:
            for manifest in index.names():
                if manifest.startswith("manifest-") and index.form.has_file(manifest):
                    index.remove(manifest)
            index.sync()
    while root.remove_tree(name):
        _set_aside(root, name)


def _set_aside(root: Directory, name: str) -> None:
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
_native, _legacy = Layout("."), V1Layout(".")
_OLD: dict[int, tuple[tuple[str, ...], tuple[str, ...]]] = {
    1: ((), _base_names((_native.index, _native.packed))),
    2: (_base_names(_legacy.database_files), _base_names((_legacy.packed, _legacy.duplicates))),
}
"""By the version that a container has now: files and directories that it has no use for."""
