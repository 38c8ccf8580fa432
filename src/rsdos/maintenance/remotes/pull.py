"""Pull: bring the objects and names of a remote that are missing here. Options → plan → execute → report."""

from __future__ import annotations

from rsdos.engine.engine import Engine
from rsdos.maintenance.copier import ObjectCopier
from rsdos.maintenance.remotes.connect import RemoteConnection, note_head
from rsdos.maintenance.remotes.copying import (
    Copying,
    RemoteEstimate,
    RemoteOptions,
    RemotePlan,
    RemoteReport,
    estimate_of,
)
from rsdos.maintenance.transfer_refs import NearPages
from rsdos.progress import SILENCE, Stopwatch
from rsdos.protocols import Progress
from rsdos.storage.counted import Requests

_SPAN = 8 << 20
"""Bytes of a pack that one request asks for, at most."""


def plan(engine: Engine, there: RemoteConnection, options: RemoteOptions) -> RemotePlan:
    """Find out what of a remote is missing here. Nothing is written. Args and Raises as of `push.plan`."""
    with there.engine.protect_packs():
        pages = NearPages(engine, there.engine)
        return Copying(there.engine, engine, options, ObjectCopier, pages).plan(there.remote.name)


def estimate(there: RemoteConnection, plan: RemotePlan) -> RemoteEstimate:
    """Return what a pull would do. All pages of new versions are read. Raise `DamagedTree`."""
    with there.engine.protect_packs():
        held = plan.copying.held()
    by_pack = plan.copying.difference.by_pack
    spans = sum(-(-counts.length // _SPAN) for counts in by_pack.values()) + -(-held.length // _SPAN)
    received = plan.length + held.length
    return estimate_of(plan, held, len(by_pack), Requests(0, spans + 1, 0, 0, 0, received))


def execute(engine: Engine, there: RemoteConnection, plan: RemotePlan, progress: Progress = SILENCE) -> RemoteReport:
    """Copy the objects into packs of this container, and then the names. Every object is decoded and hashed on the way.

    Stored bytes are kept as they are. Readers, writers and maintenance of both containers are not blocked. Damaged and
    deleted objects are reported and left out. After a kill or an error the next pull continues.

    Args:
        engine: the open container.
        there: the remote, from `connected`.
        plan: what `plan` returned.
        progress: receives the stored bytes.

    Returns:
        The counts and keys of the objects.

    Raises:
        RefExists: a name has come to mean something else here.
        DamagedObject, DamagedTree: what a name leads to cannot be read there. No name is published.
        Busy: others delete the copied objects again and again.
        ReadOnlyContainer: this container cannot be written.
        OSError: a system call or a request failed.
    """
    watch = Stopwatch()
    with engine.objects.writing(), there.engine.protect_packs():
        names = plan.copying.run("Pulling", progress)
    note_head(engine, there, there.head)
    return plan.copying.report(there.remote.name, there.head.number, names, there.requests, watch.seconds)
