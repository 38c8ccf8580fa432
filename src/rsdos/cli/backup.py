"""``rsdos backup``."""

from __future__ import annotations

import click

from rsdos.cli.options import CommonOptions, pass_session, run_options
from rsdos.cli.render import echo_error, name
from rsdos.cli.session import Session
from rsdos.figures import copies, count, figure, human


@click.command()
@click.argument("destination", metavar="DEST", type=click.Path())
@click.option(
    "--keep", type=click.IntRange(min=0), default=1, show_default=True, help="How many older backups to keep."
)
@click.option("--verify", is_flag=True, help="Read and hash every object of the new backup.")
@click.option("--rsync-exe", default="rsync", show_default=True, help="For another machine: the rsync program.")
@click.option("--rsh", default="ssh", show_default=True, help="For another machine: the remote shell.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=600,
    show_default=True,
    help="For another machine: give up after so many seconds without a sign of life.",
)
@click.option("--no-link", is_flag=True, help="Copy everything. Share no files with the last backup.")
@run_options
@pass_session
def command(  # noqa: PLR0913, PLR0917  one for each option
    session: Session,
    destination: str,
    keep: int,
    verify: bool,
    rsync_exe: str,
    rsh: str,
    timeout: float,
    no_link: bool,
    run: CommonOptions,
) -> int:
    """Back the container up to DEST/backup_<time>_<random>, while it is in use.

    Each backup is a whole container. Files that did not change since the last backup are linked, not copied. After
    an interruption the next run continues; older backups are not changed. Damaged files and objects are copied as they
    are, and the exit code is 1.

    DEST may be on another machine: [user@]host:path, through rsync and ssh.

    \b
    Example: rsdos backup --keep 7 /backups/store
    """
    from rsdos.maintenance.backup import backup, remote
    from rsdos.maintenance.backup.rsync import is_remote

    engine = run.engine(session)
    options = backup.BackupOptions(destination, keep, verify, not no_link)
    ways = remote.RemotePrograms(rsync_exe, rsh, timeout) if is_remote(destination) else None
    plan = remote.plan(engine, options, ways) if ways else backup.plan(engine, options)
    if run.dry_run:
        base = f"; the last backup is {name(plan.previous)}" if plan.previous else ""
        run.show(plan, f"{count(plan.files, 'file')} to back up, {human(plan.length)}{base}")
        return 0
    with run.bar() as bar:
        report = remote.execute(engine, plan, ways, bar) if ways else backup.execute(engine, plan, bar)
    run.show(
        report,
        f"Backed up {count(report.files, 'file')}, {human(report.length)}, to {name(report.generation)}: "
        f"{figure(report.linked)} linked{_of_length(report.linked_length)}, {human(report.written)} written"
        + (f"; {count(report.objects, 'file') if ways else copies(report.objects)} verified" if verify else "")
        + (f"; removed {_oldest(len(report.deleted))} (--keep)" if report.deleted else ""),
    )
    for path in report.renewed:
        echo_error(
            f"rsdos: warning: {name(path)}: the copy in older backups is damaged, and the container's is good: "
            "it was copied again"
        )
    show_damage(report.unreadable, report.damaged)
    run.show_stats(report.files, report.length, report.seconds)
    return 0 if report.is_good else 1


def _of_length(length: int) -> str:
    return f" ({human(length)})" if length else ""


def _oldest(backups: int) -> str:
    return "the oldest backup" if backups == 1 else f"the {count(backups, 'oldest backup')}"


def show_damage(unreadable: tuple[str, ...], damaged: tuple[str, ...]) -> None:
    """Print damaged files and objects to stderr."""
    for path in unreadable:
        echo_error(f"rsdos: error: {name(path)}: missing, cut short or unreadable; it was copied as far as possible")
    for key in damaged:
        echo_error(f"rsdos: error: object {key} is damaged in the original, and was copied as it is")
