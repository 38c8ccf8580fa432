"""Where what is read of a remote is kept on this machine: in a cache, or in the clone that reads it."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import NamedTuple

from rsdos.config import Config
from rsdos.engine.create import make_container
from rsdos.engine.engine import Engine
from rsdos.errors import ContainerExists, InvalidOption, NotAContainer
from rsdos.model import Durability
from rsdos.storage.base import Storage
from rsdos.storage.local import LocalStorage
from rsdos.stores.keeper import PACKS, Keeper
from rsdos.stores.packed.store import PackedStore

_MOST_BUDGET = 10 << 30
"""Stored bytes of objects that a cache has by default, or ..."""

_SHARE = 10
"""... one in so many of the bytes that are free, if that is less."""


class Cache(NamedTuple):
    """A directory that all programs of a user share. Whatever is in it can be removed at any time.

    Below it, each remote has a directory of the name of its container id: ``segments`` and ``tables`` with files of its
    index, and ``objects``, a container of version 2 with the objects that were read.
    """

    directory: str
    budget: int = 0
    """Stored bytes of the objects of one remote; 0: 10 GiB, or a tenth of the free bytes if that is less."""

    def index_files(self, container_id: str) -> Storage:
        return LocalStorage(f"{self.directory}/{container_id}")

    def keeper(self, container_id: str) -> Keeper:
        path = f"{self.directory}/{container_id}/objects"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        budget = self.budget
        if not budget:
            status = os.statvfs(os.path.dirname(path))
            budget = min(_MOST_BUDGET, status.f_bavail * status.f_frsize // _SHARE)
        return Keeper(_packs_of(_container(path, max(budget // PACKS, 1))), budget)


class InClone(NamedTuple):
    """The packs of a lazy clone: what was read stays."""

    clone: Engine

    def index_files(self, container_id: str) -> Storage:
        return LocalStorage(f"{self.clone.layout.remotes_cache}/{container_id}")

    def keeper(self, container_id: str) -> Keeper:
        return Keeper(_packs_of(self.clone))


class IndexInClone(NamedTuple):
    """The directory of a container that pushes to a remote and pulls from it: files of the index are kept, no
    objects."""

    clone: Engine

    def index_files(self, container_id: str) -> Storage:
        return LocalStorage(f"{self.clone.layout.remotes_cache}/{container_id}")

    def keeper(self, container_id: str) -> None:
        return None


def _container(path: str, pack_size: int) -> Engine:
    """Open the container of a cache, or make it. Another process may make it at the same time."""
    try:
        return Engine(path)
    except NotAContainer:
        settings = Config(pack_size_target=pack_size, compression="none", durability=Durability.RELAXED)
        with suppress(ContainerExists):
            make_container(path, settings)
        return Engine(path)


def _packs_of(engine: Engine) -> PackedStore:
    packed = engine.packed
    if not isinstance(packed, PackedStore):
        raise InvalidOption(f"{engine.layout.root}: a container of version 1 cannot keep what is read of a remote")
    return packed
