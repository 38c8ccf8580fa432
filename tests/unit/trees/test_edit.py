"""An edited tree is, page by page, the one built from its entries; only what was touched is read and written."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rsdos.errors import InvalidName, InvalidOption
from rsdos.trees.edit import PathChange, edit_tree
from rsdos.trees.entry import Attributes, EntryKind, TreeEntry
from tests.unit.trees.cases import Pages, build, directory, dressed, entries_of, file, link, some_tree, with_parents
from tests.unit.trees.reference import in_tree_order, pages_of

BOTH = Attributes.TIMES | Attributes.MODES


def applied(entries: Sequence[TreeEntry], changes: Sequence[PathChange]) -> list[TreeEntry]:
    """What the changes come to, by the plainest program: those that take away first."""
    found = {entry.path: entry for entry in entries}

    def drop_below(path: bytes) -> None:
        for one in [one for one in found if one.startswith(path + b"/")]:
            del found[one]

    for path, entry in changes:
        if entry is None or entry.kind is not EntryKind.DIRECTORY:
            drop_below(path)
        if entry is None:
            found.pop(path, None)
    found |= {path: entry for path, entry in changes if entry is not None}
    return with_parents(found.values())


def check(entries: Sequence[TreeEntry], changes: Sequence[PathChange]) -> list[TreeEntry]:
    root, pages = build(entries)
    files = sum(entry.kind.is_file for entry in entries)
    new: dict[bytes, bytes] = {}
    edited = edit_tree(pages.tree(root.key), changes, new.__setitem__, files)
    after = applied(entries, changes)
    key, expected = pages_of(after)
    assert edited.key == key
    together = pages.data | new
    assert {name: together.get(name) for name in expected} == expected
    assert edited.pages == len(new)
    left = [entry for entry in after if entry.kind.is_file]
    assert edited[1:4] == (len(after), len(left), sum(entry.size for entry in left))
    return after


def some_changes(chance: random.Random, entries: Sequence[TreeEntry], count: int) -> list[PathChange]:
    directories = [b"", *[entry.path for entry in entries if entry.kind is EntryKind.DIRECTORY]]
    changes: dict[bytes, TreeEntry | None] = {}
    for _ in range(count):
        number = chance.randrange(1 << 30)
        match chance.randrange(7):
            case 0 | 1 if entries:
                changes[chance.choice(entries).path] = None
            case 2 if entries:
                old = chance.choice(entries)
                changes[old.path] = file(old.path, number)
            case 3 if entries:
                old = chance.choice(entries)
                changes[old.path] = directory(old.path)
            case 4:
                path = chance.choice(directories) + b"/new/" * chance.randrange(2) + b"/%d" % number
                path = b"/".join(part for part in path.split(b"/") if part)
                changes[path] = file(path, number)
            case _:
                path = chance.choice(directories) + b"/%d" % number
                changes[path.lstrip(b"/")] = link(path.lstrip(b"/"), b"x")
    plain = list(changes.items())
    files = {path for path, entry in plain if entry is not None and entry.kind is not EntryKind.DIRECTORY}
    files |= {entry.path for entry in entries if entry.kind is not EntryKind.DIRECTORY} - changes.keys()
    return [(path, entry) for path, entry in plain if entry is None or not any_above(path, files)]


def any_above(path: bytes, files: set[bytes]) -> bool:
    above = path.rpartition(b"/")[0]
    while above and above not in files:
        above = above.rpartition(b"/")[0]
    return bool(above)


@pytest.mark.parametrize("seed", range(12))
def test_a_chain_of_edits_gives_the_tree_of_what_it_comes_to(seed: int) -> None:
    chance = random.Random(seed)
    entries = some_tree(seed, chance.choice([0, 3, 300, 2500]))
    for count in (1, 3, 10, 100, 1000, 1):
        entries = check(entries, some_changes(chance, entries, count))


@pytest.mark.parametrize("seed", range(4))
def test_most_of_a_tree_can_go_and_come(seed: int) -> None:
    chance = random.Random(seed)
    entries = some_tree(seed, 3000)
    left = check(entries, [(entry.path, None) for entry in entries if chance.random() < 0.9])
    assert len(left) < len(entries) / 2
    assert check(left, [(entry.path, None) for entry in left]) == []
    check([], [(entry.path, entry) for entry in entries])
    check(left, [(entry.path, entry) for entry in entries if not any_above(entry.path, set())])


@settings(max_examples=int(os.environ.get("EXAMPLES", "200")), suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data())
def test_edit_is_build(data: st.DataObject) -> None:
    """On small trees with names that end pages of every level, where the ends of pages are everywhere."""
    names = st.sampled_from(CUTTING + PLAIN)
    before = data.draw(st.lists(names, max_size=40, unique=True))
    changed = data.draw(st.dictionaries(names, st.sampled_from([None, 1, 2]), max_size=20))
    entries = in_tree_order(file(name) for name in before)
    check(entries, [(name, None if number is None else file(name, number)) for name, number in changed.items()])


def cutting(limit: int, count: int) -> list[bytes]:
    from zlib import crc32

    found: list[bytes] = []
    number = 0
    while len(found) < count:
        if crc32(b"\0%d" % number) < limit:
            found.append(b"%d" % number)
        number += 1
    return found


CUTTING = cutting(1 << 25, 12) + cutting(1 << 20, 6) + cutting(1 << 15, 4)
PLAIN = [b"plain %d" % number for number in range(25)]


def test_forced_ends_of_pages_move_with_the_entries() -> None:
    names = [name for name in (b"%06d" % number for number in range(9000)) if name not in set(CUTTING)]
    entries = [file(name) for name in names]
    check(entries, [(b"000000!", file(b"000000!"))])
    check(entries, [(names[5], None)])
    check(entries, [(names[-1], None), (b"999999", file(b"999999"))])


@pytest.mark.parametrize(
    "changes",
    [
        [(b"d", None)],
        [(b"d", file(b"d"))],
        [(b"d", None), (b"d/new", file(b"d/new"))],
        [(b"d", None), (b"d", directory(b"d"))],
        [(b"d", None), (b"d/e", directory(b"d/e"))],
        [(b"d/e", None), (b"d", None), (b"d/e/f", file(b"d/e/f", 5))],
        [(b"d", directory(b"d"))],
        [(b"d", link(b"d", b"x")), (b"d!", None)],
        [(b"x", directory(b"x")), (b"x/y", file(b"x/y"))],
        [(b"x", None), (b"x/y/z", file(b"x/y/z"))],
        [(b"n/e/w", file(b"n/e/w"))],
        [(b"none", None), (b"d/none", None), (b"x/none", None)],
        [(b"d/e", None), (b"d/e/a", None)],
        [(b"d", None), (b"d!", None)],
    ],
)
def test_directories_go_whole_and_come_where_they_are_needed(changes: list[PathChange]) -> None:
    paths = [b"a", b"d/a", b"d/e/a", b"d/e/b", b"d!/a", b"d\x01/a", b"da", b"x", b"z/a"]
    check(with_parents(map(file, paths)), changes)
    many = [b"d/%04d" % number for number in range(2000)] + [b"d/e/%04d" % number for number in range(2000)]
    check(with_parents(map(file, paths + many)), changes)


@pytest.mark.parametrize(
    "changes",
    [
        [(b"a/b", file(b"a/b"))],
        [(b"l/b", file(b"l/b"))],
        [(b"d/a/b/c", file(b"d/a/b/c"))],
        [(b"n", file(b"n")), (b"n/b", file(b"n/b"))],
        [(b"d", file(b"d")), (b"d/n", file(b"d/n"))],
        [(b"/n", file(b"/n"))],
        [(b"d/../n", file(b"n"))],
        [(b"d//n", file(b"n"))],
        [(b"", directory(b""))],
        [(b"", None)],
        [(b"d/", None)],
        [(b"n\0", file(b"n\0"))],
        [(b"n" * 256, file(b"n" * 256))],
        [(b"n", file(b"n")), (b"/m", file(b"/m"))],
        [(b"d/n", file(b"d/n")), (b"d/..", file(b"d/.."))],
        [(b"d/n", file(b"d/n")), (b"d/m\0", file(b"d/m\0"))],
        [(b"d/n", file(b"d/n")), (b"d/", file(b"d/"))],
        [(b"d/n", file(b"d/n")), (b"d/", None)],
    ],
)
def test_paths_that_no_tree_may_have_are_refused(changes: list[PathChange]) -> None:
    root, pages = build(with_parents([file(b"a"), file(b"d/a"), link(b"l", b"d")]))
    with pytest.raises(InvalidName):
        edit_tree(pages.tree(root.key), changes, Pages().put, 2)


def test_entries_that_do_not_fit_are_refused() -> None:
    root, pages = build([])
    for wrong in (file(b"a")._replace(key=b""), file(b"a")._replace(size=-1), directory(b"a")._replace(key=bytes(32))):
        with pytest.raises(InvalidOption):
            edit_tree(pages.tree(root.key), [(b"a", wrong)], Pages().put, 0)


def test_no_change_gives_the_same_tree_and_puts_nothing() -> None:
    entries = some_tree(3, 2000)
    root, pages = build(entries)
    files = sum(entry.kind.is_file for entry in entries)
    same: list[list[PathChange]] = [[], [(b"none", None)], [(entry.path, entry) for entry in entries[::100]]]
    for changes in same:
        edited = edit_tree(pages.tree(root.key), changes, Pages().put, files)
        assert edited == root._replace(pages=0)


def test_few_changes_read_and_write_few_pages() -> None:
    entries = with_parents(file(b"%03d/%03d" % (top, name), top) for top in range(300) for name in range(300))
    root, pages = build(entries)
    assert root.pages > 700
    pages.read.clear()
    new = Pages()
    paths = [b"%03d/150" % top for top in range(0, 300, 30)]
    edit_tree(pages.tree(root.key), [(path, file(path, 7)) for path in paths], new.put, 90_000)
    assert len(new.data) <= 10 + 10 + 2
    assert len(pages.read) <= 2 * (10 + 10 + 2)


def test_attributes_are_kept() -> None:
    entries = some_tree(5, 500, BOTH)
    root, pages = build(entries, BOTH)
    new = dressed(file(b"new/one"), BOTH, 12_345)
    edited = edit_tree(pages.tree(root.key), [(b"new/one", new)], pages.put, 0)
    tree = pages.tree(edited.key)
    assert tree.entry(b"new/one") == new
    made = tree.entry(b"new")
    assert made is not None and (made.mtime, made.mode) == (new.mtime, 0o755)
    assert [entry for entry in entries_of(tree) if not entry.path.startswith(b"new")] == entries
