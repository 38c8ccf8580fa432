"""Backup: a copy of the whole container beside those made before. Options → plan → execute → report."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic

from rsdos.engine.engine import Engine
from rsdos.errors import InvalidOption
from rsdos.maintenance.backup.generations import Generations
from rsdos.maintenance.backup.last_backup import LastBackup, write_note
from rsdos.maintenance.backup.mirror import Mirror
from rsdos.maintenance.check.verify_all import Verified, bad_files, verify_all
from rsdos.maintenance.copies import Rights
from rsdos.progress import SILENCE
from rsdos.protocols import Progress
from rsdos.storage import posix


@dataclass(frozen=True, slots=True)
class BackupOptions:
    """What is wanted of a backup to the directory ``destination``.

    ``keep`` generations stay beside the new one. ``verify``: read and hash all that is in it. ``link`` what did not
    change since the last one; without it everything is copied anew.
    """

    destination: str
    keep: int = 1
    verify: bool = False
    link: bool = True


@dataclass(frozen=True, slots=True)
class BackupPlan:
    """What there is to back up: ``files`` of ``length`` bytes, a part of which the generation ``previous`` may have.

    ``resumes``: there is an unfinished backup to go on with.
    """

    options: BackupOptions
    files: int
    length: int
    previous: str | None
    resumes: bool


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What a backup did.

    The new ``generation`` has ``files`` of ``length`` bytes, ``linked`` of them as in the one before; ``written``
    bytes are new. ``deleted`` are the generations that went. ``unreadable`` are files of the container that are
    missing, cut short or on a bad sector: what there is of them was copied. ``objects`` copies were verified;
    ``damaged`` are the keys of those that are bad in the container. ``renewed`` are files of which the copy was bad,
    which the generation before still has, and the container's is good: they were copied anew. ``linked_length`` bytes
    are in those that are linked. It took ``seconds``.
    """

    generation: str
    files: int = 0
    length: int = 0
    linked: int = 0
    written: int = 0
    deleted: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    objects: int = 0
    damaged: tuple[str, ...] = ()
    renewed: tuple[str, ...] = ()
    linked_length: int = 0
    seconds: float = 0.0

    @property
    def is_good(self) -> bool:
        """Whether all could be read and, where that was wanted, is what its keys say."""
        return not self.unreadable and not self.damaged


def plan(engine: Engine, options: BackupOptions) -> BackupPlan:
    """Count the files. Raises `InvalidOption`, `ContainerExists` when backups of another container are there."""
    if options.keep < 0:
        raise InvalidOption(f"keep is 0 or more, not {options.keep}")
    generations = Generations(options.destination)
    root, inside = os.path.realpath(engine.layout.root), os.path.realpath(generations.root)
    if os.path.commonpath([root, inside]) == root:
        raise InvalidOption(f"{options.destination}: inside the container that is to be backed up")
    generations.check(engine.config.container_id)
    loose = list(map(posix.length_of, engine.loose.names.paths()))
    sums = engine.packed.stats()
    files = len(loose) + len(sums.packs)
    length = sum(loose) + sum(pack.length for pack in sums.packs) + sums.index_length
    return BackupPlan(
        options, files, length, generations.last if options.link else None, os.path.isdir(generations.live)
    )


def execute(engine: Engine, plan: BackupPlan, progress: Progress = SILENCE) -> BackupReport:
    """Back up. Readers, writers and maintenance go on; everything that was there at the start and stays is in it.

    Nothing is removed from the destination but what a backup of this container has made, and no link is followed there.

    Killed at any moment, on a full disk or with any other error, the generations that were there are as they were, and
    the next run goes on with what was copied. Raises `Busy` when another backup to the same place is at work,
    `ContainerExists`, `NotOurs` when something else stands where the unfinished backup does, `DamagedContainer` when
    the newest manifest is damaged, and OSError.
    """
    begun = monotonic()
    options = plan.options
    generations = Generations(options.destination)
    container_id = engine.config.container_id
    with generations.locked(engine.when_busy):
        generations.check(container_id)
        generations.collect_garbage()
        with suppress(OSError):
            # Where there is no directory for it, no lock can keep the packs of version 1.
            engine.layout.make(engine.layout.locks)
        with _mirror(engine, generations, options, progress) as mirror, engine.protect_packs():
            mirror.run(plan.length)
            verified, renewed = _verified(mirror, generations.live, progress) if options.verify else (Verified(), ())
        generation = generations.finish()
        deleted = generations.prune(options.keep, os.path.basename(generation), container_id)
    good = not verified.damaged and not verified.reason if options.verify else None
    write_note(engine.layout, LastBackup(datetime.now(UTC).isoformat(timespec="seconds"), generation, good))
    return BackupReport(
        generation,
        mirror.files,
        mirror.length,
        mirror.linked,
        mirror.written,
        deleted,
        (*mirror.unreadable, *filter(None, (verified.reason,))),
        verified.objects,
        verified.damaged,
        renewed,
        mirror.linked_length,
        monotonic() - begun,
    )


@contextmanager
def _mirror(engine: Engine, generations: Generations, options: BackupOptions, progress: Progress) -> Iterator[Mirror]:
    names = generations.names() if options.link else []
    with ExitStack() as stack:
        live = stack.enter_context(generations.begun(engine.config.container_id))
        previous = None
        if names:
            place = stack.enter_context(generations.open())
            previous = stack.enter_context(place.child(names[-1]))
        rights = Rights.like(engine.layout.root)
        mirror = Mirror(engine, live, previous, rights, generations.move_to_quarantine, progress)
        stack.callback(mirror.close)
        yield mirror


def _verified(mirror: Mirror, root: str, progress: Progress) -> tuple[Verified, tuple[str, ...]]:
    """Read all; what is bad is copied anew, and read again. What is bad then is bad in the container."""
    verified = verify_all(root, progress)
    if not verified.damaged and not verified.reason:
        return verified, ()
    files = bad_files(root, verified)
    done = mirror.copy_again(files)
    again = verify_all(root, progress)
    return again, tuple(sorted(set(done) - set(bad_files(root, again))))
