"""The state that lookups in an index use, and how the loss of a part of it by a power loss is found."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from rsdos.errors import DamagedContainer
from rsdos.index.manifest import Manifest, SegmentName
from rsdos.index.segment import Segment
from rsdos.index.view import IndexView
from rsdos.storage.base import Version

if TYPE_CHECKING:
    from rsdos.storage.opened import RandomAccess

Recover = Callable[[Manifest | None], IndexView]
"""Makes a view from the tables inside the packs: those of a manifest, or all packs where the manifest is damaged."""

CheckPack = Callable[["RandomAccess", int], None]
"""Raises `DamagedContainer` if an open file is not the pack of an id."""


class Losses(NamedTuple):
    """Finds the batches of relaxed writers, which were not synced, that a power loss has taken (ADR 11).

    Both functions return the manifest without these batches; the same manifest where none is lost. ``cut`` compares the
    lengths of the packs. ``unwritten`` reads the tables of the batches, except those of the segments that are named as
    known to be whole.
    """

    cut: Callable[[Manifest], Manifest]
    unwritten: Callable[[Manifest, Collection[SegmentName]], Manifest]


class IndexState(NamedTuple):
    """What lookups use: a view, and the number of the newest manifest when it was loaded (0: there was none).

    ``missing`` is the number of a newer manifest that was committed and is missing (0: none is). ``file`` is the
    version of the manifest's file: a container that was put in the place of this one may have the same number.
    ``lost``: a power loss has taken a part of what the manifest names. The view is without it, and the next writer
    commits that.
    """

    view: IndexView
    number: int
    is_recovered: bool = False
    missing: int = 0
    file: Version | None = None
    lost: bool = False

    @property
    def named(self) -> Mapping[SegmentName, Segment]:
        """The segments of the view, by their names."""
        return self.view.named

    def is_of(self, other: IndexState) -> bool:
        """Return whether both are of the same manifest: lookups give the same answers."""
        return (self.number, self.missing, self.file) == (other.number, other.missing, other.file)


def counted(view: IndexView) -> IndexView:
    """Return the view with its packs counted anew, by its entries."""
    with suppress(DamagedContainer):
        return IndexView(view.manifest.with_packs(view.with_dead_counted()), view.segments)
    return view
