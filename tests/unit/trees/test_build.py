"""Trees are built as the format says, whatever their shape, and nothing that it forbids gets into one."""

from __future__ import annotations

import random
from collections.abc import Sequence
from zlib import crc32

import pytest

from rsdos.errors import InvalidName, InvalidOption
from rsdos.trees.build import build_tree
from rsdos.trees.entry import Attributes, EntryKind, Listing, TreeEntry
from tests.unit.trees.cases import Pages, build, directory, entries_of, file, link, some_tree, with_parents
from tests.unit.trees.reference import listings, pages_of

BOTH = Attributes.TIMES | Attributes.MODES
KEY = bytes(range(32))


def names_below(limit: int, count: int) -> list[bytes]:
    """Names in the root whose hash is below a limit."""
    found: list[bytes] = []
    number = 0
    while len(found) < count:
        if crc32(b"\0%d" % number) < limit:
            found.append(b"%d" % number)
        number += 1
    return found


@pytest.mark.parametrize("attributes", [Attributes.NONE, Attributes.TIMES, Attributes.MODES, BOTH])
@pytest.mark.parametrize(("seed", "count"), [(1, 0), (2, 1), (3, 50), (4, 3000), (5, 9000)])
def test_a_tree_is_built_as_the_plainest_program_builds_it(attributes: Attributes, seed: int, count: int) -> None:
    entries = some_tree(seed, count, attributes)
    root, pages = build(entries, attributes)
    key, expected = pages_of(entries, attributes)
    assert root.key == key
    assert pages.data == expected
    files = [entry for entry in entries if entry.kind.is_file]
    assert root[1:] == (len(entries), len(files), sum(entry.size for entry in files), len(expected))


@pytest.mark.parametrize("seed", range(3))
def test_a_directory_may_come_in_runs_of_any_length(seed: int) -> None:
    entries = some_tree(seed, 4000)
    chance = random.Random(seed)
    pages = Pages()

    def runs() -> list[Listing]:
        found = []
        for listing in listings(entries):
            at = 0
            while at < len(listing.names):
                step = chance.randint(1, 300)
                found.append(listing.cut(at, at + step))
                at += step
        return found

    assert build_tree(runs(), Attributes.NONE, pages.put).key == build(entries)[0].key


def test_names_without_a_cut_make_leaves_of_1024_entries() -> None:
    names = [b"%06d" % number for number in range(20_000) if crc32(b"\0%06d" % number) >= 1 << 25][:5000]
    entries = [file(name) for name in names]
    root, pages = build(entries)
    assert (root.key, pages.data) == pages_of(entries)
    assert sorted(len(page) for page in pages.data.values())[-1] > 1024 * 40
    assert root.pages == 6


@pytest.mark.parametrize(("limit", "count"), [(1 << 25, 700), (1 << 20, 300), (1 << 15, 40), (1 << 12, 5)])
def test_an_adversary_s_names_make_small_pages_and_no_harm(limit: int, count: int) -> None:
    entries = [file(name) for name in names_below(limit, count)]
    root, pages = build(entries)
    assert (root.key, pages.data) == pages_of(entries)
    assert entries_of(pages.tree(root.key)) == with_parents(entries)


def test_a_page_that_ends_with_the_tree_is_not_followed_by_pages_of_no_use() -> None:
    """The last name of these trees ends pages of several levels, and the tree as well."""
    name = names_below(1 << 15, 1)[0]
    for others in (0, 1, 2000):
        entries = [file(name), *(file(b"!%d" % number) for number in range(others))]
        root, pages = build(entries)
        assert (root.key, pages.data) == pages_of(entries)


def test_the_empty_tree_has_one_page() -> None:
    root, pages = build([])
    assert root[1:] == (0, 0, 0, 1)
    assert pages.data[root.key] == b"RSTR\x01\0\0\0" + bytes(8)


def test_sizes_of_what_is_no_file_are_not_taken_from_the_caller() -> None:
    entries = [directory(b"d"), link(b"l", b"target")]
    wrong = [entry._replace(size=4096) for entry in entries]
    assert build(wrong)[0].key == build(entries)[0].key


