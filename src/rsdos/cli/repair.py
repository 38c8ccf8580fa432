"""``rsdos repair``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from rsdos.cli.group import CommandGroup
from rsdos.cli.options import CommonOptions, pass_session, run_options, want_command
from rsdos.cli.render import echo_error, one_line
from rsdos.cli.session import Session, other_container
from rsdos.figures import count, figure

if TYPE_CHECKING:
    from rsdos.maintenance.repair.index import RepairIndexReport
    from rsdos.maintenance.repair.objects import RepairAction, RepairObjectsPlan, RepairObjectsReport

_SHOWN = 50
"""The most keys that are printed one by one. ``--json`` has all."""


@click.group(cls=CommandGroup, invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Repair what validate has found. Repair the index first, then the objects.

    \b
    Example: rsdos repair index && rsdos repair objects --from backups/last-backup
    """
    want_command(ctx)


@command.command("index")
@click.option(
    "--lost-names",
    type=click.Choice(["keep", "older"]),
    default="keep",
    show_default=True,
    help="If the list of all branches and tags is lost: keep its place for repair objects, or take an older list.",
)
@run_options
@pass_session
def index_command(session: Session, lost_names: str, run: CommonOptions) -> int:
    """Rebuild a damaged index from the packs, and move the objects of damaged packs to other packs.

    Deletes are honoured, and complete batches that no manifest names are added. Replaced files go to quarantine/.
    Without damage nothing is changed. The exit code is 1 if objects or names are damaged or lost: see repair objects.

    With --lost-names older the next gc deletes everything that only lost names led to. Use it if no backup has them.

    In version 1 the packs do not describe themselves, and the readable rows of the index are saved. Stop other programs
    first.

    \b
    Example: rsdos repair index --dry-run
    """
    from rsdos.maintenance.repair import index as repair_index
    from rsdos.maintenance.repair.refs import LostNames

    engine = run.engine(session)
    options = repair_index.RepairIndexOptions(LostNames(lost_names))
    plan = repair_index.plan(engine, options)
    if run.dry_run:
        run.show(plan, f"{count(len(plan.faults), 'fault')} to repair" if plan.faults else "Nothing to repair")
        if not run.as_json:
            for fault in plan.faults[:_SHOWN]:
                echo_error(f"rsdos: note: {one_line(fault.path)}: {one_line(fault.reason)}")
            _show_lost_names(plan.lost_names)
        return 1 if plan.faults or plan.lost_names else 0
    with run.bar() as bar:
        report = repair_index.execute(engine, plan, bar)
    if not report.is_changed:
        sentence = "Nothing to repair"
    else:
        sentence = f"Rebuilt the index; damaged packs that were emptied: {figure(report.packs)}"
        sentence += f"; the replaced files are listed in {report.described}" if report.described else ""
    run.show(report, sentence)
    if not run.as_json:
        _show_lost(report)
    return 0 if report.is_good else 1


def _show_lost(report: RepairIndexReport) -> None:
    """Print what a repair of the index could not bring back, and what can."""
    for key in report.lost[:_SHOWN]:
        echo_error(f"rsdos: error: the bytes of object {key} are lost")
    if len(report.lost) > _SHOWN:
        echo_error(f"rsdos: error: and those of {count(len(report.lost) - _SHOWN, 'more object')}")
    if report.unknown:
        echo_error(f"rsdos: error: {count(report.unknown, 'object')} lost, with their keys")
    if report.lost or report.unknown:
        echo_error(
            "rsdos: note: with a backup, rsdos repair objects --from BACKUP brings back damaged objects and all that "
            "snapshots need; rsdos transfer BACKUP CONTAINER copies everything"
        )
    _show_lost_names(report.lost_names)
    for version in report.doubtful[:_SHOWN]:
        echo_error(
            f"rsdos: error: {version}: objects of it are gone: a pack is lost, or it was never published (see: rsdos "
            "repair objects, rsdos forget)"
        )
    for fault in report.left[:_SHOWN]:
        echo_error(f"rsdos: error: {one_line(fault.path)}: {one_line(fault.reason)}")


