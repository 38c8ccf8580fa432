"""What the parts of the facade know of each other: there is an open container."""

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
        """The open container's parts, which maintenance works on."""
        raise NotImplementedError

    def _forget(self) -> None:
        """Close the container, and open it anew at the next use: it is of another version now, for example."""
        raise NotImplementedError


@contextmanager
def engine_of(container: FacadePart | str | os.PathLike[str]) -> Iterator[Engine]:
    """Give the parts of another container; one that is opened here, by its path, is closed at the end."""
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
