"""Publishes a tree as the next version of a branch: steps 5 and 6 of a save, for a tree of any origin."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from rsdos.engine.publish import publish
from rsdos.engine.snapshots import this_process
from rsdos.hashing import SHA256
from rsdos.trees.build import TreeRoot
from rsdos.trees.documents import parse_time, utc_text
from rsdos.trees.entry import Attributes
from rsdos.trees.record import SnapshotRecord, encode_record
from rsdos.trees.refs import Refs
from rsdos.worktree.options import Description
from rsdos.worktree.pages import PageWriter

if TYPE_CHECKING:
    from rsdos.engine.engine import Engine


class NewVersion(NamedTuple):
    """A snapshot that was published as a version of a branch."""

    snapshot: str
    name: str
    version: int


class MadeFrom(NamedTuple):
    """What a new version is made from."""

    newest: str | None
    """The snapshot that the branch's newest version must be; None: the branch has none."""
    keys: tuple[str, ...]
    """The parents that the record of the snapshot names."""


def publish_tree(  # noqa: PLR0913, PLR0917  what a snapshot is made of
    engine: Engine,
    epoch: int,
    pages: PageWriter,
    root: TreeRoot,
    attributes: Attributes,
    description: Description,
    parents: MadeFrom,
    recheck: Callable[[], None],
    skipped: Mapping[str, int] | None = None,
) -> NewVersion:
    """Store the pages and the snapshot of a tree, and make it the next version of a branch. Always durable.

    ``epoch`` is that of the save lock that the caller holds; ``recheck`` is as for `rsdos.engine.publish.publish`.

    Raise `RefMoved`, with the key of the snapshot, which is stored, if the branch has another newest version;
    `RefExists` if the name is that of a tag; `InvalidName`; `InvalidOption` for metadata that are no JSON; and what
    `publish` raises.
    """
    now = utc_text(time.time())
    record = encode_record(
        SnapshotRecord(
            tree=root.key.hex(),
            attributes=attributes,
            entries=root.entries,
            files=root.files,
            size=root.size,
            time=utc_text(parse_time(description.time)) if description.time else now,
            author=description.author,
            message=description.message,
            parents=parents.keys,
            derived_from=description.derived_from,
            metadata=dict(description.metadata),
            skipped={"special": 0} | dict(skipped or {}),
        )
    )
    snapshot = SHA256.digest_of(record).hex()
    name = description.name

    def make(refs: Refs) -> Refs:
        return refs.saved(name, snapshot, now, this_process(), parents.newest)

    refs = publish(engine, epoch, make, recheck, [*pages.waiting, record])
    newest = refs.branches[name].newest
    assert newest is not None, "it was just saved"
    return NewVersion(snapshot, name, newest.number)
