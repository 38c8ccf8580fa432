"""Check out: make a directory equal to a snapshot. Options → plan → execute → report.

The plan is complete before anything is written. A modified or unknown entry in the way is a conflict: all conflicts are
named, and nothing is written. If a checkout was killed, repeat it: the next one finds what was written by its content,
adopts it, and removes the temporary names.

Nothing outside of the directory is touched: it is reached by descriptors, part by part, and no link below it is
followed. Two checkouts never work in one directory at the same time (`Busy`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from rsdos.engine.workers import default_jobs
from rsdos.errors import Conflicts, InvalidOption
from rsdos.notebook import ShownAsTable
from rsdos.progress import SILENCE, Stopwatch, by_files, step
from rsdos.root import is_inside
from rsdos.storage import syscalls
from rsdos.trees.entry import Listing
from rsdos.trees.tree import Tree
from rsdos.worktree.checkout_contents import KnownContents
from rsdos.worktree.checkout_files import Holes, OnDamage, Outcome, Trouble, Writing
from rsdos.worktree.checkout_links import NO_LINKS, LinkWriter, TreeLinks, refusals
from rsdos.worktree.checkout_lock import lock
from rsdos.worktree.checkout_rows import RowSpool
from rsdos.worktree.checkout_rules import Obstacles, Rules, Unknown
from rsdos.worktree.checkout_run import Ground, Planner, Worker
from rsdos.worktree.checkout_team import file_writer
from rsdos.worktree.checkout_walk import RecordedEntries, Visitor, WantedEntries, visit_all
from rsdos.worktree.ignore import Ignore, Selection
from rsdos.worktree.named_tree import NamedTree, check_under, named_tree, telling_of_forgotten, tree_of
from rsdos.worktree.open_directories import OpenDirectories
from rsdos.worktree.options import PathReason
from rsdos.worktree.settled import Clocks
from rsdos.worktree.state import State, StateHead, read_state, write_state

if TYPE_CHECKING:
    from rsdos.engine.engine import Engine
    from rsdos.protocols import Progress


WORKERS_FROM = 8192
"""Without a choice, so many files or more get workers: one process takes 0.5 s for them. On tmpfs two workers took 0.8
of the time of one for 20,000 files of 1 KB, and threads 0.85; for 2,000 files of 50 KB workers took 0.95 to 1.3."""


@dataclass(frozen=True, slots=True)
class CheckoutOptions:
    """What to check out and where to, and what to do with entries in the way."""

    reference: str
    """The snapshot: ``NAME``, ``NAME@N``, ``NAME@DATE``, a tag, or a key."""
    directory: str
    """The directory. It is made if it is missing."""
    under: bytes = b""
    """The directory of the tree that is checked out; b"": the whole tree."""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    """Patterns of the covered entries; see `Selection`. Other entries are left alone."""
    obstacles: Obstacles = Obstacles.REFUSE
    unknown: Unknown = Unknown.KEEP
    links: TreeLinks = TreeLinks.ALL
    holes: Holes = Holes.FILL
    on_damage: OnDamage = OnDamage.STOP
    state_directory: str | None = None
    """Where the state is kept if the container cannot be written."""
    jobs: int | None = 1
    """Processes that write files; None: as many as the machine has cores, 4 at most, for many files."""


@dataclass(frozen=True, slots=True)
class CheckoutReport(ShownAsTable):
    """What a checkout has done, or would do: files and links, and the bytes of files that were written."""

    snapshot: str
    directory: str
    written: int
    """Files and links."""
    bytes: int
    removed: int
    kept: int
    """Entries that were there, as recorded."""
    adopted: int
    """Entries that were there, and whose content was read and is the wanted one."""
    conflicts: tuple[PathReason, ...]
    failed: tuple[PathReason, ...]
    seconds: float
    links: int = 0
    """The symbolic links among `written`."""


@dataclass(frozen=True, slots=True)
class CheckoutPlan:
    """What a checkout would do."""

    options: CheckoutOptions
    tree: NamedTree
    outcome: Outcome
    exists: bool
    """Whether the directory is there."""
    known: KnownContents = field(repr=False)
    seconds: float = 0.0

    @property
    def conflicts(self) -> tuple[PathReason, ...]:
        """The entries in the way, in tree order."""
        return tuple(self.outcome.conflicts)

    def report(self) -> CheckoutReport:
        """Return the plan as a report, for a dry run."""
        return _report(self.options, self.tree, self.outcome, self.seconds)


def plan_checkout(engine: Engine, options: CheckoutOptions, progress: Progress = SILENCE) -> CheckoutPlan:
    """Return what a checkout would do. Write nothing; read the tree, the directory, and files of unknown content.

    Raise `RefNotFound`, also if the snapshot is forgotten and collected during the call; `DamagedTree`, `InvalidOption`
    for a directory inside of the container, FileNotFoundError and NotADirectoryError for ``under``, and OSError.
    """
    watch = Stopwatch()
    with engine.protect_packs(), step(progress, "Comparing", None, "entries"):
        tree = named_tree(engine, options.reference)
        with telling_of_forgotten(engine, tree):
            check_under(tree.tree, options.under)
        exists = os.path.lexists(options.directory)
        if engine.directory is not None and is_inside(options.directory, engine.directory):
            raise InvalidOption(f"{options.directory}: is inside of the container")
        known = KnownContents(engine.config.hash.digest_bytes)
        with ExitStack() as stack:
            ground = _ground(engine, stack, options, known) if exists else None
            rules, state = _rules(engine, stack, options, ground)
            planner = Planner(ground, rules)
            trouble = Trouble(options.on_damage, planner.outcome)
            with telling_of_forgotten(engine, tree):
                _visit(engine, options, tree.tree, state, exists, planner, trouble)
    known.begin()
    return CheckoutPlan(options, tree, planner.outcome, exists, known, watch.seconds)


def execute_checkout(engine: Engine, plan: CheckoutPlan, progress: Progress = SILENCE) -> CheckoutReport:
    """Make the directory what the snapshot says.

    A file appears whole or not at all, with verified content. When this returns, all of it is on stable storage. Raise
    `Conflicts` before anything is written; `RefNotFound` if the snapshot was forgotten and collected since the plan;
    `Busy`; OSError; `WorkerDied`; `DamagedObject` and `DamagedTree`, unless the options say to continue. After an error
    or a kill, repeat the call.
    """
    if plan.conflicts:
        raise Conflicts(plan.options.directory, plan.conflicts)
    watch = Stopwatch()
    options, outcome = plan.options, Outcome()
    os.makedirs(options.directory, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(engine.protect_packs())
        stack.enter_context(telling_of_forgotten(engine, plan.tree))
        stack.enter_context(step(progress, "Writing", plan.outcome.size, "bytes"))
        ground = _ground(engine, stack, options, plan.known)
        top = ground.directories.top
        lock(stack, top, options.directory)
        rules, state = _rules(engine, stack, options, ground)
        rows = stack.enter_context(RowSpool())
        trouble = Trouble(options.on_damage, outcome)
        writing = Writing(options.holes, options.obstacles, options.on_damage)
        jobs = _jobs(engine, plan)
        files = stack.enter_context(
            file_writer(engine, ground.directories, writing, jobs, outcome, rows, by_files(progress))
        )
        links = LinkWriter(ground.directories, options.obstacles, trouble, outcome, rows)
        worker = Worker(ground, rules, files, links, trouble, outcome, rows)
        is_whole = _visit(engine, options, plan.tree.tree, state, True, worker, trouble)
        worker.finish()
        if outcome.written or outcome.removed or outcome.adopted:  # A killed checkout has not synced what it wrote.
            syscalls.sync_file_system(top)
        if is_whole:
            _write_state(engine, plan, ground, rows)
    return _report(options, plan.tree, outcome, plan.seconds + watch.seconds)


def checkout(engine: Engine, options: CheckoutOptions, progress: Progress = SILENCE) -> CheckoutReport:
    """Do `plan_checkout` and `execute_checkout`."""
    return execute_checkout(engine, plan_checkout(engine, options, progress), progress)


def _report(options: CheckoutOptions, tree: NamedTree, outcome: Outcome, seconds: float) -> CheckoutReport:
    return CheckoutReport(
        tree.snapshot,
        options.directory,
        outcome.written,
        outcome.size,
        outcome.removed,
        outcome.kept,
        outcome.adopted,
        tuple(outcome.conflicts),
        tuple(outcome.failed),
        seconds,
        outcome.links,
    )


def _jobs(engine: Engine, plan: CheckoutPlan) -> int:
    """Return how many processes write files. Return 1 for a remote, and if there is no file to write."""
    files = plan.outcome.written - plan.outcome.links
    if engine.directory is None or not files:
        return 1
    if plan.options.jobs is not None:
        return plan.options.jobs
    return default_jobs() if files >= WORKERS_FROM else 1


def _ground(engine: Engine, stack: ExitStack, options: CheckoutOptions, known: KnownContents) -> Ground:
    directories = stack.enter_context(OpenDirectories(options.directory))
    container = None
    if engine.directory is not None:
        status = os.stat(engine.directory)
        container = status.st_dev, status.st_ino
    device = os.fstat(directories.top).st_dev
    ignore = Ignore() if options.unknown is Unknown.DELETE else None
    clock = Clocks().now(directories.top, device, options.directory)
    return Ground(directories, container, device, engine.config.hash, known, clock, ignore)


def _rules(
    engine: Engine, stack: ExitStack, options: CheckoutOptions, ground: Ground | None
) -> tuple[Rules, State | None]:
    """Return the rules of a checkout, and the state of its directory if that is of the same part of a tree."""
    state = None
    if ground is not None:
        state = read_state(engine, options.directory, options.state_directory)
        if state is not None:
            stack.enter_context(state)
    selection = Selection(options.include, options.exclude)

    def covers(path: bytes, is_directory: bool) -> bool:
        if selection and not (selection.directory(path) if is_directory else selection.file(path)):
            return False
        if ground is None or ground.ignore is None:
            return True
        name = path.rpartition(b"/")[2]
        return not (ground.ignore.directory(name) if is_directory else ground.ignore.file(name))

    return Rules(options.obstacles, options.unknown, state.head.reference if state else "", covers), state


def _visit(
    engine: Engine,
    options: CheckoutOptions,
    tree: Tree,
    state: State | None,
    exists: bool,
    visitor: Visitor,
    trouble: Trouble,
) -> bool:
    """Visit all directories. Return False if a part of the tree is lost, so that its entries cannot be counted."""
    selection = Selection(options.include, options.exclude)

    wanted = WantedEntries(tree, options.under, selection, partial(refusals, options.links), trouble.lose)
    before: Iterator[Listing] = iter(())
    if state is not None:
        before = tree_of(engine, bytes.fromhex(state.head.tree)).walk(state.head.under)
    visit_all(wanted, RecordedEntries(state, before, selection), exists, visitor)
    trouble.refuse(refused for refused in wanted.refused if refused.reason != NO_LINKS)
    return wanted.is_whole


def _write_state(engine: Engine, plan: CheckoutPlan, ground: Ground, rows: RowSpool) -> None:
    options, tree = plan.options, plan.tree
    head = StateHead(
        engine.config.container_id,
        tree.reference,
        tree.snapshot,
        tree.tree.root.hex(),
        options.under,
        tree.tree.attributes,
        options.include,
        options.exclude,
    )
    rows.settle(ground.directories.top, options.directory)
    write_state(engine, options.directory, head, rows.read(), options.state_directory)
