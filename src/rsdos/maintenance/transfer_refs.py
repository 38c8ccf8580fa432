"""Copying branches and tags from another container, with all that they lead to: the part of a transfer for snapshots.

In the target this is a save (`rsdos.engine.publish`): it holds a save lock, stores the missing objects for snapshots,
and publishes the names at the end. Until then none of the names is there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from rsdos.engine.engine import Engine
from rsdos.engine.publish import publish, read_refs
from rsdos.engine.save_lock import hold_save_lock
from rsdos.engine.snapshots import StoredPages, read_record, this_process
from rsdos.errors import DamagedObject, DamagedTree, InvalidOption, ObjectNotFound, RefExists, RefNotFound
from rsdos.maintenance.copier import CopyStats, ObjectCopier, StoredFormPolicy
from rsdos.maintenance.forget import NamedVersion, versions_of
from rsdos.model import DIGEST_BYTES, Counts, PackKind, Place
from rsdos.protocols import Progress
from rsdos.stores.batch import BatchWriter
from rsdos.trees.documents import utc_text
from rsdos.trees.names import check_ref_name
from rsdos.trees.reach import keys_by_kind
from rsdos.trees.reader import TOGETHER, PagesTooLarge, ReadPages
from rsdos.trees.refs import NEW_BRANCH, Branch, Operation, Refs, Version

_TOGETHER = 1 << 4
"""Answers of `keys_by_kind` that are copied together: 32 pages each, so mostly 65,536 keys."""


def names_to_bring(source: Engine, refs: Sequence[str] | None, name: str = "") -> tuple[NamedVersion, ...]:
    """Return the versions and tags of another container that some of its refs mean; None means all.

    A branch means all of its versions, with their numbers; the ``reason`` of each is its time. ``name`` is the name
    that a single ref gets here; a key becomes a tag of this name. Raise `RefNotFound`; raise `InvalidOption` for a key
    without a name, and for a name with several refs.
    """
    theirs, _ = read_refs(source)
    refs = theirs.names() if refs is None else refs
    if name:
        check_ref_name(name)
        if len(refs) != 1:
            raise InvalidOption("one name is for one branch, tag or snapshot")
    return tuple(version for ref in refs for version in _meant(source, theirs, ref, name))


def _meant(source: Engine, theirs: Refs, ref: str, name: str) -> Iterator[NamedVersion]:
    branch = theirs.branches.get(ref)
    if branch is not None and branch.versions:
        for version in branch.versions:
            yield NamedVersion(name or ref, version.number, version.snapshot, version.time)
        return
    resolved = theirs.resolve(ref)
    if not resolved.name and not name:
        raise InvalidOption(f"{ref}: a snapshot that is named by its key needs a name here")
    try:
        read_record(source, resolved.snapshot)
    except ObjectNotFound:
        raise RefNotFound(ref) from None
    number, _, when = resolved.version or (None, "", "")
    yield NamedVersion(name or resolved.name, number, resolved.snapshot, when)


def with_names(refs: Refs, names: Sequence[NamedVersion], fresh: Collection[NamedVersion], by: str) -> Refs:
    """Return refs with those of the versions and tags of another container that are ``fresh``.

    Raise `RefExists` if one of the names means something else here: a tag of another snapshot, a branch that has
    another snapshot under one of the numbers, or a branch that has none of these versions.
    """
    tags, branches = dict(refs.tags), dict(refs.branches)
    changed = tuple(dict.fromkeys(version.name for version in fresh))
    fresh = frozenset(fresh)  # A branch may have 100,000 versions.
    brought: dict[str, list[NamedVersion]] = {}
    for version in names:
        if version.version is not None:
            brought.setdefault(version.name, []).append(version)
        elif tags.get(version.name, version.snapshot) != version.snapshot:
            raise RefExists(version.name, "this tag is there, of another snapshot: give another name")
        elif version in fresh:
            tags[version.name] = version.snapshot
    for name, versions in brought.items():
        branches[name] = _joined(name, branches.get(name, NEW_BRANCH), versions, fresh)
    for name in tags.keys() & {name for name, branch in branches.items() if branch.versions}:
        raise RefExists(name, "a tag and a branch would both have this name: give another name")
    return replace(
        refs, tags=tags, branches=branches, operation=Operation("transfer", changed, utc_text(time.time()), by)
    )


def _joined(name: str, branch: Branch, versions: Sequence[NamedVersion], fresh: Collection[NamedVersion]) -> Branch:
    ours = {version.number: version for version in branch.versions}
    theirs = {
        version.version: Version(version.version, version.snapshot, version.reason)
        for version in versions
        if version.version is not None
    }
    shared = [number for number in theirs if number in ours]
    if any(ours[number].snapshot != theirs[number].snapshot for number in shared) or (ours and not shared):
        raise RefExists(name, "this branch is there, with other versions: give another name")
    new = {version.version for version in versions if version in fresh}
    joined = {number: version for number, version in theirs.items() if number in new} | ours
    following = max(branch.next, *(number + 1 for number in joined), 1)
    return Branch(following, tuple(joined[number] for number in sorted(joined)))


MakeCopier = Callable[[BatchWriter, CopyStats], ObjectCopier]
"""Makes the copier of objects of the source, which uses a writer of the target."""


class NearPages:
    """Reads pages from two containers: from the near one if it has them. Any number of threads."""

    def __init__(self, near: Engine, far: Engine) -> None:
        self._packed = near.packed
        self._near = StoredPages(near)
        self._far = StoredPages(far)

    def __call__(self, digests: Sequence[bytes]) -> Sequence[bytes]:
        """Return the pages in the order of their digests. Raise as `StoredPages` does."""
        here = self._packed.contains_many(digests, PackKind.TREES)
        near = [digest for digest, is_here in zip(digests, here, strict=True) if is_here]
        far = [digest for digest, is_here in zip(digests, here, strict=True) if not is_here]
        pages = dict(zip(near, self._near(near), strict=True)) if near else {}
        if far:
            pages |= zip(far, self._far(far), strict=True)
        return [pages[digest] for digest in digests]


def fresh_names(engine: Engine, names: Sequence[NamedVersion]) -> tuple[NamedVersion, ...]:
    """Return those of some versions of another container that are new here.

    Raise `RefExists` for a name that means something else here; see `with_names`.
    """
    refs = read_refs(engine)[0]
    with_names(refs, names, (), "")
    before = set(map(_place, versions_of(refs)))
    return tuple(version for version in names if _place(version) not in before)


def names_to_fill(
    engine: Engine, names: Sequence[NamedVersion], fresh: tuple[NamedVersion, ...]
) -> Sequence[NamedVersion]:
    """Return those of some versions of another container whose objects may be missing here: the ``fresh`` ones.

    A lazy clone has names whose objects are missing, so there it returns all versions.
    """
    return names if engine.is_lazy else fresh


def bring(
    engine: Engine,
    source: Engine,
    names: Sequence[NamedVersion],
    stats: CopyStats,
    progress: Progress,
    make: MakeCopier | None = None,
    pages: ReadPages | None = None,
) -> tuple[NamedVersion, ...]:
    """Copy the objects that some versions of another container lead to, and publish the versions. Return the new ones.

    ``make`` makes the copier of files and ``pages`` reads the pages of the source; both have defaults. Raise
    `RefExists` if a name means something else here, if possible before anything is copied. Raise `DamagedObject`,
    `DamagedTree` or `ObjectNotFound` if an object cannot be read: then nothing is published.
    """
    fresh = fresh_names(engine, names)
    lacking = names_to_fill(engine, names, fresh)
    if not lacking:
        return ()
    form = StoredFormPolicy.kept(engine.packed, engine.config.codec)
    copier = make or (lambda writer, counted: ObjectCopier(source, writer, form, counted))
    with hold_save_lock(engine) as save:
        records, roots = _records_of(source, lacking)

        def copy() -> None:
            _copy(engine, roots, pages or StoredPages(source), copier, stats, progress)

        copy()
        if not fresh:
            return ()
        by = this_process()
        publish(engine, save.epoch, lambda refs: with_names(refs, names, fresh, by), copy, records)
    return fresh


def count_absent(
    engine: Engine, source: Engine, fresh: Sequence[NamedVersion], pages: ReadPages | None = None
) -> Counts:
    """Return the counts of what `bring` would copy for new versions. A page counts with its raw bytes as its length."""
    engine.packed.refresh()
    records, roots = _records_of(source, fresh)
    total = Counts(len(records), *[sum(map(len, records))] * 2)
    read = pages or StoredPages(source)
    for some_pages, files in _absent_of(engine, roots, read):
        for data in _each_page(read, some_pages):
            total += Counts(1, len(data), len(data))
        for meta in source.packed.describe_many(files):
            total += Counts(1, meta.size, meta.length) if meta else Counts(1)
    return total


def _records_of(source: Engine, fresh: Sequence[NamedVersion]) -> tuple[list[bytes], list[bytes]]:
    """Return the snapshots of some versions, and the root pages of their trees."""
    snapshots = list(dict.fromkeys(version.snapshot for version in fresh))
    records = [source.objects.extract(snapshot) for snapshot in snapshots]
    return records, [bytes.fromhex(read_record(source, snapshot).tree) for snapshot in snapshots]


def _place(version: NamedVersion) -> tuple[str, int | None, str]:
    return version.name, version.version, version.snapshot


def _absent_of(engine: Engine, roots: Iterable[bytes], pages: ReadPages) -> Iterator[tuple[list[bytes], list[bytes]]]:
    """Yield the pages and files that some trees reach and that are in no pack of the target."""
    reached = keys_by_kind(roots, pages)
    while some := list(islice(reached, _TOGETHER)):
        yield (
            _absent(engine, b"".join(part.pages for part in some), PackKind.TREES),
            _absent(engine, b"".join(part.files for part in some), PackKind.HELD),
        )


def _copy(
    engine: Engine, roots: Iterable[bytes], pages: ReadPages, make: MakeCopier, stats: CopyStats, progress: Progress
) -> None:
    """Store the objects that some trees of the source reach and that are in no pack of the target. Durable."""
    engine.packed.refresh()
    counted = CopyStats()
    with engine.packed.writer(kind=PackKind.HELD) as writer:
        copier = make(writer, counted)
        for absent, files in _absent_of(engine, roots, pages):
            if absent:
                engine.objects.insert_many(_each_page(pages, absent), to=Place.PACKED, kind=PackKind.TREES)
            copier.copy(files)
            for key, reason in counted.damaged.items():
                raise DamagedObject(key, reason)
            for key in counted.missing:
                raise DamagedTree(key, "a snapshot of the source leads to this object, which the source does not have")
            progress.advance(len(absent) + len(files))
        writer.commit()
    stats.objects += counted.objects
    stats.size += counted.size
    stats.length += counted.length
    stats.copied += counted.copied
    stats.known += counted.known


def _each_page(read: ReadPages, digests: Sequence[bytes]) -> Iterator[bytes]:
    """Yield some pages, and hold few of them."""
    for at in range(0, len(digests), TOGETHER):
        some = digests[at : at + TOGETHER]
        try:
            yield from read(some)
        except PagesTooLarge:
            for digest in some:
                yield from read([digest])


def _absent(engine: Engine, joined: bytes, kind: PackKind) -> list[bytes]:
    digests = list(dict.fromkeys(joined[at : at + DIGEST_BYTES] for at in range(0, len(joined), DIGEST_BYTES)))
    present = engine.packed.contains_many(digests, kind) if digests else ()
    return [digest for digest, is_there in zip(digests, present, strict=True) if not is_there]
