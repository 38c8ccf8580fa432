"""Tags and branches: names for snapshots. Each is one publication of refs."""

from __future__ import annotations

import time
from enum import Enum

from rsdos.engine.engine import Engine
from rsdos.engine.publish import publish
from rsdos.engine.snapshots import missing_of, read_record, this_process
from rsdos.errors import ObjectNotFound, RefNotFound
from rsdos.trees.documents import utc_text
from rsdos.trees.names import check_ref_name
from rsdos.trees.refs import Refs


class Existing(Enum):
    """What is done about a tag that exists already."""

    REFUSE = "refuse"
    MOVE = "move"


def tag(engine: Engine, name: str, ref: str, existing: Existing = Existing.REFUSE) -> Refs:
    """Give a snapshot a name that does not move, and return the refs. Durable.

    Args:
        engine: the open container.
        name: the tag.
        ref: the snapshot: the name of a version or a tag, or a key, even of a snapshot that is not live any more.
        existing: whether an existing tag of this name is moved.

    Raises:
        InvalidName: a tag cannot have this name.
        RefExists: the name is taken.
        RefNotFound: there is no such snapshot, or gc has deleted objects of it.
        DamagedTree: the newest refs document, or the snapshot, is damaged.
        Busy: other processes publish all the time.
        ReadOnlyContainer: the container cannot be written.
    """
    check_ref_name(name)

    def make(refs: Refs) -> Refs:
        snapshot = found(engine, refs, ref)
        named = refs.retagged if existing is Existing.MOVE else refs.tagged
        return named(name, snapshot, utc_text(time.time()), this_process())

    return publish(engine, engine.packed.publisher.begin().live.epoch, make)


def branch(engine: Engine, name: str, ref: str) -> Refs:
    """Make a branch whose first version is a snapshot, and return the refs. Durable. Args and Raises as of `tag`."""
    check_ref_name(name)

    def make(refs: Refs) -> Refs:
        return refs.branched(name, found(engine, refs, ref), utc_text(time.time()), this_process())

    return publish(engine, engine.packed.publisher.begin().live.epoch, make)


def found(engine: Engine, refs: Refs, ref: str) -> str:
    """Return the key of a snapshot that new refs may name: it is live, or all of its objects are there.

    Call it in the ``make`` of `publish`, which is called again if anything was deleted after the lookup.
    """
    snapshot = refs.find(ref)
    if snapshot not in refs.snapshots():
        need_whole(engine, ref, snapshot)
    return snapshot


def need_whole(engine: Engine, ref: str, snapshot: str) -> None:
    """Raise `RefNotFound`, which names ``ref``, if objects of a snapshot are missing in the newest state."""
    engine.packed.refresh()
    try:
        record = read_record(engine, snapshot)
    except ObjectNotFound:
        raise RefNotFound(ref) from None
    missing = next(missing_of(engine, [bytes.fromhex(record.tree)]), None)
    if missing is not None:
        raise RefNotFound(ref, f"gc has deleted objects of this snapshot: {missing.hex()}")
