"""Lost pages of trees, and those that can be made anew: the pages below an inner page have all that it says."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress

from rsdos.engine.engine import Engine
from rsdos.engine.publish import newest_refs
from rsdos.engine.snapshots import StoredPages, read_record
from rsdos.errors import Busy, DamagedContainer, DamagedTree, ObjectNotFound
from rsdos.model import PackKind
from rsdos.storage.base import passing_over_damage
from rsdos.stores.packed.store import PackedStore
from rsdos.trees.page import Inner, Page, decode_page
from rsdos.trees.reader import PageReader, children_of
from rsdos.trees.rebuild import FoundPage, LostPage, found_page, rebuilt_page


def rebuilt_pages(engine: Engine, digests: Collection[bytes]) -> dict[bytes, bytes]:
    """Return those of some lost objects that are inner pages of live snapshots and can be made anew, with their bytes.

    Read all pages of the container, and hold the paths, sums and key of each. Where a page below a lost one is lost as
    well, a later call makes the upper one, when the lower one is there.
    """
    # Version 1 has no snapshots; a lazy clone has pages from its remote.
    if not digests or engine.is_lazy or not isinstance(engine.packed, PackedStore):
        return {}
    lost = [page for page in _lost_pages(engine) if page.key in digests]
    if not lost:
        return {}
    led_to: set[bytes] = set()
    found = list(_found_pages(engine, led_to))
    pages = {page.key: rebuilt_page(page, found, led_to) for page in lost}
    return {key: data for key, data in pages.items() if data is not None}


def _lost_pages(engine: Engine) -> Iterator[LostPage]:
    """Yield the inner pages of live snapshots that cannot be read, and roots that may be leaves."""
    try:
        snapshots = newest_refs(engine).refs.snapshots()
    except (DamagedTree, DamagedContainer, Busy):
        return
    for snapshot in sorted(snapshots):
        with suppress(DamagedTree, ObjectNotFound):
            record = read_record(engine, snapshot)
            reader = PageReader(bytes.fromhex(record.tree), StoredPages(engine))
            try:
                root = reader.root_page()
            except DamagedTree:
                yield LostPage(reader.root, record.attributes, record.entries, record.size)
            else:
                yield from _lost_below(reader, root, b"")


def _lost_below(reader: PageReader, page: Page, after: bytes) -> Iterator[LostPage]:
    for child in children_of(page, after) if isinstance(page, Inner) and page.level > 1 else ():
        try:
            below = reader.page(child)
        except DamagedTree:
            yield LostPage(child.key, page.attributes, child.entries, child.size, child.level, child.after, child.last)
        else:
            yield from _lost_below(reader, below, child.after)


def _found_pages(engine: Engine, led_to: set[bytes]) -> Iterator[FoundPage]:
    """Yield all pages that can be read, each once. Add the keys that they lead to to ``led_to``."""
    packed = engine.packed
    assert isinstance(packed, PackedStore)
    seen: set[bytes] = set()
    for entries in packed.index.refresh().of_kinds((PackKind.TREES,)).live_tables():
        for record in entries.take(entries.storage_order()):
            with passing_over_damage():
                data = packed.records.read_object(record)
                if record.digest in seen or packed.hash.digest_of(data) != record.digest:
                    continue
                page = decode_page(data)
                seen.add(record.digest)
                if isinstance(page, Inner):
                    led_to.update(child.key for child in page.children)
                if found := found_page(record.digest, page):
                    yield found
