"""The tree that a reference names."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, NamedTuple

from rsdos.engine.publish import read_refs
from rsdos.engine.snapshots import StoredPages, read_record
from rsdos.trees.record import SnapshotRecord
from rsdos.trees.tree import Tree

if TYPE_CHECKING:
    from rsdos.engine.engine import Engine


class NamedTree(NamedTuple):
    """A snapshot and the name that the caller gave."""

    reference: str
    """``NAME@N``, a tag, or the key."""
    snapshot: str
    """Its key."""
    record: SnapshotRecord
    tree: Tree


def named_tree(engine: Engine, reference: str) -> NamedTree:
    """Return the snapshot of a reference, and its tree.

    Raise `RefNotFound`, `InvalidName`, `ObjectNotFound` for a key that the container does not have, `DamagedTree`.
    """
    refs, _ = read_refs(engine)
    found = refs.resolve(reference)
    record = read_record(engine, found.snapshot)
    return NamedTree(found.label, found.snapshot, record, tree_of(engine, bytes.fromhex(record.tree)))


def tree_of(engine: Engine, root: bytes) -> Tree:
    """Return a tree of the container, by the digest of its root."""
    return Tree(root, StoredPages(engine))


def check_under(tree: Tree, under: bytes) -> None:
    """Raise FileNotFoundError or NotADirectoryError if the tree has no directory at a path."""
    if under and not tree.is_directory(under):
        number = errno.ENOENT if tree.entry(under) is None else errno.ENOTDIR
        raise OSError(number, os.strerror(number), os.fsdecode(under))
