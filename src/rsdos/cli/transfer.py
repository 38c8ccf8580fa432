"""``rsdos transfer``."""

from __future__ import annotations

from collections.abc import Sequence

import click

from rsdos.cli.bar import Bar
from rsdos.cli.key_file import KeyFile
from rsdos.cli.passing import pass_session
from rsdos.cli.render import count, echo, echo_error
from rsdos.cli.run import Run, run_options
from rsdos.cli.session import Session


@click.command()
@click.argument("source", type=click.Path())
@click.argument("destination", metavar="DEST", type=click.Path())
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@click.option("--from-file", "listed", type=click.Path(), help="Only the objects whose keys stand here, one a line.")
@click.option("--compression", help="Compress all anew: zstd, zlib+6, none, ...  [default: stored bytes as they are]")
@run_options
@pass_session
def command(
    session: Session,
    source: str,
    destination: str,
    keys: tuple[str, ...],
    listed: str | None,
    compression: str | None,
    run: Run,
) -> int:
    """Copy objects from the container SOURCE into the container DEST: all, or those with the given KEYs.

    The two may be of any version and hash. Between different hashes each object gets another key; both are printed
    then. Damaged objects are listed, and make the exit code 1; the others are copied.
    """
    from rsdos.maintenance import transfer

    if keys and listed is not None:
        raise click.UsageError("Give either KEYs, or --from-file.")
    there = Session(source, None).container().engine
    engine = run.engine(Session(destination, session.durability))
    wanted = keys or (None if listed is None else KeyFile(listed))
    plan = transfer.plan(engine, there, transfer.TransferOptions(wanted, compression))
    if run.dry_run:
        objects = "the named objects" if plan.objects is None else count(plan.objects, "object")
        run.show({"objects": plan.objects}, f"{objects} to copy, as far as they are not there")
        return 0
    renames = engine.config.hash is not there.config.hash and not run.as_json

    def tell(theirs: Sequence[str], ours: Sequence[str]) -> None:
        if renames:
            echo("\n".join(f"{old} {new}" for old, new in zip(theirs, ours, strict=True)))

    with Bar() as bar:
        report = transfer.execute(engine, plan, bar, tell)
    run.show(
        report,
        f"Copied {count(report.objects, 'object')}, {report.copied} of them byte for byte; "
        f"already there: {report.known}",
    )
    for key, reason in report.damaged:
        echo_error(f"rsdos: error: object {key} is damaged: {reason}")
    run.show_stats(report.objects, report.size, report.seconds)
    return 1 if report.damaged else 0
