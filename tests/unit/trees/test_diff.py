"""What differs between trees is found, all of it and nothing else, and what is equal is not read."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from rsdos.errors import DamagedTree
from rsdos.trees.diff import Change, diff_entries, diff_trees
from rsdos.trees.edit import edit_tree
from rsdos.trees.entry import Attributes, EntryKind, TreeEntry
from tests.unit.trees.cases import Pages, build, directory, dressed, file, link, some_tree, with_parents
from tests.unit.trees.reference import in_tree_order, parts
from tests.unit.trees.test_edit import applied, some_changes

BOTH = Attributes.TIMES | Attributes.MODES


def expected(old: Sequence[TreeEntry], new: Sequence[TreeEntry], under: bytes = b"") -> list[Change]:
    before, after = {entry.path: entry for entry in old}, {entry.path: entry for entry in new}
    paths = sorted(before.keys() | after.keys(), key=parts)
    changes = [Change(path, before.get(path), after.get(path)) for path in paths]
    inside = under + b"/" if under else b""
    return [change for change in changes if change.old != change.new and change.path.startswith(inside)]


def compare(old: Sequence[TreeEntry], new: Sequence[TreeEntry], under: bytes = b"") -> list[Change]:
    one, pages = build(old)
    other, more = build(new)
    pages.data |= more.data
    found = list(diff_trees(pages.tree(one.key), pages.tree(other.key), under))
    assert found == expected(old, new, under)
    assert list(diff_entries(in_tree_order(old), in_tree_order(new), Attributes.NONE)) == expected(old, new)
    return found


@pytest.mark.parametrize("seed", range(12))
def test_all_that_was_changed_is_found_and_nothing_else(seed: int) -> None:
    chance = random.Random(seed)
    entries = some_tree(seed, chance.choice([0, 1, 100, 3000]))
    for count in (0, 1, 10, 300):
        after = applied(entries, some_changes(chance, entries, count))
        compare(entries, after)
        compare(after, entries)
        for top in [entry.path for entry in entries if entry.kind is EntryKind.DIRECTORY][:40:8]:
            compare(entries, after, top)


@pytest.mark.parametrize(("one", "other"), [(1, 2), (1, 0), (0, 1)])
def test_trees_that_have_nothing_in_common_differ_in_everything(one: int, other: int) -> None:
    compare(some_tree(one, 3000 * one), some_tree(other, 2000 * other))


def test_an_entry_more_at_either_end_is_one_change() -> None:
    entries = some_tree(5, 3000)
    for path in (b"\x01", b"\xff" * 20):
        assert len(compare(entries, in_tree_order([*entries, file(path)]))) == 1


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        (None, file(b"a"), "added"),
        (file(b"a"), None, "removed"),
        (file(b"a", 1), file(b"a", 2), "modified"),
        (file(b"a"), file(b"a", 0, EntryKind.EXECUTABLE), "modified"),
        (link(b"a", b"b"), link(b"a", b"c"), "modified"),
        (file(b"a"), link(b"a", b"c"), "kind"),
        (file(b"a"), directory(b"a"), "kind"),
        (directory(b"a"), link(b"a", b"b"), "kind"),
    ],
)
def test_a_change_is_of_a_kind(old: TreeEntry | None, new: TreeEntry | None, kind: str) -> None:
    assert [change.kind for change in compare([old] if old else [], [new] if new else [])] == [kind]


def test_ten_changes_of_many_entries_read_few_pages() -> None:
    entries = with_parents(file(b"%03d/%03d" % (top, name), top) for top in range(300) for name in range(300))
    root, pages = build(entries)
    paths = [b"%03d/150" % top for top in range(0, 300, 30)]
    edited = edit_tree(pages.tree(root.key), [(path, file(path, 7)) for path in paths], pages.put, 0)
    pages.read.clear()
    pages.calls = 0
    assert len(list(diff_trees(pages.tree(root.key), pages.tree(edited.key)))) == 10
    assert len(pages.read) <= 2 * (10 + 10 + 2)
    assert pages.calls <= 26


def test_an_insertion_and_a_removal_do_not_make_what_is_behind_them_differ() -> None:
    entries = with_parents(file(b"%03d/%03d" % (top, name), top) for top in range(200) for name in range(200))
    root, pages = build(entries)
    edited = edit_tree(pages.tree(root.key), [(b"000/000", None), (b"100/0!", file(b"100/0!"))], pages.put, 0)
    pages.read.clear()
    assert len(list(diff_trees(pages.tree(root.key), pages.tree(edited.key)))) == 2
    assert len(pages.read) <= 30


def test_equal_trees_are_not_read() -> None:
    root, pages = build(some_tree(1, 1000))
    assert list(diff_trees(pages.tree(root.key), pages.tree(root.key))) == []
    assert pages.read == []


def test_times_and_modes_are_compared_where_both_trees_have_them() -> None:
    plain = some_tree(4, 500)
    with_times = [dressed(entry, Attributes.TIMES, 1 << 39) for entry in plain]
    later = [with_times[0]._replace(mtime=5), *with_times[1:]]
    one, pages = build(plain)
    trees = [one.key]
    for entries in (with_times, later):
        other, more = build(entries, Attributes.TIMES)
        pages.data |= more.data
        trees.append(other.key)
    without, before, after = map(pages.tree, trees)
    assert list(diff_trees(without, before)) == list(diff_trees(after, without)) == []
    assert list(diff_trees(before, after)) == [Change(plain[0].path, with_times[0], later[0])]


def test_a_lost_page_that_is_needed_is_an_error() -> None:
    root, pages = build(some_tree(1, 3000))
    other, more = build(some_tree(2, 3000))
    lost = Pages()
    lost.data = {other.key: more.data[other.key]}
    with pytest.raises(DamagedTree):
        list(diff_trees(pages.tree(root.key), lost.tree(other.key)))
