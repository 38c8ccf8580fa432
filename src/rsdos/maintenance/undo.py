"""Undo: publish the refs of the document before the newest. Options → plan → execute → report."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from rsdos.engine.engine import Engine
from rsdos.engine.publish import newest_refs, publish, read_document
from rsdos.engine.snapshots import this_process
from rsdos.errors import InvalidOption, ObjectNotFound, RefMoved
from rsdos.maintenance.forget import NamedVersion, versions_of
from rsdos.maintenance.tag import need_whole
from rsdos.notebook import ShownAsTable
from rsdos.progress import Stopwatch
from rsdos.stores.lifetime import Live
from rsdos.trees.documents import utc_text
from rsdos.trees.refs import Operation, Refs


@dataclass(frozen=True, slots=True)
class UndoPlan:
    """The ``operation`` to undo. Versions and tags that it made are ``forgotten``, removed ones are ``restored``."""

    operation: Operation
    forgotten: tuple[NamedVersion, ...]
    restored: tuple[NamedVersion, ...]
    before: Refs = field(repr=False)
    number: int
    live: Live


@dataclass(frozen=True, slots=True)
class UndoReport(ShownAsTable):
    """What was undone, in the members of `UndoPlan`. The run took ``seconds``."""

    operation: Operation
    forgotten: tuple[NamedVersion, ...]
    restored: tuple[NamedVersion, ...]
    seconds: float = 0.0


def plan(engine: Engine) -> UndoPlan:
    """Read the newest refs and those before them.

    Raises:
        InvalidOption: there is nothing to undo: no operation, or the document before it is gone.
        RefNotFound: gc has deleted objects of a version that would be restored.
        DamagedTree: one of the two documents is damaged.
    """
    refs, live = newest_refs(engine)
    if not refs.number:
        raise InvalidOption("there is nothing to undo: no snapshot was ever saved here")
    try:
        before = read_document(engine, refs.previous)
    except ObjectNotFound:
        raise InvalidOption("there is nothing to undo: the refs before the newest are gone") from None
    now, then = dict.fromkeys(versions_of(refs)), dict.fromkeys(versions_of(before))
    restored = tuple(version for version in then if version not in now)
    for version in restored:
        need_whole(engine, str(version), version.snapshot)
    forgotten = tuple(version for version in now if version not in then)
    return UndoPlan(refs.operation, forgotten, restored, before, refs.number, live)


def execute(engine: Engine, plan: UndoPlan) -> UndoReport:
    """Publish the earlier refs as a new operation, which a second `undo` undoes. Durable.

    Args:
        engine: the open container.
        plan: what `plan` returned.

    Returns:
        What was undone.

    Raises:
        RefMoved: another process has published since the plan.
        RefNotFound: gc has deleted objects of a version since the plan.
        Busy: other processes delete all the time.
        ReadOnlyContainer: the container cannot be written.
    """
    watch = Stopwatch()

    def make(refs: Refs) -> Refs:
        if refs.number != plan.number:
            raise RefMoved(", ".join(refs.operation.names), "another process has published since: plan the undo again")
        for version in plan.restored:
            need_whole(engine, str(version), version.snapshot)
        return refs.undone(plan.before, utc_text(time.time()), this_process())

    publish(engine, plan.live.epoch, make)
    return UndoReport(plan.operation, plan.forgotten, plan.restored, watch.seconds)
