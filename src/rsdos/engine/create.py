"""Making and clearing a container's directory."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from rsdos import names
from rsdos.config import REMOTE_VERSION, VERSION, Config, encode_config, read_config, refuse_inside
from rsdos.engine.engine import NEEDED
from rsdos.engine.formats import format_of
from rsdos.engine.reserve import prepare
from rsdos.errors import OWN_NUMBERS, Busy, ContainerExists, ContainerReplaced, InvalidOption, ReadOnlyContainer
from rsdos.layout import Layout
from rsdos.model import Links, Sharing
from rsdos.storage import locks, posix
from rsdos.storage.base import Put, Storage, require
from rsdos.storage.permissions import make_directories, share_directory
from rsdos.stores.union import NO_LOCKS

_NEW = ".new"
_CANNOT = (errno.EPERM, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.ENOLCK)
"""Errors of file systems that lack a call."""

_CLEARING = ".clearing"
_FOUND = "lost+found"
"""A directory that file systems have in their root. A container may be made beside it; clearing keeps it."""


def make_container(path: str, config: Config, sharing: Sharing = Sharing.UMASK, links: Links = Links.REFUSE) -> None:
    """Make a container at ``path``, which does not exist or is an empty directory. Make its parents.

    The configuration is written last, and makes the directory a container. A call that is killed leaves a container, or
    a directory that the next call accepts as empty. Raise `ContainerExists`, `NotOurs`.
    """
    form = format_of(config)
    if config.version == REMOTE_VERSION:
        raise InvalidOption("a container of version 3 is made in a storage, by its URL: file:///...")
    layout = form.layout(os.path.abspath(path), config.loose_prefix_len, None)
    layout.set_links(links)
    _refuse_no_directory(path, layout)
    refuse_inside(path)
    above = _first_that_exists(layout.root)
    make_directories(layout.root)
    with _locked(path, layout.root):
        layout.check()
        _refuse_what_is_there(path, layout)
        if sharing is Sharing.GROUP:
            share_directory(layout.root)
        try:
            _need_file_system(path, layout)
            for directory in layout.directories:
                make_directories(directory)
            form.begin(layout, config)
            if os.path.isdir(layout.locks):
                prepare(layout)
            # Everything below is on stable storage before the configuration makes it a container.
            posix.sync_directory(layout.root)
            write_config(layout, config)
        except OSError:
            if not os.path.lexists(layout.config):  # Otherwise only its sync has failed: it is a container.
                _remove_empty(layout)  # They would be in the way of a container of another version.
            raise
    directory = layout.root
    with suppress(OSError):  # A parent that cannot be read cannot be synced. The container itself is complete.
        while directory != above:
            directory = os.path.dirname(directory)
            posix.sync_directory(directory)


def refuse_what_is_there(path: str) -> None:
    """Raise `ContainerExists` if `make_container` would. Nothing is made."""
    layout = Layout(os.path.abspath(path))
    _refuse_no_directory(path, layout)
    if os.path.isdir(layout.root):
        _refuse_what_is_there(path, layout)


def make_container_on(storage: Storage, config: Config) -> None:
    """Make a container in a storage that is no directory, and in which there is none.

    The configuration is put last, and makes it a container. Raise `ContainerExists`; `ReadOnlyContainer` if the storage
    lacks what a container needs; `InvalidOption` for settings that a container in a storage cannot have.
    """
    from rsdos.index.manifest import Manifest, encode_manifest

    if config.version == REMOTE_VERSION:
        from rsdos.stores.remote.create import make_remote_container

        make_remote_container(storage, config)
        return
    if config.version != VERSION:
        raise InvalidOption(f"container version {config.version}: {storage.traits.medium} has no 'files'")
    require(storage, *NEEDED)
    if storage.exists(names.CONFIG):
        raise ContainerExists(storage.root, "is a container already")
    for directory in (names.PACKED, names.INDEX, names.LOCKS):
        storage.make_directory(directory)
    for name, data in (
        (names.manifest(1), encode_manifest(Manifest(1, config.container_id))),
        (names.CONFIG, encode_config(config)),
    ):
        outcome = storage.put_new(name, data).outcome
        # After a lost answer the name tells: an id is that of one container.
        if outcome is not Put.OURS and not (outcome is Put.UNKNOWN and storage.read(name, len(data)) == data):
            raise ContainerExists(storage.root, f"{name} is there already")


def _locked(path: str, root: str) -> locks.Lock:
    try:
        return locks.acquire_directory(root)
    except OSError as error:
        if error.errno in locks.UNSUPPORTED:
            raise ReadOnlyContainer(path, NO_LOCKS) from error
        raise


def _need_file_system(path: str, layout: Layout) -> None:
    """Raise `ReadOnlyContainer` with the name of what the file system lacks: locks, syncs or hard links of files.

    Commits, and the locks of disk-objectstore, are made by hard links and recognised by their inode number. A call that
    is killed may leave the two files, and the next call accepts them.
    """
    new, other = f"{layout.config}{_NEW}", f"{layout.notes}{_NEW}"
    for name in (new, other):
        posix.remove(name)
    try:
        with posix.create(new) as fd:
            with _needed(path, NO_LOCKS):
                locks.try_lock(fd)
            with _needed(path, "its file system cannot sync files (fsync): choose another one"):
                posix.sync_file(fd)
            with _needed(path, "its file system has no hard links, as exFAT: choose another one"):
                os.link(new, other)
            if not os.path.samestat(os.fstat(fd), os.stat(other)):
                raise ReadOnlyContainer(path, OWN_NUMBERS)
    finally:
        for name in (other, new):
            posix.remove(name)


def _remove_empty(layout: Layout) -> None:
    with suppress(OSError), layout.open() as place:
        for directory in layout.directories:
            with suppress(OSError):
                place.remove_directory(os.path.basename(directory))


@contextmanager
def _needed(path: str, lack: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _CANNOT:
            raise ReadOnlyContainer(path, lack) from error
        raise


def write_config(layout: Layout, config: Config) -> None:
    """Write and sync a configuration, in place of an old one if there is one. Readers see the old or the new."""
    posix.replace_file(layout.config, encode_config(config))
    posix.sync_directory(layout.root)


def _first_that_exists(path: str) -> str:
    """Return the parent of the topmost directory that is missing; the parent of ``path`` if none is."""
    path = os.path.dirname(path)
    while not os.path.isdir(path) and path != os.path.dirname(path):
        path = os.path.dirname(path)
    return path


def _refuse_no_directory(path: str, layout: Layout) -> None:
    if os.path.lexists(layout.root) and not os.path.isdir(layout.root):
        raise ContainerExists(path, "exists and is not a directory")


def _refuse_what_is_there(path: str, layout: Layout) -> None:
    """Raise `ContainerExists` unless there is only what a killed call leaves: directories, first manifest, reserve."""
    if os.path.lexists(layout.config):
        raise ContainerExists(path, "is a container already")
    _refuse_strangers(path, layout)
    for directory in layout.directories:
        leftovers = {os.path.basename(path) for path in layout.beginnings if os.path.dirname(path) == directory}
        if os.path.isdir(directory) and set(os.listdir(directory)) - leftovers:
            raise ContainerExists(path, f"is not empty: there are files in {os.path.basename(directory)}/")


def _refuse_strangers(path: str, layout: Layout) -> None:
    names = [layout.config, layout.config + _NEW, layout.config + _CLEARING, layout.locks, locks.IN_DIRECTORY]
    names += [
        *layout.directories,
        layout.checkouts,
        layout.remotes_cache,
        *layout.beginnings,
        layout.notes,
        f"{layout.notes}{_NEW}",
        layout.remotes,
        f"{layout.remotes}{_NEW}",
        layout.validation,
        _FOUND,
    ]
    strangers = sorted(set(os.listdir(layout.root)) - set(map(os.path.basename, names)))
    if strangers:
        raise ContainerExists(path, f"is not empty: it contains {strangers[0]}")


def _maintenance(layout: Layout) -> locks.Lock:
    lock = locks.try_acquire(layout.maintenance_lock)
    if lock is None:
        raise Busy("the container's maintenance lock", locks.holder(layout.maintenance_lock))
    return lock


def clear_container(path: str, links: Links = Links.REFUSE) -> None:
    """Delete a container and all its objects, and keep the empty directory. Do nothing if there is no container.

    The configuration is renamed first: what a killed call leaves is no container, and the next call continues. The call
    waits for a running commit. Commits that wait for this call raise `ContainerReplaced` or `NotAContainer`.

    Raise, before anything is deleted, `ContainerExists` if there is a foreign file, `Busy` if maintenance runs,
    `ContainerReplaced` if the container has just been migrated, and what `read_config` raises.
    """
    layout = Layout(os.path.abspath(path))
    if not os.path.isdir(layout.root):
        return
    with _locked(path, layout.root), ExitStack() as held:
        clearing = layout.config + _CLEARING
        is_whole = os.path.lexists(layout.config)
        if not is_whole and not os.path.lexists(clearing):
            return
        config = read_config(layout.config if is_whole else clearing)
        form = format_of(config)
        layout = form.layout(layout.root, 0, None)
        layout.set_links(links)
        layout.check()
        if is_whole:
            make_directories(layout.locks)
            # 1. Block maintenance and commits until everything is deleted.
            held.enter_context(_maintenance(layout))
            held.enter_context(form.no_commits(layout))
            if read_config(layout.config).version != config.version:
                raise ContainerReplaced(path, "it was migrated just before it would have been cleared")
            _refuse_strangers(path, layout)
            # 2. From now on it is no container: each commit checks for this file, under the lock that is held here.
            os.rename(layout.config, clearing)
            posix.sync_directory(layout.root)
        # 3. Delete everything in it. Loose writers take no lock: the missing sandbox stops them.
        with layout.open() as root:
            for directory in (
                layout.sandbox,
                *layout.directories,
                layout.checkouts,
                layout.remotes_cache,
                layout.locks,
            ):
                root.remove_tree(os.path.basename(directory))
        for file in (*layout.beginnings, layout.notes, layout.remotes, layout.validation):
            layout.remove(file)
        layout.remove(clearing)
