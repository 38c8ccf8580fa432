"""A draft: the next version of a branch, made without a working directory."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rsdos.engine.publish import read_refs
from rsdos.engine.save_lock import SaveLock, hold_save_lock
from rsdos.engine.snapshots import missing_of
from rsdos.errors import InvalidOption, ObjectNotFound, RefNotFound
from rsdos.facade.draft_entries import DraftEntries, DraftEntry
from rsdos.facade.entry import ROOT, SnapshotEntry, inner_path, not_a_directory, snapshot_entry
from rsdos.facade.history import read_snapshot
from rsdos.model import PackKind, Source
from rsdos.trees.build import build_tree
from rsdos.trees.edit import edit_tree
from rsdos.trees.entry import Attributes, EntryKind, join
from rsdos.trees.limits import targets_fault
from rsdos.trees.tree import Tree
from rsdos.worktree.options import Description
from rsdos.worktree.pages import PageWriter
from rsdos.worktree.publish_tree import MadeFrom, publish_tree

if TYPE_CHECKING:
    from rsdos.facade.part import FacadePart
    from rsdos.facade.snapshot import Snapshot

_PENDING = 8 << 20
"""Bytes that are held before they are stored together: what one frame of a bulk insert takes."""

_TOGETHER = 4096
"""Objects that are held before they are stored together."""

_Step = Callable[[DraftEntries], object]


class Draft:
    """The next version of a branch, as a mapping from paths to bytes. `Snapshots.edit` makes one, for a block.

    Leaving the block commits, unless `commit` or `discard` was called; an exception commits nothing. Nothing is visible
    to others before that. A kill leaves objects that the next gc deletes. The work is that of what changes, whatever
    the size of the tree; copying and removing a directory is work for each entry of it. One thread at a time.

    Paths are text with slashes. Directories are made as needed, and stay when they become empty. Methods raise KeyError
    for what is not there, `InvalidName` for what can be no path, and IsADirectoryError, NotADirectoryError and
    FileExistsError where a file and a directory are in each other's place.
    """

    def __init__(self, container: FacadePart, name: str, base: str | None) -> None:
        self.message = ""
        """What to say about the version."""
        self.author = ""
        """Who made it."""
        self.metadata: dict[str, Any] = {}
        """A JSON object to keep with it."""
        self.base: Snapshot | None = None
        """The snapshot that the changes are made to; None for an empty tree."""
        self.snapshot: Snapshot | None = None
        """The new version, after the commit. It is `base` if nothing changed."""
        self._container = container
        self._name = name
        self._wanted = base
        self._stack = ExitStack()
        self._lock: SaveLock | None = None
        self._parent: str | None = None
        self._entries = DraftEntries(None)
        self._steps: list[_Step] = []
        self._pending: dict[DraftEntry, bytes] = {}
        self._waiting = 0

    # --- begin and end ----------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._lock = stack.enter_context(hold_save_lock(self._container.engine))
            self._begin(self._wanted)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._lock is not None:
                self.commit()
        finally:
            self.discard()

    def _begin(self, base: str | None) -> None:
        """Read what the draft is made to: the newest version of the branch, or ``base``."""
        refs = read_refs(self._container.engine)[0]
        try:
            self._parent = refs.find(self._name)
        except RefNotFound:
            self._parent = None
        wanted = self._parent if base is None else refs.find(base)
        self.base = None if wanted is None else read_snapshot(self._container, wanted, base or self._name)
        self._entries = DraftEntries(None if self.base is None else self.base.reader)

    def rebase(self) -> None:
        """Begin again with the branch's newest version, and repeat all changes that were made to the draft.

        For a `RefMoved` of `commit`: another process has made a version first. Removing what is not there any more is
        no error; copying it is a KeyError.
        """
        self._opened()
        self._begin(None)
        for step in self._steps:
            step(self._entries)

    def commit(self) -> Snapshot | None:
        """Publish the version, and end the draft. Return its snapshot; the `base` if nothing changed.

        Raises:
            RefMoved: the branch has another newest version than when the draft began. The draft stays usable: `rebase`.
            ObjectNotFound: a gc has deleted objects that the base needs, or an object that was stored before.
        """
        lock = self._opened()
        self._store()
        engine = self._container.engine
        pages = PageWriter(engine)
        attributes = Attributes.NONE if self.base is None else self.base.reader.attributes
        changes = self._entries.changes(attributes, time.time_ns())
        tree = _empty_tree(pages) if self.base is None else self.base.reader
        root = edit_tree(tree, changes, pages.put, 0 if self.base is None else self.base.files)
        if self.base is not None and self.base.key == self._parent and root.key == tree.root:
            self.snapshot = self.base
        else:
            description = Description(self._name, self.message, self.author, "", self.metadata)
            parents = MadeFrom(self._parent, () if self._parent is None else (self._parent,))
            recheck = partial(self._recheck, root.key, pages)
            done = publish_tree(engine, lock.epoch, pages, root, attributes, description, parents, recheck)
            self.snapshot = read_snapshot(self._container, done.snapshot, f"{self._name}@{done.version}")
        self.discard()
        return self.snapshot

    def _recheck(self, root: bytes, pages: PageWriter) -> None:
        """Raise `ObjectNotFound` if anything that the tree needs was deleted while the draft was made."""
        for digest in missing_of(self._container.engine, [root], pages.read):
            if not pages.is_waiting(digest):
                raise ObjectNotFound(digest.hex())

    def discard(self) -> None:
        """End the draft without a version."""
        self._lock = None
        self._steps, self._pending, self._waiting = [], {}, 0
        self._stack.close()

    def _opened(self) -> SaveLock:
        if self._lock is None:
            raise InvalidOption("the draft is not open: use it in a block, `with snapshots.edit(…) as draft`")
        return self._lock

    # --- files ------------------------------------------------------------------------------------------------------

    def __setitem__(self, path: str, source: Source) -> None:
        """Put a file at a path: bytes or a buffer, the path of a file (also as text), or a binary stream."""
        self.write_many([(path, source)])

    def write_many(self, items: Iterable[tuple[str, Source]]) -> None:
        """Put many files. Those that are given by their paths are read before this returns."""
        self._opened()
        rest = iter(items)
        while chunk := list(islice(rest, _TOGETHER)):
            read = {at: data for at, (_, source) in enumerate(chunk) if (data := _bytes_of(source)) is not None}
            others = [at for at in range(len(chunk)) if at not in read]
            stored = dict(zip(others, self._insert([chunk[at][1] for at in others]), strict=True))
            for at, (path, _) in enumerate(chunk):
                entry = stored.get(at) or DraftEntry(EntryKind.FILE)
                self._do(partial(DraftEntries.put, path=_inner(path), entry=entry))
                if at in read:
                    self._hold(entry, read[at])

    def _hold(self, entry: DraftEntry, data: bytes) -> None:
        entry.size = len(data)
        self._pending[entry] = data
        self._waiting += len(data)
        if self._waiting >= _PENDING or len(self._pending) >= _TOGETHER:
            self._store()

    def _store(self) -> None:
        """Store the bytes that are held."""
        keys = self._container.engine.objects.insert_many(list(self._pending.values()), kind=PackKind.HELD)
        for entry, key in zip(self._pending, keys, strict=True):
            entry.key = bytes.fromhex(key)
        self._pending, self._waiting = {}, 0

    def _insert(self, sources: Sequence[Source]) -> list[DraftEntry]:
        """Store files and streams. Return their entries."""
        if not sources:
            return []
        objects = self._container.engine.objects
        keys = objects.insert_many(sources, kind=PackKind.HELD)
        return [DraftEntry(EntryKind.FILE, objects.meta(key).size, bytes.fromhex(key)) for key in keys]

    def __getitem__(self, path: str) -> bytes:
        """Return the bytes of a file as the draft has it now. Links are not followed."""
        entry = self._file(path)
        held = self._pending.get(entry)
        return self._container.engine.objects.extract(entry.key.hex()) if held is None else held

    def read_many(self, paths: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yield (path, bytes) of many files, in storage order."""
        self._store()
        wanted: dict[str, list[str]] = {}
        for path in dict.fromkeys(paths):
            wanted.setdefault(self._file(path).key.hex(), []).append(path)
        engine = self._container.engine
        for key, data in engine.protect_packs_during(engine.objects.extract_many(wanted)):
            yield from ((path, data) for path in wanted[key])

    def __delitem__(self, path: str) -> None:
        """Remove a file, a link, or a directory with all below it. KeyError for nothing."""
        self._there(path)
        self._do(partial(DraftEntries.remove, path=_inner(path)))

    def __contains__(self, path: str) -> bool:
        self._opened()
        return self._entries.get(_inner(path)) is not None

    def _there(self, path: str) -> DraftEntry:
        self._opened()
        entry = self._entries.get(_inner(path))
        if entry is None:
            raise KeyError(path)
        return entry

    def _file(self, path: str) -> DraftEntry:
        entry = self._there(path)
        if not entry.kind.is_file:
            raise OSError(errno.EISDIR, "is no file", path)
        return entry

    def _do(self, step: _Step) -> None:
        """Make a change, and remember it for `rebase`."""
        step(self._entries)
        self._steps.append(step)

    # --- entries ----------------------------------------------------------------------------------------------------

    def entry(self, path: str) -> SnapshotEntry | None:
        """Return what the draft has at a path now; None for nothing. The key of what is not stored yet is ""."""
        self._opened()
        inner = _inner(path)
        found = self._entries.get(inner)
        return None if found is None else snapshot_entry(found.at(inner)) if inner else ROOT

    def listing(self, directory: str = "") -> Iterator[SnapshotEntry]:
        """Yield the entries of one directory, sorted by the bytes of their names. KeyError, NotADirectoryError."""
        if self._there(directory).kind is not EntryKind.DIRECTORY:
            raise not_a_directory(directory)
        inner = _inner(directory)
        yield from (snapshot_entry(entry.at(join(inner, name))) for name, entry in self._entries.listing(inner))

    def walk(self, under: str = "") -> Iterator[SnapshotEntry]:
        """Yield all entries below a directory, in tree order."""
        if self._there(under).kind is EntryKind.DIRECTORY:
            yield from (snapshot_entry(entry.at(path)) for path, entry in self._entries.walk(_inner(under)))

    def make_directory(self, path: str) -> None:
        """Make a directory, and those above it."""
        self._opened()
        self._do(partial(DraftEntries.put, path=_inner(path), entry=DraftEntry(EntryKind.DIRECTORY)))

    def link(self, path: str, target: str) -> None:
        """Put a symbolic link at a path. The target is kept as it is."""
        self._opened()
        to = os.fsencode(target)
        fault = targets_fault([to])
        if fault:
            raise InvalidOption(f"{fault}: {target!r:.100}")
        self._do(partial(DraftEntries.put, path=_inner(path), entry=DraftEntry(EntryKind.LINK, len(to), target=to)))

    def set_executable(self, path: str, executable: bool = True) -> None:
        """Set or clear the x bit of a file."""
        old = self._file(path)
        self._store()
        kind = EntryKind.EXECUTABLE if executable else EntryKind.FILE
        entry = DraftEntry(kind, old.size, old.key, mtime=old.mtime)
        self._do(partial(DraftEntries.put, path=_inner(path), entry=entry))

    def copy(self, source: str, destination: str) -> None:
        """Copy a file, a link, or a directory with all below it. No byte of content is read.

        A file replaces a file; a directory that is there already is a FileExistsError.
        """
        self._there(source)
        self._do(partial(_copy, source=_inner(source), destination=_inner(destination)))

    def rename(self, source: str, destination: str) -> None:
        """Move a file, a link, or a directory with all below it, as `copy` does. Not into itself."""
        if f"{destination}/".startswith(f"{source}/"):
            raise InvalidOption(f"{source!r:.100} cannot be moved to {destination!r:.100}, into itself")
        self.copy(source, destination)
        self._do(partial(DraftEntries.remove, path=_inner(source)))


def _empty_tree(pages: PageWriter) -> Tree:
    return Tree(build_tree((), Attributes.NONE, pages.put).key, pages.read)


def _bytes_of(source: Source) -> bytes | None:
    """Return a copy of bytes or a buffer; None for a path or a stream."""
    if isinstance(source, bytes):
        return source
    try:
        return bytes(memoryview(source))  # type: ignore[arg-type]  # what is no buffer raises
    except TypeError:
        return None


def _inner(path: str) -> bytes:
    return os.fsencode(inner_path(path))


def _copy(entries: DraftEntries, source: bytes, destination: bytes) -> None:
    top = entries.get(source)
    if top is None:
        raise KeyError(os.fsdecode(source))
    if entries.get(destination) is not None and top.kind is EntryKind.DIRECTORY:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fsdecode(destination))
    below = list(entries.walk(source)) if top.kind is EntryKind.DIRECTORY else []
    cut = len(source) + 1 if source else 0
    entries.put(destination, top)
    for path, entry in below:
        entries.put(destination + b"/" + path[cut:], entry)
