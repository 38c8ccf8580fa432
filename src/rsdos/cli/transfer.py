"""``rsdos transfer``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from rsdos.cli.key_file import KeyFile
from rsdos.cli.object_names import means_key, object_key
from rsdos.cli.options import CommonOptions, compress_option, first_path, pass_session, run_options, warn_of_backup
from rsdos.cli.render import echo, echo_error
from rsdos.cli.session import Session, other_container
from rsdos.figures import count, figure

if TYPE_CHECKING:
    from rsdos.container import Container


@click.command()
@click.argument("source", type=click.Path())
@click.argument("arguments", nargs=-1, metavar="[DEST] [KEY|REF]...")
@click.option(
    "--from-file", "listed", type=click.Path(), help="Copy only the objects whose keys are in this file, one a line."
)
@click.option(
    "--as", "as_name", metavar="NAME", help="The name that the REF gets in DEST. A snapshot's key gets a tag."
)
@click.option(
    "--compression", help="Compress everything again: zstd, zlib+6, none, ...  [default: copy stored bytes unchanged]"
)
@compress_option
@run_options
@pass_session
@click.pass_context
def command(  # noqa: PLR0913, PLR0917  one for each option
    ctx: click.Context,
    session: Session,
    source: str,
    arguments: tuple[str, ...],
    listed: str | None,
    as_name: str | None,
    compression: str | None,
    compress: str,
    run: CommonOptions,
) -> int:
    """Copy from the container SOURCE to the container DEST: everything, objects by KEY, or snapshots by REF.

    `rsdos -p DEST transfer SOURCE [KEY|REF]...` does the same. A KEY may be its first 6 characters, or REF:PATH.

    Everything includes all branches and tags with all that they lead to. A REF (a branch with all of its versions,
    NAME@N, a tag) brings what it leads to, and its name; a name that means something else in DEST is refused: --as NAME
    gives another.

    The containers may be of any version and hash. With another hash each object gets another key, and both keys are
    printed. Damaged objects, and objects that another process deletes before they are copied, are listed; the others
    are copied, and the exit code is 1. A KEY without an object stops the command.

    \b
    Example: rsdos transfer container-of-a-friend ./container
    """
    from rsdos.maintenance import transfer
    from rsdos.model import CompressMode

    destination, keys = first_path(ctx, session, arguments)
    warn_of_backup(destination)
    if keys and listed is not None:
        raise click.UsageError("give either KEYs and REFs, or --from-file")
    other = other_container(source)
    refs, whole = _named(other, keys, as_name)
    there = other.engine
    engine = run.engine(Session(destination, session.durability))
    wanted = whole or (None if listed is None else KeyFile(listed))
    options = transfer.TransferOptions(wanted, compression, CompressMode(compress), refs, as_name or "")
    plan = transfer.plan(engine, there, options)
    if run.dry_run:
        objects = "the named objects" if plan.objects is None else count(plan.objects, "object")
        names = f"; {', '.join(map(str, plan.names))}" if plan.names else ""
        outcome = {"objects": plan.objects, "names": plan.names}
        run.show(outcome, f"{objects} to copy, unless the container has them already{names}")
        return 0
    renames = engine.config.hash is not there.config.hash and not run.as_json

    def tell(theirs: Sequence[str], ours: Sequence[str]) -> None:
        if renames:
            echo("\n".join(f"{old} {new}" for old, new in zip(theirs, ours, strict=True)))

    with run.bar() as bar:
        report = transfer.execute(engine, plan, bar, tell)
    run.show(
        report,
        f"Copied {count(report.objects, 'object')}, {figure(report.copied)} of them byte for byte; "
        f"already there: {figure(report.known)}"
        + (f"; new names: {', '.join(map(str, report.names))}" if report.names else ""),
    )
    for key, reason in report.damaged:
        echo_error(f"rsdos: error: object {key} is damaged: {reason}")
    show_missing(report.missing)
    run.show_stats(report.objects, report.size, report.seconds)
    return 1 if report.damaged or report.missing else 0


def _named(source: Container, names: Sequence[str], as_name: str | None) -> tuple[list[str], list[str]]:
    """Return the refs and the whole keys that were named. Raise `ObjectNotFound` for the beginning of no key."""
    if as_name is not None:
        if len(names) != 1:
            raise click.UsageError("--as is the name of one REF")
        return [source.snapshots.split(names[0])[0]], []
    refs = [name for name in names if ":" not in name and not means_key(source, name)]
    return refs, [object_key(source, name) for name in names if name not in refs]


def show_missing(keys: tuple[str, ...]) -> None:
    """Print to stderr the objects that were there at the start and were not copied."""
    for key in keys:
        echo_error(f"rsdos: error: object {key} was deleted before it could be copied")
