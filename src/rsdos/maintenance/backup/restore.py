"""Restore: a container again, from a backup of it. Options → plan → execute → report."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from time import monotonic

from rsdos.config import refuse_inside
from rsdos.engine.engine import Engine
from rsdos.engine.reserve import prepare
from rsdos.errors import ContainerExists, InvalidOption, NotAContainer
from rsdos.maintenance.backup.generations import Generations
from rsdos.maintenance.backup.mirror import Mirror
from rsdos.maintenance.check.verify_all import Verified, verify_all
from rsdos.maintenance.copies import CONFIG, COPY, MARKED, MOST_CONFIG, WHOLE, Rights, quarantine_directory
from rsdos.progress import SILENCE
from rsdos.protocols import Progress
from rsdos.storage import locks, posix
from rsdos.storage.directory import Directory


@dataclass(frozen=True, slots=True)
class RestoreOptions:
    """From ``backup``, one generation or the directory of all (the newest then), to ``destination``.

    ``verify``: read and hash all that is there then. ``owner``: numbers of user and group to whom all of it is given,
    which needs root; None: to those of the generation's directory, where root runs it.
    """

    backup: str
    destination: str
    verify: bool = False
    owner: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """What there is to restore: ``length`` bytes in packs and loose files of the ``generation``."""

    options: RestoreOptions
    generation: str
    length: int


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """What a restore did: ``files`` of ``length`` bytes came from the ``generation``.

    ``unreadable`` files of it are missing, cut short or on a bad sector: what there is of them was copied. ``objects``
    copies were verified; ``damaged`` are the keys of those that are bad.
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
        """Whether all could be read and, where that was wanted, is what its keys say."""
        return not self.unreadable and not self.damaged


def plan(options: RestoreOptions) -> RestorePlan:
    """Find the generation. Raises `NotAContainer` when there is none, `ContainerExists`, `InvalidOption`."""
    generation = _generation(options.backup)
    source, target = os.path.realpath(generation), os.path.realpath(options.destination)
    if os.path.commonpath([source, target]) == source:
        raise InvalidOption(f"{options.destination}: inside the backup that is to be restored")
    refuse_inside(options.destination)
    engine = Engine(generation)
    _refuse_what_is_there(engine, options.destination)
    length = sum(map(posix.length_of, engine.loose.names.paths())) + sum(
        pack.length for pack in engine.packed.stats().packs
    )
    engine.close()
    return RestorePlan(options, generation, length)


def _generation(path: str) -> str:
    if os.path.lexists(os.path.join(path, CONFIG)):
        return os.path.realpath(path)
    last = Generations(path).last
    if last is None:
        raise NotAContainer(path, "no backup there")
    return last


def _refuse_what_is_there(engine: Engine, destination: str) -> None:
    """Raises `ContainerExists` unless nothing is there, or what a restore of the same container has left that died."""
    if not os.path.lexists(destination):
        return
    if not os.path.isdir(destination):
        raise ContainerExists(destination, "is there already, and is not a directory")
    if os.path.lexists(os.path.join(destination, CONFIG)):
        raise ContainerExists(destination, "is a container already")
    own = posix.read_file(engine.layout.config, MOST_CONFIG)
    # What is there first is the configuration under another name, which may have been cut short.
    if set(os.listdir(destination)) - {MARKED, _FOUND} and _begun(destination) != own:
        raise ContainerExists(destination, "is not empty")


_FOUND = "lost+found"
"""What a file system has in its root."""


def _begun(destination: str) -> bytes | None:
    try:
        return posix.read_file(os.path.join(destination, MARKED), MOST_CONFIG)
    except FileNotFoundError:
        return None


def _aside(root: str) -> Directory:
    with Directory(root, WHOLE) as place:
        return quarantine_directory(place)


def execute(plan: RestorePlan, progress: Progress = SILENCE) -> RestoreReport:
    """Copy, sync, and write the configuration last: killed at any moment, what is there is no container yet.

    The next run goes on with what was copied. Nothing is shared with the backup. Raises `ContainerExists`, OSError.
    """
    begun = monotonic()
    root = os.path.abspath(plan.options.destination)
    above = Generations(os.path.dirname(plan.generation))
    is_one_of_many = os.path.basename(plan.generation) in above.names()
    engine = Engine(plan.generation)
    os.makedirs(root, exist_ok=True)
    with locks.acquire_directory(root), above.protect_packs() if is_one_of_many else nullcontext():
        _refuse_what_is_there(engine, root)
        with Directory(root, COPY) as place:
            rights = Rights.like(plan.generation, plan.options.owner)
            mirror = Mirror(engine, place, None, rights, partial(_aside, root), progress)
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
        monotonic() - begun,
    )
