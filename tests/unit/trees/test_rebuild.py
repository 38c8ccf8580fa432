"""Inner pages that are lost are made anew from the pages below them."""

from __future__ import annotations

import random

import pytest

from rsdos.trees.entry import Attributes, TreeEntry
from rsdos.trees.page import Inner, decode_page
from rsdos.trees.reader import PageReader, children_of
from rsdos.trees.rebuild import FoundPage, LostPage, found_page, rebuilt_page
from tests.unit.trees.cases import Pages, build, file, some_tree

ATTRIBUTES = [Attributes.NONE, Attributes.TIMES | Attributes.MODES]


def lost_pages(root: bytes, pages: Pages, attributes: Attributes) -> list[LostPage]:
    """Return what would be known of each inner page if it were lost."""
    reader = PageReader(root, pages.get)
    top = reader.root_page()
    lost = [LostPage(root, attributes, top.entries, top.size)]
    waiting = [(top, b"")]
    while waiting:
        page, after = waiting.pop()
        if isinstance(page, Inner) and page.level > 1:
            for child in children_of(page, after):
                lost.append(
                    LostPage(child.key, attributes, child.entries, child.size, child.level, child.after, child.last)
                )
                waiting.append((reader.page(child), child.after))
    return lost


def found_in(*stores: Pages) -> dict[bytes, FoundPage]:
    pages = {digest: data for store in stores for digest, data in store.data.items()}
    found = {digest: found_page(digest, decode_page(data)) for digest, data in pages.items()}
    return {digest: one for digest, one in found.items() if one is not None}


def changed(entries: list[TreeEntry], seed: int, count: int) -> list[TreeEntry]:
    """Return a later version: some files have other bytes, and some are gone."""
    chance = random.Random(seed)
    files = [entry.path for entry in entries if entry.kind.is_file]
    touched = {path: chance.random() < 0.5 for path in chance.sample(files, min(count, len(files)))}
    return [
        entry._replace(key=chance.randbytes(32), size=chance.randrange(10_000)) if entry.path in touched else entry
        for entry in entries
        if touched.get(entry.path, True)
    ]


@pytest.mark.parametrize("attributes", ATTRIBUTES)
@pytest.mark.parametrize("count", [300, 9000])
def test_each_inner_page_is_made_anew_from_those_below_it(count: int, attributes: Attributes) -> None:
    root, pages = build(some_tree(1, count, attributes), attributes)
    found = found_in(pages)
    lost = lost_pages(root.key, pages, attributes)
    assert len(lost) > (count > 1000)
    for page in lost:
        others = [one for key, one in found.items() if key != page.key]
        assert rebuilt_page(page, others) == pages.data[page.key]


@pytest.mark.parametrize("seed", range(6))
def test_pages_of_other_versions_are_not_taken_for_them(seed: int) -> None:
    """Three versions of a directory, of five changes each."""
    entries = some_tree(seed, 4000)
    versions = []
    for number in range(3):
        versions.append(build(entries))
        entries = changed(entries, 100 * seed + number, 5)
    found = found_in(*(pages for _, pages in versions))
    for root, pages in versions:
        for page in lost_pages(root.key, pages, Attributes.NONE):
            others = [one for key, one in found.items() if key != page.key]
            made = rebuilt_page(page, others, led_to_without(page.key, *(pages for _, pages in versions)))
            assert made == pages.data[page.key]


def led_to_without(lost: bytes, *stores: Pages) -> set[bytes]:
    keys: set[bytes] = set()
    for store in stores:
        for key, data in store.data.items():
            page = decode_page(data)
            if key != lost and isinstance(page, Inner):
                keys.update(child.key for child in page.children)
    return keys


def test_without_one_of_the_pages_below_there_is_none() -> None:
    root, pages = build(some_tree(3, 9000))
    found = found_in(pages)
    page = max(lost_pages(root.key, pages, Attributes.NONE), key=lambda one: one.level or 0)
    top = decode_page(pages.data[page.key])
    assert isinstance(top, Inner)
    for child in top.children[:: len(top.children) // 3]:
        assert rebuilt_page(page, [one for key, one in found.items() if key not in (page.key, child.key)]) is None


def test_other_pages_below_than_the_ones_that_it_had_are_no_answer() -> None:
    root, pages = build([file(b"%05d" % number, number) for number in range(3000)])
    other_root, others = build([file(b"%05d" % number, number + 1) for number in range(3000)])
    (page, *_) = lost_pages(root.key, pages, Attributes.NONE)
    assert root.key != other_root.key
    assert rebuilt_page(page, found_in(others).values()) is None
