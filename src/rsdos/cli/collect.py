"""``rsdos collect``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rsdos.cli.options import CommonOptions, pass_session, report_options
from rsdos.cli.session import Session
from rsdos.cli.types import Duration
from rsdos.figures import count, human

if TYPE_CHECKING:
    from rsdos.maintenance.collect import CollectReport


@click.command()
@click.option(
    "--grace",
    type=Duration(),
    default="24h",
    show_default=True,
    help="A writer that commits nothing for so long is dead.",
)
@click.option("--keep", type=Duration(), default="7d", show_default=True, help="How old the state of a reader may be.")
@report_options
@pass_session
def command(session: Session, grace: float, keep: float, run: CommonOptions) -> int:
    """Remove dead objects from object storage: those that repacks and merges have replaced or dead writers have left.

    Any number of machines may do this at the same time, beside readers and writers. `optimize` does it too. All times
    are those of the store. A writer that took longer than --grace between two commits must be run again.

    \b
    Example: rsdos -p s3://lab/data collect
    """
    from rsdos.maintenance import collect
    from rsdos.stores.remote.collect import CollectOptions

    engine = run.engine(session)
    plan = collect.plan(engine, CollectOptions(grace, keep))
    if run.dry_run:
        run.show(
            plan,
            f"{count(plan.retired, 'object')} out of use, {count(plan.reservations, 'reservation')}, of any age",
        )
        return 0
    with run.bar() as bar:
        report = collect.execute(engine, plan, bar)
    run.show(report, collected_sentence(report))
    run.show_stats(report.collected.objects, report.collected.length, report.seconds)
    return 0


def collected_sentence(report: CollectReport) -> str:
    """Return what was collected."""
    collected = report.collected
    return (
        f"Removed {count(collected.objects, 'dead object')} of the store, {human(collected.length)}; "
        f"{count(collected.reservations, 'reservation')} lapsed, {count(collected.emptied, 'old manifest')} emptied"
    )
