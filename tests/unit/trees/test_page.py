"""A page that a stranger made: whatever is in it, it is a page that a tree may have, or it is refused."""

from __future__ import annotations

import random
import struct
import tracemalloc
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha256

import pytest

from rsdos.errors import DamagedTree, DecodeError
from rsdos.trees.check import canonical_root
from rsdos.trees.entry import Attributes, EntryKind, TreeEntry
from rsdos.trees.page import Inner, Leaf, decode_page, is_page, page_keys
from rsdos.trees.reach import keys_by_kind, keys_of
from tests.unit.trees.cases import Pages, build, directory, entries_of, file, link, some_tree, with_parents
from tests.unit.trees.reference import inner, leaf, pages_of

BOTH = Attributes.TIMES | Attributes.MODES
NONE = Attributes.NONE
KEY = bytes(range(32))


def runs(*directories: tuple[bytes, list[bytes]], kind: EntryKind = EntryKind.FILE) -> bytes:
    """A leaf of files, as if no rule of trees were there."""
    entries = [
        TreeEntry(above + b"/" + name, kind, 1, KEY if kind.is_file else b"")
        for above, names in directories
        for name in names
    ]
    names = [name for _, some in directories for name in some]
    out = struct.pack("<4sBBBBII", b"RSTR", 1, 0, 0, 0, len(entries), len(directories))
    out += struct.pack(f"<{len(directories)}I", *[len(some) for _, some in directories])
    out += struct.pack(f"<{len(directories)}H", *[len(above) for above, _ in directories])
    out += b"".join(above for above, _ in directories) + bytes([kind] * len(names))
    out += bytes(map(len, names)) + b"".join(names) + struct.pack(f"<{len(names)}Q", *[1] * len(names))
    return out + b"".join(entry.key for entry in entries)


GOOD = runs((b"", [b"a"]), (b"d", [b"a", b"b"]), (b"d/e", [b"x"]))


def test_the_helper_of_these_tests_makes_good_pages() -> None:
    page = decode_page(GOOD)
    assert isinstance(page, Leaf)
    assert [(run.directory, list(run.names)) for run in page.runs] == [
        (b"", [b"a"]),
        (b"d", [b"a", b"b"]),
        (b"d/e", [b"x"]),
    ]


def of(at: int, form: str, value: int, page: bytes = GOOD) -> bytes:
    return page[:at] + struct.pack(form, value) + page[at + struct.calcsize(form) :]


