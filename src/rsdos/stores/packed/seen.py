"""The copies in packs at one moment, some of them marked. Memory: one bit for each entry of the index."""

from __future__ import annotations

from collections.abc import Iterator

from rsdos.index.key_marks import ViewMarks
from rsdos.index.view import IndexView
from rsdos.model import PackKind
from rsdos.stores.lifetime import COLLECTED_KINDS
from rsdos.stores.pack_maintenance import SeenPart


class SeenCopies:
    """The plain copies. See `rsdos.stores.pack_maintenance.SeenObjects`."""

    def __init__(self, view: IndexView) -> None:
        self._marks = ViewMarks(view.for_kind(PackKind.PLAIN))
        self.mark = self._marks.mark

    def unmarked(self, most: int) -> Iterator[SeenPart]:
        for copies in self._marks.unmarked(most):
            yield SeenPart(copies.take(copies.distinct()).keys().joined(), copies)


class HeldCopies(ViewMarks):
    """Those that gc may delete. See `rsdos.stores.publisher.SeenHeld`."""

    def __init__(self, view: IndexView) -> None:
        view = view.of_kinds(COLLECTED_KINDS)
        super().__init__(view)
        self.packs = view.manifest.packs
