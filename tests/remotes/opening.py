"""Opening the containers of these tests anew."""

from __future__ import annotations

from rsdos import Container
from rsdos.stores.remote.placed import PlacedStorage


def again(container: Container) -> Container:
    """The same container, opened anew: nothing that it has loaded or remembers is used."""
    storage = container.engine.layout.storage
    return Container(storage.inner if isinstance(storage, PlacedStorage) else container.path)


def is_whole(container: Container) -> bool:
    """Whether a check of the structure finds no damage."""
    report = again(container).validate()
    return report.is_finished and not (report.damaged or report.damaged_files)
