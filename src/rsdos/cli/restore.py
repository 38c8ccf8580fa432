"""``rsdos restore``."""

from __future__ import annotations

import click

from rsdos.cli.backup import show_damage
from rsdos.cli.bar import Bar
from rsdos.cli.render import count, human, name
from rsdos.cli.run import Run, run_options


@click.command()
@click.argument("backup", metavar="BACKUP", type=click.Path())
@click.argument("destination", metavar="DEST", type=click.Path())
@click.option("--verify", is_flag=True, help="Read and hash every object that was restored.")
@run_options
def command(backup: str, destination: str, verify: bool, run: Run) -> int:
    """Copy BACKUP, one backup or a directory of them (the newest then), to the new directory DEST.

    DEST is a container only when all is there: interrupted, run it again. It shares nothing with the backup.
    """
    from rsdos.maintenance import restore

    plan = restore.plan(restore.RestoreOptions(backup, destination, verify))
    if run.dry_run:
        run.show(plan, f"{human(plan.length)} to restore from {name(plan.generation)}")
        return 0
    with Bar() as bar:
        report = restore.execute(plan, bar)
    run.show(
        report,
        f"Restored {count(report.files, 'file')}, {human(report.length)}, from {name(report.generation)}"
        + (f"; {count(report.objects, 'object')} verified" if verify else ""),
    )
    show_damage(report.unreadable, report.damaged)
    run.show_stats(report.files, report.length, report.seconds)
    return 0 if report.is_good else 1
