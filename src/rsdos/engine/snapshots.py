"""Reading pages and snapshots of a container, for all that works on trees."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from rsdos.engine.engine import Engine
from rsdos.errors import DamagedObject, DamagedTree, ObjectNotFound
from rsdos.model import DIGEST_BYTES
from rsdos.storage.mounts import is_local
from rsdos.trees.entry import Attributes
from rsdos.trees.page import encode_leaf
from rsdos.trees.reach import keys_of
from rsdos.trees.reader import PagesTooLarge
from rsdos.trees.record import SnapshotRecord, decode_record

if TYPE_CHECKING:
    from rsdos.stores.union import Objects
    from rsdos.trees.reader import ReadPages

_TOGETHER = 1 << 12
"""Snapshots that are read in one call: each is a line of JSON, of at most 1 MiB and mostly 1 KiB."""

_LOOKED_UP = 1 << 4
"""Pieces of `keys_of` of which the objects are looked up together: 32 pages each, so 65,536 keys, mostly."""

_LARGE = 8 << 20
"""Bytes of pages that are held together. 32 have 256 KiB, mostly; those of a stranger could have a gigabyte."""

_FEW = 4
"""So few objects are read one by one. A bulk read imports numpy: 80 ms, half of a `rsdos ls` of one directory."""

_FEW_PAGES = 512
"""Pages that a reader reads one by one from a file system of this machine: those of 50,000 files. Each takes 30 to 45
us, as it does in a bulk read of 32. Elsewhere a bulk read, which asks for all of them at once, is faster."""


_EMPTY = encode_leaf((), Attributes.NONE)


class StoredPages:
    """Reads pages by their digests: `rsdos.trees.tree.ReadPages`. Any number of threads."""

    def __init__(self, engine: Engine, objects: Objects | None = None) -> None:
        """``objects`` has the pages; None: all objects of the container, and of a lazy clone those of its remote."""
        self._objects = engine.objects if objects is None else objects
        self._few = _FEW_PAGES if _is_near(engine) else 0
        """Pages that are still read one by one."""

    def __call__(self, digests: Sequence[bytes]) -> Sequence[bytes]:
        """Return the pages in the order of their digests. Raise `ObjectNotFound`, `DamagedObject`, `PagesTooLarge`."""
        keys = list(map(bytes.hex, digests))
        pages = {}
        length = 0
        few = max(self._few, _FEW)
        self._few -= len(keys)
        for key, page in _extract(self._objects, keys, few):
            pages[key] = page
            length += len(page)
            if length > _LARGE and len(keys) > 1:
                raise PagesTooLarge
        return [pages[key] for key in keys]


class _PagesHere:
    """Reads the pages of a lazy clone that are here: a `ReadPages` for `keys_of`. Others count as empty ones.

    What is below a page that is not here came from the remote, too: a tree that was made here has its new pages here.
    """

    def __init__(self, engine: Engine) -> None:
        self._packed = engine.packed
        self._stored = StoredPages(engine, engine.here)

    def __call__(self, digests: Sequence[bytes]) -> Sequence[bytes]:
        present = self._packed.contains_many(digests)
        here = [digest for digest, is_here in zip(digests, present, strict=True) if is_here]
        pages = dict(zip(here, self._stored(here), strict=True)) if here else {}
        return [pages.get(digest, _EMPTY) for digest in digests]


def pages_here(engine: Engine) -> ReadPages:
    """Return what reads pages for `keys_of` without asking the remote of a lazy clone, for maintenance.

    Of any other container a page that is not here is missing: it raises `ObjectNotFound`.
    """
    return _PagesHere(engine) if engine.is_lazy else StoredPages(engine)


def read_record(engine: Engine, key: str) -> SnapshotRecord:
    """Return a snapshot. Raise `ObjectNotFound`; `DamagedTree` for an object that is no snapshot, or damaged."""
    try:
        return decode_record(engine.objects.extract(key), key)
    except DamagedObject as error:
        raise DamagedTree(key, error.reason) from error


def read_records(engine: Engine, keys: Iterable[str]) -> Iterator[tuple[str, SnapshotRecord]]:
    """Yield snapshots that should be there, in any order. Raise `DamagedTree` for the first that is not."""
    keys = iter(keys)
    while some := list(islice(keys, _TOGETHER)):
        try:
            for key, data in _extract(engine.objects, some, _FEW):
                yield key, decode_record(data, key)
        except ObjectNotFound as error:
            raise DamagedTree(error.key, "the snapshot is missing") from error
        except DamagedObject as error:
            raise DamagedTree(error.key, error.reason) from error


def _is_near(engine: Engine) -> bool:
    """Return whether all objects are on a file system of this machine."""
    directory = engine.directory
    if directory is None or engine.is_lazy:
        return False
    try:
        return is_local(os.stat(directory).st_dev, f"{directory}/")
    except FileNotFoundError:
        return False  # It was moved: what is read next says so.


def _extract(objects: Objects, keys: Sequence[str], few: int) -> Iterator[tuple[str, bytes]]:
    """Yield many objects in any order, or at most ``few`` one by one."""
    if len(keys) > few:
        return objects.extract_many(keys)
    return ((key, objects.extract(key)) for key in keys)


def missing_of(engine: Engine, roots: Iterable[bytes], read_pages: ReadPages | None = None) -> Iterator[bytes]:
    """Yield what is in no pack of the pages and files that some trees reach, by the newest state.

    Of a lazy clone, what its remote has is not missing: raise `RemoteUnavailable` if the remote cannot be asked.
    ``read_pages`` has pages that are not stored yet, too; they are yielded. What is below a missing page is not known:
    the page is the last that is yielded. Raise `DamagedTree` for one that is damaged.
    """
    engine.packed.refresh()
    reached = keys_of(roots, read_pages or StoredPages(engine))
    try:
        while pieces := list(islice(reached, _LOOKED_UP)):
            joined = b"".join(pieces)
            digests = [joined[at : at + DIGEST_BYTES] for at in range(0, len(joined), DIGEST_BYTES)]
            yield from _absent(engine, digests)
    except DamagedTree as error:
        if not isinstance(error.__cause__, ObjectNotFound):
            raise
        yield bytes.fromhex(error.__cause__.key)


def _absent(engine: Engine, digests: Sequence[bytes]) -> list[bytes]:
    present = engine.packed.contains_many(digests)
    absent = [digest for digest, is_there in zip(digests, present, strict=True) if not is_there]
    if absent and engine.is_lazy:
        present = engine.objects.contains_many(absent)
        absent = [digest for digest, is_there in zip(absent, present, strict=True) if not is_there]
    return absent


def this_process() -> str:
    """Return who does an operation on refs, for its document: the user, the machine and the process."""
    user = os.getuid()
    try:
        name = pwd.getpwuid(user).pw_name
    except KeyError:
        name = str(user)
    return f"{name}@{os.uname().nodename}, {os.getpid()}"
