"""The base class of the facade's parts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from rsdos.engine.engine import Engine


class FacadePart:
    """Base of the parts of `rsdos.Container`."""

    @property
    def engine(self) -> Engine:
        """The open container's parts."""
        raise NotImplementedError

    def _forget(self) -> None:
        """Close the container, and open it again at the next use: a migration has changed its version."""
        raise NotImplementedError


@contextmanager
def engine_of(container: FacadePart | str | os.PathLike[str]) -> Iterator[Engine]:
    """Yield the engine of another container. A container that is given by its path is closed at the end."""
    if isinstance(container, FacadePart):
        yield container.engine
        return
    import os

    from rsdos.engine.engine import Engine

    engine = Engine(os.fspath(container))
    try:
        yield engine
    finally:
        engine.close()
