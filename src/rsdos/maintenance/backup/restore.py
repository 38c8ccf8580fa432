"""Restore: make a container from a backup. Options → plan → execute → report."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial

from rsdos.config import refuse_inside
from rsdos.engine.engine import Engine
from rsdos.engine.reserve import prepare
from rsdos.errors import ContainerExists, InvalidOption, NotAContainer
from rsdos.maintenance.backup.generations import Generations
from rsdos.maintenance.backup.mirror import Mirror
from rsdos.maintenance.check.verify_all import Verified, verify_all
from rsdos.maintenance.copies import CONFIG, COPY, MARKED, MOST_CONFIG, WHOLE, Rights, quarantine_directory
from rsdos.notebook import ShownAsTable
from rsdos.progress import SILENCE, Stopwatch
from rsdos.protocols import Progress
from rsdos.storage import locks, posix
from rsdos.storage.directory import Directory


@dataclass(frozen=True, slots=True)
class RestoreOptions:
    """The options of a restore from ``backup`` to the directory ``destination``.

    ``backup`` is one generation, or the directory of all of them: then the newest is restored. ``verify`` reads
    and hashes every object afterwards. ``owner`` are the numbers of the user and group that own the files, which needs
    root; None means those of the generation's directory if root restores.
    """

    backup: str
    destination: str
    verify: bool = False
    owner: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """The ``generation`` to restore, and the ``length`` of its packs and loose files in bytes."""

    options: RestoreOptions = field(repr=False)
    generation: str
    length: int


@dataclass(frozen=True, slots=True)
class RestoreReport(ShownAsTable):
    """The result of a restore, which took ``seconds``: ``files`` of ``length`` bytes came from the ``generation``.

    ``unreadable`` are files of the backup that are missing, too short or on a bad sector: the readable part was copied.
    ``objects`` copies were verified. ``damaged`` are the keys of damaged objects.
    """

    generation: str
    files: int = 0
    length: int = 0
    unreadable: tuple[str, ...] = ()
    objects: int = 0
    damaged: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def is_good(self) -> bool:
        """Whether every file could be read and, if verified, no object is damaged."""
        return not self.unreadable and not self.damaged


def plan(options: RestoreOptions) -> RestorePlan:
    """Find the generation and check the destination.

    Returns:
        The generation, and the bytes to copy.

    Raises:
        NotAContainer: there is no backup at the path.
        ContainerExists: the destination is a container, is inside one, or is not empty.
        InvalidOption: the destination is inside the backup.
    """
    generation = _generation(options.backup)
    source, target = os.path.realpath(generation), os.path.realpath(options.destination)
    if os.path.commonpath([source, target]) == source:
        raise InvalidOption(f"{options.destination}: inside the backup to restore")
    refuse_inside(options.destination)
    engine = Engine(generation)
    _refuse_what_is_there(engine, options.destination)
    length = sum(map(posix.length_of, engine.loose.names.paths())) + sum(
        pack.length for pack in engine.packed.maintenance.packs()
    )
    engine.close()
    return RestorePlan(options, generation, length)


def _generation(path: str) -> str:
    if os.path.lexists(os.path.join(path, CONFIG)):
        return os.path.realpath(path)
    last = Generations(path).last
    if last is None:
        what = "no finished backup is in this directory" if os.path.lexists(path) else "there is no such directory"
        raise NotAContainer(path, f"{what}; name a backup, or a directory of backups")
    return last


def _refuse_what_is_there(engine: Engine, destination: str) -> None:
    """Raise `ContainerExists` unless the destination is empty, or an unfinished restore of the same container."""
    if not os.path.lexists(destination):
        return
    if not os.path.isdir(destination):
        raise ContainerExists(destination, "exists, and is not a directory")
    if os.path.lexists(os.path.join(destination, CONFIG)):
        raise ContainerExists(destination, "is a container already")
    own = posix.read_file(engine.layout.config, MOST_CONFIG)
    # A restore writes the configuration first, under another name. It may have been killed while writing it.
    if set(os.listdir(destination)) - {MARKED, _FOUND} and _begun(destination) != own:
        raise ContainerExists(destination, "is not empty")


_FOUND = "lost+found"
"""A directory in the root of some file systems."""


def _begun(destination: str) -> bytes | None:
    try:
        return posix.read_file(os.path.join(destination, MARKED), MOST_CONFIG)
    except FileNotFoundError:
        return None


def _open_quarantine(root: str) -> Directory:
    with Directory(root, WHOLE) as place:
        return quarantine_directory(place)


def execute(plan: RestorePlan, progress: Progress = SILENCE) -> RestoreReport:
    """Copy the generation and sync it. The configuration is written last.

    A run that is killed at any moment leaves no container, and the next run continues with the files that were copied.
    The new container shares no file with the backup.

    Args:
        plan: what `plan` returned.
        progress: receives the bytes copied, and the objects verified.

    Returns:
        The counts of files and objects.

    Raises:
        ContainerExists: the destination is a container, or is not empty.
        DamagedContainer: the newest manifest of the backup is damaged.
        OSError: a system call failed.
    """
    watch = Stopwatch()
    root = os.path.abspath(plan.options.destination)
    above = Generations(os.path.dirname(plan.generation))
    is_one_of_many = os.path.basename(plan.generation) in above.names()
    engine = Engine(plan.generation)
    os.makedirs(root, exist_ok=True)
    with locks.acquire_directory(root), above.protect_packs() if is_one_of_many else nullcontext():
        _refuse_what_is_there(engine, root)
        with Directory(root, COPY) as place:
            rights = Rights.like(plan.generation, plan.options.owner)
            mirror = Mirror(engine, place, None, rights, partial(_open_quarantine, root), progress)
            try:
                mirror.run(plan.length)
            finally:
                mirror.close()
        posix.sync_directory(os.path.dirname(root))
    engine.close()
    restored = Engine(root)
    if os.path.isdir(restored.layout.locks):
        prepare(restored.layout)
    verified = verify_all(root, progress) if plan.options.verify else Verified()
    return RestoreReport(
        plan.generation,
        mirror.files,
        mirror.length,
        (*mirror.unreadable, *filter(None, (verified.reason,))),
        verified.objects,
        verified.damaged,
        watch.seconds,
    )
