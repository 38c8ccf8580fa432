"""``rsdos optimize``."""

from __future__ import annotations

import click

from rsdos.cli.bar import Bar
from rsdos.cli.render import human
from rsdos.cli.run import Run, run_options
from rsdos.cli.session import Session, pass_session


@click.group(no_args_is_help=False)
def command() -> None:
    """Maintenance: move loose objects into packs."""


@command.command("pack")
@click.option("--no-compress", is_flag=True, help="Store raw what is not compressed yet.")
@click.option("--no-clean", is_flag=True, help="Keep the loose files.")
@run_options
@pass_session
def pack_command(session: Session, no_compress: bool, no_clean: bool, run: Run) -> int:
    """Move all loose objects into packs.

    A loose file is removed only after its packed copy was synced, committed, read back and hashed. Readers and
    writers go on meanwhile; killed at any moment, the next run goes on.
    """
    from rsdos.maintenance import pack
    from rsdos.model import CompressMode

    engine = run.engine(session)
    mode = CompressMode.KEEP if no_compress else CompressMode.AUTO
    plan = pack.plan(engine, pack.PackOptions(mode, clean=not no_clean))
    if run.dry_run:
        run.show(plan, f"{plan.objects} loose objects to pack, {human(plan.length)}")
        return 0
    with Bar() as bar:
        report = pack.execute(engine, plan, bar)
    run.show(report, _sentence(report))
    run.show_stats(report.objects, report.size, report.seconds)
    for key in report.damaged:
        click.echo(f"rsdos: error: loose object {key} is damaged or unreadable; it was left where it is", err=True)
    return 1 if report.damaged else 0


def _sentence(report: object) -> str:
    from rsdos.maintenance.pack import PackReport

    assert isinstance(report, PackReport)
    if not report.objects:
        known = f"; removed {report.cleaned} that were packed before" if report.cleaned else ""
        return f"No loose objects to pack{known}"
    numbers = ", ".join(f"#{pack_id}" for pack_id in report.pack_ids)
    return (
        f"Packed {report.objects} loose object{'s' * (report.objects != 1)} "
        f"into pack file{'s' * (len(report.pack_ids) != 1)} {numbers}"
    )
