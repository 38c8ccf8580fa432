"""Probe: find out what a storage can do. Options → plan → execute → report."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from rsdos.maintenance.probe import steps
from rsdos.maintenance.probe.report import Create, ProbeReport, Speed
from rsdos.progress import SILENCE, Stopwatch, step
from rsdos.protocols import Progress
from rsdos.storage.base import Storage

_T = TypeVar("_T")

_SAMPLE = bytes(range(256)) * 16
_STEPS = 5
"""Those beside the races."""


@dataclass(frozen=True, slots=True)
class ProbeOptions:
    """How much a probe does. ``threads`` race for a name, ``races`` times. ``size`` bytes measure the bandwidth."""

    threads: int = 16
    races: int = 4
    size: int = 8 << 20


@dataclass(frozen=True, slots=True)
class ProbePlan:
    """A probe will send about ``requests`` requests, and ``length`` bytes each way, below ``directory``."""

    directory: str
    requests: int
    length: int
    options: ProbeOptions = field(repr=False)


def plan(options: ProbeOptions = ProbeOptions()) -> ProbePlan:
    """Choose a directory that no other probe has, and count what will be sent. Nothing is sent.

    Args:
        options: how much to do.

    Returns:
        The plan.
    """
    objects = 4 + options.races + steps.LISTED + steps.SMALL + 1
    puts = 7 + options.races * options.threads + steps.LISTED + steps.SMALL + 1
    reads = 12 + options.races + steps.SMALL + 1
    return ProbePlan(f"probe/{os.urandom(8).hex()}", puts + reads + objects, options.size, options)


def execute(storage: Storage, plan: ProbePlan, progress: Progress = SILENCE) -> ProbeReport:
    """Write, race, overwrite, read, list and remove objects below ``probe/``, and report what the storage did.

    Nothing else in the storage is read or changed, and any number of probes may run beside each other, and beside
    containers. All objects are removed at the end, also after an error; a probe that is killed leaves them.
    If the credentials do not allow an action, that is an answer, and not an error.

    Args:
        storage: the storage, with its root where the container is or will be.
        plan: what `plan` returned.
        progress: receives the number of steps.

    Returns:
        The answers of the storage.

    Raises:
        Unavailable: the storage cannot be reached.
        StorageMismatch: there is no such bucket, or it is in another region.
        OSError: the storage failed otherwise.
    """
    return _Probe(storage, plan, progress).run()


class _Probe:
    """One run of a probe."""

    def __init__(self, storage: Storage, plan: ProbePlan, progress: Progress) -> None:
        self._storage = storage
        self._options = plan.options
        self._names = steps.Names(plan.directory)
        self._progress = progress
        self._refused: list[str] = []
        self._may_delete: bool | None = None
        self._left: list[str] = []

    def run(self) -> ProbeReport:
        watch = Stopwatch()
        with step(self._progress, "Probing", _STEPS + self._options.races, "steps"):
            try:
                report = self._ask()
            finally:
                self._clean()
        return replace(
            report,
            deletes=self._may_delete,
            refused=tuple(self._refused),
            leftovers=tuple(self._left),
            seconds=watch.seconds,
        )

    def _ask(self) -> ProbeReport:
        storage, names = self._storage, self._names
        storage.make_directory(names.directory)
        missing = self._try(lambda: steps.tells_missing(storage, names))
        try:
            races = [steps.create(storage, names)]
        except OSError as error:
            return self._cannot_put(error, missing)
        races += [self._race() for _ in range(self._options.races)]
        name = names.new()
        storage.put_new(name, _SAMPLE)
        told = self._try(lambda: steps.put_and_ask(storage, names)) or steps.Told()
        read = self._try(lambda: steps.reads_back(storage, name, _SAMPLE))
        report = ProbeReport(
            Create.EXCLUSIVE if all(race.has_one_winner for race in races) else Create.OVERWRITES,
            max(race.winners for race in races),
            sum(race.unknown for race in races),
            reads_back=read and all(race.is_read for race in races),
            etag_is_md5=steps.etag_is_md5(told.info, steps.CLOCK),
            tells_missing=missing,
            versioned=told.info and told.info.is_versioned,
            clock_offset=told.clock_offset,
        )
        if not report.reads_back:
            return report  # All else is found out by reading.
        return replace(
            report,
            empties=self._try(lambda: steps.empties(storage, name)),
            listing=self._try(lambda: steps.listing(storage, names)),
            speed=self._try(lambda: steps.speed(storage, names, self._options.size)) or Speed(),
        )

    def _cannot_put(self, error: OSError, missing: bool | None) -> ProbeReport:
        """Report that nothing can be put; nothing is to be removed then. Raise any other error."""
        self._refused.append(str(error))
        self._names.used.clear()
        if isinstance(error, PermissionError):
            return ProbeReport(Create.FORBIDDEN, tells_missing=missing)
        if error.errno in steps.UNSUPPORTED:
            return ProbeReport(Create.UNSUPPORTED, tells_missing=missing)
        raise error

    def _race(self) -> steps.Race:
        race = steps.race(self._storage, self._names.new(), self._options.threads)
        self._progress.advance(1)
        return race

    def _try(self, ask: Callable[[], _T]) -> _T | None:
        """Ask one question. If the storage refuses it, note that, and return None."""
        try:
            return ask()
        except PermissionError as error:
            self._refused.append(str(error))
            return None
        finally:
            self._progress.advance(1)

    def _clean(self) -> None:
        """Remove all objects."""
        self._left, refusal = steps.remove_all(self._storage, self._names.used)
        if refusal is not None:
            self._refused.append(str(refusal))
        if self._names.used and (refusal is not None or not self._left):
            self._may_delete = refusal is None
