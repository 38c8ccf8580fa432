"""``rsdos restore``."""

from __future__ import annotations

import click

from rsdos.cli.backup import show_damage
from rsdos.cli.options import CommonOptions, first_path, pass_session, run_options
from rsdos.cli.render import name
from rsdos.cli.session import Session
from rsdos.figures import copies, count, human


@click.command()
@click.argument("backup", metavar="BACKUP", type=click.Path())
@click.argument("destination", metavar="[DEST]", type=click.Path(), required=False)
@click.option("--verify", is_flag=True, help="Read and hash every restored object.")
@click.option("--owner", metavar="USER[:GROUP]", help="Set the owner of all files. Needs root.")
@run_options
@pass_session
@click.pass_context
def command(
    ctx: click.Context,
    session: Session,
    backup: str,
    destination: str | None,
    verify: bool,
    owner: str | None,
    run: CommonOptions,
) -> int:
    """Copy a backup to the new directory DEST. BACKUP is one backup, or a directory of backups: then the newest.

    `rsdos -p DEST restore BACKUP` does the same.

    DEST becomes a container when everything is copied. After an interruption run the command again. DEST shares no
    files with the backup.

    \b
    Example: rsdos restore /backups/store ./container
    """
    from rsdos.maintenance.backup import restore

    destination, rest = first_path(ctx, session, () if destination is None else (destination,))
    if rest:
        raise click.UsageError("name the container either with -p, or after the backup")
    plan = restore.plan(restore.RestoreOptions(backup, destination, verify, owner_of(owner)))
    if run.dry_run:
        run.show(plan, f"{human(plan.length)} to restore from {name(plan.generation)}")
        return 0
    with run.bar() as bar:
        report = restore.execute(plan, bar)
    run.show(
        report,
        f"Restored {count(report.files, 'file')}, {human(report.length)}, from {name(report.generation)}"
        + (f"; {copies(report.objects)} verified" if verify else ""),
    )
    show_damage(report.unreadable, report.damaged)
    run.show_stats(report.files, report.length, report.seconds)
    return 0 if report.is_good else 1


def owner_of(text: str | None) -> tuple[int, int] | None:
    """Return the numbers of ``USER[:GROUP]``, each a name or a number. The default group is that of the user."""
    if text is None:
        return None
    import grp
    import pwd

    user, _, group = text.partition(":")
    try:
        person = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
    except KeyError:
        if not (user.isdigit() and group):
            raise click.UsageError(f"--owner: there is no user {user}") from None
        person = None
    try:
        number = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid if group else -1
    except KeyError:
        raise click.UsageError(f"--owner: there is no group {group}") from None
    return (person.pw_uid if person else int(user)), (number if group or person is None else person.pw_gid)
