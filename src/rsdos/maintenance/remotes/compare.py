"""Compare: count the objects of a container and of a remote, and those that only one of them has."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from rsdos.engine.engine import Engine
from rsdos.engine.publish import read_document, read_refs
from rsdos.errors import ObjectNotFound
from rsdos.maintenance.forget import NamedVersion, versions_of
from rsdos.maintenance.remotes.connect import RemoteConnection, note_head
from rsdos.maintenance.remotes.difference import EVERYTHING, KeyListing, ObjectDifference
from rsdos.model import Counts
from rsdos.notebook import ShownAsTable
from rsdos.storage.counted import Requests
from rsdos.trees.refs import Refs


@dataclass(frozen=True, slots=True)
class CompareReport(ShownAsTable):
    """The objects stored by key that are in this container (``here``), in a remote (``there``), and in only one.

    Each is a number of objects, their raw bytes (``size``) and stored bytes (``length``) there; of ``here`` and
    ``there`` the objects alone are counted. ``held_here`` and ``held_there`` count the objects that are stored for
    snapshots, and not by key: they are not compared, since they come and go with the names. ``names_here`` and
    ``names_there`` are the versions and tags that are in one of both. ``number`` is that of the remote's newest commit.
    """

    remote: str
    url: str
    number: int
    here: int
    there: int
    only_here: Counts
    only_there: Counts
    names_here: tuple[NamedVersion, ...]
    names_there: tuple[NamedVersion, ...]
    requests: Requests
    held_here: int = 0
    held_there: int = 0

    @property
    def is_same(self) -> bool:
        """Whether both have the same objects and names."""
        return not (self.only_here.objects or self.only_there.objects or self.names_here or self.names_there)


def compare_remote(engine: Engine, there: RemoteConnection) -> CompareReport:
    """Compare a container with a remote. No object is read.

    Args:
        engine: the open container.
        there: the remote, from `connected`.

    Raises:
        InvalidOption: one of both containers has version 1, or another hash.
        DamagedContainer, DamagedTree: the newest state of one of both cannot be read.
        OSError: a system call or a request failed.
    """
    ours = ObjectDifference(KeyListing(engine, EVERYTHING), there.engine, there.head)
    # Of version 3 nothing newer than the head is asked for: the report is about one state.
    head = there.head if there.head.commit else None
    theirs = ObjectDifference(KeyListing(there.engine, EVERYTHING, head), engine)
    names = dict.fromkeys(versions_of(read_refs(engine)[0]))
    others = dict.fromkeys(versions_of(_refs_of(there)))
    note_head(engine, there, there.head)
    return CompareReport(
        there.remote.name,
        there.remote.url,
        there.head.number,
        ours.known + ours.counts.objects,
        theirs.known + theirs.counts.objects,
        ours.counts,
        theirs.counts,
        tuple(version for version in names if version not in others),
        tuple(version for version in others if version not in names),
        there.requests,
        engine.packed.count_held(),
        there.engine.packed.count_held(),
    )


def _refs_of(there: RemoteConnection) -> Refs:
    """Return the refs of the head of a remote, or newer ones if these were collected."""
    with suppress(ObjectNotFound):
        return read_document(there.engine, there.head.refs)
    return read_refs(there.engine)[0]
