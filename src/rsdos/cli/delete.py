"""``rsdos delete``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import click

from rsdos.cli.exit_codes import DONE, FAILED
from rsdos.cli.key_file import KeyFile
from rsdos.cli.keys import whole_keys
from rsdos.cli.options import CommonOptions, pass_session, run_options
from rsdos.cli.render import count, echo_error
from rsdos.cli.session import Session

_SHOWN = 20
"""Keys that are not there which are named one by one."""


@click.command()
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@click.option("--from-file", "listed", type=click.Path(), help="Delete the objects whose keys stand here, one a line.")
@click.option("--keep-from-file", "kept", type=click.Path(), help="Delete all objects but those whose keys stand here.")
@click.option("--ignore-missing", is_flag=True, help="What is not there is no failure.")
@run_options
@pass_session
def command(
    session: Session,
    keys: tuple[str, ...],
    listed: str | None,
    kept: str | None,
    ignore_missing: bool,
    run: CommonOptions,
) -> int:
    """Delete objects wherever they are. "-" as a file is standard input.

    What is not there is named, the others are deleted, and the exit code is 1.
    The space of packed objects becomes dead bytes; `rsdos optimize repack` gives it back. Readers and writers go on
    meanwhile; killed at any moment, the next run goes on. With --keep-from-file (garbage collection) objects that are
    inserted after the start stay; to insert one that is there already does not count, so list first what you need.

    \b
    Example: rsdos delete --keep-from-file keys-in-use.txt --dry-run
    """
    if bool(keys) + (listed is not None) + (kept is not None) != 1:
        raise click.UsageError("Give either KEYs, or --from-file, or --keep-from-file.")
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
    """Delete; returns how many were not there, the ``absent`` ones included; each is a ``kind`` of line."""
    from rsdos.maintenance import delete

    engine = run.engine(session)
    plan = delete.plan(engine, delete.DeleteOptions(keys))
    if run.dry_run:
        report = delete.DeleteReport(plan.objects, plan.keys - plan.objects + len(absent))
        run.show(report, f"{count(plan.objects, 'object')} to delete; not there: {report.missing}")
        return report.missing
    unknown = list(absent[:_SHOWN])

    def tell(deleted: Sequence[str], missing: Sequence[str]) -> None:
        unknown.extend(missing[: _SHOWN - len(unknown)])

    with run.bar() as bar:
        report = delete.execute(engine, plan, bar, tell)
    report = replace(report, missing=report.missing + len(absent))
    run.show(report, f"Deleted {count(report.deleted, 'object')}; not there: {report.missing}")
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
    run.show(report, f"Deleted {count(report.deleted, 'object')}")
    run.show_stats(report.deleted, 0, report.seconds)
