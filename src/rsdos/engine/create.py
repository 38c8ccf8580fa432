"""Making and clearing a container's directory."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from rsdos.config import Config, encode_config, read_config, refuse_inside
from rsdos.engine.formats import format_of
from rsdos.engine.reserve import prepare
from rsdos.errors import OWN_NUMBERS, Busy, ContainerExists, ContainerReplaced, ReadOnlyContainer
from rsdos.layout import Layout
from rsdos.model import Links, Sharing
from rsdos.storage import locks, posix
from rsdos.storage.permissions import make_directories, share_directory
from rsdos.stores.union import NO_LOCKS

_NEW = ".new"
_CANNOT = (errno.EPERM, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.ENOLCK)
"""What file systems say of a call that they do not have."""

_CLEARING = ".clearing"
_FOUND = "lost+found"
"""What a file system has in its root, where a container may be made all the same; it stays when that is cleared."""


def make_container(path: str, config: Config, sharing: Sharing = Sharing.UMASK, links: Links = Links.REFUSE) -> None:
    """Make a container at ``path``, which does not exist or is an empty directory; parents are made.

    Killed at any moment it leaves either a container or what the next call takes for an empty directory: the
    configuration, written last, is what makes it a container. Raises `ContainerExists`, `NotOurs`.
    """
    form = format_of(config)
    layout = form.layout(os.path.abspath(path), config.loose_prefix_len)
    layout.links = links
    if os.path.lexists(layout.root) and not os.path.isdir(layout.root):
        raise ContainerExists(path, "is there already, and is not a directory")
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
            # What is below is safe before the configuration makes a container of it.
            posix.sync_directory(layout.root)
            write_config(layout, config)
        except OSError:
            if not os.path.lexists(layout.config):  # Else the sync of it has failed: it is a container.
                _remove_empty(layout)  # Of another version they would be in the way.
            raise
    directory = layout.root
    with suppress(OSError):  # A parent that cannot be read cannot be synced; the container itself is whole.
        while directory != above:
            directory = os.path.dirname(directory)
            posix.sync_directory(directory)


def _locked(path: str, root: str) -> locks.Lock:
    try:
        return locks.acquire_directory(root)
    except OSError as error:
        if error.errno in locks.UNSUPPORTED:
            raise ReadOnlyContainer(path, NO_LOCKS) from error
        raise


def _need_file_system(path: str, layout: Layout) -> None:
    """Refuse, by its name, a file system without what every container needs: locks, syncs and hard links of files.

    Commits, and locks that disk-objectstore knows, are made by links, and known again by their number. The two names
    are among those that a call that was killed may leave.
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
    """Put a configuration, synced, in the place of the one that is there, if any: the old or the new is seen."""
    posix.replace_file(layout.config, encode_config(config))
    posix.sync_directory(layout.root)


def _first_that_exists(path: str) -> str:
    """The parent of the topmost directory that has to be made, and at least the parent of ``path``."""
    path = os.path.dirname(path)
    while not os.path.isdir(path) and path != os.path.dirname(path):
        path = os.path.dirname(path)
    return path


def _refuse_what_is_there(path: str, layout: Layout) -> None:
    """Only what an earlier call that was killed may have left is allowed: directories, first manifest, reserve."""
    if os.path.lexists(layout.config):
        raise ContainerExists(path, "is a container already")
    _refuse_strangers(path, layout)
    for directory in layout.directories:
        leftovers = {os.path.basename(path) for path in layout.beginnings if os.path.dirname(path) == directory}
        if os.path.isdir(directory) and set(os.listdir(directory)) - leftovers:
            raise ContainerExists(path, f"is not empty: there is something in {os.path.basename(directory)}/")


def _refuse_strangers(path: str, layout: Layout) -> None:
    names = [layout.config, layout.config + _NEW, layout.config + _CLEARING, layout.locks, locks.IN_DIRECTORY]
    names += [*layout.directories, *layout.beginnings, layout.notes, f"{layout.notes}{_NEW}", layout.validation, _FOUND]
    strangers = sorted(set(os.listdir(layout.root)) - set(map(os.path.basename, names)))
    if strangers:
        raise ContainerExists(path, f"is not empty: there is {strangers[0]}")


def _maintenance(layout: Layout) -> locks.Lock:
    lock = locks.try_acquire(layout.maintenance_lock)
    if lock is None:
        raise Busy("the container's maintenance lock", locks.holder(layout.maintenance_lock))
    return lock


def clear_container(path: str, links: Links = Links.REFUSE) -> None:
    """Delete a container and all its objects; the empty directory stays. What is no container is left alone.

    The configuration is renamed first: killed half-way, what is left is no container, and this can be called again.
    Waits for a commit; those that wait for this one find another container, or none, and raise `ContainerReplaced` or
    `NotAContainer`. Raises `ContainerExists` when there is anything beside it, `Busy` when a maintenance run is at
    work, `ContainerReplaced` when one has just migrated it, and what `read_config` does; nothing is deleted then.
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
        layout = form.layout(layout.root, 0)
        layout.links = links
        layout.check()
        if is_whole:
            make_directories(layout.locks)
            # 1. No maintenance run, and no commit, until all is gone.
            held.enter_context(_maintenance(layout))
            held.enter_context(form.no_commits(layout))
            if read_config(layout.config).version != config.version:
                raise ContainerReplaced(path, "it was migrated while it was about to be cleared")
            _refuse_strangers(path, layout)
            # 2. From here on it is no container: who commits looks for this file, under the lock that is held here.
            os.rename(layout.config, clearing)
            posix.sync_directory(layout.root)
        # 3. What is in it. Without the sandbox loose writers, who take no lock, find out that they are too late.
        with layout.open() as root:
            for directory in (layout.sandbox, *layout.directories, layout.locks):
                root.remove_tree(os.path.basename(directory))
        for file in (*layout.beginnings, layout.notes, layout.validation):
            layout.remove(file)
        layout.remove(clearing)
