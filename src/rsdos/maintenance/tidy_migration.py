"""What a migration in place leaves to remove when its last step is done, or when it is turned round half-way."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress

from rsdos import fsio
from rsdos.engine import Engine
from rsdos.layout import Layout, LegacyLayout
from rsdos.migration import marked
from rsdos.sharing import make_directories


def tidy(engine: Engine) -> None:
    """Remove what is of another version than the container is. The caller holds the maintenance lock.

    Does nothing when no migration has begun, or when one to another version is under way: that is to be gone on with.
    """
    if marked(engine.layout) == engine.config.version:
        _REMOVE[engine.config.version](engine.layout.root)
        fsio.sync_directory(engine.layout.root)
        # Only when all that is gone for good: nothing else says that it may go.
        fsio.remove(engine.layout.migration)
        fsio.sync_directory(engine.layout.root)


def _remove_legacy(root: str) -> None:
    layout = LegacyLayout(root)
    for path in layout.database_files:
        fsio.remove(path)
    for directory in (layout.packed, layout.duplicates):
        _remove_tree(directory, Layout(root).quarantine)


def _remove_native(root: str) -> None:
    layout = Layout(root)
    # Manifests first: no half of an index must ever be taken for one that can be gone on with.
    _remove_tree(layout.index, None)
    _remove_tree(layout.packed, None)


def _remove_tree(directory: str, keep: str | None) -> None:
    """Remove a directory; files that are nobody's go to ``keep``."""
    with suppress(FileNotFoundError):
        for name in os.listdir(directory):
            path = os.path.join(directory, name)
            known = name.removesuffix(".lock").removesuffix(".pack").lstrip("-").isdigit()
            if keep and not known:
                make_directories(keep)
                os.rename(path, os.path.join(keep, name))
        shutil.rmtree(directory)


_REMOVE = {1: _remove_native, 2: _remove_legacy}
