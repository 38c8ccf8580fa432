"""Validate: read and hash the objects of a container, and report damage. Options → plan → execute → report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING

from rsdos.engine.engine import Engine
from rsdos.engine.workers import Jobs, jobs_of
from rsdos.errors import DamagedContainer, InvalidOption, UnsupportedContainer
from rsdos.maintenance.backup.last_backup import VALIDATION
from rsdos.maintenance.check.resume import MOST_FINDINGS, ValidationState, discard_state, load_state, save_state
from rsdos.maintenance.check.team import Team, workers_for
from rsdos.notebook import ShownAsTable
from rsdos.progress import SILENCE, Stopwatch, step
from rsdos.protocols import Progress
from rsdos.storage import posix
from rsdos.stores.findings import Checked, Depth, Finding, PacksCheck, Part, Sample

if TYPE_CHECKING:
    from rsdos.maintenance.check.executor_team import ExecutorTeam

__all__ = ["Depth", "ValidateOptions", "ValidatePlan", "ValidateReport", "check_all", "execute", "plan"]

_SAVED_EVERY = 30.0
"""Seconds of work, and one batch, that are repeated at most after a kill."""


@dataclass(frozen=True, slots=True)
class ValidateOptions:
    """The ``depth`` of a validation, and the ``share`` of the keys to check, from 0 to 1: always the same keys.

    ``resume`` continues an interrupted run of the same depth and share, if there is one. After ``seconds`` no further
    object is begun (None: no limit); the next run can resume. ``jobs`` is the number of processes that check at the
    same time, or an executor.
    """

    depth: Depth = Depth.QUICK
    share: float = 1.0
    resume: bool = False
    seconds: float | None = None
    jobs: Jobs = 1


@dataclass(frozen=True, slots=True)
class ValidatePlan:
    """The number of ``packs`` to check, and the ``length`` of their bytes that were not checked yet."""

    options: ValidateOptions = field(repr=False)
    packs: int
    length: int
    is_resumed: bool = False


@dataclass(frozen=True, slots=True)
class ValidateReport(ShownAsTable):
    """The findings of a validation, together with those of the runs that it resumed.

    ``objects`` copies of ``length`` stored bytes were checked: every copy of an object that is loose and packed, or in
    two packs. ``damaged`` are objects with a damaged copy, ``files`` is damage in files of the container itself, and
    ``unlisted`` counts further damage that is not listed. ``leftovers`` are not damage: files of dead writers, and
    foreign files. ``is_finished`` is False if the time was up. All runs together took ``seconds``. ``shortage`` says
    why fewer processes were used than asked for; it is "" otherwise.
    """

    depth: Depth
    share: float
    is_finished: bool
    objects: int
    length: int
    damaged: tuple[Finding, ...] = ()
    files: tuple[Finding, ...] = ()
    leftovers: tuple[Finding, ...] = ()
    unlisted: int = 0
    seconds: float = 0.0
    shortage: str = ""

    @property
    def is_good(self) -> bool:
        """Whether no damage was found so far."""
        return not self.damaged and not self.files and not self.unlisted

    @property
    def damaged_files(self) -> int:
        """The number of different files in ``files``."""
        return len({finding.path for finding in self.files})

    @property
    def unreadable(self) -> int:
        """The number of objects that cannot be read because of ``files``, unless they have another copy."""
        return sum(finding.objects for finding in self.files)


def plan(engine: Engine, options: ValidateOptions) -> ValidatePlan:
    """Count the packs and bytes to check.

    Args:
        engine: the open container.
        options: a `ValidateOptions`.

    Returns:
        The packs and bytes, and whether a run is resumed.

    Raises:
        InvalidOption: the share is not between 0 and 1, ``jobs`` is below 1, or the run to resume has another depth or
            share.
    """
    if jobs_of(options.jobs) is None:
        raise InvalidOption("jobs is 1 or more, or an executor")
    if not 0 < options.share <= 1:
        raise InvalidOption(f"share is above 0 and at most 1, not {options.share!r:.40}")
    state = _resumed(engine, options)
    lengths: dict[int, int] = {}
    with suppress(DamagedContainer):  # `execute` reports it.
        lengths = {pack.id: pack.length for pack in engine.packed.maintenance.packs()}
    done = sum(min(length, state.packs.get(pack_id, 0)) for pack_id, length in lengths.items()) if state else 0
    return ValidatePlan(options, len(lengths), sum(lengths.values()) - done, state is not None)


def _resumed(engine: Engine, options: ValidateOptions) -> ValidationState | None:
    state = load_state(engine.layout) if options.resume else None
    if state and (state.depth, state.share) != (options.depth, options.share):
        raise InvalidOption(
            f"the interrupted validation was {state.depth.value}, with a share of {state.share:g}: "
            "give the same, or do not resume"
        )
    return state


def execute(engine: Engine, plan: ValidatePlan, progress: Progress = SILENCE) -> ValidateReport:
    """Check the index, then each pack in the order of its bytes, then the loose objects, then the live snapshots.

    All objects that exist at the beginning are checked. Readers, writers and maintenance are not blocked, and nothing
    that they do becomes a finding. No pack is unlinked during the run. The position is saved every 30 seconds, and the
    result at the end. Nothing else is written, and in a read-only container nothing at all. Memory: 40 MB, and the
    findings.

    Args:
        engine: the open container.
        plan: what `plan` returned.
        progress: receives stored bytes.

    Returns:
        The findings.

    Raises:
        OSError: a system call failed.
    """
    state = _resumed(engine, plan.options) or ValidationState(plan.options.depth, plan.options.share)
    run = _Validation(engine, plan, state, is_kept=True)
    try:
        report = run.run(progress)
    except BaseException:
        run.save()
        raise
    if report.is_finished:
        discard_state(engine.layout)
        with suppress(OSError):  # No permission to write, or a damaged manifest: the note is left out.
            engine.packed.maintenance.note(VALIDATION, _validation_note(report))
    else:
        run.save()
    return report


def check_all(engine: Engine, depth: Depth, progress: Progress = SILENCE, most: int = MOST_FINDINGS) -> ValidateReport:
    """Validate the whole container to a depth, and write nothing. List ``most`` findings. Raise OSError."""
    options = ValidateOptions(depth)
    state = ValidationState(depth, options.share, most=most)
    return _Validation(engine, plan(engine, options), state, is_kept=False).run(progress)


def _validation_note(report: ValidateReport) -> Mapping[str, object]:
    return {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "depth": report.depth.value,
        "share": report.share,
        "objects": report.objects,
        "length": report.length,
        "damaged": len(report.damaged) + report.unlisted,
        "files": report.damaged_files,
        "unreadable": report.unreadable,
        "seconds": round(report.seconds, 1),
    }


_NO_SYNC = Finding(
    ".", "its file system cannot sync directories: a power loss may take the latest names", is_damage=False
)

_MOST_ROUNDS = 16
"""Times that the check looks for new packs, to which objects were moved. Each time checks only those."""


class _Validation:
    """One run, which continues a state."""

    def __init__(self, engine: Engine, plan: ValidatePlan, state: ValidationState, *, is_kept: bool) -> None:
        """``is_kept``: save the position during the run."""
        self._is_kept = is_kept
        self._engine = engine
        self._plan = plan
        self._state = state
        self._watch, self._saved = Stopwatch(), monotonic()
        self._before = state.seconds
        self._index: list[Finding] = []
        self._starts: dict[int, int] = {}
        """The byte of each pack from which on this run checks it."""

    def run(self, progress: Progress) -> ValidateReport:
        """Check all that the state does not cover."""
        options = self._plan.options
        depth, share = options.depth, options.share
        jobs, executor = (options.jobs, None) if isinstance(options.jobs, int) else (1, options.jobs)
        workers = workers_for(self._engine, jobs, depth, share)
        with self._engine.protect_packs(), workers:
            # After the workers were started: that takes less time as long as numpy is not imported.
            check = self._engine.packed.maintenance.check(depth, Sample(share))
            team: Team | ExecutorTeam = Team(workers, check)
            if executor is not None:
                from rsdos.maintenance.check.executor_team import ExecutorTeam

                team = ExecutorTeam(executor, self._engine, depth, share, check)
            is_finished = self._check_packs(team, check, progress) and self._check_loose(team, progress)
            if is_finished:
                self._check_snapshots(progress)
                self._state.add(check.leftovers())
                has_files = self._engine.layout.storage.traits.files
                if has_files and not posix.sync_directory(self._engine.layout.root):
                    self._state.add((_NO_SYNC,))
        return self._report(is_finished, workers.shortage)

    def _check_packs(self, team: Team | ExecutorTeam, check: PacksCheck, progress: Progress) -> bool:
        """Check the index and the packs. Return whether all are done."""
        # Every run checks the index: the findings of an earlier run may have been repaired since.
        with step(progress, "Checking the index", None, "entries"):
            for _, checked in team.steps(((0, one) for one in check.index()), check):
                self._index += checked.findings
                progress.advance(check.note(checked.told))
        with step(progress, "Checking packs", self._plan.length, "bytes"):
            pack_id = told = 0
            for of, checked in team.steps(self._packs(check), check):
                assert isinstance(checked.position, int)
                if of != pack_id:
                    pack_id, told = of, 0
                check.note(checked.told)
                self._add(checked)
                start, before = self._starts[pack_id], self._state.packs.get(pack_id, 0)
                after = self._state.packs[pack_id] = max(start, before, checked.position)
                told += checked.length
                amount = checked.length
                if after > before:
                    # Tables, dead bytes, and in version 1 whatever is not read.
                    amount, told = amount + max(after - before - told, 0), 0
                progress.advance(amount)
                # Check at least something in each run, whatever the time: otherwise no number of runs would finish.
                if checked.position > start and self._is_up():
                    return False
        return True

    def _packs(self, check: PacksCheck) -> Iterator[tuple[int, Checked | Part]]:
        """Yield the steps of all packs, each with its pack."""
        done: set[int] = set()
        for _ in range(_MOST_ROUNDS):
            fresh = {pack_id: length for pack_id, length in check.lengths.items() if pack_id not in done}
            if not fresh:
                break
            done.update(fresh)
            for pack_id, length in fresh.items():
                start = self._starts[pack_id] = self._state.packs.get(pack_id, 0)
                if not start or start < length:
                    yield from ((pack_id, one) for one in check.pack(pack_id, start))

    def _check_loose(self, team: Team | ExecutorTeam, progress: Progress) -> bool:
        """Check the loose objects. Return whether all are done."""
        options = self._plan.options
        check = self._engine.loose.check(options.depth, Sample(options.share))
        with step(progress, "Checking loose objects", None, "bytes"):
            for _, checked in team.steps(((0, one) for one in check.run(self._state.loose)), check):
                self._add(checked)
                progress.advance(checked.length)
                if isinstance(checked.position, str):
                    self._state.loose = checked.position
                if checked.objects and self._is_up():
                    return False
        return True

    def _check_snapshots(self, progress: Progress) -> None:
        """Check that all that the live snapshots lead to is there, whatever the share."""
        try:
            if not self._engine.packed.live().refs:
                return
        except (DamagedContainer, UnsupportedContainer):
            return  # The check of the index has said so.
        from rsdos.maintenance.check.trees import check_snapshots  # Only where there are any.

        with step(progress, "Checking snapshots", None, "steps"):
            for checked in check_snapshots(self._engine, self._plan.options.depth):
                self._add(checked)
                progress.advance(1)

    def _add(self, checked: Checked) -> None:
        self._state.objects += checked.objects
        self._state.length += checked.length
        self._state.add(checked.findings)
        if self._is_kept and monotonic() - self._saved > _SAVED_EVERY:
            self.save()

    def _is_up(self) -> bool:
        seconds = self._plan.options.seconds
        return seconds is not None and self._watch.seconds >= seconds

    def save(self) -> None:
        """Save the position."""
        self._state.seconds = self._before + self._watch.seconds
        save_state(self._engine.layout, self._state)
        self._saved = monotonic()

    def _report(self, is_finished: bool, shortage: str) -> ValidateReport:
        state = self._state
        found = list(dict.fromkeys((*self._index, *state.findings)))
        return ValidateReport(
            state.depth,
            state.share,
            is_finished,
            state.objects,
            state.length,
            tuple(one for one in found if one.is_damage and one.key is not None),
            tuple(one for one in found if one.is_damage and one.key is None),
            tuple(one for one in found if not one.is_damage),
            state.unlisted,
            self._before + self._watch.seconds,
            shortage,
        )
