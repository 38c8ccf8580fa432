"""Push: send the objects and names that a remote lacks. Options → plan → execute → report.

Dead copies and tombstones are not sent, and deletes are not: what the remote has deleted is sent again.
"""

from __future__ import annotations

from rsdos.engine.engine import Engine
from rsdos.engine.snapshots import StoredPages
from rsdos.maintenance.copier import IntactCopier
from rsdos.maintenance.remotes.connect import RemoteConnection, note_head
from rsdos.maintenance.remotes.copying import (
    Copying,
    RemoteEstimate,
    RemoteOptions,
    RemotePlan,
    RemoteReport,
    estimate_of,
)
from rsdos.model import Counts
from rsdos.progress import SILENCE, Stopwatch
from rsdos.protocols import Progress
from rsdos.storage.counted import Requests

_PACKS_OF_A_COMMIT = 64
_ENTRY = 66
"""Bytes of an object in a table of the index; they are sent twice, in the pack and in the merged table."""


def plan(engine: Engine, there: RemoteConnection, options: RemoteOptions) -> RemotePlan:
    """Find out what a remote lacks. Nothing is written.

    Args:
        engine: the open container.
        there: the remote, from `connected`.
        options: a `RemoteOptions`.

    Raises:
        InvalidOption: one of both containers has version 1, or another hash.
        ObjectNotFound: one of the keys is not here.
        RefExists: a name is there, and means something else.
        DamagedContainer, DamagedTree: the newest state of one of both cannot be read.
        OSError: a system call or a request failed.
    """
    with engine.protect_packs():
        copying = Copying(engine, there.engine, options, IntactCopier, StoredPages(engine), there.head)
        return copying.plan(there.remote.name)


def estimate(engine: Engine, there: RemoteConnection, plan: RemotePlan) -> RemoteEstimate:
    """Return what a push would do. All pages of new versions are read. Raise `DamagedTree`."""
    with engine.protect_packs():
        held = plan.copying.held()
    target = there.engine.config.pack_size_target
    groups = [Counts(plan.objects, plan.size, plan.length), held]
    packs = sum(-(-group.length // target) for group in groups if group.objects)
    commits = sum(-(-group.length // target // _PACKS_OF_A_COMMIT) for group in groups if group.objects) + bool(
        plan.names
    )
    sent = sum(group.length + 2 * _ENTRY * group.objects for group in groups)
    # A commit is a table, a manifest, and a question for the next manifest; the first reservation is one of its own.
    requests = Requests(packs + 2 * commits + bool(packs), commits + 1, 0, 0, sent, 0)
    return estimate_of(plan, held, packs, requests)


def execute(engine: Engine, there: RemoteConnection, plan: RemotePlan, progress: Progress = SILENCE) -> RemoteReport:
    """Send the objects in their stored form, after a check of their checksums, and then the names.

    Readers, writers and maintenance of both containers are not blocked. Damaged and deleted objects are reported and
    left out. When this returns, every other object was in the remote at a moment after the last commit. After a kill or
    an error the next push continues: it finds what was committed, at least every 64 packs.

    Args:
        engine: the open container.
        there: the remote, from `connected`.
        plan: what `plan` returned.
        progress: receives the stored bytes.

    Returns:
        The counts and keys of the objects.

    Raises:
        RefExists: a name has come to mean something else there.
        DamagedObject, DamagedTree: what a name leads to cannot be read here. No name is published.
        Busy: others delete the sent objects again and again.
        ReadOnlyContainer, Refused: the remote cannot be written.
        OSError: a system call or a request failed.
    """
    watch = Stopwatch()
    with there.engine.objects.writing(), engine.protect_packs():
        names = plan.copying.run("Pushing", progress)
    head = plan.copying.head
    note_head(engine, there, head)
    return plan.copying.report(there.remote.name, head.number, names, there.requests, watch.seconds)
