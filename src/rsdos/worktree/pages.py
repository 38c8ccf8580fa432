"""New pages of a tree, on their way into a container."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rsdos.engine.snapshots import StoredPages
from rsdos.model import PackKind, Place

if TYPE_CHECKING:
    from rsdos.engine.engine import Engine

_MOST_BYTES = 32 << 20
"""Bytes of pages that are kept for the last batch: the tree of 400,000 files."""


class PageWriter:
    """Takes the new pages of a tree, and reads them before they are stored. One thread.

    The last pages wait for the commit that publishes the snapshot; a large tree stores pages before that.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._stored = StoredPages(engine)
        self._waiting: dict[bytes, bytes] = {}
        self._bytes = 0
        self.pages = 0
        """How many pages were put."""

    def put(self, digest: bytes, page: bytes) -> None:
        """Take a page."""
        self.pages += 1
        self._waiting[digest] = page
        self._bytes += len(page)
        if self._bytes >= _MOST_BYTES:
            self._engine.objects.insert_many(self.waiting, to=Place.PACKED, kind=PackKind.TREES)
            self._waiting, self._bytes = {}, 0

    @property
    def waiting(self) -> list[bytes]:
        """The pages that are not stored yet: the caller stores them."""
        return list(self._waiting.values())

    def is_waiting(self, digest: bytes) -> bool:
        """Return whether a page is not stored yet."""
        return digest in self._waiting

    def read(self, digests: Sequence[bytes]) -> Sequence[bytes]:
        """Return pages, stored or not: `rsdos.trees.tree.ReadPages`."""
        missing = [digest for digest in digests if digest not in self._waiting]
        stored = dict(zip(missing, self._stored(missing), strict=True)) if missing else {}
        return [stored[digest] if digest in stored else self._waiting[digest] for digest in digests]
