"""``rsdos export``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import click

from rsdos.cli.exit_codes import DONE, FAILED
from rsdos.cli.options import pass_session, quiet_option, show_stats
from rsdos.cli.progress_bar import Bar
from rsdos.cli.render import echo_error, one_line
from rsdos.cli.session import Session
from rsdos.storage.directory import remove_own


@click.command()
@click.argument("ref", metavar="REF[:PATH]")
@click.option("-o", "--output", type=click.Path(), help="Write to this file. It appears whole or not at all.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["tar", "list"]),
    default="tar",
    show_default=True,
    help="list: one JSON document a line, with path, key and size, as `add-files --json` prints.",
)
@click.option(
    "--times", is_flag=True, help="Write times into a tar: the files' if the tree has them, else the snapshot's."
)
@click.option("--keep-going", is_flag=True, help="Leave out what is damaged; the exit code is 1.")
@quiet_option
@click.option("--stats", is_flag=True, help="Print files/s, bytes/s and peak memory to stderr at the end.")
@pass_session
def command(
    session: Session,
    ref: str,
    output: str | None,
    form: str,
    times: bool,
    keep_going: bool,
    quiet: bool,
    stats: bool,
) -> int:
    """Write a snapshot, or a directory of it, as one stream to stdout or a file: a tar archive, or a list of keys.

    The same tree gives the same bytes, unless --times is given. A tar has owner 0, the x bit, and links as they are.

    \b
    Example: rsdos export flowers@1 | ssh other tar -x -C flowers
    """
    from rsdos.worktree.archive_export import ExportFormat, ExportOptions, ExportTimes, export
    from rsdos.worktree.checkout_files import OnDamage

    if output is None and form == "tar" and sys.stdout.isatty():
        raise click.UsageError("a tar archive is not for the terminal: give -o FILE, or a pipe")
    container = session.container()
    engine = container.engine
    if output is not None:
        session.refuse_own(output)
    name, path = container.snapshots.split(ref)
    options = ExportOptions(
        name,
        os.fsencode(path or ""),
        ExportFormat(form),
        ExportTimes.KEPT if times else ExportTimes.ZERO,
        OnDamage.CONTINUE if keep_going else OnDamage.STOP,
    )
    with Bar(quiet=quiet or (output is None and sys.stdout.isatty())) as bar, _target(output) as target:
        report = export(engine, options, target, bar)
    for failed, reason in report.failed:
        echo_error(f"rsdos: error: {one_line(os.fsdecode(failed))}: {one_line(reason)}")
    if stats:
        show_stats(report.files, report.size, report.seconds)
    return FAILED if report.failed else DONE


@contextmanager
def _target(path: str | None) -> Iterator[IO[bytes] | Any]:
    """Yield standard output, or a file that gets its name when the block has ended without an error."""
    if path is None:
        sys.stdout.flush()
        yield sys.stdout.buffer
        return
    unfinished = f"{path}.part-{os.getpid()}"
    try:
        with open(unfinished, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        if error.filename is None:  # A write that fails does not know the name.
            error.filename = path
        raise
    finally:
        remove_own(unfinished)
