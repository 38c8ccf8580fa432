"""The files that one state of the packed side of version 2 is made of: a manifest, its tables, segments and packs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from rsdos.errors import Busy
from rsdos.index.index import Index
from rsdos.index.manifest import Manifest, encode_manifest
from rsdos.layout import Layout
from rsdos.storage import posix
from rsdos.stores.base import MOST_LOOKUPS
from rsdos.stores.findings import Checkpoint, FilePrefix


@contextmanager
def open_checkpoint(layout: Layout, index: Index, root: str) -> Iterator[Checkpoint]:
    """See `PackMaintenance.checkpoint`. Segment files and pack tables are open, as sixteen commits may remove them."""
    manifest, segments = _open_newest(layout, index)
    try:
        target = Layout(root).manifest(manifest.number)
        posix.remove(target)
        # The caller syncs the files that it copies.
        packs = [pack._replace(synced=pack.length) for pack in manifest.packs.behind]
        tables = tuple(segment._replace(synced=True) for segment in manifest.segments)
        posix.write_file(target, encode_manifest(manifest.with_packs(packs)._replace(segments=tables)))
        pieces = [
            *segments,
            *(FilePrefix(layout.relative(layout.pack(pack.id)), pack.length) for pack in manifest.packs),
        ]
        yield Checkpoint((os.path.relpath(target, root),), tuple(pieces))
    finally:
        _close(segments)


def _open_newest(layout: Layout, index: Index) -> tuple[Manifest, list[FilePrefix]]:
    """Return the newest manifest and its open segment files and pack tables."""
    for _ in range(MOST_LOOKUPS):
        manifest = index.newest()
        segments: list[FilePrefix] = []
        is_gone = False
        try:
            for path in (
                *(layout.segment(segment.number) for segment in manifest.segments if segment.number),
                *(layout.pack_table(table.number) for table in manifest.packs.tables.entries),
            ):
                try:
                    file = posix.open_for_reading(path)
                except FileNotFoundError:
                    is_gone = True
                    segments.append(FilePrefix(layout.relative(path), 0))
                else:
                    segments.append(FilePrefix(layout.relative(path), os.fstat(file.fd).st_size, file))
            # One that is gone is damage, unless commits went by since the manifest was read.
            if not is_gone or index.commits.is_newest(manifest.number):
                return manifest, segments
        except BaseException:
            _close(segments)
            raise
        _close(segments)
    raise Busy(layout.index, f"others: {MOST_LOOKUPS} times it had changed when it was looked at again")


def _close(pieces: list[FilePrefix]) -> None:
    for piece in pieces:
        if piece.file is not None:
            piece.file.close()
