"""The tree that a reference names."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from rsdos.engine.publish import read_refs
from rsdos.engine.snapshots import StoredPages, read_record
from rsdos.errors import DamagedTree, ObjectNotFound, RefNotFound
from rsdos.trees.record import SnapshotRecord
from rsdos.trees.tree import Tree

if TYPE_CHECKING:
    from rsdos.engine.engine import Engine


FORGOTTEN = (
    "it was forgotten and collected while it was checked out; files that were written stay, and the same checkout "
    "continues when the snapshot is back"
)


class NamedTree(NamedTuple):
    """A snapshot and the name that the caller gave."""

    reference: str
    """``NAME@N``, a tag, or the key."""
    snapshot: str
    """Its key."""
    record: SnapshotRecord
    tree: Tree

    @property
    def label(self) -> str:
        """What users are shown: the reference, or the beginning of the key."""
        return self.reference if self.reference != self.snapshot else self.snapshot[:8]


def named_tree(engine: Engine, reference: str) -> NamedTree:
    """Return the snapshot of a reference, and its tree.

    Raise `RefNotFound`, `InvalidName`, `ObjectNotFound` for a key that the container does not have, `DamagedTree`.
    """
    refs, _ = read_refs(engine)
    found = refs.resolve(reference)
    record = read_record(engine, found.snapshot)
    return NamedTree(found.label, found.snapshot, record, tree_of(engine, bytes.fromhex(record.tree)))


@contextmanager
def telling_of_forgotten(engine: Engine, tree: NamedTree) -> Iterator[None]:
    """Raise `RefNotFound` for an object or a page that is missing, if no name leads to the snapshot any more."""
    try:
        yield
    except (ObjectNotFound, DamagedTree) as error:
        engine.objects.refresh()  # The object was missed by a worker, perhaps, which has a newer state.
        if error.key in engine.objects or tree.snapshot in read_refs(engine)[0].snapshots():
            raise
        raise RefNotFound(tree.label, FORGOTTEN) from error


def tree_of(engine: Engine, root: bytes) -> Tree:
    """Return a tree of the container, by the digest of its root."""
    return Tree(root, StoredPages(engine))


def check_under(tree: Tree, under: bytes) -> None:
    """Raise FileNotFoundError or NotADirectoryError if the tree has no directory at a path."""
    if under and not tree.is_directory(under):
        number = errno.ENOENT if tree.entry(under) is None else errno.ENOTDIR
        raise OSError(number, os.strerror(number), os.fsdecode(under))
