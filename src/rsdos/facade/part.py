"""The base class of the facade's parts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from rsdos.engine.engine import Engine
    from rsdos.model import Links


class FacadePart:
    """Base of the parts of `rsdos.Container`."""

    @property
    def engine(self) -> Engine:
        """The open container's parts."""
        raise NotImplementedError

    def _place(self) -> tuple[str, Links] | str:
        """Return the container's directory, which may be missing, and how links in it are treated.

        Of a container on another storage return the storage's name in messages.
        """
        raise NotImplementedError

    def find(self, prefix: str) -> str:
        """Return the key that begins with ``prefix``; see `rsdos.Container.find`."""
        raise NotImplementedError

    def _forget(self) -> None:
        """Close the container, and open it again at the next use: a migration has changed its version."""
        raise NotImplementedError


class LazyRemote:
    """The remote of a lazy clone: `rsdos.engine.engine.Beyond`. Imported when an object is not here."""

    def is_there(self, clone: Engine) -> bool:
        from rsdos.maintenance.remotes.table import lazy_remote

        return lazy_remote(clone.layout.root) is not None

    def open(self, clone: Engine) -> Engine | None:
        from rsdos.maintenance.remotes.lazy import open_beyond

        return open_beyond(clone)


@contextmanager
def engine_of(container: FacadePart | str | os.PathLike[str]) -> Iterator[Engine]:
    """Yield the engine of another container. A container that is given by its path is closed at the end."""
    if isinstance(container, FacadePart):
        yield container.engine
        return
    import os

    from rsdos.engine.engine import Engine

    engine = Engine(os.fspath(container), beyond=LazyRemote())
    try:
        yield engine
    finally:
        engine.close()
