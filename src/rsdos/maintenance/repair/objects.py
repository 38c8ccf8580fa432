"""Repair of objects: replaces damaged copies by good ones. Options → plan → execute → report."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import NamedTuple

from rsdos.engine.engine import Engine
from rsdos.errors import DamagedContainer, DamagedObject, DecodeError, InvalidOption
from rsdos.maintenance.check.trees import needed_objects
from rsdos.maintenance.check.validate import check_all
from rsdos.maintenance.repair.pages import rebuilt_pages
from rsdos.maintenance.repair.quarantine import copy_damaged
from rsdos.model import BytesLike, CompressMode, Copy, Durability, PackKind, Trust
from rsdos.notebook import ShownAsTable
from rsdos.progress import SILENCE, Stopwatch, step
from rsdos.protocols import Progress
from rsdos.stores.base import Store
from rsdos.stores.batch import BatchWriter
from rsdos.stores.encoding import Encoding
from rsdos.stores.findings import CopyKinds, Depth, Finding
from rsdos.stores.quarantine import Quarantine
from rsdos.streams.plain import hashed

_BATCH = 1 << 12
"""Objects that are repaired together: one commit for the good copies, and one for the removed ones."""

MOST_REPAIRED = 100_000
"""Objects that one run repairs, in 200 s. Each run validates the whole container."""

HERE = "here"
"""The source of a good copy that is in the container itself."""

NEEDED = "a snapshot needs it, and it is in no pack"
"""What is wrong with a missing object."""

PAGES = "pages"
"""The source of an inner page of a tree that is made anew from the pages below it."""


class Unrepairable(Enum):
    """What to do with damaged objects that have no good copy anywhere."""

    KEEP = "keep"
    """Leave them: a later run with another source can still repair them."""
    QUARANTINE = "quarantine"
    """Copy their bytes to quarantine and delete them. No later run repairs them."""


@dataclass(frozen=True, slots=True)
class RepairObjectsOptions:
    """The options of a repair of objects.

    ``sources`` are open containers with the same hash, of any version, which may have good copies: backups, for
    example. ``depth`` is that of the validation that finds the damage. ``beyond_help`` says what to do with damaged
    objects that no source has.
    """

    sources: Sequence[Engine] = ()
    depth: Depth = Depth.FULL
    beyond_help: Unrepairable = Unrepairable.KEEP


@dataclass(frozen=True, slots=True)
class RepairAction:
    """The repair of one damaged object.

    ``source`` is the container with a good copy, `HERE`, or `PAGES`; None if there is none.
    """

    key: str
    reason: str
    source: str | None


@dataclass(frozen=True, slots=True)
class RepairObjectsPlan:
    """The damaged objects, and the repair of each (``remedies``).

    ``files`` is damage that the repair of the index is for. ``unlisted`` counts further damaged objects, which the next
    run repairs. ``needed`` are the missing objects of snapshots; those below a lost page are found when it is repaired.
    """

    options: RepairObjectsOptions
    remedies: tuple[RepairAction, ...] = ()
    files: tuple[Finding, ...] = ()
    unlisted: int = 0
    needed: Mapping[bytes, PackKind] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class RepairObjectsReport(ShownAsTable):
    """The result of a repair of objects, which took ``seconds``.

    ``repaired`` objects are good now. ``beyond_help`` objects have no good copy: they were left as they were or, with
    `Unrepairable.QUARANTINE`, deleted. ``described`` is the path of the report in quarantine, relative to the
    container; None if nothing was moved there. ``files`` and ``unlisted`` are those of the plan.
    """

    repaired: tuple[RepairAction, ...] = ()
    beyond_help: tuple[RepairAction, ...] = ()
    described: str | None = None
    files: tuple[Finding, ...] = ()
    unlisted: int = 0
    seconds: float = 0.0

    @property
    def is_good(self) -> bool:
        """Whether no damage is left."""
        return not (self.beyond_help or self.files or self.unlisted)


def plan(engine: Engine, options: RepairObjectsOptions, progress: Progress = SILENCE) -> RepairObjectsPlan:
    """Validate the container, and find a good copy of each damaged object by reading, decoding and hashing it.

    Args:
        engine: the open container.
        options: a `RepairObjectsOptions`.
        progress: receives the stored bytes of the validation.

    Returns:
        The damaged objects, and the source of a good copy of each.

    Raises:
        InvalidOption: a source has another hash, or is the container itself; or objects would go to quarantine, and the
            container has no files.
        OSError: a system call failed.
    """
    if engine.packed.packs_grow or options.beyond_help is Unrepairable.QUARANTINE:
        engine.need_files("repair objects")
    for source in options.sources:
        if source.config.hash is not engine.config.hash:
            raise InvalidOption(f"{source.layout.root} has another hash: its keys name other objects")
        if os.path.realpath(source.layout.root) == os.path.realpath(engine.layout.root):
            raise InvalidOption("a container cannot be repaired from itself")
    report = check_all(engine, options.depth, progress, MOST_REPAIRED)
    needed = needed_objects(engine) if report.damaged else {}
    reasons = {digest.hex(): NEEDED for digest in needed}
    for finding in report.damaged:
        if finding.key is not None and engine.config.hash.is_key(finding.key):
            reasons[finding.key] = finding.reason
    rows = [finding for finding in report.damaged if not engine.config.hash.is_key(finding.key)]
    remedies = _remedies(engine, options.sources, reasons)
    return RepairObjectsPlan(options, remedies, (*report.files, *rows), report.unlisted, needed)


def _remedies(engine: Engine, sources: Sequence[Engine], reasons: Mapping[str, str]) -> tuple[RepairAction, ...]:
    """Return the repair of each object, given what is wrong with it."""
    remedies = [
        RepairAction(key, reason, _source_of(engine, sources, bytes.fromhex(key))) for key, reason in reasons.items()
    ]
    helpless = {bytes.fromhex(remedy.key) for remedy in remedies if remedy.source is None}
    made = {digest.hex() for digest in rebuilt_pages(engine, helpless)}
    return tuple(replace(remedy, source=PAGES) if remedy.key in made else remedy for remedy in remedies)


def _source_of(engine: Engine, sources: Sequence[Engine], digest: bytes) -> str | None:
    for source in (engine, *sources):
        with source.protect_packs():
            if any(_is_readable(store, digest) for store in (source.packed, source.loose)):
                return HERE if source is engine else source.layout.root
    return None


def _is_readable(store: Store, digest: bytes) -> bool:
    try:
        parts = _parts(store, digest)
        if parts is None:
            return False
        for _ in parts:
            pass
    except (DamagedObject, DamagedContainer, DecodeError, FileNotFoundError):
        return False
    return True


def _parts(store: Store, digest: bytes) -> Iterator[BytesLike] | None:
    """Return the bytes of an object in a store, verified by its hash; None without one. Damage raises on the way."""
    parts = store.frames(digest)
    if parts is None:
        store.refresh()
        parts = store.frames(digest)
    return None if parts is None else hashed(parts, digest, store.hash)


def execute(engine: Engine, plan: RepairObjectsPlan, progress: Progress = SILENCE) -> RepairObjectsReport:
    """Replace damaged copies by good ones and, if the options say so, move objects without a good copy to quarantine.

    A damaged copy is removed only after a good one is on stable storage, or after its bytes were copied to
    ``quarantine/`` with a report. Readers and writers are not blocked, and objects that they insert during the run
    count as good copies. An object that was deleted since the plan stays deleted, and is not in the report. A run that
    is killed at any moment can be run again.

    Args:
        engine: the open container.
        plan: what `plan` returned.
        progress: receives the number of objects.

    Returns:
        The repaired objects, and those without a good copy.

    Raises:
        InvalidOption: objects are to be moved to quarantine while the index is damaged. Perhaps only the index hides
            their good copies.
        Busy: another maintenance operation is running.
        ReadOnlyContainer: the container cannot be written.
        OSError: a system call failed.
    """
    if plan.files and plan.options.beyond_help is Unrepairable.QUARANTINE:
        raise InvalidOption("repair the index first (rsdos repair index): perhaps it hides good copies")
    watch = Stopwatch()
    run = _Repair(engine, plan)
    with engine.maintenance("repair"), ExitStack() as held:
        for source in plan.options.sources:
            held.enter_context(source.protect_packs())
        try:
            remedies = plan.remedies
            while remedies:
                remedies = run.led_to(run.repair_all(remedies, progress))
        finally:
            described = run.describe()
    return RepairObjectsReport(
        tuple(run.repaired), tuple(run.beyond_help), described, plan.files, plan.unlisted, watch.seconds
    )


class _Damaged(NamedTuple):
    """An object to be repaired: its copy in a file, and the kinds of packs that need a good copy of it."""

    remedy: RepairAction
    digest: bytes
    loose: Copy
    lacking: Collection[PackKind]


class _RepairGroup:
    """Objects that get the same treatment."""

    def __init__(self) -> None:
        self.remedies: list[RepairAction] = []
        self.digests: list[bytes] = []

    def add(self, remedy: RepairAction, digest: bytes, source: str | None) -> None:
        self.remedies.append(replace(remedy, source=source))
        self.digests.append(digest)


class _Repair:
    """One run, and the outcome for each object."""

    def __init__(self, engine: Engine, plan: RepairObjectsPlan) -> None:
        self._engine = engine
        self._plan = plan
        self._encoding = Encoding(CompressMode.AUTO, engine.config.codec)
        self._quarantine = Quarantine(engine.layout, "objects")
        self._pages: dict[bytes, bytes] = {}
        self._needed = dict(plan.needed)
        self._tried: set[bytes] = set()
        self.repaired: list[RepairAction] = []
        self.beyond_help: list[RepairAction] = []

    def repair_all(self, remedies: Sequence[RepairAction], progress: Progress) -> Sequence[RepairAction]:
        """Repair objects, a batch at a time. Return the repaired ones."""
        made = {bytes.fromhex(remedy.key) for remedy in remedies if remedy.source == PAGES}
        self._pages = rebuilt_pages(self._engine, made)
        self._tried.update(bytes.fromhex(remedy.key) for remedy in remedies)
        before = len(self.repaired)
        with step(progress, "Repairing objects", len(remedies), "objects"):
            for at in range(0, len(remedies), _BATCH):
                self._repair(remedies[at : at + _BATCH], progress)
        return self.repaired[before:]

    def led_to(self, repaired: Sequence[RepairAction]) -> tuple[RepairAction, ...]:
        """Return the repairs of what is missing below refs, snapshots and pages that are among the repaired objects."""
        if not any(self._needed.get(bytes.fromhex(remedy.key)) is PackKind.TREES for remedy in repaired):
            return ()
        needed = needed_objects(self._engine)
        self._needed.update(needed)
        reasons = {digest.hex(): NEEDED for digest in needed if digest not in self._tried}
        return _remedies(self._engine, self._plan.options.sources, reasons)

    def _repair(self, remedies: Sequence[RepairAction], progress: Progress) -> None:
        """Repair some objects together."""
        packed = self._engine.packed
        damaged = self._still_there(remedies)
        progress.advance(len(remedies) - len(damaged))
        # 1. Append a good copy, from here or another container, for each kind that has none; commit them together.
        sources: dict[bytes, str | None] = {}
        for kind in PackKind:
            wanted = [one.digest for one in damaged if kind in one.lacking]
            if wanted:
                self._append(wanted, kind, sources)
        good_in_files, good_in_packs, helped, helpless = _RepairGroup(), _RepairGroup(), _RepairGroup(), _RepairGroup()
        for remedy, digest, copy, _ in damaged:
            source = sources.get(digest, HERE)
            if source is None:
                helpless.add(remedy, digest, None)
            elif source != HERE:
                helped.add(remedy, digest, source)
            else:
                (good_in_files if copy is Copy.GOOD else good_in_packs).add(remedy, digest, HERE)
            progress.advance(1)
        # 2. Only now, when each has a good copy that is committed and on stable storage: remove the damaged ones.
        packed.maintenance.drop_damaged([*good_in_packs.digests, *helped.digests])
        packed.maintenance.drop_damaged(good_in_files.digests, even_the_last=True)
        for group in (good_in_files, good_in_packs, helped):
            for digest in group.digests:
                self._clear_loose(digest)
            self.repaired += group.remedies
        if self._plan.options.beyond_help is Unrepairable.KEEP:
            self.beyond_help += helpless.remedies
        else:
            self._give_up(helpless)

    def _still_there(self, remedies: Sequence[RepairAction]) -> list[_Damaged]:
        """Return what there is of some objects, without those that were deleted since the plan."""
        digests = [bytes.fromhex(remedy.key) for remedy in remedies]
        in_files = self._engine.loose.check_copies(digests, Trust.VERIFY, Durability.FULL)
        in_packs = self._engine.packed.maintenance.kinds_of(digests)
        there = []
        for remedy, digest, loose, kinds in zip(remedies, digests, in_files, in_packs, strict=True):
            needed = self._needed.get(digest, PackKind.PLAIN)
            if not _is_gone(kinds, loose, needed):
                there.append(_Damaged(remedy, digest, loose, _lacking(kinds, loose, needed)))
        return there

    def _give_up(self, helpless: _RepairGroup) -> None:
        """3. Copy all bytes of the objects to quarantine; 4. only then delete them."""
        packed, loose = self._engine.packed, self._engine.loose
        for remedy in helpless.remedies:
            copy_damaged(self._engine, remedy.key, remedy.reason, self._quarantine)
        packed.maintenance.drop_damaged(helpless.digests, even_the_last=True)
        for remedy, digest in zip(helpless.remedies, helpless.digests, strict=True):
            self._clear_loose(digest)
            if _is_readable(packed, digest) or _is_readable(loose, digest):
                self.repaired.append(
                    RepairAction(remedy.key, remedy.reason, HERE)
                )  # Another process has just inserted it.
            else:
                self.beyond_help.append(remedy)

    def _clear_loose(self, digest: bytes) -> None:
        self._engine.loose.quarantine_damaged(digest, self._quarantine)

    def _append(self, digests: Sequence[bytes], kind: PackKind, sources: dict[bytes, str | None]) -> None:
        """Append objects to packs of a kind, and commit them; note where each came from, unless that is noted."""
        # The copies that count are known to be damaged, so the writer need not check for duplicates.
        with self._engine.packed.writer(_always_damaged, Durability.FULL, kind=kind) as writer:
            for digest in digests:
                source = self._take(writer, digest)
                sources[digest] = sources.get(digest) or source
            writer.commit()

    def _take(self, writer: BatchWriter, digest: bytes) -> str | None:
        """Append an object from the first container with a good copy. Return the path of that container, or `HERE`."""
        for source in (self._engine, *self._plan.options.sources):
            for store in (source.packed, source.loose):
                # Read to the end first: an error below is then not of the source, and must not be ignored.
                parts = _parts(store, digest) if _is_readable(store, digest) else None
                if parts is None:
                    continue
                writer.add_parts(parts, self._encoding)
                return HERE if source is self._engine else source.layout.root
        if page := self._pages.get(digest):
            writer.add_parts([page], self._encoding)
            return PAGES
        return None

    def describe(self) -> str | None:
        """Write a report if anything was moved to quarantine. Return its path."""
        if not self._quarantine.is_used:
            return None
        what: dict[str, object] = {
            "repaired": [[one.key, one.reason, one.source] for one in self.repaired],
            "beyond_help": [[one.key, one.reason] for one in self.beyond_help],
        }
        path = self._quarantine.report("report.json", what)
        return self._engine.layout.relative(path)


def _is_gone(kinds: CopyKinds, loose: Copy, needed: PackKind) -> bool:
    """Return whether an object was deleted since the plan: it has no copy, and no snapshot needs it."""
    return not kinds.present and loose is Copy.MISSING and needed is PackKind.PLAIN


def _lacking(kinds: CopyKinds, loose: Copy, needed: PackKind) -> Collection[PackKind]:
    """Return the kinds of packs that need a good copy of an object. Plain: to be read by its key.

    ``needed`` is the kind that snapshots need, or plain.
    """
    lacking = {kind for kind in kinds.present if kinds.good.isdisjoint(kind.stand_ins)}
    if needed is not PackKind.PLAIN and kinds.good.isdisjoint(needed.stand_ins):
        lacking.add(needed)
    if loose is Copy.GOOD:
        return lacking - {PackKind.PLAIN}
    if loose is Copy.DAMAGED and PackKind.PLAIN not in kinds.good:
        lacking.add(PackKind.PLAIN)
    return lacking


def _always_damaged(digests: Sequence[bytes], _: Trust, /, raws: object = None) -> Sequence[Copy]:
    return [Copy.DAMAGED] * len(digests)
