"""Making and clearing a container's directory."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress

from rsdos import fsio
from rsdos.config import Config, encode_config
from rsdos.errors import ContainerExists, NotAContainer
from rsdos.index import Manifest, encode_manifest
from rsdos.layout import Layout


def make_container(path: str, config: Config) -> None:
    """Make a container at ``path``, which does not exist or is an empty directory; parents are made.

    Killed at any moment it leaves either a container or what the next call takes for an empty directory: the
    configuration, written last, is what makes it a container. Raises `ContainerExists`.
    """
    layout = Layout(os.path.abspath(path), config.loose_prefix_len)
    if os.path.lexists(layout.root) and not os.path.isdir(layout.root):
        raise ContainerExists(path, "is there already, and is not a directory")
    os.makedirs(layout.root, exist_ok=True)
    _refuse_what_is_there(path, layout)
    for directory in layout.directories:
        os.makedirs(directory, exist_ok=True)
    first = layout.manifest(1)
    fsio.remove(first)
    fsio.write_file(first, encode_manifest(Manifest(1, config.container_id)))
    fsio.sync_directory(layout.index)
    temporary = layout.config + ".new"
    fsio.remove(temporary)
    fsio.write_file(temporary, encode_config(config))
    try:
        os.link(temporary, layout.config)
    except FileExistsError:
        raise ContainerExists(path, "is a container already") from None
    finally:
        fsio.remove(temporary)
    fsio.sync_directory(layout.root)
    with suppress(OSError):  # A parent that cannot be read cannot be synced; the container itself is whole.
        fsio.sync_directory(os.path.dirname(layout.root))


def _refuse_what_is_there(path: str, layout: Layout) -> None:
    """Only what an earlier call that was killed may have left is allowed: directories, and the first manifest."""
    if os.path.lexists(layout.config):
        raise ContainerExists(path, "is a container already")
    ours = {os.path.basename(directory) for directory in layout.directories} | {"config.json.new"}
    strangers = sorted(set(os.listdir(layout.root)) - ours)
    if strangers:
        raise ContainerExists(path, f"is not empty: there is {strangers[0]}")
    leftovers = {os.path.basename(layout.manifest(1))}
    for directory in layout.directories:
        if os.path.isdir(directory) and set(os.listdir(directory)) - leftovers:
            raise ContainerExists(path, f"is not empty: there is something in {os.path.basename(directory)}/")


def clear_container(path: str) -> None:
    """Delete a container and all its objects; the empty directory stays. Raises `NotAContainer` for anything else.

    The configuration goes first: killed half-way, what is left is no container, and this can be called again.
    """
    layout = Layout(os.path.abspath(path))
    if not os.path.isdir(layout.root):
        return
    ours = {os.path.basename(directory) for directory in layout.directories}
    if not os.path.lexists(layout.config) and set(os.listdir(layout.root)) - ours:
        raise NotAContainer(path, "no config.json there; nothing was deleted")
    fsio.remove(layout.config)
    for directory in layout.directories:
        with suppress(FileNotFoundError):
            shutil.rmtree(directory)
