"""``rsdos gc``."""

from __future__ import annotations

import click

from rsdos.cli.options import CommonOptions, pass_session_to_write, run_options
from rsdos.cli.render import echo_error, one_line
from rsdos.cli.session import Session
from rsdos.figures import count, human


@click.command()
@click.option("--repack", is_flag=True, help="Rewrite the packs afterwards, to free the space.")
@run_options
@pass_session_to_write
def command(session: Session, repack: bool, run: CommonOptions) -> int:
    """Delete objects that were stored for snapshots and that no name leads to any more.

    What was inserted by key (`add-files`, `insert`) stays. A save that is running keeps what it has stored. Readers,
    writers and saves are not blocked. After an interruption the next run continues.

    \b
    Example: rsdos gc --dry-run
    """
    from rsdos.maintenance import gc

    engine = run.engine(session)
    plan = gc.plan(engine)
    if run.dry_run:
        run.show(
            plan, f"{count(plan.objects, 'object')} to delete, {human(plan.size)}; {count(plan.live, 'object')} kept"
        )
        return 0
    with run.bar() as bar:
        report = gc.execute(engine, plan, bar)
    hint = "" if repack or not report.objects else "; `rsdos optimize repack` gives the space back"
    run.show(report, f"Deleted {count(report.objects, 'object')}, {human(report.size)}{hint}")
    for save in report.running:
        host = one_line(save.host)
        echo_error(f"rsdos: note: a save is running, process {save.pid} on {host}; what it has stored was kept")
    run.show_stats(report.objects, report.size, report.seconds)
    return _repack(session, run) if repack else 0


def _repack(session: Session, run: CommonOptions) -> int:
    from rsdos.maintenance import repack

    engine = run.engine(session)
    plan = repack.plan(engine, repack.RepackOptions("keep", 0.0))
    with run.bar() as bar:
        report = repack.execute(engine, plan, bar)
    if not run.as_json:
        run.tell(f"Repacked {count(len(report.pack_ids), 'pack')}, freed {human(max(report.freed, 0))}")
    for number in report.unreadable:
        echo_error(f"rsdos: error: pack {number} is damaged, and was not changed")
    for key in report.damaged:
        echo_error(f"rsdos: error: object {key} is damaged, and was copied as it is")
    return 1 if report.unreadable or report.damaged else 0
