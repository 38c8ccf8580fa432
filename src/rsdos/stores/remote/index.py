"""Opening the index of a container of version 3."""

from __future__ import annotations

from rsdos.config import Config
from rsdos.index.remote_index import RemoteIndex
from rsdos.layout import Layout
from rsdos.stores.packed.stats import recoverers
from rsdos.stores.remote.placed import PlacedStorage


def open_remote_index(layout: Layout, config: Config) -> RemoteIndex:
    """Return the index of a container of version 3, whose storage is a `PlacedStorage`; nothing is opened yet."""
    storage = layout.storage
    assert isinstance(storage, PlacedStorage)
    index = RemoteIndex(layout, config.container_id, *recoverers(layout, config), storage)

    def make_room() -> None:
        # Imported only here: few programs ever find the list of reservations full.
        from rsdos.stores.remote.collect import Collector

        Collector(storage.inner, index.commits).make_room()

    index.commits.ids.make_room = make_room
    return index