def _show_lost_names(key: str) -> None:
    if key:
        echo_error(
            f"rsdos: error: the list of all branches and tags is lost (object {key}); no save and no gc without it. "
            "With a backup: rsdos repair objects --from BACKUP. Without: rsdos repair index --lost-names older"
        )


@command.command("objects")
@click.option(
    "--from",
    "sources",
    type=click.Path(),
    multiple=True,
    help="Take good copies from this container. May be given more than once.",
)
@click.option("--quick", "is_quick", is_flag=True, help="Find damage by CRC-32 only, as validate --quick does.")
@click.option(
    "--quarantine",
    is_flag=True,
    help="Move objects without a good copy to quarantine/, for good.  [default: keep them, damaged]",
)
@run_options
@pass_session
def objects_command(
    session: Session, sources: tuple[str, ...], is_quick: bool, quarantine: bool, run: CommonOptions
) -> int:
    """Validate everything, and replace each damaged object by a good copy.

    Good copies come from the container itself, and then from the --from containers, in their order. These may be of any
    version, and backups. A page of a dataset that leads to other pages is made anew from them if it has no good copy.
    Objects without a good copy are listed, and the exit code is 1. They are kept for a run with another --from; with
    --quarantine they go to quarantine/. Repair the index first.

    \b
    Example: rsdos repair objects --from backups/last-backup
    """
    from rsdos.maintenance.repair import objects as repair_objects
    from rsdos.maintenance.repair.objects import Unrepairable
    from rsdos.stores.findings import Depth

    engine = run.engine(session)
    there = tuple(other_container(source).engine for source in sources)
    depth = Depth.QUICK if is_quick else Depth.FULL
    beyond_help = Unrepairable.QUARANTINE if quarantine else Unrepairable.KEEP
    options = repair_objects.RepairObjectsOptions(there, depth, beyond_help)
    with run.bar() as bar:
        plan = repair_objects.plan(engine, options, bar)
    if run.dry_run:
        helpless = [remedy for remedy in plan.remedies if remedy.source is None]
        shown = {"remedies": plan.remedies, "files": plan.files, "unlisted": plan.unlisted}
        run.show(shown, f"{count(len(plan.remedies) - len(helpless), 'object')} to repair, {_rest(helpless, plan)}")
        if not run.as_json:
            _show_rest(helpless, plan)
        return 1 if plan.remedies or plan.files or plan.unlisted else 0
    with run.bar() as bar:
        report = repair_objects.execute(engine, plan, bar)
    sentence = f"Repaired {count(len(report.repaired), 'object')}, {_rest(report.beyond_help, report)}"
    run.show(report, sentence + (f"; see {report.described}" if report.described else ""))
    if not run.as_json:
        _show_rest(report.beyond_help, report)
        if report.beyond_help and not report.files and not quarantine:
            echo_error(
                "rsdos: note: objects without a good copy were kept: name a container that has one with --from, or "
                "give them up with --quarantine"
            )
    return 0 if report.is_good else 1


def _rest(beyond_help: Sequence[RepairAction], outcome: RepairObjectsPlan | RepairObjectsReport) -> str:
    return f"{figure(len(beyond_help))} {'left for after repair index' if outcome.files else 'without a good copy'}"


def _show_rest(beyond_help: Sequence[RepairAction], outcome: RepairObjectsPlan | RepairObjectsReport) -> None:
    """Print the damage that is left."""
    state = "cannot be repaired before the index" if outcome.files else "has no good copy"
    if outcome.files:
        echo_error("rsdos: error: the index or a pack is damaged; first run: rsdos repair index")
    for remedy in beyond_help[:_SHOWN]:
        echo_error(f"rsdos: error: object {remedy.key} {state}: {one_line(remedy.reason)}")
    if len(beyond_help) > _SHOWN:
        echo_error(f"rsdos: error: and {figure(len(beyond_help) - _SHOWN)} more; --json has them all")
    for fault in outcome.files[:_SHOWN]:
        echo_error(f"rsdos: error: {one_line(fault.path)}: {one_line(fault.reason)} (see: rsdos repair index)")
    if outcome.unlisted:
        echo_error("rsdos: error: more objects are damaged; run the command again")
