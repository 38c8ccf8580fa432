"""Saving in tests, step by step: what `rsdos.worktree` does with a directory, with files that are given as bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from rsdos.engine.engine import Engine
from rsdos.engine.publish import publish, read_refs
from rsdos.engine.save_lock import hold_save_lock
from rsdos.model import Copy, PackKind, Place, Trust
from rsdos.trees.build import TreeRoot, build_tree
from rsdos.trees.entry import Attributes, EntryKind, TreeEntry, listings_of, tree_order
from rsdos.trees.record import SnapshotRecord, encode_record
from tests.data import key_of

TIME = "2026-11-26T17:30:00Z"
BY = "user@host, 1"

Files = Mapping[str, bytes]


def entries_of(files: Files) -> list[TreeEntry]:
    """The entries of a tree with these files, in tree order."""
    entries = {}
    for name, data in files.items():
        path = name.encode()
        entries[path] = TreeEntry(path, EntryKind.FILE, len(data), bytes.fromhex(key_of(data)))
        while b"/" in path:
            path = path.rpartition(b"/")[0]
            entries[path] = TreeEntry(path, EntryKind.DIRECTORY, 0)
    return [entries[path] for path in sorted(entries, key=tree_order)]


def pages_of(files: Files) -> tuple[TreeRoot, list[bytes]]:
    """The tree of these files, and its pages."""
    pages: list[bytes] = []
    root = build_tree(
        listings_of(entries_of(files), Attributes.NONE), Attributes.NONE, lambda digest, page: pages.append(page)
    )
    return root, pages


def record_of(root: TreeRoot, message: str = "") -> bytes:
    """A snapshot of a tree."""
    record = SnapshotRecord(root.key.hex(), Attributes.NONE, root.entries, root.files, root.size, TIME, message=message)
    return encode_record(record)


def save(engine: Engine, name: str, files: Files, at: Callable[[str], object] = lambda step: None) -> str:
    """Save files as the next version of a branch; return the snapshot's key. ``at`` is called behind each step."""
    with hold_save_lock(engine) as lock:
        at("1")
        refs, _ = read_refs(engine)
        branch = refs.branches.get(name)
        newest = branch.newest if branch else None
        parent = newest.snapshot if newest else None
        at("2")
        fresh = _absent(engine, files.values())
        at("3")
        engine.objects.insert_many(fresh, to=Place.PACKED, kind=PackKind.HELD)
        at("4")
        root, pages = pages_of(files)
        record = record_of(root, f"{name}, after {parent}")
        snapshot = key_of(record)

        def recheck() -> None:
            engine.objects.insert_many(_absent(engine, files.values()), to=Place.PACKED, kind=PackKind.HELD)

        publish(
            engine,
            lock.epoch,
            lambda refs: refs.saved(name, snapshot, TIME, BY, parent),
            recheck,
            [*pages, record],
        )
        at("6")
    return snapshot


def _absent(engine: Engine, payloads: Iterable[bytes]) -> list[bytes]:
    """Return what has no good copy: as in `rsdos.worktree.file_store`, a damaged one does not count."""
    payloads = list(payloads)
    engine.packed.refresh()
    digests = [bytes.fromhex(key_of(data)) for data in payloads]
    copies = engine.packed.own_copies(digests, Trust.VERIFY, payloads, kind=PackKind.HELD)
    return [data for data, copy in zip(payloads, copies, strict=True) if copy is not Copy.GOOD]
