"""What has to hold: after each change of the bucket, and of what each operation was told.

It knows nothing of the protocol but the documents: it reads each manifest that arrives, and the tables that it names,
and works out with sets which objects are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from rsdos.index.compact import open_table
from rsdos.index.manifest import Manifest, SegmentEntry
from rsdos.index.opening import open_segment_file
from rsdos.storage.opened import RandomAccess
from tests.protocol import documents
from tests.protocol.bucket import Bucket, Change
from tests.protocol.client import Medium

Extent = tuple[bytes, int, int]
"""A copy: the digest of its object, its pack and its offset there."""


@dataclass
class Operation:
    """What an actor does, and what came of it so far."""

    actor: str
    kind: str
    keys: frozenset[bytes]
    began: int
    """The number of the newest manifest then."""
    landed: list[int] = field(default_factory=list)
    """The commits that brought packs."""

    def __str__(self) -> str:
        return f"{self.actor}, {self.kind}"


class _Rows(NamedTuple):
    copies: frozenset[Extent]
    killed: frozenset[Extent]


class Judge:
    """Watches a bucket. `wrong` is empty for as long as all that has to hold does."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self.wrong: list[str] = []
        self.newest = 0
        self.live: dict[int, frozenset[bytes]] = {}
        """The objects that are there, by the number of the commit."""
        self.commits = 0
        self.setting_up = False
        """Whether what commits do is not judged."""
        self._manifests: dict[int, Manifest] = {}
        self._inserted: dict[int, frozenset[bytes]] = {}
        """What inserts were to store, by the numbers of the commits that brought their packs."""
        self._named: frozenset[str] = frozenset()
        self._gone: set[int] = set()
        """The packs that were live, and are not any more."""
        self._rows: dict[tuple[int, str, int, int], _Rows] = {}
        self._first: dict[str, bytes] = {}
        bucket.watch = self._watch

    @property
    def manifest(self) -> Manifest:
        """The newest manifest."""
        return self._manifests[self.newest]

    def _fail(self, kind: str, text: str) -> None:
        self.wrong.append(f"{kind}: {text}")

    # After each change.

    def _watch(self, change: Change) -> None:
        verb, name, sender = change
        by = f"{verb} {name} by {sender}"
        if verb == "put_new":
            data = self.bucket.objects[name].data
            if self._first.setdefault(name, data) != data:
                self._fail("another", by)
            if documents.is_manifest(name):
                self._commit(documents.decode(data), sender)
        elif name in self._named:
            self._fail("missing", f"{by}, and the newest manifest names it")
        elif verb == "empty" and not documents.is_manifest(name):
            self._fail("emptied", by)

    def _commit(self, manifest: Manifest, sender: object) -> None:
        number, before = manifest.number, self._manifests.get(self.newest)
        self.commits += 1
        if number != self.newest + 1:
            self._fail("chain", f"{number} came after {self.newest}, by {sender}")
            return
        live = self._living(manifest)
        self._manifests[number], self.live[number] = manifest, live
        self.newest = number
        if before is not None and not self.setting_up:
            self._judge_step(before, manifest, sender)
        self._gone |= set(before.pack_ids if before else ()) - set(manifest.pack_ids)
        self._named = frozenset(documents.names_in(manifest)) | {documents.manifest_name(number)}
        for name in self._named:
            if name not in self.bucket.objects:
                self._fail("missing", f"{name}, which manifest {number} names, by {sender}")

    def _judge_step(self, before: Manifest, manifest: Manifest, sender: object) -> None:
        """Judge what one commit has done to the one before."""
        assert before.remote is not None and manifest.remote is not None
        number = manifest.number
        if manifest.remote.parent != before.remote.commit:
            self._fail("chain", f"{number} does not follow on the commit before it, by {sender}")
        gained, lost = self.live[number] - self.live[before.number], self.live[before.number] - self.live[number]
        kind = sender.kind if isinstance(sender, Operation) else ""
        keys = sender.keys if isinstance(sender, Operation) else frozenset()
        if gained and not (kind == "insert" and gained <= keys):
            self._fail("came back", f"{short(gained)} in {number}, by {sender}")
        if lost and not (kind == "delete" and lost <= keys):
            self._fail("lost", f"{short(lost)} in {number}, by {sender}")
        if lost and manifest.epoch <= before.epoch:
            self._fail("epoch", f"{number} kills objects in the epoch of the commit before it")
        for pack_id in self._gone.intersection(manifest.pack_ids):
            self._fail("pack came back", f"{pack_id} in {number}, by {sender}")
        if set(manifest.pack_ids) - set(before.pack_ids) and isinstance(sender, Operation):
            sender.landed.append(number)
            if sender.kind == "insert":
                self._inserted[number] = sender.keys

    def _living(self, manifest: Manifest) -> frozenset[bytes]:
        rows = [self._rows_of(manifest, entry) for entry in manifest.segments]
        packs = frozenset(manifest.pack_ids)
        killed = frozenset[Extent]().union(*(each.killed for each in rows))
        return frozenset(copy[0] for each in rows for copy in each.copies if copy[1] in packs and copy not in killed)

    def _rows_of(self, manifest: Manifest, entry: SegmentEntry) -> _Rows:
        name = documents.table_name(manifest, entry)
        key = (entry.number, name, entry.pack_id, entry.offset)
        rows = self._rows.get(key)
        if rows is None:
            if name not in self.bucket.stored:
                return _Rows(frozenset(), frozenset())  # Which is told as missing.
            file = _open(name, self.bucket.stored[name])
            table = open_segment_file(file) if entry.number else open_table(file, entry.offset, entry.length)
            entries = table.entries()
            dead = entries.is_tombstone()
            rows = _Rows(*(frozenset((r.digest, r.pack_id, r.offset) for r in entries.take(m)) for m in (~dead, dead)))
            self._rows[key] = rows
        return rows

    # What operations are told.

    def begin(self, actor: str, kind: str, keys: Iterable[bytes] = ()) -> Operation:
        """Note that an actor begins to do something."""
        return Operation(actor, kind, frozenset(keys), self.newest)

    def stored(self, operation: Operation) -> None:
        """Judge an insert that has returned: each of its objects was there at one of its commits, or since the last.

        Where it had nothing to commit, each was there while it ran. What it knew to be there before its commits it
        has to look up again.
        """
        since = operation.landed[-1] if operation.landed else operation.began
        numbers = sorted({*operation.landed, *range(since, self.newest + 1)})
        for key in operation.keys:
            if not any(key in self.live[number] for number in numbers):
                self._fail("lost", f"{short([key])} was acknowledged to {operation}, and is not in {numbers}")

    def deleted(self, operation: Operation) -> None:
        """Judge a delete that has returned: while it ran, there was a moment in which each object was not there.

        Or an insert stored it in that time: such an object stays.
        """
        for key in operation.keys:
            numbers = range(operation.began, self.newest + 1)
            stored = any(key in self._inserted.get(number, ()) for number in numbers[1:])
            if not stored and all(key in self.live[number] for number in numbers):
                self._fail("came back", f"{short([key])}, whose delete was told to {operation}, is in {[*numbers]}")

    def read(self, operation: Operation, answers: Mapping[bytes, bool], opened: int) -> None:
        """Judge a read that has returned, of a container that was opened at a commit."""
        for key, is_found in answers.items():
            if is_found and not any(key in self.live[number] for number in range(opened, self.newest + 1)):
                self._fail("came back", f"{short([key])} was read by {operation}")
            if not is_found and all(key in self.live[number] for number in range(operation.began, self.newest + 1)):
                self._fail("not found", f"{short([key])} was there all the time, and not for {operation}")

    def raised(self, operation: Operation, error: BaseException) -> None:
        """Judge an error that no user should see."""
        self._fail("raised", f"{type(error).__name__} by {operation}: {error}")

    def collected(self) -> None:
        """Judge the bucket after all reservations have lapsed, and a collector has run alone.

        What a repair has put that was overtaken or killed has an id that was not given out yet, and stays until it is.
        """
        for directory in documents.DIRECTORIES:
            for name in self.bucket.names(directory, "", None):
                is_given_out = int(name.partition("-")[0]) < self.manifest.next_segment
                if is_given_out and f"{directory}/{name}" not in self._named:
                    self._fail("left", f"{directory}/{name} is not named, and not collected")


def short(keys: Iterable[bytes]) -> str:
    """Return the beginnings of some digests."""
    return " ".join(sorted(key.hex()[:6] for key in keys))


def _open(name: str, data: bytes) -> RandomAccess:
    """Return an object as it was put, open for reading."""
    bucket = Bucket(0.0)
    bucket.put_new(name, data, None)
    return Medium(bucket).open(name)
