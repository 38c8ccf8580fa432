"""``rsdos restore``."""

from __future__ import annotations

import click

from rsdos.cli.backup import show_damage
from rsdos.cli.passing import first_path, pass_session
from rsdos.cli.render import count, human, name
from rsdos.cli.run import Run, run_options
from rsdos.cli.session import Session


@click.command()
@click.argument("backup", metavar="BACKUP", type=click.Path())
@click.argument("destination", metavar="[DEST]", type=click.Path(), required=False)
@click.option("--verify", is_flag=True, help="Read and hash every object that was restored.")
@run_options
@pass_session
@click.pass_context
def command(ctx: click.Context, session: Session, backup: str, destination: str | None, verify: bool, run: Run) -> int:
    """Copy BACKUP, one backup or a directory of them (the newest then), to the new directory DEST.

    `rsdos -p DEST restore BACKUP` is the same.
    DEST is a container only when all is there: interrupted, run it again. It shares nothing with the backup.

    \b
    Example: rsdos restore /backups/store ./container
    """
    from rsdos.maintenance import restore

    destination, rest = first_path(ctx, session, () if destination is None else (destination,))
    if rest:
        raise click.UsageError("name the container either with -p, or behind the backup")
    plan = restore.plan(restore.RestoreOptions(backup, destination, verify))
    if run.dry_run:
        run.show(plan, f"{human(plan.length)} to restore from {name(plan.generation)}")
        return 0
    with run.bar() as bar:
        report = restore.execute(plan, bar)
    run.show(
        report,
        f"Restored {count(report.files, 'file')}, {human(report.length)}, from {name(report.generation)}"
        + (f"; {count(report.objects, 'object')} verified" if verify else ""),
    )
    show_damage(report.unreadable, report.damaged)
    run.show_stats(report.files, report.length, report.seconds)
    return 0 if report.is_good else 1
