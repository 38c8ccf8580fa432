"""The container versions, and the parts that make up a container of each. No other module chooses by version."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from rsdos.config import REMOTE_VERSION, VERSION, VERSION_1, Config
from rsdos.errors import DamagedContainer, InvalidOption, ReadOnlyContainer
from rsdos.layout import Layout, RemoteLayout, V1Layout
from rsdos.model import Durability
from rsdos.storage import locks, posix
from rsdos.storage.base import Storage
from rsdos.storage.local import LocalStorage

if TYPE_CHECKING:
    from rsdos.stores.keeper import Keeper
    from rsdos.stores.packs import PackStore
    from rsdos.stores.stats import PackedStats


class Format(NamedTuple):
    """What differs between container versions."""

    layout: Callable[[str, int, Storage | None], Layout]
    packed: Callable[[Layout, Config, Durability], PackStore]
    kept: Callable[[Layout, Config, Durability, Keeper], PackStore]
    """Return the same for a remote, with what is kept of it on this machine."""
    read_stats: Callable[[Layout, Config], tuple[PackedStats, Mapping[str, object]]]
    """Return what `PackMaintenance.stats` and `notes` do, without the rest of the store if that is possible."""
    begin: Callable[[Layout, Config], str]
    """Write and sync the file that a new container has besides its configuration. Return its path."""
    no_commits: Callable[[Layout], AbstractContextManager[object]]
    """Wait for a running commit and block others, for the length of a block. The container may be damaged."""
    durability: Durability | None = None
    """What every insert survives, whatever is asked for; None: what is asked for."""


def _packs_2(layout: Layout, config: Config, durability: Durability) -> PackStore:
    from rsdos.stores.packed.store import PackedStore

    return PackedStore(layout, config, durability)


def _kept_2(layout: Layout, config: Config, durability: Durability, keeper: Keeper) -> PackStore:
    from rsdos.stores.remote.kept import KeptPackedStore

    return KeptPackedStore(layout, config, durability, keeper)


def _read_stats_2(layout: Layout, config: Config) -> tuple[PackedStats, Mapping[str, object]]:
    from rsdos.stores.packed.stats import read_stats

    return read_stats(layout, config)


def _begin_2(layout: Layout, config: Config) -> str:
    from rsdos.index.commits import CommitLog
    from rsdos.index.manifest import Manifest, encode_manifest

    path = layout.manifest(1)
    # A container that was migrated away from this version before had higher numbers.
    CommitLog(layout, config.container_id).forget()
    for left in layout.new_manifests():
        posix.remove(left)
    temporary = layout.new_manifest()
    posix.write_file(temporary, encode_manifest(Manifest(1, config.container_id)))
    # Complete before it gets its name: after a kill here the next migration continues with what it finds.
    os.rename(temporary, path)
    posix.sync_directory(layout.index)
    return path


def _packs_1(layout: Layout, config: Config, durability: Durability) -> PackStore:
    from rsdos.stores.v1.store import V1PackStore

    assert isinstance(layout, V1Layout)
    return V1PackStore(layout, config, durability)


def _kept_1(layout: Layout, config: Config, durability: Durability, keeper: Keeper) -> PackStore:
    raise InvalidOption(f"{layout.root}: a container of version 1 is no remote")


def _read_stats_1(layout: Layout, config: Config) -> tuple[PackedStats, Mapping[str, object]]:
    packed = _packs_1(layout, config, config.durability)
    try:
        return packed.maintenance.stats(), packed.maintenance.notes()
    finally:
        packed.close()


def _begin_1(layout: Layout, _: Config) -> str:
    from rsdos.stores.v1.connection import create_database

    assert isinstance(layout, V1Layout)
    for path in layout.database_files:
        posix.remove(path)
    create_database(layout.database)
    posix.sync_path(layout.database)
    return layout.database


def _no_commits_2(layout: Layout) -> AbstractContextManager[object]:
    return locks.acquire(layout.commit_lock)


def _layout_3(root: str, loose_prefix_len: int, storage: Storage | None) -> Layout:
    from rsdos.stores.remote.placed import PlacedStorage

    # One that was opened by its path has the names of version 2 for its own.
    medium = LocalStorage(root) if storage is None or type(storage) is LocalStorage else storage
    return RemoteLayout(root, loose_prefix_len, PlacedStorage(medium))


def _packs_3(layout: Layout, config: Config, durability: Durability) -> PackStore:
    from rsdos.stores.packed.store import PackedStore
    from rsdos.stores.remote.index import open_remote_index

    return PackedStore(layout, config, durability, open_remote_index)


def _kept_3(layout: Layout, config: Config, durability: Durability, keeper: Keeper) -> PackStore:
    from rsdos.stores.remote.index import open_remote_index
    from rsdos.stores.remote.kept import KeptPackedStore

    return KeptPackedStore(layout, config, durability, keeper, open_remote_index)


def _read_stats_3(layout: Layout, config: Config) -> tuple[PackedStats, Mapping[str, object]]:
    from rsdos.stores.packed.stats import read_stats
    from rsdos.stores.remote.index import open_remote_index

    return read_stats(layout, config, open_remote_index)


def _begin_3(layout: Layout, _: Config) -> str:
    raise InvalidOption(f"{layout.root}: a container of version 3 is made in a storage, by its URL (file:///...)")


def _no_commits_3(layout: Layout) -> AbstractContextManager[object]:
    raise InvalidOption(f"{layout.root}: nobody can be kept from committing to a container of version 3")


@contextmanager
def _no_commits_1(layout: Layout) -> Iterator[None]:
    from rsdos.stores.v1.database import Database

    assert isinstance(layout, V1Layout)
    database = Database(layout)
    with ExitStack() as held:
        held.callback(database.close)
        # No process can commit to a damaged index, nor to one that belongs to another container as well.
        with suppress(DamagedContainer, ReadOnlyContainer):
            held.enter_context(database.writing())
        yield


_FORMATS = MappingProxyType(
    {
        VERSION: Format(Layout, _packs_2, _kept_2, _read_stats_2, _begin_2, _no_commits_2),
        VERSION_1: Format(V1Layout, _packs_1, _kept_1, _read_stats_1, _begin_1, _no_commits_1),
        REMOTE_VERSION: Format(_layout_3, _packs_3, _kept_3, _read_stats_3, _begin_3, _no_commits_3, Durability.FULL),
    }
)


def format_of(config: Config) -> Format:
    """Return the format of a container with this configuration."""
    return _FORMATS[config.version]
