"""``rsdos validate``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from rsdos.cli.dask import dask_option, workers_of
from rsdos.cli.options import CommonOptions, pass_session, run_options
from rsdos.cli.render import echo_error, one_line
from rsdos.cli.session import Session
from rsdos.cli.types import Duration, Share
from rsdos.figures import copies, count, figure, human

if TYPE_CHECKING:
    from rsdos.maintenance.check.validate import ValidateReport
    from rsdos.stores.findings import Finding

_SHOWN = 50
"""The most findings of a kind that are printed one by one. ``--json`` has all."""


@click.command()
@click.option("--full", "is_full", is_flag=True, help="Decode and hash every object.")
@click.option(
    "--quick", "is_quick", is_flag=True, help="Check structure, sizes and the CRC-32 of stored bytes.  [default]"
)
@click.option(
    "--sample", "share", type=Share(), default="100%", show_default=True, help="Check only this share of all keys."
)
@click.option("--resume", is_flag=True, help="Continue a run of the same kind that ended early.")
@click.option("--budget", type=Duration(), help="Check no further object after this time: 90s, 10m, 2h.")
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Processes that check at the same time, which pays for a million objects or some GB.",
)
@dask_option
@run_options
@pass_session
def command(  # noqa: PLR0913, PLR0917  one for each option
    session: Session,
    is_full: bool,
    is_quick: bool,
    share: float,
    resume: bool,
    budget: float | None,
    jobs: int,
    scheduler: str | None,
    run: CommonOptions,
) -> int:
    """Check what is stored, and list the damage. The exit code is 1 if there is any.

    Readers, writers and maintenance are not blocked, but no pack is removed until the end. --resume continues a run
    that was interrupted or whose time was up, so that a large container can be checked over days. Containers of version
    1 have no checksums of stored bytes: there only --full reads objects.

    \b
    Example: rsdos validate --full --resume --budget 2h
    """
    from rsdos.maintenance.check import validate
    from rsdos.stores.findings import Depth

    if is_full and is_quick:
        raise click.UsageError("give either --quick or --full")
    engine = run.engine(session)
    depth = Depth.FULL if is_full else Depth.QUICK
    plan = validate.plan(engine, validate.ValidateOptions(depth, share, resume, budget, jobs))
    if run.dry_run:
        run.show(plan, f"{count(plan.packs, 'pack')} to check, {human(plan.length)}, and the loose objects")
        return 0
    with workers_of(scheduler, jobs) as workers, run.bar() as bar:
        report = validate.execute(engine, replace(plan, options=replace(plan.options, jobs=workers)), bar)
    run.show(report, _sentence(report))
    if report.shortage:
        echo_error(f"rsdos: note: {report.shortage}")
    if not run.as_json:
        _show(report.files, "error")
        _show(report.damaged, "error")
        if report.unlisted:
            echo_error(f"rsdos: error: and {count(report.unlisted, 'other')}")
        _show(report.leftovers, "note")
    run.show_stats(report.objects, report.length, report.seconds)
    return 0 if report.is_good else 1


def _show(findings: tuple[Finding, ...], kind: str) -> None:
    for finding in findings[:_SHOWN]:
        where = finding.path if finding.offset is None else f"{finding.path}, byte {finding.offset}"
        what = f"object {finding.key} ({where})" if finding.key else where
        echo_error(f"rsdos: {kind}: {one_line(what)}: {one_line(finding.reason)}")
    if len(findings) > _SHOWN:
        echo_error(f"rsdos: {kind}: and {figure(len(findings) - _SHOWN)} more; --json has them all")


def _sentence(report: ValidateReport) -> str:
    how = f"{report.depth.value}" + (f", {report.share:.2%} of the keys" if report.share < 1 else "")
    if report.is_good:
        outcome = f"nothing is damaged; {count(len(report.leftovers), 'leftover')}"
    else:
        outcome = count(len(report.damaged) + report.unlisted, "damaged object")
        outcome += f", {count(report.damaged_files, 'damaged file')}"
        if report.unreadable:
            outcome += f" with {count(report.unreadable, 'object')} that cannot be read because of it"
    rest = "" if report.is_finished else "; the time is up: --resume continues"
    return f"Checked {copies(report.objects)}, {human(report.length)} ({how}): {outcome}{rest}"
