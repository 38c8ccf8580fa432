"""The versions of branches, and the operations that made them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from rsdos.engine.publish import newest_refs, read_document
from rsdos.engine.snapshots import read_record, read_records
from rsdos.errors import DamagedTree, ObjectNotFound
from rsdos.facade.snapshot import Snapshot
from rsdos.trees.documents import is_time

if TYPE_CHECKING:
    from rsdos.facade.part import FacadePart
    from rsdos.trees.refs import Refs

_CHUNK = 1 << 10
"""Records that are read together: 1 KB each, as a rule."""


class LoggedVersion(NamedTuple):
    """A version of a branch, or a tag."""

    name: str
    version: int | None
    """The number of the version; None for a tag."""
    snapshot: Snapshot
    tags: tuple[str, ...]
    """All tags of the snapshot, sorted."""

    @property
    def label(self) -> str:
        """The ref that names exactly this version."""
        return self.name if self.version is None else f"{self.name}@{self.version}"


class LoggedOperation(NamedTuple):
    """One operation on the refs."""

    number: int
    verb: str
    """"save", "tag", "branch", "forget", "undo", "import" and so on."""
    names: tuple[str, ...]
    """The branches and tags that it changed."""
    time: datetime
    by: str
    """The user, the host and the process."""
    refs: str
    """The key of the refs document."""


def read_snapshot(container: FacadePart, key: str, label: str = "") -> Snapshot:
    """Return the snapshot of a key. Raise `ObjectNotFound`, and `DamagedTree` for an object that is no snapshot."""
    return Snapshot(container, key, read_record(container.engine, key), label)


def logged(container: FacadePart, refs: Refs, name: str | None) -> Iterator[LoggedVersion]:
    """Yield the versions of a branch, the newest first; or the newest of each branch, then the tags."""
    tags = defaultdict(list)
    for tag in sorted(refs.tags):
        tags[refs.tags[tag]].append(tag)
    rows = iter(_rows(refs, name))
    while chunk := list(islice(rows, _CHUNK)):
        records = dict(read_records(container.engine, {key for _, _, key in chunk}))
        for branch, number, key in chunk:
            label = branch if number is None else f"{branch}@{number}"
            snapshot = Snapshot(container, key, records[key], label)
            yield LoggedVersion(branch, number, snapshot, tuple(tags[key]))


def _rows(refs: Refs, name: str | None) -> list[tuple[str, int | None, str]]:
    if name is None:
        heads: list[tuple[str, int | None, str]] = []
        for branch in sorted(refs.branches):
            newest = refs.branches[branch].newest
            if newest is not None:  # All its versions may have been forgotten.
                heads.append((branch, newest.number, newest.snapshot))
        return heads + [(tag, None, refs.tags[tag]) for tag in sorted(refs.tags)]
    found = refs.resolve(name)
    if found.version is None:
        return [(found.name or name[:8], None, found.snapshot)]
    versions = refs.branches[found.name].versions
    return [(found.name, number, key) for number, key, _ in reversed(versions) if number <= found.version.number]


def operations(container: FacadePart) -> Iterator[LoggedOperation]:
    """Yield what was done to the refs, the newest first, as far back as the documents are there."""
    engine = container.engine
    refs, live = newest_refs(engine)
    key = live.refs
    while refs.number:
        done = refs.operation
        if not is_time(done.time):
            raise DamagedTree(key, f"the time of its operation is {done.time!r:.40}")
        time = datetime.fromisoformat(done.time)
        yield LoggedOperation(refs.number, done.verb, tuple(done.names), time, done.by, key)
        key, number = refs.previous, refs.number
        try:
            refs = read_document(engine, key)
        except ObjectNotFound:
            return
        if refs.number >= number:  # Forged documents could follow one another in a circle.
            raise DamagedTree(key, f"it has the number {refs.number}, and is before the one of the number {number}")
