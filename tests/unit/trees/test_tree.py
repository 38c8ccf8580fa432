"""Trees are read whole, by directories and by paths, with few pages; what is lost is named, the rest comes out."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from rsdos.errors import DamagedTree
from rsdos.trees.diff import diff_trees
from rsdos.trees.edit import edit_tree
from rsdos.trees.entry import Attributes, EntryKind, TreeEntry, tree_order
from rsdos.trees.page import Inner, decode_page
from rsdos.trees.reach import keys_of
from rsdos.trees.reader import PagesTooLarge
from rsdos.trees.tree import Totals, Tree
from tests.unit.trees.cases import Pages, build, directory, entries_of, file, some_tree
from tests.unit.trees.reference import in_tree_order, parts

BOTH = Attributes.TIMES | Attributes.MODES


@pytest.mark.parametrize("attributes", [Attributes.NONE, BOTH])
@pytest.mark.parametrize(("seed", "count"), [(1, 0), (2, 1), (3, 50), (4, 6000)])
def test_a_walk_gives_back_what_was_built(attributes: Attributes, seed: int, count: int) -> None:
    entries = some_tree(seed, count, attributes)
    root, pages = build(entries, attributes)
    tree = pages.tree(root.key)
    assert entries_of(tree) == entries
    assert (tree.attributes, tree.entries, tree.size) == (attributes, root.entries, root.size)


def test_a_walk_below_a_directory_gives_what_is_below_and_nothing_else() -> None:
    entries = some_tree(7, 6000)
    root, pages = build(entries)
    tree = pages.tree(root.key)
    for top in [entry.path for entry in entries if entry.kind is EntryKind.DIRECTORY][::9]:
        assert entries_of(tree, top) == [entry for entry in entries if entry.path.startswith(top + b"/")]
        own = [entry for listing in tree.listing(top) for entry in listing.entries()]
        assert own == [entry for entry in entries if entry.directory == top]
    assert [entry for listing in tree.listing(b"") for entry in listing.entries()] == [
        entry for entry in entries if b"/" not in entry.path
    ]


@pytest.mark.parametrize("beside", [b"a!", b"a\x01", b"ab", b"A", b"a-"])
def test_a_directory_is_not_taken_for_one_whose_name_begins_alike(beside: bytes) -> None:
    entries = in_tree_order([directory(b"a"), file(b"a/x"), directory(beside), file(beside + b"/y")])
    root, pages = build(entries)
    tree = pages.tree(root.key)
    assert [entry.path for entry in entries_of(tree, b"a")] == [b"a/x"]
    assert [entry.path for entry in entries_of(tree, beside)] == [beside + b"/y"]


def test_pages_that_are_too_large_together_are_read_one_by_one() -> None:
    entries = some_tree(9, 6000)
    root, pages = build(entries)
    other, changed = build(entries[:-1])
    pages.data |= changed.data
    most = 0

    def read(keys: Sequence[bytes]) -> Sequence[bytes]:
        nonlocal most
        most = max(most, len(keys))
        if len(keys) > 1:
            raise PagesTooLarge
        return pages.get(keys)

    tree = Tree(root.key, read)
    assert entries_of(tree) == entries
    assert tree.find([entry.path for entry in entries]) == list(entries)
    assert [change.path for change in diff_trees(tree, Tree(other.key, read))] == [entries[-1].path]
    assert edit_tree(tree, [(entries[-1].path, None)], lambda key, page: None, root.files).key == other.key
    assert set(keys_of([root.key], read)) == set(keys_of([root.key], pages.get))
    assert most > 1


def test_what_is_no_directory_has_nothing_below() -> None:
    root, pages = build([file(b"a"), directory(b"d")])
    tree = pages.tree(root.key)
    for path in (b"a", b"d", b"none", b"d/none", b"/", b"a/", b"..", b"\0"):
        assert entries_of(tree, path) == []
        assert list(tree.listing(path)) == []
        assert tree.totals(path) == Totals(0, 0)


@pytest.mark.parametrize("attributes", [Attributes.NONE, BOTH])
def test_every_path_is_found_alone_and_together(attributes: Attributes) -> None:
    entries = some_tree(9, 5000, attributes)
    root, pages = build(entries, attributes)
    tree = pages.tree(root.key)
    assert [tree.entry(entry.path) for entry in entries[::7]] == entries[::7]
    mixed = random.Random(1).sample(entries, len(entries))
    paths = [path for entry in mixed for path in (entry.path, entry.path + b"!")]
    assert tree.find(paths) == [found for entry in mixed for found in (entry, None)]


@pytest.mark.parametrize("path", [b"", b"/", b"/a", b"a/", b"a//b", b"./a", b"a/../a", b"a\0", b"d/x\0", b"zz"])
def test_a_path_that_is_not_there_or_cannot_be_is_not_found(path: bytes) -> None:
    root, pages = build([file(b"a"), directory(b"d"), file(b"d/x")])
    assert pages.tree(root.key).entry(path) is None


def test_totals_are_those_of_all_below() -> None:
    entries = some_tree(11, 5000)
    root, pages = build(entries)
    tree = pages.tree(root.key)
    for top in [b"", *[entry.path for entry in entries if entry.kind is EntryKind.DIRECTORY][::11]]:
        below = [entry for entry in entries if not top or entry.path.startswith(top + b"/")]
        assert tree.totals(top) == Totals(len(below), sum(entry.size for entry in below if entry.kind.is_file))


def test_a_lookup_reads_one_page_on_each_level_and_totals_few_more() -> None:
    entries = [directory(b"d%02d" % top) for top in range(60)]
    entries += [file(b"d%02d/%05d" % (top, number), number) for top in range(60) for number in range(1000)]
    root, pages = build(in_tree_order(entries))
    levels = decode_page(pages.data[root.key]).level + 1
    tree = pages.tree(root.key)
    tree.entry(b"d30/00500")
    assert len(pages.read) == levels
    tree.entry(b"d30/00501")
    assert len(pages.read) <= levels + 1, "the pages above are kept"
    pages.read.clear()
    assert pages.tree(root.key).totals(b"d30").entries == 1000
    assert len(pages.read) <= 3 * levels
    pages.read.clear()
    pages.calls = 0
    assert len(entries_of(pages.tree(root.key), b"d30")) == 1000
    assert len(pages.read) < 40 and pages.calls < 12


def test_order_is_by_parts_of_the_directory_and_then_by_name() -> None:
    paths = [b"a", b"a/b", b"a!", b"a!/b", b"a/b/c", b"b", b"a/b!", b"a\xff", b"a/\x01", b"\x01/a", b"a\x01/a"]
    assert sorted(paths, key=tree_order) == sorted(paths, key=parts)


# --- damage -----------------------------------------------------------------------------------------------------------


def leaves_of(pages: Pages) -> list[bytes]:
    return [key for key, data in pages.data.items() if not decode_page(data).level]


def test_a_lost_leaf_is_named_and_everything_else_comes_out() -> None:
    entries = some_tree(13, 4000)
    root, pages = build(entries)
    for key in leaves_of(pages)[::5]:
        data = pages.data.pop(key)
        tree = pages.tree(root.key)
        with pytest.raises(DamagedTree) as caught:
            entries_of(tree)
        assert caught.value.range is not None and caught.value.key == key.hex()
        errors: list[DamagedTree] = []
        found = [entry for listing in pages.tree(root.key).walk(b"", errors.append) for entry in listing.entries()]
        first, last = (tree_order(path) for path in errors[0].range or ())
        lost = [
            entry
            for entry in entries
            if (not errors[0].range or tree_order(entry.path) > first or first == tree_order(b""))
        ]
        lost = [entry for entry in lost if tree_order(entry.path) <= last]
        assert len(errors) == 1
        assert len(lost) == decode_page(data).entries
        assert found == [entry for entry in entries if entry not in lost]
        with pytest.raises(DamagedTree):
            tree.entry(lost[0].path)
        others = [entry for entry in entries if entry not in lost][::50]
        assert tree.find([entry.path for entry in others]) == others
        pages.data[key] = data


def test_a_lost_inner_page_is_named_and_everything_else_comes_out() -> None:
    entries = [file(b"%06d" % number, number) for number in range(20_000)]
    root, pages = build(entries)
    top = decode_page(pages.data[root.key])
    assert isinstance(top, Inner) and top.level == 2
    child = top.children[1]
    pages.data[child.key] = pages.data[child.key][:-1]
    errors: list[DamagedTree] = []
    found = [entry for listing in pages.tree(root.key).walk(b"", errors.append) for entry in listing.entries()]
    assert [error.range for error in errors] == [(top.children[0].name, child.name)]
    assert found == [entry for entry in entries if not top.children[0].name < entry.path <= child.name]


def test_a_lost_root_loses_all() -> None:
    root, pages = build([file(b"a")])
    pages.data.clear()
    with pytest.raises(DamagedTree) as caught:
        entries_of(pages.tree(root.key))
    assert caught.value.range == (b"", b"")


def test_an_entry_of_another_tree_is_equal_only_if_all_of_it_is() -> None:
    assert file(b"a", 1) != file(b"a", 2)
    assert TreeEntry(b"a", EntryKind.FILE, 1) == TreeEntry(b"a", EntryKind.FILE, 1)
