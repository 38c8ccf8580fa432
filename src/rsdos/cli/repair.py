"""``rsdos repair``."""

from __future__ import annotations

import click

from rsdos.cli.bar import Bar
from rsdos.cli.render import one_line
from rsdos.cli.run import Run, run_options
from rsdos.cli.session import Session, pass_session

_SHOWN = 50
"""Keys that are named one by one; ``--json`` has them all."""


@click.group(no_args_is_help=False)
def command() -> None:
    """Put right what validate found. First the index, then the objects."""


@command.command("index")
@run_options
@pass_session
def index_command(session: Session, run: Run) -> int:
    """Make the index anew from the packs, where it is damaged, and move what is in damaged packs to others.

    Deletes are honoured; whole batches that no manifest names are taken in. What is replaced goes to quarantine/.
    Nothing is done where nothing is wrong. The exit code is 1 when objects are damaged or gone: see repair objects.
    The packs of version 1 do not describe themselves: there the rows that can be read are saved; stop other programs
    first.
    """
    from rsdos.maintenance import repair_index

    engine = run.engine(session)
    plan = repair_index.plan(engine, repair_index.RepairIndexOptions())
    if run.dry_run:
        run.show(plan, f"{len(plan.faults)} faults to put right" if plan.faults else "Nothing to repair")
        if not run.as_json:
            for fault in plan.faults[:_SHOWN]:
                click.echo(f"rsdos: note: {one_line(fault.path)}: {one_line(fault.reason)}", err=True)
        return 0
    with Bar() as bar:
        report = repair_index.execute(engine, plan, bar)
    if not report.is_changed:
        sentence = "Nothing to repair"
    else:
        sentence = f"The index is made anew; {report.packs} damaged packs were emptied"
        sentence += f"; what was replaced is described in {report.described}" if report.described else ""
    run.show(report, sentence)
    if not run.as_json:
        for key in report.lost[:_SHOWN]:
            click.echo(f"rsdos: error: the bytes of object {key} are gone", err=True)
        if len(report.lost) > _SHOWN:
            click.echo(f"rsdos: error: and those of {len(report.lost) - _SHOWN} more", err=True)
        if report.unknown:
            click.echo(f"rsdos: error: {report.unknown} objects are gone, and their keys with them", err=True)
        for fault in report.left[:_SHOWN]:
            click.echo(f"rsdos: error: {one_line(fault.path)}: {one_line(fault.reason)}", err=True)
    return 0 if report.is_good else 1
