"""Copying the objects that one container has and another lacks: the part that push and pull share.

1. List the objects of the source. 2. Look all of them up in the target, in bulk. 3. Copy the missing ones in storage
order; the writer of the target commits after a number of packs. 4. If the target has deleted objects since step 2, go
to 2: objects that were found there may be gone. 5. Copy the objects that new names lead to (into a lazy clone: that any
name leads to), and publish the names. There is no journal: after a kill, step 2 of the next run finds the committed
objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from rsdos.engine.engine import Engine
from rsdos.errors import Busy, Expired, InvalidOption
from rsdos.maintenance.copier import CopyStats, ObjectCopier, StoredFormPolicy
from rsdos.maintenance.forget import NamedVersion
from rsdos.maintenance.remotes.bandwidth import MOST_SECONDS, TokenBucket
from rsdos.maintenance.remotes.difference import EVERYTHING, KeyListing, KeySelection, ObjectDifference
from rsdos.maintenance.transfer_refs import bring, count_absent, fresh_names, names_to_bring, names_to_fill
from rsdos.model import Counts, Trust
from rsdos.notebook import ShownAsTable
from rsdos.progress import step
from rsdos.protocols import Progress
from rsdos.storage.counted import Requests
from rsdos.stores import order
from rsdos.stores.batch import BatchWriter
from rsdos.stores.head import Head
from rsdos.stores.packs import Packing
from rsdos.trees.reader import ReadPages


@dataclass(frozen=True, slots=True)
class RemoteOptions:
    """The options of a push or a pull.

    All objects that are stored by key are compared, with all branches and tags, or those of the ``selection``. At most
    ``limit`` bytes a second are copied (None: as many as the line takes). ``pack_size`` is that of new packs of a
    remote in stored bytes (None: the remote's own); ``uploads`` of them are sent at the same time (None: 4).
    """

    selection: KeySelection = EVERYTHING
    limit: int | None = None
    pack_size: int | None = None
    uploads: int | None = None

    def __post_init__(self) -> None:
        for name in ("limit", "pack_size", "uploads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidOption(f"{name} is 1 or more, not {value}")

    def packing(self, own: Packing) -> Packing:
        """Return how packs are made in a remote whose ``own`` way is given. With a limit one takes `MOST_SECONDS`."""
        target = own.target if self.pack_size is None else self.pack_size
        if self.limit is not None:
            target = min(target, self.limit * MOST_SECONDS)
        return Packing(target, own.uploads if self.uploads is None else self.uploads)


@dataclass(frozen=True, slots=True)
class RemotePlan:
    """The result of a push or a pull before it copies anything.

    ``objects`` stored by key, of ``size`` raw and ``length`` stored bytes, are to be copied; ``known`` ones are there.
    ``names`` are the versions and tags that are new there.
    """

    remote: str
    objects: int
    size: int
    length: int
    known: int
    names: tuple[NamedVersion, ...]
    copying: Copying = field(repr=False)


@dataclass(frozen=True, slots=True)
class RemoteEstimate:
    """What a push or a pull would do: its plan, and what the new names need.

    ``held`` objects of ``held_size`` raw and ``held_length`` stored bytes come with the names. ``packs`` is the number
    of packs that would be written, or read; ``requests`` would be made to a remote behind a URL, with the bytes both
    ways.
    """

    remote: str
    objects: int
    size: int
    length: int
    known: int
    names: tuple[NamedVersion, ...]
    held: int
    held_size: int
    held_length: int
    packs: int
    requests: Requests


@dataclass(frozen=True, slots=True)
class RemoteReport(ShownAsTable):
    """The result of a push or a pull, which took ``seconds``.

    ``objects`` of ``size`` raw and ``length`` stored bytes were copied, ``copied`` of them byte for byte; one that had
    to be copied again counts twice. ``known`` objects were there. ``rescued`` are the keys of objects whose first copy
    in the source is damaged, and that were read from another one. ``damaged`` has the keys of unreadable objects, each
    with the reason, ``missing`` those of objects that were deleted before they were copied: both were left out.
    ``names`` are the versions and tags that are new. ``number`` is that of the remote's newest commit.
    """

    remote: str
    number: int
    objects: int
    size: int
    length: int
    copied: int
    known: int
    rescued: tuple[str, ...]
    damaged: tuple[tuple[str, str], ...]
    missing: tuple[str, ...]
    names: tuple[NamedVersion, ...]
    requests: Requests
    seconds: float


class Copying:
    """A copy of objects from ``source`` that are missing in ``target``, with names. One thread.

    ``kind`` is the class of copiers. ``pages`` reads the pages of trees of the source. The caller protects the packs of
    the source. Raise what `KeyListing` and `ObjectDifference` raise, and `RefExists`, `DamagedTree`.
    """

    def __init__(
        self,
        source: Engine,
        target: Engine,
        options: RemoteOptions,
        kind: type[ObjectCopier],
        pages: ReadPages,
        head: Head | None = None,
    ) -> None:
        """``head`` is the newest state of the target, if the caller has just read it."""
        self._source, self._target = source, target
        self._kind, self._pages = kind, pages
        self._form = StoredFormPolicy.kept(target.packed, target.config.codec)
        self._bucket = None if options.limit is None else TokenBucket(options.limit)
        self.stats = CopyStats()
        # 1.
        self._listing = KeyListing(source, options.selection)
        self.head = target.packed.head() if head is None else head
        """The newest state of the target that was seen. What is there is looked up in it, or in a later one."""
        # 2.
        self.difference = ObjectDifference(self._listing, target, head)
        """As of the beginning."""
        self._names: Sequence[NamedVersion] = ()
        if options.selection.has_all and source.packed.live().refs:
            self._names = names_to_bring(source, None)
        self.fresh = fresh_names(target, self._names) if self._names else ()
        """The versions and tags that the target does not have."""
        self._lacking = names_to_fill(target, self._names, self.fresh)

    def held(self) -> Counts:
        """Return what the new names need and the target lacks. Every page of new versions is read."""
        return count_absent(self._target, self._source, self._lacking, self._pages) if self._lacking else Counts()

    def run(self, description: str, progress: Progress) -> tuple[NamedVersion, ...]:
        """Copy and commit. Return the versions and tags that are new.

        Raise `Busy` if others delete the objects again and again, and what `transfer_refs.bring` raises.
        """
        stats, difference = self.stats, self.difference
        stats.known = difference.known
        with step(progress, description, difference.counts.length, "bytes"):
            for _ in range(order.MOST_ROUNDS):
                try:
                    is_committed = self._copy(difference, progress)
                except Expired:
                    pass  # The objects that were committed before are found now. The others are sent again.
                else:
                    # 4. A commit has told the newest state. An epoch of 0 counts nothing: it is looked for again until
                    # nothing is missing.
                    packed = self._target.packed
                    before, self.head = self.head, packed.head_of_lookups() if is_committed else packed.head()
                    if self.head.epoch == before.epoch and (self.head.epoch or not self._todo(difference)):
                        break
                difference = ObjectDifference(self._listing, self._target)
                if not self._todo(difference):
                    break
            else:
                raise Busy(self._target.layout.root, "others, which delete the copied objects")
        if not self._lacking:
            return ()
        # 5.
        make = partial(self._make, self._kind)
        with step(progress, f"{description} snapshots", None, "objects"):
            names = bring(self._target, self._source, self._names, stats, progress, make, self._pages)
        self.head = self._target.packed.head()
        return names

    def _todo(self, difference: ObjectDifference) -> int:
        """Return how many objects are missing and can be copied."""
        return difference.counts.objects - len(self.stats.damaged) - len(self.stats.missing)

    def _make(self, kind: type[ObjectCopier], writer: BatchWriter, stats: CopyStats) -> ObjectCopier:
        copier = kind(self._source, writer, self._form, stats)
        if self._bucket:
            copier.pace = self._bucket.take
            copier.group_size = min(copier.group_size, self._bucket.rate)
        return copier

    def _copy(self, difference: ObjectDifference, progress: Progress) -> bool:
        """Do step 3. Return whether anything was committed."""
        if not self._todo(difference):
            return False
        bad = {bytes.fromhex(key) for key in (*self.stats.damaged, *self.stats.missing)}
        with self._target.packed.writer(trust=Trust.INDEX) as writer:
            copier = self._make(self._kind, writer, self.stats)
            try:
                for chunk in difference.chunks():
                    copier.copy([digest for digest in chunk.digests if digest not in bad])
                    progress.advance(chunk.length)
                writer.commit()
            except BaseException as error:
                done = f"{writer.committed} of {difference.counts.objects} objects"
                error.add_note(f"committed so far: {done}; run it again to continue")
                raise
            return bool(writer.pack_ids)

    def plan(self, remote: str) -> RemotePlan:
        """Return the plan of this copy."""
        counts = self.difference.counts
        return RemotePlan(remote, *counts, self.difference.known, self.fresh, self)

    def report(
        self, remote: str, number: int, names: tuple[NamedVersion, ...], requests: Requests, seconds: float
    ) -> RemoteReport:
        """Return the report of this copy."""
        stats = self.stats
        return RemoteReport(
            remote,
            number,
            stats.objects,
            stats.size,
            stats.length,
            stats.copied,
            stats.known,
            tuple(stats.rescued),
            tuple(stats.damaged.items()),
            tuple(stats.missing),
            names,
            requests,
            seconds,
        )


def estimate_of(plan: RemotePlan, held: Counts, packs: int, requests: Requests) -> RemoteEstimate:
    """Return a plan with what its names need."""
    known = plan.remote, plan.objects, plan.size, plan.length, plan.known, plan.names
    return RemoteEstimate(*known, *held, packs, requests)
