"""Making and clearing a container's directory."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress

from rsdos import fsio, locks
from rsdos.config import Config, encode_config, read_config
from rsdos.errors import ContainerExists
from rsdos.index import Manifest, encode_manifest
from rsdos.layout import Layout

_NEW = ".new"
_CLEARING = ".clearing"


def make_container(path: str, config: Config) -> None:
    """Make a container at ``path``, which does not exist or is an empty directory; parents are made.

    Killed at any moment it leaves either a container or what the next call takes for an empty directory: the
    configuration, written last, is what makes it a container. Raises `ContainerExists`.
    """
    layout = Layout(os.path.abspath(path), config.loose_prefix_len)
    if os.path.lexists(layout.root) and not os.path.isdir(layout.root):
        raise ContainerExists(path, "is there already, and is not a directory")
    above = _first_that_exists(layout.root)
    os.makedirs(layout.root, exist_ok=True)
    with locks.acquire_directory(layout.root):
        _refuse_what_is_there(path, layout)
        for directory in layout.directories:
            os.makedirs(directory, exist_ok=True)
        first = layout.manifest(1)
        fsio.remove(first)
        fsio.write_file(first, encode_manifest(Manifest(1, config.container_id)))
        fsio.sync_directory(layout.index)
        temporary = layout.config + _NEW
        fsio.remove(temporary)
        fsio.write_file(temporary, encode_config(config))
        os.rename(temporary, layout.config)
        fsio.sync_directory(layout.root)
    directory = layout.root
    with suppress(OSError):  # A parent that cannot be read cannot be synced; the container itself is whole.
        while directory != above:
            directory = os.path.dirname(directory)
            fsio.sync_directory(directory)


def _first_that_exists(path: str) -> str:
    """The parent of the topmost directory that has to be made, and at least the parent of ``path``."""
    path = os.path.dirname(path)
    while not os.path.isdir(path) and path != os.path.dirname(path):
        path = os.path.dirname(path)
    return path


def _refuse_what_is_there(path: str, layout: Layout) -> None:
    """Only what an earlier call that was killed may have left is allowed: directories, and the first manifest."""
    if os.path.lexists(layout.config):
        raise ContainerExists(path, "is a container already")
    _refuse_strangers(path, layout)
    leftovers = {os.path.basename(layout.manifest(1))}
    for directory in layout.directories:
        if os.path.isdir(directory) and set(os.listdir(directory)) - leftovers:
            raise ContainerExists(path, f"is not empty: there is something in {os.path.basename(directory)}/")


def _refuse_strangers(path: str, layout: Layout) -> None:
    names = [layout.config, layout.config + _NEW, layout.config + _CLEARING, *layout.directories]
    strangers = sorted(set(os.listdir(layout.root)) - set(map(os.path.basename, names)))
    if strangers:
        raise ContainerExists(path, f"is not empty: there is {strangers[0]}")


def clear_container(path: str) -> None:
    """Delete a container and all its objects; the empty directory stays. What is no container is left alone.

    The configuration is renamed first: killed half-way, what is left is no container, and this can be called again.
    Raises `ContainerExists` when there is anything beside it, and what `read_config` does; nothing is deleted then.
    """
    layout = Layout(os.path.abspath(path))
    if not os.path.isdir(layout.root):
        return
    with locks.acquire_directory(layout.root):
        clearing = layout.config + _CLEARING
        if os.path.lexists(layout.config):
            read_config(layout.config)
            _refuse_strangers(path, layout)
            os.rename(layout.config, clearing)
            fsio.sync_directory(layout.root)
        elif not os.path.lexists(clearing):
            return
        for directory in layout.directories:
            with suppress(FileNotFoundError):
                shutil.rmtree(directory)
        fsio.remove(clearing)
