"""Hostile trees: what a stranger may put into the pages of a snapshot, by name. Each makes versions of ``bad``."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from hashlib import sha256

from rsdos.trees.entry import Attributes, EntryKind, TreeEntry
from tests.hostile.forging import EVIL, Forge, give_to
from tests.unit.trees.cases import directory, link
from tests.unit.trees.reference import in_tree_order, inner, leaf

Make = Callable[[Forge], object]

NONE, BOTH = Attributes.NONE, Attributes.TIMES | Attributes.MODES
ESCAPES = b"\x1b[31mred", b"\x1b]0;title\x07", b"a\nb", b"a\rb", b"\x08\x08", b"\x7f", b"\xc2\x9b31m", b"\xff\xfe"
"""Names that a terminal would act on, or that are no UTF-8."""


def _named(*names: bytes) -> Make:
    return lambda forge: forge.entries(*map(forge.file, sorted(names)))


def _raw(*runs: tuple[bytes, Sequence[bytes]], kind: EntryKind = EntryKind.FILE, size: int = 4) -> Make:
    """A leaf of runs of any directories and names, written as they are."""

    def make(forge: Forge) -> None:
        names = [name for _, some in runs for name in some]
        out = struct.pack("<4sBBBBII", b"RSTR", 1, 0, 0, 0, len(names), len(runs))
        out += struct.pack(f"<{len(runs)}I", *[len(some) for _, some in runs])
        out += struct.pack(f"<{len(runs)}H", *[len(above) for above, _ in runs])
        out += b"".join(above for above, _ in runs) + bytes([kind] * len(names))
        out += bytes(map(len, names)) + b"".join(names) + struct.pack(f"<{len(names)}Q", *[size] * len(names))
        forge.version(forge.store(out + (forge.file_key * len(names) if kind.is_file else b"")))

    return make


def _changed(at: int, form: str, value: int) -> Make:
    """A good leaf with another number in it."""

    def make(forge: Forge) -> None:
        page = leaf([forge.file(b"a"), directory(b"d"), forge.file(b"d/a")], NONE)
        forge.version(forge.store(page[:at] + struct.pack(form, value) + page[at + struct.calcsize(form) :]))

    return make


def _sizes(*sizes: int) -> Make:
    return lambda forge: forge.entries(*[forge.file(b"%d" % at, size=size) for at, size in enumerate(sizes)])


def _links(*targets: bytes) -> Make:
    return lambda forge: forge.entries(
        *in_tree_order([forge.file(b"a"), *[link(b"l%d" % at, target) for at, target in enumerate(targets)]])
    )


def _dressed(mtime: int, mode: int) -> Make:
    def make(forge: Forge) -> None:
        kinds = [forge.file(b"a"), forge.file(b"b", kind=EntryKind.EXECUTABLE), directory(b"d"), link(b"l", b"a")]
        forge.entries(*[entry._replace(mtime=mtime, mode=mode) for entry in kinds], attributes=BOTH)

    return make


def _claims(entries: int, size: int) -> Make:
    """An inner page that claims other numbers than its page has."""

    def make(forge: Forge) -> None:
        page = forge.store(leaf([forge.file(b"a"), forge.file(b"b")], NONE))
        forge.version(forge.store(inner(1, [(b"b", entries, size, page)], NONE)), entries=entries)

    return make


def _two_pages(second: Callable[[Forge], bytes], last: bytes = b"d") -> Make:
    def make(forge: Forge) -> None:
        first = leaf([forge.file(b"a"), forge.file(b"b")], NONE)
        children = [(b"b", 2, 8, forge.store(first)), (last, 2, 8, forge.store(second(forge)))]
        forge.version(forge.store(inner(1, children, NONE)), entries=4, files=4, size=16)

    return make


def _bomb(forge: Forge) -> None:
    """Each page names the one below 256 times."""
    names = [b"%03d" % number for number in range(256)]
    page, count, size = leaf([forge.file(name) for name in names], NONE), 256, 1024
    for level in range(1, 11):
        key = forge.store(page)
        page = inner(level, [(name, count, size, key) for name in names], NONE)
        count, size = min(count * 256, 1 << 63), min(size * 256, 1 << 63)
    forge.version(forge.store(page), entries=count)


def _levels(count: int) -> Make:
    def make(forge: Forge) -> None:
        page = forge.store(leaf([forge.file(b"a")], NONE))
        for level in range(1, count + 1):
            page = forge.store(inner(level, [(b"a", 1, 4, page)], NONE))
        forge.version(page)

    return make


def _deep(parts: int, name: bytes) -> Make:
    """Directories below one another, as deep as a path may be, and a file in the last one."""

    def make(forge: Forge) -> None:
        paths = [b"/".join([name] * depth) for depth in range(1, parts + 1)]
        forge.entries(*map(directory, paths), forge.file(paths[-1] + b"/a"))

    return make


def _circle(forge: Forge) -> None:
    """Two inner pages that name each other, and one that names itself; the bytes do not have the hash of the keys."""
    one, two = sha256(b"one").digest(), sha256(b"two").digest()
    for key, below in ((one, two), (two, one)):
        data = inner(1, [(b"a", 1, 4, below)], NONE)
        forge.container.insert_many([data])
        give_to(forge.container, sha256(data).hexdigest(), key.hex())
    itself = sha256(b"itself").digest()
    data = inner(1, [(b"a", 1, 4, itself)], NONE)
    forge.container.insert_many([data])
    give_to(forge.container, sha256(data).hexdigest(), itself.hex())
    forge.version(one)
    forge.version(itself)


def _large_pages(forge: Forge) -> None:
    """Pages as large as can be, which compress to a thousandth."""
    below = []
    for number in range(3):
        tops = [b"%d%03d" % (number, at) for at in range(1024)]
        paths = [top + b"/" + b"/".join([b"d" * 250] * 127) for top in tops]
        page = leaf([forge.file(path + b"/a") for path in paths], NONE)
        below.append((paths[-1] + b"/a", 1024, 4096, forge.store(page)))
    forge.version(forge.store(inner(1, below, NONE)), entries=3072)


def _root_is(find: Callable[[Forge], bytes]) -> Make:
    return lambda forge: forge.version(find(forge))


def _link_then_directory(forge: Forge) -> None:
    """A link that leads out in one version, a directory of its name in the next."""
    outside = b"../../outside"
    forge.entries(link(b"d", outside), forge.file(b"e"))
    forge.entries(directory(b"d"), forge.file(b"e"), forge.file(b"d/a file"), forge.file(b"d/new"))


def _directory_then_link(forge: Forge) -> None:
    _link_then_directory(forge)
    forge.snapshots.reverse()


def _missing_file(forge: Forge) -> None:
    forge.entries(forge.file(b"a", key=bytes(32)), forge.file(b"b"))


def _file_is_a_page(forge: Forge) -> None:
    page = leaf([forge.file(b"a")], NONE)
    forge.entries(TreeEntry(b"a", EntryKind.FILE, len(page), forge.store(page)), forge.file(b"b"))


def _last_of_pages(forge: Forge) -> bytes:
    return leaf([forge.file(b"c"), forge.file(b"d")], NONE)


_LONG = b"/".join([b"n" * 200] * 20)

TREES: dict[str, Make] = {
    **{f"the name {name!r:.20}": _named(name) for name in (b"..", b".", b"n" * 255, b"-rf", b"~", b"*", b" ")},
    **{
        f"the name {name!r:.20}": _raw((b"", [name]))
        for name in (b"", b"../x", b"../neighbour", b"/etc/passwd", b"a/b", b"a\0b", b"\0")
    },
    **{
        f"the directory {name!r:.20}": _raw((name, [b"a"]))
        for name in (b"..", b".", b"/", b"/etc", b"d//e", b"d/..", b"d/../..", b"d\0", b"d" * 300, b"missing")
    },
    "a name as file and as directory": lambda forge: forge.entries(forge.file(b"a"), forge.file(b"a/b")),
    "a file below a link": lambda forge: forge.entries(link(b"d", b"../../outside"), forge.file(b"d/a file")),
    "a file deep below a link": lambda forge: forge.entries(
        link(b"d", b".."), directory(b"d/e"), forge.file(b"d/e/x")
    ),
    "names out of order": _raw((b"", [b"b", b"a"])),
    "a name twice": _raw((b"", [b"a", b"a"])),
    "directories out of order": _raw((b"d", [b"a"]), (b"", [b"d"])),
    "a directory twice": _raw((b"", [b"a"]), (b"", [b"b"])),
    **{f"{form} {value} at {at}": _changed(at, form, value) for at, form, value in (
        *((8, "<I", 10**9), (8, "<I", 2**32 - 1), (8, "<I", 1024), (8, "<I", 0), (12, "<I", 10**9), (12, "<I", 0)),
        *((16, "<I", 10**9), (20, "<I", 0), (24, "<H", 65535), (4, "B", 2), (5, "B", 1), (5, "B", 11), (6, "B", 3)),
        *((26, "B", 4), (27, "B", 2), (28, "B", 255), (29, "B", 2), (29, "B", 0), (7, "B", 1)),
    )},
    **{f"sizes {sizes}": _sizes(*sizes) for sizes in ((0,), (5,), (2**63,), (2**63 - 1,), (2**64 - 1,) * 3, (2**40,))},
    "an inner page of 10^9 entries": _claims(10**9, 8),
    "an inner page of 2^64 entries and bytes": _claims(2**64 - 1, 2**64 - 1),
    "an inner page of 2^63 bytes": _claims(2, 2**63),
    "a page in two places": _two_pages(lambda forge: leaf([forge.file(b"a"), forge.file(b"b")], NONE)),
    "pages that overlap": _two_pages(lambda forge: leaf([forge.file(b"b"), forge.file(b"d")], NONE)),
    "pages with another end": _two_pages(_last_of_pages, b"e"),
    "pages of other attributes": _two_pages(
        lambda forge: leaf([forge.file(b"c", mode=1), forge.file(b"d", mode=1)], Attributes.MODES)
    ),
    "good pages": _two_pages(_last_of_pages),
    "a page that is noise": _two_pages(lambda forge: b"RSTR" + bytes(100)),
    "a page that is missing": lambda forge: forge.version(
        forge.store(inner(1, [(b"a", 1, 4, bytes(32))], NONE)), entries=1
    ),
    "a bomb": _bomb,
    "pages in a circle": _circle,
    "11 levels": _levels(11),
    "12 levels": _levels(12),
    "large pages": _large_pages,
    "links that lead out": _links(b"../../outside/a file", b"..", b"/etc/passwd", b"/dev/zero", b"/", b"../neighbour"),
    "long links": _links(b"x" * 4095, b"../" * 1365, b"/" * 4095, _LONG),
    "odd links": _links(b".", b"l1", b"l2", b" ", b"a/", *ESCAPES),
    "a long target": _links(b"x" * 4096),
    "an empty target": _links(b""),
    "a target with a NUL": _links(b"a\0b"),
    "a link, then a directory": _link_then_directory,
    "a directory, then a link": _directory_then_link,
    "1,023 directories deep": _deep(1022, b"d"),
    "1,024 directories deep": _deep(1024, b"d"),
    "a path of 32,000 bytes": _deep(127, b"n" * 250),
    "names of other case": _named(b"README", b"Readme", b"readme"),
    "names of other forms": _named("é".encode(), "e\u0301".encode(), "\u202eevil".encode(), "\u200b".encode()),
    "escapes in names": _named(*ESCAPES),
    "escapes in directories": lambda forge: forge.entries(
        *map(directory, sorted(ESCAPES)), *[forge.file(name + b"/" + name) for name in sorted(ESCAPES)]
    ),
    **{f"mode {mode:o}": _dressed(0, mode) for mode in (0o1755, 0o4755, 0o2755, 0o20666, 0o60666, 0o177777)},
    **{f"mode {mode:o}": _dressed(0, mode) for mode in (0, 0o777, 0o200)},
    **{f"mtime {mtime}": _dressed(mtime, 0o644) for mtime in (-(2**63), 2**63 - 1, -1, -(10**18))},
    "a page of entries that is an inner one": lambda forge: forge.version(
        forge.store(b"RSTR\1\1" + leaf([forge.file(b"a")], NONE)[6:])
    ),
    "no entries": lambda forge: forge.version(forge.store(leaf([], NONE)), entries=0, files=0, size=0),
    "no page": _root_is(lambda forge: bytes(32)),
    "a file in the place of the root": _root_is(lambda forge: forge.file_key),
    "the refs in the place of the root": _root_is(lambda forge: bytes.fromhex(forge.before.live.refs)),
    "a snapshot in the place of the root": _root_is(
        lambda forge: bytes.fromhex(next(iter(forge.before.refs.snapshots())))
    ),
    "a file that is missing": _missing_file,
    "a file that is a page": _file_is_a_page,
    "a file that is the refs": lambda forge: forge.entries(
        forge.file(b"a", key=bytes.fromhex(forge.before.live.refs)), forge.file(b"b")
    ),
    "a page of 64 MiB": lambda forge: forge.version(forge.store(bytes(64 << 20))),
    "another attribute than the snapshot says": lambda forge: forge.version(
        forge.good_tree(), attributes=["times", "modes"]
    ),
    "other counts than the snapshot says": lambda forge: forge.entries(
        forge.file(b"a"), entries=2**64 - 1, files=2**63, size=2**64 - 1
    ),
    "a small file that is large": lambda forge: forge.entries(forge.file(b"a", size=len(EVIL) - 1)),
}  # fmt: skip
