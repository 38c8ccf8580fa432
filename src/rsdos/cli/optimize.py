"""``rsdos optimize``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from rsdos.cli.collect import collected_sentence
from rsdos.cli.dask import dask_option, workers_of
from rsdos.cli.group import CommandGroup
from rsdos.cli.options import CommonOptions, compress_option, pass_session, run_options
from rsdos.cli.render import echo_error
from rsdos.cli.session import Session
from rsdos.cli.types import Duration, Share
from rsdos.figures import count, human

if TYPE_CHECKING:
    from rsdos.maintenance.clean import CleanReport
    from rsdos.maintenance.optimize import OptimizeReport
    from rsdos.maintenance.pack import PackReport
    from rsdos.maintenance.repack import RepackReport


@click.group(cls=CommandGroup, invoke_without_command=True)
@click.option("--budget", type=Duration(), help="Begin no further step after this time: 90s, 10m, 2h.")
@run_options
@pass_session
@click.pass_context
def command(ctx: click.Context, session: Session, budget: float | None, run: CommonOptions) -> int:
    """Do maintenance. Without a command: clean, pack, repack and merge the index, as far as each is needed.
    On object storage, also remove dead objects (see `rsdos collect`).

    Readers and writers are not blocked. After an interruption the next run continues.

    \b
    Example: rsdos optimize --budget 10m
    """
    if ctx.invoked_subcommand is not None:
        return 0
    from rsdos.maintenance import optimize

    engine = run.engine(session)
    plan = optimize.plan(engine, optimize.OptimizeOptions(seconds=budget))
    if run.dry_run:
        packs = ", ".join(f"#{pack_id}" for pack_id in plan.pack_ids) or "none"
        run.show(
            plan,
            f"{count(plan.loose_objects, 'loose object')} to pack, {human(plan.loose_length)}; "
            f"packs to repack: {packs}, {human(plan.dead)} dead, {human(plan.overhead)} overhead; "
            f"{count(plan.segments, 'table')} of the index",
        )
        return 0
    with run.bar() as bar:
        report = optimize.execute(engine, plan, bar)
    run.show(report, "Optimized")
    if not run.as_json:
        _show_steps(report, run)
    damaged = _damaged(report)
    for key in damaged:
        echo_error(f"rsdos: error: object {key} is damaged")
    objects = (report.pack.objects if report.pack else 0) + (report.repack.objects if report.repack else 0)
    size = (report.pack.size if report.pack else 0) + (report.repack.size if report.repack else 0)
    run.show_stats(objects, size, report.seconds)
    return 1 if damaged else 0


def _show_steps(report: OptimizeReport, run: CommonOptions) -> None:
    for name, step in (("clean", report.clean), ("pack", report.pack), ("repack", report.repack)):
        if step is None:
            run.tell(f"{name}: no time left")
    if report.clean:
        run.tell(_cleaned(report.clean))
    if report.pack:
        run.tell(_sentence(report.pack))
    if report.repack:
        run.tell(_repacked(report.repack))
    if report.collect:
        run.tell(collected_sentence(report.collect))


def _damaged(report: OptimizeReport) -> list[str]:
    steps = (report.clean, report.pack, report.repack)
    return sorted({key for step in steps if step is not None for key in step.damaged})


@command.command("clean")
@run_options
@pass_session
def clean_command(session: Session, run: CommonOptions) -> int:
    """Remove the loose files of packed objects, and leftovers of dead writers.

    A loose file is removed only after its packed copy was synced, read back and hashed. Files of live writers are kept.

    \b
    Example: rsdos optimize clean --dry-run
    """
    from rsdos.maintenance import clean

    engine = run.engine(session)
    plan = clean.plan(engine)
    if run.dry_run:
        run.show(plan, f"{count(plan.objects, 'loose object')} to remove, as packed, {human(plan.length)}")
        return 0
    with run.bar() as bar:
        report = clean.execute(engine, plan, bar)
    run.show(report, _cleaned(report))
    for key in report.damaged:
        echo_error(f"rsdos: error: the packed copy of {key} is damaged; its loose file was kept")
    run.show_stats(report.cleaned, report.length, report.seconds)
    return 1 if report.damaged else 0


def _cleaned(report: CleanReport) -> str:
    return (
        f"Removed {count(report.cleaned, 'loose object')} that had been packed, {human(report.length)}; "
        f"{count(report.leftovers, 'leftover')}, {human(report.freed)}"
    )


@command.command("repack")
@click.option("--compression", default="keep", show_default=True, help="keep, none, zstd, zstd:+3, zlib+1, ...")
@compress_option
@click.option(
    "--min-dead",
    type=Share(),
    default="20%",
    show_default=True,
    help="Rewrite only packs with at least this share of dead bytes.",
)
@click.option(
    "--pack", "pack_id", type=click.IntRange(min=0), help="Rewrite only this pack, whatever its share of dead bytes."
)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Processes that rewrite packs at the same time. Each needs the extra space of one pack.",
)
@dask_option
@run_options
@pass_session
def repack_command(
    session: Session,
    compression: str,
    compress: str,
    min_dead: float,
    pack_id: int | None,
    jobs: int,
    scheduler: str | None,
    run: CommonOptions,
) -> int:
    """Rewrite packs without their dead bytes, or with another compression.

    Stored bytes are copied unchanged, except where a new dictionary makes small objects clearly smaller. --compression
    encodes all objects anew, also those that were stored raw because they hardly shrink. One pack is rewritten at a
    time, and needs the extra space of one pack. A pack that a long reader (such as a backup) still needs is removed by
    the next run.

    \b
    Example: rsdos optimize repack --min-dead 10%
    """
    from rsdos.maintenance import repack
    from rsdos.model import CompressMode

    engine = run.engine(session)
    options = repack.RepackOptions(compression, min_dead, pack_id, CompressMode(compress), jobs=jobs)
    plan = repack.plan(engine, options)
    if run.dry_run:
        packs = ", ".join(f"#{pack_id}" for pack_id in plan.pack_ids) or "none"
        run.show(plan, f"Packs to repack: {packs}; {human(plan.dead)} dead, {human(plan.length)} to copy")
        return 0
    with workers_of(scheduler, jobs) as workers, run.bar() as bar:
        report = repack.execute(engine, replace(plan, options=replace(options, jobs=workers)), bar)
    run.show(report, _repacked(report))
    for number in report.unreadable:
        echo_error(f"rsdos: error: pack {number} is damaged, and was not changed")
    for key in report.damaged:
        echo_error(f"rsdos: error: object {key} is damaged, and was copied as it is")
    run.show_stats(report.objects, report.size, report.seconds)
    return 1 if report.unreadable or report.damaged else 0


def _repacked(report: RepackReport) -> str:
    skipped = f"; {count(len(report.skipped), 'pack')} in use skipped" if report.skipped else ""
    kept = f"; {count(len(report.kept), 'old pack')} kept for readers, until a later run" if report.kept else ""
    change = f"freed {human(report.freed)}" if report.freed >= 0 else f"grew by {human(-report.freed)}"
    return f"Repacked {count(len(report.pack_ids), 'pack')}, {change}{skipped}{kept}"


@command.command("pack")
@click.option(
    "--compress",
    type=click.Choice(["no", "yes", "auto", "keep"]),
    default="auto",
    show_default=True,
    help="auto: compress objects that become clearly smaller. keep: leave compressed what is compressed.",
)
@click.option("--no-compress", is_flag=True, help="The same as --compress keep.")
@click.option("--no-clean", is_flag=True, help="Keep the loose files.")
@run_options
@pass_session
def pack_command(session: Session, compress: str, no_compress: bool, no_clean: bool, run: CommonOptions) -> int:
    """Move all loose objects into packs.

    A loose file is removed only after its packed copy was synced, committed, read back and hashed. Readers and writers
    are not blocked. After an interruption the next run continues.

    \b
    Example: rsdos optimize pack
    """
    from rsdos.maintenance import pack
    from rsdos.model import CompressMode

    if no_compress and compress not in ("auto", "keep"):
        raise click.UsageError(f"--no-compress contradicts --compress {compress}")
    engine = run.engine(session)
    mode = CompressMode.KEEP if no_compress else CompressMode(compress)
    plan = pack.plan(engine, pack.PackOptions(mode, clean=not no_clean))
    if run.dry_run:
        run.show(plan, f"{count(plan.objects, 'loose object')} to pack, {human(plan.length)}")
        return 0
    with run.bar() as bar:
        report = pack.execute(engine, plan, bar)
    run.show(report, _sentence(report))
    run.show_stats(report.objects, report.size, report.seconds)
    for key in report.damaged:
        echo_error(f"rsdos: error: loose object {key} is damaged or unreadable; its file was kept")
    return 1 if report.damaged else 0


def _sentence(report: PackReport) -> str:
    if not report.objects:
        known = (
            f"; removed {count(report.cleaned, 'loose object')} that had been packed before" if report.cleaned else ""
        )
        return f"No loose objects to pack{known}"
    numbers = ", ".join(f"#{pack_id}" for pack_id in report.pack_ids)
    return f"Packed {count(report.objects, 'loose object')} into pack file{'s' * (len(report.pack_ids) != 1)} {numbers}"
