"""Backup: a copy of the whole container beside the earlier ones. Options → plan → execute → report."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from rsdos.engine.engine import Engine
from rsdos.errors import InvalidOption, log_warning
from rsdos.maintenance.backup.generations import Generations
from rsdos.maintenance.backup.last_backup import LastBackup, write_note
from rsdos.maintenance.backup.mirror import Mirror
from rsdos.maintenance.check.verify_all import Verified, bad_files, verify_all
from rsdos.maintenance.copies import Rights
from rsdos.notebook import ShownAsTable
from rsdos.progress import SILENCE, Stopwatch
from rsdos.protocols import Progress
from rsdos.storage import posix


@dataclass(frozen=True, slots=True)
class BackupOptions:
    """The options of a backup to the directory ``destination``.

    ``keep`` earlier generations are kept. ``verify`` reads and hashes every object of the new one. ``link`` makes hard
    links for files that did not change since the last generation; without it every file is copied.
    """

    destination: str
    keep: int = 1
    verify: bool = False
    link: bool = True


@dataclass(frozen=True, slots=True)
class BackupPlan:
    """The number of ``files`` to back up, and their ``length`` in bytes. The generation ``previous`` may have a part.

    ``resumes`` is True when an unfinished backup is continued.
    """

    options: BackupOptions = field(repr=False)
    files: int
    length: int
    previous: str | None
    resumes: bool


@dataclass(frozen=True, slots=True)
class BackupReport(ShownAsTable):
    """The result of a backup, which took ``seconds``.

    The new ``generation`` has ``files`` of ``length`` bytes. ``linked`` files of ``linked_length`` bytes are hard links
    to the generation before; ``written`` bytes were copied. ``deleted`` are the generations that were deleted.
    ``unreadable`` are files of the container that are missing, too short or on a bad sector: the readable part was
    copied. ``objects`` copies were verified. ``damaged`` are the keys of objects that are damaged in the container.
    ``renewed`` are files whose linked copy was damaged and that were copied again from the container; the generation
    before still has the damaged copy.
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
        """Whether every file could be read and, if verified, no object is damaged."""
        return not self.unreadable and not self.damaged


def plan(engine: Engine, options: BackupOptions) -> BackupPlan:
    """Count the files to back up.

    Args:
        engine: the open container.
        options: a `BackupOptions`.

    Returns:
        The number of files and bytes, and the generation to link to.

    Raises:
        InvalidOption: ``keep`` is negative, the destination is inside the container, or the container has no files.
        ContainerExists: the destination has backups of another container.
        NotOurs: something else is in the place of the unfinished backup.
    """
    engine.need_files("backup")
    if options.keep < 0:
        raise InvalidOption(f"keep is 0 or more, not {options.keep}")
    generations = Generations(options.destination)
    root, inside = os.path.realpath(engine.layout.root), os.path.realpath(generations.root)
    if os.path.commonpath([root, inside]) == root:
        raise InvalidOption(f"{options.destination}: inside the container to back up")
    generations.check(engine.config.container_id)
    loose = list(map(posix.length_of, engine.loose.names.paths()))
    sums = engine.packed.maintenance.stats()
    files = len(loose) + len(sums.packs)
    length = sum(loose) + sum(pack.length for pack in sums.packs) + sums.index_length
    return BackupPlan(
        options, files, length, generations.last if options.link else None, os.path.isdir(generations.live)
    )


def execute(engine: Engine, plan: BackupPlan, progress: Progress = SILENCE) -> BackupReport:
    """Back up the container while it is in use.

    Readers, writers and maintenance are not blocked. The backup contains every object that exists at the beginning and
    is not deleted while it runs. In the destination only files that a backup of this container has made are removed,
    and no link is followed. Of a lazy clone only the objects that are here are backed up; a warning in the log says so.

    A run that is killed, or ends with a full disk or any other error, leaves the earlier generations as they were. The
    next run continues with the files that were copied.

    Args:
        engine: the open container.
        plan: what `plan` returned.
        progress: receives the bytes copied, and the objects verified.

    Returns:
        The new generation and its counts.

    Raises:
        Busy: another backup to the same destination is running.
        ContainerExists: the destination has backups of another container.
        NotOurs: something else is in the place of the unfinished backup.
        DamagedContainer: the newest manifest is damaged.
        OSError: a system call failed.
    """
    watch = Stopwatch()
    options = plan.options
    warn_of_lazy(engine)
    generations = Generations(options.destination)
    container_id = engine.config.container_id
    with generations.locked(engine.when_busy):
        generations.check(container_id)
        generations.collect_garbage()
        with suppress(OSError):
            # The lock that protects the packs needs this directory; version 1 may not have it.
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
        watch.seconds,
    )


def warn_of_lazy(engine: Engine) -> None:
    """Log that a backup of a lazy clone is not complete."""
    if engine.is_lazy:
        log_warning("%s: a lazy clone: only what is here is backed up. Pull first", engine.layout.root)


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
        mirror = Mirror(engine, live, previous, rights, generations.open_quarantine, progress)
        stack.callback(mirror.close)
        yield mirror


def _verified(mirror: Mirror, root: str, progress: Progress) -> tuple[Verified, tuple[str, ...]]:
    """Verify the copy, copy damaged files again, and verify once more.

    Files that are damaged after that are damaged in the container. Also return the files that were renewed.
    """
    verified = verify_all(root, progress)
    if not verified.damaged and not verified.reason:
        return verified, ()
    files = bad_files(root, verified)
    done = mirror.copy_again(files)
    again = verify_all(root, progress)
    return again, tuple(sorted(set(done) - set(bad_files(root, again))))
