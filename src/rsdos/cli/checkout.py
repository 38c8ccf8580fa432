"""``rsdos checkout``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from rsdos.cli.exit_codes import DONE, FAILED
from rsdos.cli.options import CommonOptions, pass_session, report_options
from rsdos.cli.paths import path_members
from rsdos.cli.render import echo_error, one_line
from rsdos.cli.session import Session
from rsdos.cli.snapshot_options import state_directory
from rsdos.figures import count, figure, human

if TYPE_CHECKING:
    from rsdos.worktree.checkout import CheckoutReport


@click.command()
@click.argument("ref", metavar="REF[:PATH]")
@click.argument("directory", metavar="DIR", type=click.Path())
@click.option("--include", multiple=True, metavar="GLOB", help="Write only paths that match, as in a .gitignore.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave out paths that match.")
@click.option("--force", is_flag=True, help="Overwrite what is in the way.")
@click.option("--delete", is_flag=True, help="Remove what the snapshot does not have.")
@click.option(
    "--links",
    type=click.Choice(["all", "inside", "none"]),
    default="all",
    show_default=True,
    help="Which symbolic links to write: all as they are; inside: those that stay in DIR, refusing others; or none.",
)
@click.option("--sparse", is_flag=True, help="Write long runs of zeros as holes.")
@click.option("--keep-going", is_flag=True, help="If something is damaged, write the rest.")
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1, 64),
    help="Processes that write files. Default: as many as there are cores, 4 at most, for 8,192 files or more.",
)
@report_options
@pass_session
def command(  # noqa: PLR0913, PLR0917  one for each option
    session: Session,
    ref: str,
    directory: str,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    force: bool,
    delete: bool,
    links: str,
    sparse: bool,
    keep_going: bool,
    jobs: int | None,
    run: CommonOptions,
) -> int:
    """Write the snapshot REF, or the directory PATH of it, to the directory DIR.

    Entries that are there already and equal are left alone. Files that are unchanged since they were saved or checked
    out are replaced or removed. Anything else in the way is a conflict: all conflicts are named, nothing is written,
    and the exit code is 1. Each file is verified, and appears whole or not at all. After an interruption run the same
    command again.

    \b
    Example: rsdos checkout flowers@1 ./old --include 'train/rose/**'
    """
    from rsdos.worktree import checkout
    from rsdos.worktree.checkout_files import Holes, OnDamage
    from rsdos.worktree.checkout_links import TreeLinks
    from rsdos.worktree.checkout_rules import Obstacles, Unknown

    container = session.container()
    name_of, path = container.snapshots.split(ref)
    options = checkout.CheckoutOptions(
        name_of,
        directory,
        os.fsencode(path or ""),
        include,
        exclude,
        Obstacles.OVERWRITE if force else Obstacles.REFUSE,
        Unknown.DELETE if delete else Unknown.KEEP,
        TreeLinks(links),
        Holes.MAKE if sparse else Holes.FILL,
        OnDamage.CONTINUE if keep_going else OnDamage.STOP,
        state_directory(),
        jobs,
    )
    engine = container.engine
    session.refuse_own(directory)
    with run.bar() as bar:
        plan = checkout.plan_checkout(engine, options, bar)
        report = plan.report()
        if not run.dry_run and not plan.conflicts:
            report = checkout.execute_checkout(engine, plan, bar)
    _show(report, plan.tree.label, run, bool(plan.conflicts))
    return FAILED if report.conflicts or report.failed else DONE


def _show(report: CheckoutReport, label: str, run: CommonOptions, refused: bool) -> None:
    if run.as_json:
        rows = {name: [_json(*row) for row in getattr(report, name)] for name in ("conflicts", "failed")}
        run.show({**{member: getattr(report, member) for member in WRITTEN}, **rows, "seconds": report.seconds}, "")
    for path, reason in report.conflicts:
        hint = "save it" if reason.startswith("modified") else "move it"
        _refuse(report.directory, path, f"{reason}; {hint}, or --force" if refused else reason)
    for path, reason in report.failed:
        _refuse(report.directory, path, reason)
    if run.as_json:
        return
    if refused:
        run.tell(f"Nothing was written: {count(len(report.conflicts), 'conflict')}")
        return
    more = "".join(
        f"; {verb} {figure(number)}"
        for verb, number in (("removed", report.removed), ("already there", report.kept + report.adopted))
        if number
    )
    verb = "Would write" if run.dry_run else "Wrote"
    what = count(report.written - report.links, "file") + (
        f" and {count(report.links, 'link')}" if report.links else ""
    )
    run.tell(f"{verb} {what}, {human(report.bytes)} to {one_line(report.directory)} ({label}){more}")
    run.show_stats(report.written, report.bytes, report.seconds)


def _refuse(directory: str, path: bytes, reason: str) -> None:
    whole = os.path.join(directory, os.fsdecode(path))
    echo_error(f"rsdos: error: {one_line(whole)}: {one_line(reason)}")


def _json(path: bytes, reason: str) -> dict[str, object]:
    return {**path_members(os.fsdecode(path)), "reason": reason}


WRITTEN = ("snapshot", "directory", "written", "links", "bytes", "removed", "kept", "adopted")
