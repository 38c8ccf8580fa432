"""Clone: make a container on this machine with all that another one has, which becomes its remote."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field

from rsdos.config import Config
from rsdos.engine.create import make_container, refuse_what_is_there
from rsdos.engine.engine import Engine
from rsdos.engine.publish import read_refs
from rsdos.errors import ContainerExists, InvalidOption, NotAContainer
from rsdos.maintenance.remotes import pull
from rsdos.maintenance.remotes.connect import RemoteConnection, connected, open_remote
from rsdos.maintenance.remotes.copying import RemoteEstimate, RemoteOptions, RemoteReport
from rsdos.maintenance.remotes.manage import add_remote, make_remote
from rsdos.maintenance.remotes.table import ORIGIN, Remote, read_remotes
from rsdos.progress import SILENCE
from rsdos.protocols import Progress
from rsdos.storage.directory import temporary_directory
from rsdos.storage.url import OptionValue


@dataclass(frozen=True, slots=True)
class CloneOptions:
    """What to clone: the container at a URL or a path, to a ``directory`` that is missing or empty.

    ``options`` go with the URL. ``name`` is the name of the remote. At most ``limit`` bytes a second are copied.
    """

    url: str
    directory: str
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    name: str = ORIGIN
    limit: int | None = None


def begin_clone(remote: Remote, directory: str) -> Engine:
    """Make the container of a clone, without any object, and return it open. Continue with one that was begun.

    1. Make the container, with the compression of the other. 2. Write the remote down. After a kill between the two
    there is an empty container, which the next call accepts. Raise `ContainerExists` for any other container, and for a
    directory that is not empty; what opening the remote raises.
    """
    with open_remote(remote) as there:
        engine = _container(there, remote, os.path.abspath(directory))
    try:
        add_remote(engine, remote)
    except BaseException:
        engine.close()
        raise
    return engine


def _container(there: RemoteConnection, remote: Remote, directory: str) -> Engine:
    engine = _begun(remote, directory)
    if engine is None:
        make_container(directory, Config(compression=there.engine.config.compression))
        engine = Engine(directory)
    return engine


def _begun(remote: Remote, directory: str) -> Engine | None:
    """Open a clone that was begun; None where there is no container. Raise `ContainerExists` for any other one."""
    try:
        engine = Engine(directory)
    except NotAContainer:
        return None
    try:
        known = read_remotes(engine)
        is_begun = remote.name in known and known[remote.name].url == remote.url
        if not is_begun and (known or len(engine.objects) or read_refs(engine)[0].names()):
            raise ContainerExists(directory, f"is a container already, and no clone of {remote.url} that was begun")
    except BaseException:
        engine.close()
        raise
    return engine


def _remote_of(options: CloneOptions) -> Remote:
    remote = make_remote(options.name, options.url, options.options)
    if remote.url == os.path.abspath(options.directory):
        raise InvalidOption(f"{options.directory}: a container cannot be cloned into itself")
    return remote


def estimate(options: CloneOptions) -> RemoteEstimate:
    """Return what a clone would copy, or what is missing in one that was begun. Nothing is made in the directory.

    Raise what `clone` raises.
    """
    remote, directory = _remote_of(options), os.path.abspath(options.directory)
    with open_remote(remote) as there, temporary_directory() as place:
        engine = _begun(remote, directory)
        if engine is None:
            refuse_what_is_there(directory)
            engine = _container(there, remote, os.path.join(place, "empty"))
        with closing(engine):
            return pull.estimate(there, pull.plan(engine, there, RemoteOptions()))


def clone(options: CloneOptions, progress: Progress = SILENCE) -> RemoteReport:
    """Make a container with all objects and names of another. After a kill or an error the next call continues.

    Args:
        options: a `CloneOptions`.
        progress: receives the stored bytes.

    Returns:
        The counts and keys of the objects.

    Raises:
        ContainerExists: the directory is another container, or not empty.
        InvalidOption: the directory is inside the other container, or the URL or an option makes no sense.
        NotAContainer: there is no container at the URL.
        OSError: a system call or a request failed.
    """
    remote = _remote_of(options)
    engine = begin_clone(remote, options.directory)
    try:
        with connected(engine, remote.name) as there:
            plan = pull.plan(engine, there, RemoteOptions(limit=options.limit))
            return pull.execute(engine, there, plan, progress)
    finally:
        engine.close()
