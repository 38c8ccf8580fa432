"""``rsdos transfer``."""

from __future__ import annotations

from collections.abc import Sequence

import click

from rsdos.cli.key_file import KeyFile
from rsdos.cli.keys import whole_keys
from rsdos.cli.options import CommonOptions, compress_option, first_path, pass_session, run_options
from rsdos.cli.render import count, echo, echo_error
from rsdos.cli.session import Session
from rsdos.errors import ObjectNotFound


@click.command()
@click.argument("source", type=click.Path())
@click.argument("arguments", nargs=-1, metavar="[DEST] [KEY]...")
@click.option(
    "--from-file", "listed", type=click.Path(), help="Copy only the objects whose keys are in this file, one a line."
)
@click.option(
    "--compression", help="Compress everything again: zstd, zlib+6, none, ...  [default: copy stored bytes unchanged]"
)
@compress_option
@run_options
@pass_session
@click.pass_context
def command(
    ctx: click.Context,
    session: Session,
    source: str,
    arguments: tuple[str, ...],
    listed: str | None,
    compression: str | None,
    compress: str,
    run: CommonOptions,
) -> int:
    """Copy objects from the container SOURCE to the container DEST: all objects, or those with the given KEYs.

    `rsdos -p DEST transfer SOURCE [KEY]...` does the same.

    The containers may be of any version and hash. With another hash each object gets another key, and both keys are
    printed. Damaged objects, and objects that another process deletes before they are copied, are listed; the others
    are copied, and the exit code is 1. A KEY without an object stops the command.

    \b
    Example: rsdos transfer container-of-a-friend ./container
    """
    from rsdos.maintenance import transfer
    from rsdos.model import CompressMode

    destination, keys = first_path(ctx, session, arguments)
    if keys and listed is not None:
        raise click.UsageError("give either KEYs, or --from-file")
    whole, absent = whole_keys(Session(source, None), keys)
    if absent:
        raise ObjectNotFound(absent[0])
    there = Session(source, None).container().engine
    engine = run.engine(Session(destination, session.durability))
    wanted = whole or (None if listed is None else KeyFile(listed))
    plan = transfer.plan(engine, there, transfer.TransferOptions(wanted, compression, CompressMode(compress)))
    if run.dry_run:
        objects = "the named objects" if plan.objects is None else count(plan.objects, "object")
        run.show({"objects": plan.objects}, f"{objects} to copy, unless the container has them already")
        return 0
    renames = engine.config.hash is not there.config.hash and not run.as_json

    def tell(theirs: Sequence[str], ours: Sequence[str]) -> None:
        if renames:
            echo("\n".join(f"{old} {new}" for old, new in zip(theirs, ours, strict=True)))

    with run.bar() as bar:
        report = transfer.execute(engine, plan, bar, tell)
    run.show(
        report,
        f"Copied {count(report.objects, 'object')}, {report.copied} of them byte for byte; "
        f"already there: {report.known}",
    )
    for key, reason in report.damaged:
        echo_error(f"rsdos: error: object {key} is damaged: {reason}")
    show_missing(report.missing)
    run.show_stats(report.objects, report.size, report.seconds)
    return 1 if report.damaged or report.missing else 0


def show_missing(keys: tuple[str, ...]) -> None:
    """Print to stderr the objects that were there at the start and were not copied."""
    for key in keys:
        echo_error(f"rsdos: error: object {key} was deleted before it could be copied")
