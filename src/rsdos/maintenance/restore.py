"""Restore: a container again, from a backup of it. Options → plan → execute → report."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import dataclass
from time import monotonic

from rsdos import fsio, locks
from rsdos.engine import Engine, prepare
from rsdos.errors import ContainerExists, NotAContainer
from rsdos.interfaces import Progress
from rsdos.maintenance.generations import Generations
from rsdos.maintenance.mirror import MARKED, Mirror, config_of
from rsdos.maintenance.rehash import Rehashed, rehash
from rsdos.progress import SILENCE


@dataclass(frozen=True, slots=True)
class RestoreOptions:
    """From ``backup``, one generation or the directory of all (the newest then), to ``destination``.

    ``verify``: read and hash all that is there then.
    """

    backup: str
    destination: str
    verify: bool = False


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
    were verified; ``damaged`` are the keys of those that are bad.
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
    """Find the generation. Raises `NotAContainer` when there is none, and `ContainerExists`."""
    generation = _generation(options.backup)
    engine = Engine(generation)
    _refuse_what_is_there(engine, options.destination)
    length = sum(map(fsio.length_of, engine.loose.names.paths())) + sum(
        pack.length for pack in engine.packed.sums().packs
    )
    engine.close()
    return RestorePlan(options, generation, length)


def _generation(path: str) -> str:
    if os.path.lexists(os.path.join(path, "config.json")):
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
    if os.path.lexists(os.path.join(destination, "config.json")):
        raise ContainerExists(destination, "is a container already")
    own = fsio.read_file(engine.layout.config, 1 << 20)
    # What is there first is the configuration under another name, which may have been cut short.
    if set(os.listdir(destination)) - {MARKED} and config_of(destination) != own:
        raise ContainerExists(destination, "is not empty")


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
    with locks.acquire_directory(root), above.reading() if is_one_of_many else nullcontext():
        _refuse_what_is_there(engine, root)
        mirror = Mirror(engine, root, None, progress)
        mirror.run(plan.length)
        fsio.sync_directory(os.path.dirname(root))
    engine.close()
    restored = Engine(root)
    if os.path.isdir(restored.layout.locks):
        prepare(restored.layout)
    verified = rehash(root, progress) if plan.options.verify else Rehashed()
    return RestoreReport(
        plan.generation,
        mirror.files,
        mirror.length,
        (*mirror.unreadable, *filter(None, (verified.reason,))),
        verified.objects,
        verified.damaged,
        monotonic() - begun,
    )