ONE = leaf([file(b"a", 1)], NONE)
LINK = leaf([link(b"a", b"target")], NONE)
MODES = leaf([file(b"a", 1)._replace(mode=0o1000, mtime=0)], BOTH)


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"RSTR",
        b"RSTS" + GOOD[4:],
        of(4, "B", 2),
        of(6, "B", 4),
        of(7, "B", 1),
        of(5, "B", 1),
        of(5, "B", 12),
        # counts
        of(8, "<I", 1_000_000_000),
        of(8, "<I", 0xFFFFFFFF),
        of(8, "<I", 1025),
        of(8, "<I", 3),
        of(8, "<I", 0),
        of(12, "<I", 1_000_000_000),
        of(12, "<I", 0),
        of(12, "<I", 5),
        of(16, "<I", 0),
        of(16, "<I", 2),
        of(20, "<I", 0xFFFFFFFF),
        of(28, "<H", 0xFFFF),
        GOOD + b"\0",
        GOOD[:-1],
        GOOD[:60],
        # kinds
        of(len(ONE) - 32 - 8 - 3, "B", 4, ONE),
        of(len(ONE) - 32 - 8 - 3, "B", 2, ONE),
        of(len(ONE) - 32 - 8 - 3, "B", 3, ONE),
        # names
        runs((b"", [b""])),
        runs((b"", [b"."])),
        runs((b"", [b".."])),
        runs((b"", [b"a/b"])),
        runs((b"", [b"/a"])),
        runs((b"", [b"a\0"])),
        runs((b"", [b"b", b"a"])),
        runs((b"", [b"a", b"a"])),
        # directories
        runs((b"..", [b"a"])),
        runs((b".", [b"a"])),
        runs((b"/", [b"a"])),
        runs((b"/etc", [b"a"])),
        runs((b"d/", [b"a"])),
        runs((b"d//e", [b"a"])),
        runs((b"d/../e", [b"a"])),
        runs((b"d/./e", [b"a"])),
        runs((b"d/..", [b"a"])),
        runs((b"d\0", [b"a"])),
        runs((b"\0", [b"a"])),
        runs((b"x/\0/y", [b"a"])),
        runs((b"a", [b"a"]), (b"", [b"a"])),
        runs((b"a", [b"a"]), (b"a", [b"b"])),
        runs((b"b", [b"a"]), (b"a", [b"b"])),
        runs((b"a!", [b"a"]), (b"a/b", [b"b"])),
        runs((b"n" * 256, [b"a"])),
        runs((b"/".join([b"d"] * 1024), [b"a"])),
        runs((b"/".join([b"d" * 255] * 128), [b"a"])),
        # sizes, targets, modes
        runs((b"", [b"a"]), kind=EntryKind.DIRECTORY),
        leaf([link(b"a", b"target")._replace(size=5)], NONE),
        leaf([link(b"a", b"")], NONE),
        leaf([link(b"a", b"a\0b")], NONE),
        leaf([link(b"a", b"t" * 4096)], NONE),
        of(len(LINK) - 8, "<H", 0xFFFF, LINK),
        MODES,
        leaf([file(b"%04d" % number) for number in range(1025)], NONE),
    ],
)
def test_a_leaf_that_no_tree_may_have_is_refused(wrong: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_page(wrong)


CHILDREN = [(b"a", 5, 50, KEY), (b"d/b", 6, 60, KEY), (b"d/e/c", 7, 70, KEY)]
INNER = inner(1, CHILDREN, NONE)


def test_a_good_inner_page_is_read() -> None:
    page = decode_page(INNER)
    assert isinstance(page, Inner)
    assert [(child.directory, child.name, child.entries, child.size) for child in page.children] == [
        (b"", b"a", 5, 50),
        (b"d", b"b", 6, 60),
        (b"d/e", b"c", 7, 70),
    ]
    assert (page.entries, page.size, page.level) == (18, 180, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        of(5, "B", 12, INNER),
        of(5, "B", 0, INNER),
        of(8, "<I", 0, INNER),
        of(8, "<I", 257, INNER),
        of(8, "<I", 1_000_000_000, INNER),
        of(8, "<I", 2, INNER),
        of(12, "<I", 1, INNER),
        INNER + b"\0",
        INNER[:-1],
        inner(1, CHILDREN[::-1], NONE),
        inner(1, CHILDREN[:1] * 2, NONE),
        inner(1, [(b"..", 1, 1, KEY)], NONE),
        inner(1, [(b"../a", 1, 1, KEY)], NONE),
        inner(1, [(b"a/", 1, 1, KEY)], NONE),
        inner(1, [(b"/etc/a", 1, 1, KEY)], NONE),
        inner(1, [(b"d/../a", 1, 1, KEY)], NONE),
        inner(1, [(b"a\0", 1, 1, KEY)], NONE),
        inner(1, [(b"a", 0, 0, KEY)], NONE),
        inner(1, [(b"/".join([b"d"] * 1025), 1, 1, KEY)], NONE),
        inner(1, [(b"n" * 256 + b"/a", 1, 1, KEY)], NONE),
        inner(1, [(b"%04d" % number, 1, 1, KEY) for number in range(257)], NONE),
    ],
)
def test_an_inner_page_that_no_tree_may_have_is_refused(wrong: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_page(wrong)


def test_no_memory_is_taken_for_what_a_page_only_claims_to_have() -> None:
    claims = [of(8, "<I", 1_000_000_000), of(16, "<I", 0xFFFFFFFF), of(28, "<H", 0xFFFF), of(8, "<I", 255, INNER)]
    tracemalloc.start()
    try:
        for page in claims:
            with pytest.raises(DecodeError):
                decode_page(page)
            with suppress(DecodeError):
                page_keys(page)
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("attributes", [NONE, BOTH])
def test_any_damage_is_refused_or_gives_a_page_of_the_rules(attributes: Attributes) -> None:
    """Every page that decodes is one that the reference writes: nothing is read in two ways."""
    _, pages = pages_of(some_tree(3, 400, attributes), attributes)
    chance = random.Random(5)
    for _ in range(4000):
        data = bytearray(chance.choice(list(pages.values()))[: chance.choice([300, 10**6])])
        for _ in range(chance.randint(0, 2)):
            at = chance.randrange(min(len(data), chance.choice([40, 200, 10**6])))
            data[at] = chance.choice([0, 1, 2, 46, 47, 255, chance.randrange(256)])
        try:
            page = decode_page(bytes(data))
        except DecodeError:
            continue
        assert again(page) == data
        assert page_keys(bytes(data)).level == page.level


def again(page: Leaf | Inner) -> bytes:
    if isinstance(page, Inner):
        rows = [(join(child.directory, child.name), child.entries, child.size, child.key) for child in page.children]
        return inner(page.level, rows, page.attributes)
    return leaf([entry for run in page.runs for entry in run.entries()], page.attributes)


def join(above: bytes, name: bytes) -> bytes:
    return above + b"/" + name if above else name


def test_pages_are_told_from_other_objects() -> None:
    assert is_page(GOOD) and is_page(INNER)
    assert not is_page(b"") and not is_page(b"RST") and not is_page(b"hello")


# --- pages that are good alone and wrong together


def stored(*data: bytes) -> tuple[list[bytes], Pages]:
    pages = Pages()
    keys = [sha256(page).digest() for page in data]
    for key, page in zip(keys, data, strict=True):
        pages.put(key, page)
    return keys, pages


Children = Sequence[tuple[bytes, int, int, bytes]]


def tree_of(leaves: Sequence[bytes], make: Callable[[list[bytes]], Children]) -> tuple[bytes, Pages]:
    keys, pages = stored(*leaves)
    root = inner(1, make(keys), NONE)
    key = sha256(root).digest()
    pages.put(key, root)
    return key, pages


A = leaf([file(b"a", 1), file(b"b", 2)], NONE)
B = leaf([file(b"c", 3), file(b"d", 4)], NONE)
WITH_MODES = leaf([file(b"c", 3)._replace(mode=1), file(b"d", 4)._replace(mode=1)], Attributes.MODES)


def two(keys: list[bytes]) -> Children:
    """What an inner page has to say of A and B."""
    return [(b"b", 2, 3, keys[0]), (b"d", 2, 7, keys[1])]


def test_two_good_leaves_are_a_tree() -> None:
    root, pages = tree_of([A, B], two)
    assert len(entries_of(pages.tree(root))) == 4


@pytest.mark.parametrize(
    ("leaves", "make"),
    [
        ([A, B], lambda keys: [(b"b", 2, 3, keys[0]), (b"d", 2, 3, keys[0])]),  # one page twice
        ([A, B], lambda keys: [(b"b", 2, 3, keys[0]), (b"e", 2, 7, keys[1])]),  # another end
        ([A, B], lambda keys: [(b"b", 2, 7, keys[1]), (b"d", 2, 3, keys[0])]),
        ([A, B], lambda keys: [(b"b", 3, 3, keys[0]), (b"d", 2, 7, keys[1])]),  # other counts
        ([A, B], lambda keys: [(b"b", 2, 3, keys[0]), (b"d", 2, 8, keys[1])]),
        ([A, B], lambda keys: [(b"b", 10**9, 3, keys[0]), (b"d", 2, 7, keys[1])]),
        ([A, leaf([file(b"b", 0), file(b"d", 7)], NONE)], two),
        ([A, WITH_MODES], two),
        ([A, inner(1, [(b"d", 2, 7, KEY)], NONE)], two),
        ([leaf([], NONE)], lambda keys: [(b"b", 1, 0, keys[0])]),
    ],
)  # fmt: skip
def test_pages_that_do_not_belong_together_are_refused(
    leaves: list[bytes], make: Callable[[list[bytes]], Children]
) -> None:
    leaves = [page if page == b"" or page[6] == 0 else page + b"" for page in leaves]
    root, pages = tree_of(leaves, make)
    with pytest.raises(DamagedTree):
        entries_of(pages.tree(root))
    with pytest.raises(DamagedTree):
        tree = pages.tree(root)
        tree.find([b"a", b"b", b"b!", b"c", b"d"])


def test_a_leaf_on_the_level_of_inner_pages_is_refused() -> None:
    keys, pages = stored(A, B)
    (root,), more = stored(inner(2, two(keys), NONE))
    pages.data |= more.data
    with pytest.raises(DamagedTree):
        entries_of(pages.tree(root))


def test_a_page_that_has_another_s_pages_is_refused() -> None:
    keys, pages = stored(A, B)
    inners = [inner(1, [(b"b", 2, 3, keys[0])], NONE), inner(1, two(keys), NONE)]
    below, more = stored(*inners)
    (root,), most = stored(inner(2, [(b"b", 2, 3, below[0]), (b"d", 4, 10, below[1])], NONE))
    pages.data |= more.data | most.data
    with pytest.raises(DamagedTree):
        entries_of(pages.tree(root))


def test_a_billion_files_in_ten_pages_are_refused_at_once() -> None:
    """Git's bomb: each page names the one below many times."""
    names = [b"%03d" % number for number in range(256)]
    page = leaf([file(name, 1) for name in names], NONE)
    pages = Pages()
    count, size = 256, 256
    for level in range(1, 11):
        key = sha256(page).digest()
        pages.put(key, page)
        page = inner(level, [(name, count, size, key) for name in names], NONE)
        count, size = min(count * 256, 1 << 63), min(size * 256, 1 << 63)
    root = sha256(page).digest()
    pages.put(root, page)
    with pytest.raises(DamagedTree):
        entries_of(pages.tree(root))
    assert len(pages.read) < 300
    assert sum(map(len, keys_of([root], pages.get))) < 400 * 32


@pytest.mark.parametrize(
    "entries",
    [
        [file(b"a", 1), file(b"a/b", 2)],
        [link(b"a", b"x"), file(b"a/b", 2)],
        [file(b"a/b", 2)],
        [directory(b"a"), file(b"a/b/c", 2)],
        [directory(b"a"), file(b"a/b", 1), file(b"a/b/c", 2)],
    ],
)
def test_a_directory_without_an_entry_or_with_one_of_another_kind_is_refused(entries: list[TreeEntry]) -> None:
    (root,), pages = stored(leaf(entries, NONE))
    with pytest.raises(DamagedTree) as caught:
        entries_of(pages.tree(root))
    assert caught.value.range
    with pytest.raises(DamagedTree):
        canonical_root(pages.tree(root))


def test_a_tree_that_is_cut_elsewhere_is_not_canonical() -> None:
    entries = with_parents([file(b"%05d" % number, 1) for number in range(3000)])
    root, pages = build(entries)
    assert canonical_root(pages.tree(root.key)) == root
    (other,), more = stored(leaf(entries[:1000], NONE))
    assert canonical_root(more.tree(other)).key != other


# --- what trees reach


def test_everything_that_trees_reach_comes_and_shared_pages_once() -> None:
    some, other = some_tree(1, 2000), some_tree(2, 1500)
    all_pages, roots, files = Pages(), [], set()
    for entries in (some, other, [*some, file(b"\xff\xff\xffmore", 9)]):
        root, pages = build(entries)
        all_pages.data |= pages.data
        roots.append(root.key)
        files |= {entry.key for entry in entries if entry.kind.is_file}
    reached = list(keys_by_kind([*roots, roots[0]], all_pages.get))
    pages_found = split(b"".join(some.pages for some in reached))
    assert sorted(pages_found) == sorted(all_pages.data)
    assert set(split(b"".join(some.files for some in reached))) == files
    assert len(all_pages.read) == len(all_pages.data)
    assert set(split(b"".join(keys_of(roots, all_pages.get)))) == files | set(all_pages.data)


def split(joined: bytes) -> list[bytes]:
    return [joined[at : at + 32] for at in range(0, len(joined), 32)]


def test_what_a_lost_page_reaches_is_not_known() -> None:
    root, pages = build(some_tree(1, 2000))
    for key in [key for key in pages.data if key != root.key][::7]:
        data = pages.data.pop(key)
        with pytest.raises(DamagedTree):
            list(keys_of([root.key], pages.get))
        pages.data[key] = data[:-1]
        with pytest.raises(DamagedTree):
            list(keys_of([root.key], pages.get))
        pages.data[key] = data
