"""``rsdos migrate``."""

from __future__ import annotations

import click

from rsdos.cli.options import CommonOptions, compress_option, first_path, pass_session, run_options
from rsdos.cli.render import echo_error, name
from rsdos.cli.session import Session
from rsdos.cli.transfer import show_missing
from rsdos.figures import count, figure, human


@click.command()
@click.argument("paths", nargs=-1, metavar="[SOURCE] [DEST]", type=click.Path())
@click.option(
    "--to",
    type=click.IntRange(1, 2),
    default=2,
    show_default=True,
    help="Container version. 1 is that of disk-objectstore.",
)
@click.option(
    "--compression", help="Compress everything again: zstd, zlib+6, none, ...  [default: copy stored bytes unchanged]"
)
@compress_option
@click.option(
    "--without-snapshots",
    is_flag=True,  # A `flag_value` with a default is always taken by click 8.1.
    help="Move only what was inserted by key, and no snapshots. Container version 1 has none.",
)
@run_options
@pass_session
@click.pass_context
def command(
    ctx: click.Context,
    session: Session,
    paths: tuple[str, ...],
    to: int,
    compression: str | None,
    compress: str,
    without_snapshots: bool,
    run: CommonOptions,
) -> int:
    """Convert the container SOURCE to another version, in place or as a new container in DEST.

    `rsdos -p SOURCE migrate [DEST]` does the same.

    Every object is hashed on the way. Until the last step, one rename, SOURCE is a whole container that all programs
    can use. After an interruption the same command continues. In place, it needs the extra disk space of one pack.
    Close other programs that use SOURCE before the end. Damaged objects are listed and copied to quarantine/, and the
    exit code is 1.

    \b
    Example: rsdos migrate old-container new-container
    """
    from rsdos.maintenance.migrate import migrate
    from rsdos.maintenance.transfer import SnapshotPolicy
    from rsdos.model import CompressMode

    source, rest = first_path(ctx, session, paths)
    if len(rest) > 1:
        raise click.UsageError(f"one container too many: {rest[-1]}")
    destination = rest[0] if rest else None
    engine = run.engine(Session(source, session.durability))
    left = SnapshotPolicy.LEAVE_BEHIND if without_snapshots else SnapshotPolicy.BRING
    plan = migrate.plan(engine, migrate.MigrateOptions(to, destination, compression, CompressMode(compress), left))
    if run.dry_run:
        run.show(
            plan,
            f"{count(plan.objects, 'object')}, {human(plan.length)} in packs, "
            f"from version {plan.version} to version {to}",
        )
        return 0
    with run.bar() as bar:
        report = migrate.execute(engine, plan, bar)
    run.show(
        report,
        f"{name(report.path)} is a container of version {to}: {count(report.objects, 'object')} moved, "
        f"{figure(report.copied)} of them byte for byte; {human(report.before)} before, {human(report.after)} now, "
        f"{report.seconds:.1f} s",
    )
    for key in report.rescued:
        echo_error(f"rsdos: warning: object {key}: its packed copy is damaged; its loose copy was used")
    for key, reason in report.damaged:
        echo_error(f"rsdos: error: object {key} is damaged: {reason}")
    if report.damaged:
        echo_error(f"rsdos: error: their bytes are in {name(report.quarantine or '')}")
    show_missing(report.missing)
    run.show_stats(report.objects, report.size, report.seconds)
    return 1 if report.damaged or report.missing else 0