def one(name: bytes = b"a", kind: int = 0, size: int = 1, key: bytes = KEY, target: bytes = b"") -> Listing:
    return Listing(b"", [name], bytes([kind]), [size], [key], [target])


def in_a(directory: bytes, names: Sequence[bytes] = (b"x",)) -> Listing:
    return Listing(directory, names, bytes(len(names)), [1] * len(names), [KEY] * len(names), [b""] * len(names))


def directories(*names: bytes, above: bytes = b"") -> Listing:
    count = len(names)
    return Listing(above, names, bytes([EntryKind.DIRECTORY] * count), [0] * count, [b""] * count, [b""] * count)


def deep(parts: int, name: bytes) -> list[Listing]:
    """The listings of directories, one in another."""
    found = [directories(name)]
    for depth in range(1, parts):
        found.append(directories(name, above=b"/".join([name] * depth)))
    return found


@pytest.mark.parametrize(
    "wrong",
    [
        [one(b"")],
        [one(b".")],
        [one(b"..")],
        [one(b"a/b")],
        [one(b"a\0b")],
        [one(b"/")],
        [one(b"n" * 256)],
        [in_a(b"", [b"b", b"a"])],
        [in_a(b"", [b"a", b"a"])],
        [one(b"b"), one(b"a")],
        [one(b"a"), one(b"a")],
        [in_a(b"a")],
        [one(b"a"), in_a(b"a")],
        [directories(b"a"), in_a(b"b")],
        [directories(b"a", b"b"), in_a(b"b"), in_a(b"a")],
        [directories(b"a"), in_a(b"a"), in_a(b"a/x")],
        [directories(b"a"), in_a(b"a/b")],
        [directories(b"a"), in_a(b"a/..")],
        [directories(b"a"), in_a(b"/a")],
        [directories(b"a"), in_a(b"a/")],
        [one(kind=2, key=b"", target=b"t" * 4096)],
        [one(kind=2, key=b"", target=b"")],
        [one(kind=2, key=b"", target=b"a\0b")],
        [one(target=b"of a file")],
        deep(1025, b"d"),
        deep(129, b"d" * 255),
    ],
)
def test_what_no_tree_may_have_is_refused(wrong: list[Listing]) -> None:
    with pytest.raises(InvalidName):
        build_tree(wrong, Attributes.NONE, Pages().put)


@pytest.mark.parametrize(
    "right",
    [
        [one(b"n" * 255)],
        [one(b"...")],
        [one(b"\1")],
        [one(kind=2, key=b"", target=b"t" * 4095)],
        deep(1024, b"d"),
        deep(128, b"d" * 255),
    ],
)
def test_what_is_just_allowed_is_taken(right: list[Listing]) -> None:
    pages = Pages()
    root = build_tree(right, Attributes.NONE, pages.put)
    assert len(entries_of(pages.tree(root.key))) == sum(len(listing.names) for listing in right)


@pytest.mark.parametrize(
    "wrong",
    [
        one(kind=4),
        one(key=b""),
        one(key=KEY[:31]),
        one(kind=3),
        one(size=-1),
        one(size=1 << 64),
        one()._replace(sizes=[1, 2]),
        one()._replace(kinds=b"\0\0", keys=[KEY, KEY]),
        one()._replace(targets=[]),
    ],
)
def test_columns_that_do_not_fit_are_refused(wrong: Listing) -> None:
    with pytest.raises(InvalidOption):
        build_tree([wrong], Attributes.NONE, Pages().put)


@pytest.mark.parametrize("change", [{"mtimes": None}, {"modes": None}, {"modes": [0o1000]}, {"mtimes": [1 << 63]}])
def test_attributes_are_checked(change: dict[str, object]) -> None:
    good = one()._replace(mtimes=[-5], modes=[0o777])
    build_tree([good], BOTH, Pages().put)
    with pytest.raises(InvalidOption):
        build_tree([good._replace(**change)], BOTH, Pages().put)  # type: ignore[arg-type]


def test_trees_with_and_without_times_have_other_keys() -> None:
    entry = TreeEntry(b"a", EntryKind.FILE, 1, KEY, b"", 5, 0o644)
    keys = {build([entry], attributes)[0].key for attributes in (Attributes.NONE, Attributes.TIMES, BOTH)}
    assert len(keys) == 3
