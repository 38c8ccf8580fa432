"""The check of snapshots: every live page decodes and is canonical, and all objects that it leads to are in packs.

In a lazy clone only the pages that are here are read. The others are in its remote, which is not asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from rsdos.engine.engine import Engine
from rsdos.engine.publish import NewestRefs, newest_refs
from rsdos.engine.snapshots import StoredPages, pages_here, read_record
from rsdos.errors import Busy, DamagedContainer, DamagedObject, DamagedTree, ObjectNotFound
from rsdos.model import DIGEST_BYTES, PackKind
from rsdos.stores.findings import Checked, Depth, Finding
from rsdos.trees.check import canonical_root
from rsdos.trees.reach import keys_by_kind
from rsdos.trees.tree import Tree

_TOGETHER = 1 << 4
"""Answers of `keys_by_kind` whose objects are looked up together: 32 pages each, so mostly 65,536 keys."""

_MOST_NAMED = 1000
"""Missing objects that are named with the path that leads to them."""

_MOST_ROUNDS = 8
"""Times that the check is made again because others have published since: the missing objects may not be needed."""


def check_snapshots(engine: Engine, depth: Depth) -> Iterator[Checked]:
    """Yield a step for each part of the live snapshots, and their findings at the end.

    A quick check reads each page once and looks its keys up. A full check also builds each tree anew and compares the
    keys, which takes 1 s for a million entries.
    """
    newest: NewestRefs | None = None
    findings: list[Finding] = []
    for _ in range(_MOST_ROUNDS):
        try:
            now = newest_refs(engine)
        except (DamagedTree, DamagedContainer, Busy) as error:
            key = error.key if isinstance(error, DamagedTree) else ""
            yield Checked(findings=(_finding(engine, key, str(error)),))
            return
        if newest is not None and (not findings or now.live.refs == newest.live.refs):
            break
        newest, findings = now, []
        check = _SnapshotCheck(engine, now, depth)
        yield from check.run_lazily() if engine.is_lazy else check.run()
        findings = check.findings
        if not findings:
            return
    yield Checked(findings=tuple(findings))


def needed_objects(engine: Engine) -> dict[bytes, PackKind]:
    """Return what the live snapshots need and no pack has, with the kind of pack that needs it.

    Pages, snapshots and the newest refs document are in it if they cannot be read. What these lead to is not known
    before they are repaired. A lazy clone needs nothing.
    """
    if engine.is_lazy:
        return {}
    try:
        newest = newest_refs(engine)
    except DamagedTree as error:
        return {bytes.fromhex(error.key): PackKind.TREES}
    except (DamagedContainer, Busy):
        return {}
    check = _SnapshotCheck(engine, newest, Depth.QUICK)
    for _ in check.look():
        pass
    return check.needed


def _finding(engine: Engine, key: str, reason: str) -> Finding:
    """Return a finding about an object of a snapshot, in the file that it is in."""
    path = engine.layout.relative(engine.layout.packed)
    if not key:
        return Finding(engine.layout.relative(engine.layout.index), reason)
    for copy in engine.packed.inspection.copies_of(bytes.fromhex(key)):
        if copy.extent is not None:
            path = engine.layout.relative(engine.layout.pack(copy.extent.pack_id))
            break
    return Finding(path, reason, key)


class _SnapshotCheck:
    """The check of all snapshots of some refs."""

    def __init__(self, engine: Engine, newest: NewestRefs, depth: Depth) -> None:
        self._engine = engine
        self._refs = newest.refs
        self._depth = depth
        self._pages = StoredPages(engine)
        self._missing: dict[bytes, PackKind] = {}
        """What is in no pack, with the kind of pack that should have it."""
        self._unreadable: set[bytes] = set()
        """Snapshots and pages."""
        self.findings: list[Finding] = []

    @property
    def needed(self) -> dict[bytes, PackKind]:
        """What is missing or damaged, with the kind of pack that should have it."""
        return self._missing | dict.fromkeys(self._unreadable, PackKind.TREES)

    def run(self) -> Iterator[Checked]:
        """Check them; yield the steps, without findings."""
        roots: dict[bytes, str] = {}
        yield from self._read_records(roots)
        for root, snapshot in roots.items():
            if self._depth is Depth.FULL:
                self._check_form(root, snapshot)
                yield Checked(objects=0)
        yield from self._look_up(roots)
        self._name_missing(roots)

    def look(self) -> Iterator[Checked]:
        """Look for what is needed, and name no paths of it; yield the steps."""
        roots: dict[bytes, str] = {}
        yield from self._read_records(roots)
        yield from self._look_up(roots)

    def run_lazily(self) -> Iterator[Checked]:
        """Check the pages of a lazy clone that are here. Yield the steps, without findings."""
        roots: dict[bytes, str] = {}
        yield from self._read_records(roots)
        read_pages = pages_here(self._engine)
        for root, snapshot in roots.items():
            try:
                for _ in keys_by_kind([root], read_pages):
                    yield Checked(objects=0)
            except DamagedTree as error:
                self._note(error.key, f"{self._named(snapshot)}: {error}")

    def _read_records(self, roots: dict[bytes, str]) -> Iterator[Checked]:
        """Read all snapshots, and give the root page of each; yield the steps."""
        for snapshot in sorted(self._refs.snapshots()):
            try:
                roots[bytes.fromhex(read_record(self._engine, snapshot).tree)] = snapshot
            except (DamagedTree, ObjectNotFound) as error:
                self._unreadable.add(bytes.fromhex(snapshot))
                self._note(snapshot, f"{self._named(snapshot)}: {error}")
            yield Checked(objects=0)

    def _named(self, snapshot: str) -> str:
        return ", ".join(self._refs.names_of(snapshot))

    def _note(self, key: str, reason: str) -> None:
        self.findings.append(_finding(self._engine, key, reason))

    def _check_form(self, root: bytes, snapshot: str) -> None:
        try:
            made = canonical_root(Tree(root, self._pages))
        except (DamagedTree, DamagedObject, ObjectNotFound):
            return  # The lookup reports it.
        if made.key != root:
            self._note(root.hex(), f"{self._named(snapshot)}: the tree is not in the one form that its entries have")

    def _look_up(self, roots: dict[bytes, str]) -> Iterator[Checked]:
        """Read every page, and look up the objects that it leads to. Pages that snapshots share are read once."""
        packed = self._engine.packed
        packed.refresh()
        try:
            reached = keys_by_kind(roots, self._pages)
            while some := list(islice(reached, _TOGETHER)):
                pages, files = b"".join(part.pages for part in some), b"".join(part.files for part in some)
                self._note_missing(_digests(pages), PackKind.TREES)
                self._note_missing(_digests(files), PackKind.HELD)
                yield Checked(objects=0)
        except DamagedTree:
            # One by one, to say which of them are damaged.
            for root, snapshot in roots.items():
                lost: list[DamagedTree] = []
                try:
                    for listing in Tree(root, self._pages).walk(damaged=lost.append):
                        self._note_missing([key for key in listing.keys if key], PackKind.HELD)
                except DamagedTree as error:
                    lost.append(error)
                for damage in lost:
                    self._unreadable.add(bytes.fromhex(damage.key))
                    self._note(damage.key, f"{self._named(snapshot)}: {damage}")
                yield Checked(objects=0)

    def _note_missing(self, digests: Sequence[bytes], kind: PackKind) -> None:
        present = self._engine.packed.contains_many(digests, kind) if digests else ()
        self._missing.update((digest, kind) for digest, is_there in zip(digests, present, strict=True) if not is_there)

    def _name_missing(self, roots: dict[bytes, str]) -> None:
        """Add a finding for each missing object, with a path of a live snapshot that leads to it."""
        paths: dict[bytes, str] = {}
        for root, snapshot in roots.items():
            if not self._missing.keys() - paths.keys():
                break
            for listing in Tree(root, self._pages).walk(damaged=lambda error: None):
                for name, key in zip(listing.names, listing.keys, strict=True):
                    if key in self._missing and key not in paths:
                        path = b"/".join(filter(None, (listing.directory, name))).decode(errors="backslashreplace")
                        paths[key] = f"{self._named(snapshot)}: {path}"
        for digest in sorted(self._missing)[:_MOST_NAMED]:
            where = paths.get(digest, "a page of a live snapshot")
            self._note(digest.hex(), f"{where} is in no pack, and needed")


def _digests(joined: bytes) -> list[bytes]:
    return list(dict.fromkeys(joined[at : at + DIGEST_BYTES] for at in range(0, len(joined), DIGEST_BYTES)))
