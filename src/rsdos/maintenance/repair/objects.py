"""Repair of objects: damaged ones are replaced from wherever a good copy is. Options → plan → execute → report."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from enum import Enum
from time import monotonic

from rsdos.engine.engine import Engine
from rsdos.errors import DamagedContainer, DamagedObject, DecodeError, InvalidOption
from rsdos.maintenance.check.validate import check_all
from rsdos.maintenance.repair.quarantine import move_to_quarantine, new_directory, write_report
from rsdos.model import FRAME_SIZE, BytesLike, CompressMode, Copy, Durability, Trust
from rsdos.progress import SILENCE
from rsdos.protocols import Progress
from rsdos.stores.base import Store
from rsdos.stores.batch import BatchWriter
from rsdos.stores.encoding import Encoding
from rsdos.stores.findings import Depth, Finding
from rsdos.streams.plain import hashed
from rsdos.streams.sources import in_frames

_BATCH = 1 << 12
"""Objects that are repaired with one commit each of what is taken, of what is let go, and of what is beyond help."""

HERE = "here"
"""Stands for another copy in the container itself."""


class Unrepairable(Enum):
    """What becomes of damaged objects of which no good copy is found."""

    KEEP = "keep"
    """They stay, damaged: a later run that is given another source can still repair them."""
    QUARANTINE = "quarantine"
    """They go from the container, and all that there was of them to quarantine; no later run knows of them."""


@dataclass(frozen=True, slots=True)
class RepairObjectsOptions:
    """Where good copies may be: open containers of any version with the same hash; a backup is one.

    ``depth``: how damaged objects are looked for. ``beyond_help``: what becomes of those that no source has.
    """

    sources: Sequence[Engine] = ()
    depth: Depth = Depth.FULL
    beyond_help: Unrepairable = Unrepairable.KEEP


@dataclass(frozen=True, slots=True)
class RepairAction:
    """What can be done about a damaged object: ``source`` is the container that has a good copy, None: no help."""

    key: str
    reason: str
    source: str | None


@dataclass(frozen=True, slots=True)
class RepairObjectsPlan:
    """The damaged objects, and what can be done about each. ``files``: damage that is `repair_index`'s business.

    ``unlisted``: more objects are damaged than are kept; they are the next run's.
    """

    options: RepairObjectsOptions
    remedies: tuple[RepairAction, ...] = ()
    files: tuple[Finding, ...] = ()
    unlisted: int = 0


@dataclass(frozen=True, slots=True)
class RepairObjectsReport:
    """What a repair of objects did, in ``seconds``.

    ``repaired`` objects are good now. ``beyond_help`` are as they were or, under `Unrepairable.QUARANTINE`, not in the
    container any more. ``described`` says, relative to the container, where what was put into quarantine is described.
    ``files`` and ``unlisted`` as in the plan.
    """

    repaired: tuple[RepairAction, ...] = ()
    beyond_help: tuple[RepairAction, ...] = ()
    described: str | None = None
    files: tuple[Finding, ...] = ()
    unlisted: int = 0
    seconds: float = 0.0

    @property
    def is_good(self) -> bool:
        """Whether all is well now."""
        return not (self.beyond_help or self.files or self.unlisted)


def plan(engine: Engine, options: RepairObjectsOptions, progress: Progress = SILENCE) -> RepairObjectsPlan:
    """Validate all, and look for a good copy of each damaged object: it is read, decoded and hashed.

    Raises `InvalidOption` when a source has another hash, or is the container itself.
    """
    for source in options.sources:
        if source.config.hash is not engine.config.hash:
            raise InvalidOption(f"{source.layout.root} has another hash: its keys name other objects")
        if os.path.realpath(source.layout.root) == os.path.realpath(engine.layout.root):
            raise InvalidOption("a container cannot be repaired from itself")
    report = check_all(engine, options.depth, progress)
    reasons = {finding.key: finding.reason for finding in report.damaged if finding.key is not None}
    remedies = []
    for key, reason in reasons.items():
        if engine.config.hash.is_key(key):
            remedies.append(RepairAction(key, reason, _source_of(engine, options.sources, bytes.fromhex(key))))
    rows = [finding for finding in report.damaged if not engine.config.hash.is_key(finding.key)]
    return RepairObjectsPlan(options, tuple(remedies), (*report.files, *rows), report.unlisted)


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
    """The bytes of an object as a store has it, hash and all. Raises what damage raises, on the way."""
    parts = store.frames(digest)
    if parts is None:
        store.refresh()
        parts = store.frames(digest)
    return None if parts is None else hashed(parts, digest, store.hash)


def execute(engine: Engine, plan: RepairObjectsPlan, progress: Progress = SILENCE) -> RepairObjectsReport:
    """Put good copies in the place of the bad ones and, where the options say so, what is beyond help into quarantine.

    A bad copy is let go of only when a good one is on stable storage, or when it was copied to ``quarantine/`` with a
    report. Readers and writers go on; what they insert meanwhile counts. Killed at any moment, it can be run again.
    Raises `Busy` when another maintenance run is at work, `ReadOnlyContainer`, OSError, and `InvalidOption` when what
    is beyond help is to go while the index is damaged: perhaps only the index hides it.
    """
    if plan.files and plan.options.beyond_help is Unrepairable.QUARANTINE:
        raise InvalidOption("repair the index first (rsdos repair index): perhaps it hides what seems beyond help")
    begun = monotonic()
    run = _Repair(engine, plan)
    with engine.maintenance("repair"), ExitStack() as held:
        for source in plan.options.sources:
            held.enter_context(source.protect_packs())
        progress.start("Repairing objects", len(plan.remedies), "objects")
        try:
            for at in range(0, len(plan.remedies), _BATCH):
                run.repair(plan.remedies[at : at + _BATCH], progress)
        finally:
            progress.finish()
            described = run.describe()
    return RepairObjectsReport(
        tuple(run.repaired), tuple(run.beyond_help), described, plan.files, plan.unlisted, monotonic() - begun
    )


class _RepairGroup:
    """Some objects of which the same becomes."""

    def __init__(self) -> None:
        self.remedies: list[RepairAction] = []
        self.digests: list[bytes] = []

    def add(self, remedy: RepairAction, digest: bytes, source: str | None) -> None:
        self.remedies.append(replace(remedy, source=source))
        self.digests.append(digest)


class _Repair:
    """One run, and what has become of each object."""

    def __init__(self, engine: Engine, plan: RepairObjectsPlan) -> None:
        self._engine = engine
        self._plan = plan
        self._encoding = Encoding(CompressMode.AUTO, engine.config.codec)
        self._directory: str | None = None
        self.repaired: list[RepairAction] = []
        self.beyond_help: list[RepairAction] = []

    def _aside(self) -> str:
        if self._directory is None:
            self._directory = new_directory(self._engine, "objects")
        return self._directory

    def repair(self, remedies: Sequence[RepairAction], progress: Progress) -> None:
        """Do what can be done about some objects, together."""
        packed, loose = self._engine.packed, self._engine.loose
        digests = [bytes.fromhex(remedy.key) for remedy in remedies]
        in_files = loose.check_copies(digests, Trust.VERIFY, Durability.FULL)
        good_in_files, good_in_packs, helped, helpless = _RepairGroup(), _RepairGroup(), _RepairGroup(), _RepairGroup()
        # 1. Where there is no good copy here, append that of another container; commit all of them.
        # What is here is known to be damaged.
        with packed.appender(_always_damaged, Durability.FULL) as appender:
            for remedy, digest, copy in zip(remedies, digests, in_files, strict=True):
                if copy is Copy.GOOD:
                    good_in_files.add(remedy, digest, HERE)
                elif _is_readable(packed, digest):
                    good_in_packs.add(remedy, digest, HERE)
                elif (source := self._take(appender, digest)) is not None:
                    helped.add(remedy, digest, source)
                else:
                    helpless.add(remedy, digest, None)
                progress.advance(1)
            appender.commit()
        # 2. Only now: each has a good copy, committed and on stable storage. Let go of the bad ones.
        packed.drop_damaged([*good_in_packs.digests, *helped.digests])
        packed.drop_damaged(good_in_files.digests, even_the_last=True)
        for group in (good_in_files, good_in_packs, helped):
            for digest in group.digests:
                self._clear_loose(digest)
            self.repaired += group.remedies
        if self._plan.options.beyond_help is Unrepairable.KEEP:
            self.beyond_help += helpless.remedies
        else:
            self._give_up(helpless)

    def _give_up(self, helpless: _RepairGroup) -> None:
        """3. First a copy of all that there is; 4. then it goes."""
        packed, loose = self._engine.packed, self._engine.loose
        for remedy in helpless.remedies:
            move_to_quarantine(self._engine, remedy.key, remedy.reason, self._aside())
        packed.drop_damaged(helpless.digests, even_the_last=True)
        for remedy, digest in zip(helpless.remedies, helpless.digests, strict=True):
            self._clear_loose(digest)
            if _is_readable(packed, digest) or _is_readable(loose, digest):
                self.repaired.append(RepairAction(remedy.key, remedy.reason, HERE))  # Somebody has just inserted it.
            else:
                self.beyond_help.append(remedy)

    def _clear_loose(self, digest: bytes) -> None:
        self._engine.loose.set_damaged_aside(digest, self._aside)

    def _take(self, appender: BatchWriter, digest: bytes) -> str | None:
        """Append an object from the first container that has a good copy; returns where that is."""
        for source in self._plan.options.sources:
            for store in (source.packed, source.loose):
                # Read to its end first: what is raised below is not about the source, and not to be passed over.
                parts = _parts(store, digest) if _is_readable(store, digest) else None
                if parts is None:
                    continue
                first = next(parts, b"")
                rest = next(parts, None)
                if rest is None and len(first) <= FRAME_SIZE:
                    appender.add_many([bytes(first)], self._encoding)
                else:
                    appender.add_frames(in_frames(_chained(first, rest, parts)), self._encoding)
                return source.layout.root
        return None

    def describe(self) -> str | None:
        """Write down what was done, where anything was put into quarantine; returns the path."""
        if self._directory is None:
            return None
        what: dict[str, object] = {
            "repaired": [[one.key, one.reason, one.source] for one in self.repaired],
            "beyond_help": [[one.key, one.reason] for one in self.beyond_help],
        }
        path = write_report(os.path.join(self._directory, "report.json"), what)
        return os.path.relpath(path, self._engine.layout.root)


def _always_damaged(digests: Sequence[bytes], /, *, raws: object = None) -> Sequence[Copy]:
    return [Copy.DAMAGED] * len(digests)


def _chained(first: BytesLike, second: BytesLike | None, rest: Iterator[BytesLike]) -> Iterator[BytesLike]:
    yield first
    if second is not None:
        yield second
    yield from rest
