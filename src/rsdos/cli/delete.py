"""``rsdos delete``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import click

from rsdos.cli.exit_codes import DONE, FAILED
from rsdos.cli.key_file import KeyFile
from rsdos.cli.keys import whole_keys
from rsdos.cli.options import CommonOptions, pass_session_to_write, run_options
from rsdos.cli.render import echo_error
from rsdos.cli.session import Session
from rsdos.figures import count, figure

_SHOWN = 20
"""The most missing keys that are printed one by one."""


@click.command()
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@click.option(
    "--from-file", "listed", type=click.Path(), help="Delete the objects whose keys are in this file, one a line."
)
@click.option(
    "--keep-from-file", "kept", type=click.Path(), help="Delete all objects except those whose keys are in this file."
)
@click.option("--ignore-missing", is_flag=True, help="Do not fail if an object is missing.")
@run_options
@pass_session_to_write
def command(
    session: Session,
    keys: tuple[str, ...],
    listed: str | None,
    kept: str | None,
    ignore_missing: bool,
    run: CommonOptions,
) -> int:
    """Delete objects, loose and packed. "-" as a file is standard input.

    Missing objects are named on standard error, the others are deleted, and the exit code is 1.

    Packed objects leave dead bytes, which `rsdos optimize repack` frees. Readers and writers are not blocked. After an
    interruption the next run continues. With --keep-from-file (garbage collection), objects that are inserted after the
    start are kept. Inserting an object that is there already does not keep it: put it on the list.

    \b
    Example: rsdos delete --keep-from-file keys-in-use.txt --dry-run
    """
    if bool(keys) + (listed is not None) + (kept is not None) != 1:
        raise click.UsageError("give either KEYs, or --from-file, or --keep-from-file")
    if kept is not None:
        _collect(session, kept, run)
        return DONE
    whole, absent = whole_keys(session, keys)
    kind = "warning" if ignore_missing else "error"
    missing = _delete(session, whole if listed is None else KeyFile(listed), absent, kind, run)
    return FAILED if missing and not ignore_missing else DONE


def _delete(
    session: Session, keys: Sequence[str] | KeyFile, absent: Sequence[str], kind: str, run: CommonOptions
) -> int:
    """Delete. Return how many were missing, ``absent`` ones included; each is printed as a line of this ``kind``."""
    from rsdos.maintenance import delete

    engine = run.engine(session)
    plan = delete.plan(engine, delete.DeleteOptions(keys))
    if run.dry_run:
        report = delete.DeleteReport(plan.objects, plan.keys - plan.objects + len(absent))
        run.show(report, f"{count(plan.objects, 'object')} to delete; missing: {figure(report.missing)}")
        return report.missing
    unknown = list(absent[:_SHOWN])

    def tell(deleted: Sequence[str], missing: Sequence[str]) -> None:
        unknown.extend(missing[: _SHOWN - len(unknown)])

    with run.bar() as bar:
        report = delete.execute(engine, plan, bar, tell)
    report = replace(report, missing=report.missing + len(absent))
    run.show(
        report, f"Deleted {count(report.deleted, 'object')}; missing: {figure(report.missing)}{_held(report.held)}"
    )
    for key in unknown:
        echo_error(f"rsdos: {kind}: no such object: {key}")
    if report.missing > len(unknown):
        echo_error(f"rsdos: {kind}: and {count(report.missing - len(unknown), 'other')}")
    run.show_stats(report.deleted, 0, report.seconds)
    return report.missing


def _collect(session: Session, kept: str, run: CommonOptions) -> None:
    from rsdos.maintenance import retain

    engine = run.engine(session)
    plan = retain.plan(engine, retain.RetainOptions(KeyFile(kept)))
    if run.dry_run:
        run.show({"objects": plan.objects, "named": plan.named}, f"{count(plan.objects, 'object')} to delete")
        return
    with run.bar() as bar:
        report = retain.execute(engine, plan, bar)
    run.show(report, f"Deleted {count(report.deleted, 'object')}{_held(report.held)}")
    run.show_stats(report.deleted, 0, report.seconds)


def _held(objects: int) -> str:
    """Return the part of the sentence about objects that snapshots need: they stay readable until gc."""
    return f"; kept for snapshots: {figure(objects)}" if objects else ""
