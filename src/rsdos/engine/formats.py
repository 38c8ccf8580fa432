"""The container versions: which parts a container of each is made of. Nothing else asks for a container's version."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from rsdos.config import VERSION, VERSION_1, Config
from rsdos.errors import DamagedContainer, ReadOnlyContainer
from rsdos.layout import Layout, V1Layout
from rsdos.model import Durability
from rsdos.storage import locks, posix

if TYPE_CHECKING:
    from rsdos.stores.packs import PackStore
    from rsdos.stores.stats import PackedStats


class Format(NamedTuple):
    """What is particular to a container version."""

    layout: Callable[[str, int], Layout]
    packed: Callable[[Layout, Config, Durability], PackStore]
    read_stats: Callable[[Layout, Config], tuple[PackedStats, Mapping[str, object]]]
    """`PackStore.stats` and `PackStore.notes`, without the rest of the store where that can be."""
    begin: Callable[[Layout, Config], str]
    """Write and sync the file that a new container has beside its configuration; returns its path."""
    no_commits: Callable[[Layout], AbstractContextManager[object]]
    """Wait for a commit, and keep others from beginning, in a container that may be damaged."""


def _native_packs(layout: Layout, config: Config, durability: Durability) -> PackStore:
    from rsdos.stores.packed.store import PackedStore

    return PackedStore(layout, config, durability)


def _look_native(layout: Layout, config: Config) -> tuple[PackedStats, Mapping[str, object]]:
    from rsdos.stores.packed.stats import read_stats

    return read_stats(layout, config)


def _begin_native(layout: Layout, config: Config) -> str:
    from rsdos.index.commits import CommitLog
    from rsdos.index.manifest import Manifest, encode_manifest

    path = layout.manifest(1)
    # Of a container that was migrated away from this version before: its numbers were higher.
    CommitLog(layout, config.container_id).forget()
    for left in layout.new_manifests():
        posix.remove(left)
    temporary = layout.new_manifest()
    posix.write_file(temporary, encode_manifest(Manifest(1, config.container_id)))
    # Whole before it has its name: a migration that is killed here goes on from what it finds.
    os.rename(temporary, path)
    posix.sync_directory(layout.index)
    return path


def _legacy_packs(layout: Layout, config: Config, durability: Durability) -> PackStore:
    from rsdos.stores.v1.store import V1PackStore

    assert isinstance(layout, V1Layout)
    return V1PackStore(layout, config, durability)


def _look_legacy(layout: Layout, config: Config) -> tuple[PackedStats, Mapping[str, object]]:
    packed = _legacy_packs(layout, config, config.durability)
    try:
        return packed.stats(), packed.notes()
    finally:
        packed.close()


def _begin_legacy(layout: Layout, _: Config) -> str:
    from rsdos.stores.v1.connection import create_database

    assert isinstance(layout, V1Layout)
    for path in layout.database_files:
        posix.remove(path)
    create_database(layout.database)
    posix.sync_path(layout.database)
    return layout.database


def _no_native_commits(layout: Layout) -> AbstractContextManager[object]:
    return locks.acquire(layout.commit_lock)


@contextmanager
def _no_legacy_commits(layout: Layout) -> Iterator[None]:
    from rsdos.stores.v1.database import Database

    assert isinstance(layout, V1Layout)
    database = Database(layout)
    with ExitStack() as held:
        held.callback(database.close)
        # Nobody can commit to what is damaged, nor to what belongs to another container as well.
        with suppress(DamagedContainer, ReadOnlyContainer):
            held.enter_context(database.writing())
        yield


_FORMATS = MappingProxyType(
    {
        VERSION: Format(Layout, _native_packs, _look_native, _begin_native, _no_native_commits),
        VERSION_1: Format(V1Layout, _legacy_packs, _look_legacy, _begin_legacy, _no_legacy_commits),
    }
)


def format_of(config: Config) -> Format:
    """The format of a container with this configuration."""
    return _FORMATS[config.version]
