"""Makes the golden trees: `python tests/golden/trees/make.py`. See README.md beside this file.

One that is there already is left as it is, always.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from zlib import crc32

from rsdos.trees.build import build_tree
from rsdos.trees.entry import Attributes, EntryKind, TreeEntry, listings_of, tree_order
from rsdos.trees.record import SnapshotRecord, encode_record
from rsdos.trees.refs import Refs
from rsdos.trees.refs_document import encode_refs

HERE = Path(__file__).parent

FILE, EXECUTABLE, LINK, DIRECTORY = EntryKind


def entry(path: bytes, kind: EntryKind, target: bytes = b"") -> TreeEntry:
    """An entry that follows from its path."""
    seed = sha256(path).digest()
    size = int.from_bytes(seed[:3], "little") if kind.is_file else len(target)
    mtime = int.from_bytes(seed[3:10], "little", signed=True)
    return TreeEntry(path, kind, size, seed if kind.is_file else b"", target, mtime, seed[10] * 2)


def files(paths: Iterable[bytes]) -> list[TreeEntry]:
    return [entry(path, FILE) for path in paths]


def small() -> list[TreeEntry]:
    """All kinds, names of all bytes, directories whose names begin alike, an empty directory, a target that is long."""
    return [
        *files(
            [b"a", b"a!", b"a-b", b"z", b"d/a", b"d/e/a", b"d!/a", b"d\x01/a", b"\xff\xfe", b"\xc3\xa9", b"e\xcc\x81"]
        ),
        *files([b" ", b"new\nline", b"...", b"n" * 255, b"Readme", b"README"]),
        *(entry(path, DIRECTORY) for path in (b"d", b"d/e", b"d!", b"d\x01", b"empty", b"d/e/empty")),
        entry(b"run.sh", EXECUTABLE),
        entry(b"link", LINK, b"../outside"),
        entry(b"d/dangling", LINK, b"t" * 4095),
    ]


def levels() -> list[TreeEntry]:
    """Names that end pages of several levels."""
    found = []
    for limit, count in ((1 << 25, 60), (1 << 20, 12), (1 << 15, 2)):
        found += [b"%d" % number for number in range(200_000) if crc32(b"\0%d" % number) < limit][-count:]
    return files([*found, *(b"plain-%02d" % number for number in range(50))])


def full_leaves() -> list[TreeEntry]:
    """Names in one directory that end no leaf, more than a leaf has."""
    names = (b"%04d" % number for number in range(1300))
    return [entry(b"d", DIRECTORY), *files(b"d/" + name for name in names if crc32(b"d\0" + name) >= 1 << 25)]


def deep() -> list[TreeEntry]:
    """A directory in another, sixty times, and files in each."""
    found = []
    for depth in range(60):
        above = b"/".join([b"dir"] * depth)
        found += files((above + b"/" if above else b"") + b"%d" % number for number in range(5))
        found.append(entry(b"/".join([b"dir"] * (depth + 1)), DIRECTORY))
    return found


BOTH = Attributes.TIMES | Attributes.MODES

GOLDEN = {
    "empty": ([], Attributes.NONE),
    "small": (small(), Attributes.NONE),
    "small-times": (small(), Attributes.TIMES),
    "small-modes": (small(), Attributes.MODES),
    "small-both": (small(), BOTH),
    "levels": (levels(), Attributes.NONE),
    "full-leaves": (full_leaves(), Attributes.NONE),
    "deep": (deep(), Attributes.NONE),
}


def make(name: str, entries: list[TreeEntry], attributes: Attributes) -> None:
    """Write one golden tree, if it is not there."""
    if (HERE / f"{name}.zip").exists():
        return
    ordered = sorted({one.path: one for one in entries}.values(), key=lambda one: tree_order(one.path))
    pages: dict[str, bytes] = {}
    root = build_tree(
        listings_of(ordered, attributes), attributes, lambda key, page: pages.__setitem__(key.hex(), page)
    )
    with zipfile.ZipFile(HERE / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for key, page in sorted(pages.items()):
            archive.writestr(zipfile.ZipInfo(key), page, zipfile.ZIP_DEFLATED)
    rows = [
        [one.path.decode("latin-1"), int(one.kind), one.size, one.target.decode("latin-1"), one.mtime, one.mode]
        for one in ordered
    ]
    fields = {"root": root.key.hex(), "attributes": int(attributes), "entries": root.entries, "files": root.files}
    fields |= {"size": root.size, "rows": rows}
    (HERE / f"{name}.json").write_text(json.dumps(fields, indent=0) + "\n")


def documents() -> None:
    """Write the golden snapshots and refs documents, if they are not there."""
    path = HERE / "documents.json"
    if path.exists():
        return
    tree = sha256(b"tree").hexdigest()
    plain = SnapshotRecord(tree, Attributes.NONE, 3, 2, 1000, "2026-11-26T17:30:00Z")
    parent = sha256(encode_record(plain)).hexdigest()
    full = SnapshotRecord(
        tree,
        BOTH,
        1 << 40,
        1 << 39,
        (1 << 64) - 1,
        "1970-01-01T00:00:00Z",
        "Ada <ada@example.org>",
        "first\ndelivery: déjà vu \udcff",
        (parent,),
        (tree, parent),
        {"licence": "CC0", "numbers": [1, -2.5, 1e300, None, True], "é": {"b": {}, "a": []}},
        {"special": 2, "unreadable": 1},
    )
    child = sha256(encode_record(full)).hexdigest()
    empty = Refs("0123456789abcdef" * 2)
    refs = [empty.saved("flowers", parent, "2026-11-26T17:30:00Z", "ada@here, 7", None).after(empty, "")]

    def then(made: Refs) -> None:
        refs.append(made.after(refs[-1], sha256(encode_refs(refs[-1])).hexdigest()))

    then(refs[-1].saved("flowers", child, "2026-11-27T17:30:00Z", "ada@here, 8", parent))
    then(refs[-1].tagged("v1.0", parent, "2026-11-27T17:31:00Z", "ada@here, 9"))
    then(refs[-1].branched("trees/old", parent, "2026-11-27T17:32:00Z", "ada@here, 10"))
    then(refs[-1].forgotten([("trees/old", None)], "2026-11-27T17:33:00Z", "ada@here, 11"))
    texts = [*map(encode_record, (plain, full)), *map(encode_refs, refs)]
    found = {sha256(text).hexdigest(): text.decode() for text in texts}
    path.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    for name, (entries, attributes) in GOLDEN.items():
        make(name, entries, attributes)
    documents()
