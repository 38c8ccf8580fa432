"""Import: make an archive, or a list of stored files, the next version of a branch, without temporary files.

A tar archive is read once, from its beginning to its end, and may be compressed with gzip, bzip2 or xz. Each file is
stored as it comes; the tree is built at the end, and published as a save does it. An import that is killed has
published nothing; the files that it has stored are collected by gc.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO

from rsdos.engine.publish import read_refs
from rsdos.engine.save_lock import hold_save_lock
from rsdos.engine.snapshots import missing_of, read_record
from rsdos.errors import Busy
from rsdos.model import FRAME_SIZE, LISTED, PackKind, Place, Source
from rsdos.progress import SILENCE, Stopwatch, by_files, step
from rsdos.trees.build import TreeRoot, build_tree
from rsdos.trees.entry import Attributes, listings_of
from rsdos.trees.names import check_ref_name
from rsdos.worktree.archive_members import Members
from rsdos.worktree.archive_sources import Archive, ArchiveFile
from rsdos.worktree.options import Description
from rsdos.worktree.pages import PageWriter
from rsdos.worktree.publish_tree import MadeFrom, publish_tree
from rsdos.worktree.save import LeftOut, SavedObjects, SaveReport, changes_since
from rsdos.worktree.special import SpecialFiles

if TYPE_CHECKING:
    from rsdos.engine.engine import Engine
    from rsdos.protocols import Progress


class ImportFormat(Enum):
    """The form of what is imported."""

    TAR = "tar"
    ZIP = "zip"
    """Needs a file: its list of members is at its end."""
    LIST = "list"
    """Lines of ``rsdos add-files --json`` or ``rsdos export --format list``: the files are in the container already."""


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What to make of an archive."""

    description: Description
    format: ImportFormat = ImportFormat.TAR
    attributes: Attributes = Attributes.NONE
    """What else the tree keeps of the archive: times, modes."""


_CHUNK = 1 << 14
_CHUNK_BYTES = 256 << 20
"""The most files, and bytes of files, that are stored together: an interruption wastes no more reads than these."""


def import_archive(
    engine: Engine, options: ImportOptions, source: BinaryIO, progress: Progress = SILENCE
) -> SaveReport:
    """Store the files of an archive, and publish its tree as the next version of a branch. Always durable.

    Members that are no files, links or directories are passed over and counted. Raise `InvalidName` for a member whose
    name leads out of the tree; `InvalidOption` for a zip archive in a stream; `UnreadableSource` for a damaged archive;
    `ObjectNotFound` for a key of a list that the container does not have; `RefMoved` if the branch has got another
    version since; `Busy` if gc has deleted objects that the archive has too: import it again.
    """
    check_ref_name(options.description.name)
    watch = Stopwatch()
    members = Members()
    archive = Archive(source, str(getattr(source, "name", "-")), members)
    read = {ImportFormat.TAR: archive.tar, ImportFormat.ZIP: archive.zip, ImportFormat.LIST: archive.list}
    with hold_save_lock(engine) as lock, step(progress, "Importing", None, "bytes"):
        before = engine.packed.maintenance.stats().counts(*LISTED)
        files = read[options.format]()
        while _store(engine, files, members, progress):
            pass
        archive.finish()
        if options.format is ImportFormat.LIST:
            _hold(engine, members)
        new = engine.packed.maintenance.stats().counts(*LISTED) - before
        pages = PageWriter(engine)
        root = build_tree(listings_of(members.entries(), options.attributes), options.attributes, pages.put)
        stored = SavedObjects(max(new.objects, 0), max(new.size, 0))
        return _publish(engine, options, lock.epoch, pages, root, archive.special, stored, watch)


class _Chunk:
    """The next files of an archive, as sources of one insert."""

    def __init__(self, files: Iterator[ArchiveFile], progress: Progress) -> None:
        self._files = files
        self._told = by_files(progress)
        self.numbers: list[int] = []
        self.sizes: list[int] = []

    def __iter__(self) -> Iterator[Source]:
        total = 0
        for file in self._files:
            self.numbers.append(file.number)
            self.sizes.append(file.size)
            total += file.size
            if file.size <= FRAME_SIZE:
                yield file.open().read(file.size)
            else:
                yield file.open()  # Read to its end before the next one is asked for.
            self._told(1, file.size)
            if len(self.numbers) >= _CHUNK or total >= _CHUNK_BYTES:
                return


def _store(engine: Engine, files: Iterator[ArchiveFile], members: Members, progress: Progress) -> bool:
    """Store the next files. Return whether there were any."""
    chunk = _Chunk(files, progress)
    keys = engine.objects.insert_many(iter(chunk), to=Place.PACKED, kind=PackKind.HELD)
    for number, size, key in zip(chunk.numbers, chunk.sizes, keys, strict=True):
        members.set_content(number, bytes.fromhex(key), size)
    return bool(keys)


def _hold(engine: Engine, members: Members) -> None:
    """Take the sizes of listed files from the container, and pack those that are loose. Raise `ObjectNotFound`."""
    engine.packed.refresh()
    numbers = iter(range(len(members)))
    while some := list(islice(numbers, _CHUNK)):
        digests = [members.key(number) for number in some]
        metas = engine.packed.describe_many(digests)
        loose = list(dict.fromkeys(digest for digest, meta in zip(digests, metas, strict=True) if meta is None))
        for digest in loose:
            with engine.objects.open(digest.hex()) as stream:
                engine.objects.insert_many([stream], to=Place.PACKED, kind=PackKind.HELD)
        for number, digest, meta in zip(some, digests, metas, strict=True):
            size = meta.size if meta is not None else engine.objects.meta(digest.hex()).size
            members.set_content(number, digest, size)


def _publish(
    engine: Engine,
    options: ImportOptions,
    epoch: int,
    pages: PageWriter,
    root: TreeRoot,
    special: SpecialFiles,
    stored: SavedObjects,
    watch: Stopwatch,
) -> SaveReport:
    name = options.description.name
    refs, _ = read_refs(engine)
    branch = refs.branches.get(name)
    newest = branch.newest if branch is not None else None
    parent = newest.snapshot if newest is not None else None
    before = read_record(engine, parent) if parent is not None else None
    snapshot, version, made = parent or "", newest.number if newest is not None else 0, 0
    is_unchanged = before is not None and before.tree == root.key.hex()
    if not is_unchanged:
        published = publish_tree(
            engine,
            epoch,
            pages,
            root,
            options.attributes,
            options.description,
            MadeFrom(parent, (parent,) if parent is not None else ()),
            lambda: _recheck(engine, root, pages),
            {"special": special.number},
        )
        snapshot, version, made = published.snapshot, published.version, pages.pages
    return SaveReport(
        snapshot=snapshot,
        tree=root.key.hex(),
        name=name,
        version=version,
        parent=next(iter(before.parents), None) if is_unchanged and before is not None else parent,
        changed=changes_since(before, root, pages),
        files=root.files,
        size=root.size,
        stored=SavedObjects(stored.objects, stored.size, made),
        skipped=LeftOut(special.number),
        is_part=False,
        dropped=before.attributes & ~options.attributes if before is not None else Attributes.NONE,
        unchanged=is_unchanged,
        unreadable=(),
        special=special.first,
        seconds=watch.seconds,
    )


def _recheck(engine: Engine, root: TreeRoot, pages: PageWriter) -> None:
    """Look up all objects of the tree again. Raise `Busy` if one was collected: an archive is read only once."""
    if any(not pages.is_waiting(digest) for digest in missing_of(engine, [root.key], pages.read)):
        raise Busy("what the archive has", "gc, which deleted a part of it: import it again")
