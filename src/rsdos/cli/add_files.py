"""``rsdos add-files``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain, islice
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

from rsdos.cli.add_chunk import AddOptions, ChunkResult, line_of, store_files
from rsdos.cli.add_walk import Walk, is_stream, listed
from rsdos.cli.add_workers import MOST_JOBS, default_jobs, store_in_workers
from rsdos.cli.exit_codes import DONE, FAILED
from rsdos.cli.options import pass_session, quiet_option, show_stats
from rsdos.cli.patterns import Excluded
from rsdos.cli.progress_bar import Bar
from rsdos.cli.render import count, echo, echo_error, echo_now, human, one_line
from rsdos.cli.session import Session
from rsdos.standard import OutputClosed

if TYPE_CHECKING:
    from rsdos.container import Container

_PACKED_FROM = 100
"""``--to auto``: from so many files on they go straight to a pack."""

_WORKERS_FROM = 16384
"""From so many files on there are workers unasked: one process takes 0.3 s for them, which two can halve."""


@click.command()
@click.argument("files", nargs=-1, type=click.Path(readable=False))
@click.option("-r", "--recursive", is_flag=True, help="Descend into directories; links found there are not followed.")
@click.option(
    "--exclude",
    "patterns",
    multiple=True,
    metavar="PATTERN",
    help="With -r: leave out files and directories of such names; see below. May be given again.",
)
@click.option("--from-file", type=click.Path(), help="Read more names from this file; - is standard input.")
@click.option(
    "-0", "--null", is_flag=True, help="The names end with NUL; taken to be so when the first 64 KiB have one."
)
@click.option(
    "--to",
    type=click.Choice(["loose", "packed", "auto"]),
    default="auto",
    show_default=True,
    help="auto: to a pack for 100 files or more.",
)
@click.option(
    "--compress",
    type=click.Choice(["no", "yes", "auto", "keep"]),
    default="auto",
    show_default=True,
    help="Of what goes to a pack; loose files follow the container's --loose-compression.",
)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1, 64),
    help="Processes that store at the same time, each in a pack of its own; lines come as they are done. Default: 1, "
    f"and with -r as many as there are cores, {MOST_JOBS} at most, for {_WORKERS_FROM} files or more that go to packs.",
)
@click.option("--dry-run", is_flag=True, help="Only print the names and sizes of what would be stored.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line.")
@quiet_option
@click.option("--stats", is_flag=True, help="Files/s, bytes/s and peak memory at the end, on stderr.")
@pass_session
def command(  # noqa: PLR0913, PLR0917  one for each option
    session: Session,
    files: tuple[str, ...],
    recursive: bool,
    patterns: tuple[str, ...],
    from_file: str | None,
    null: bool,
    to: str,
    compress: str,
    jobs: int | None,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    stats: bool,
) -> int:
    """Store files and directories; prints the key, the name and the size of each. "-" is standard input.

    A line is printed when its object is durable, which in packs 16,384 files, or 256 MiB, become together. Interrupted,
    the same command goes on: what is stored is read, and not written, again.

    A file that cannot be read is named on standard error, the others are stored, and the exit code is 1. A symbolic
    link is followed when it is named, and passed over with -r. The container itself is passed over in any case.

    A PATTERN is as in a .gitignore: *, ? and [a-z] stand for characters but the slash, ** for directories. One without
    a slash is that of a name anywhere, one with a slash begins at the directory that -r was given; with a slash at its
    end it leaves out directories only. Nothing takes back in what is left out.

    \b
    Example: rsdos add-files -r data --exclude '*.tmp' --exclude .git/ --json > keys.jsonl
    """
    _refuse_usage(files, recursive, patterns, from_file, to, compress)
    begun = monotonic()
    container = session.container()
    _ = container.config
    with Bar(quiet=quiet) as bar:
        adding = _Adding(session, container, bar, quiet)
        walk = Walk(session.path, Excluded(patterns), adding.refuse)
        paths = walk.files(files, recursive)
        if from_file is not None:
            paths = chain(paths, walk.files_of_list(listed(from_file, null), recursive))
        if dry_run:
            adding.only_show(paths, as_json)
        else:
            is_listed = not recursive and from_file is None
            bar.start("Adding", sum(map(_size_of, files)) if is_listed else None, "bytes")
            if jobs is None and (not recursive or any(map(is_stream, files))):
                jobs = 1  # Of a list of names the lines are wanted in its order.
            with adding:
                adding.add(paths, to, compress, as_json, jobs)
    if stats:
        show_stats(adding.objects, adding.size, monotonic() - begun)
    for reason in walk.passed_over():
        echo_error(f"rsdos: warning: passed over {reason}")
    return FAILED if adding.failed else DONE


def _refuse_usage(
    files: tuple[str, ...],
    recursive: bool,
    patterns: tuple[str, ...],
    from_file: str | None,
    to: str,
    compress: str,
) -> None:
    if not files and from_file is None:
        raise click.UsageError("name files, or --from-file")
    if patterns and not recursive:
        raise click.UsageError("--exclude is for what -r finds")
    if from_file == "-" and "-" in files:
        raise click.UsageError("standard input is either a file, or a list of names")
    if to == "loose" and compress == "yes":
        raise click.UsageError("--compress is for packs; loose objects are compressed by init --loose-compression")


def _size_of(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0  # It will be said what is wrong with it.


class _Adding:
    """One run: stores files in chunks, prints what is durable, and remembers whether anything failed."""

    def __init__(self, session: Session, container: Container, bar: Bar, quiet: bool) -> None:
        self._session = session
        self._container = container
        self._bar = bar
        self._quiet = quiet
        self.failed = False
        self.objects = self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """When it is broken off, say what is there: one insert is of thousands of files, and so is what is not."""
        if isinstance(error, KeyboardInterrupt) or (
            isinstance(error, Exception) and not isinstance(error, OutputClosed) and self.objects
        ):
            echo_error(
                f"rsdos: note: {count(self.objects, 'file')} stored so far, perhaps more than were listed; to "
                "go on run it again: what is stored is read, and not written, again"
            )

    def refuse(self, message: str) -> None:
        """Say what is wrong with one file, and go on."""
        self.failed = True
        echo_error(f"rsdos: error: {one_line(message)}")

    def add(self, paths: Iterator[str], to: str, compress: str, as_json: bool, jobs: int | None) -> None:
        """Store all files."""
        from rsdos.model import CompressMode, Place

        head = list(islice(paths, _PACKED_FROM))
        loose = to == "loose" or (to == "auto" and len(head) < _PACKED_FROM)
        how = AddOptions(Place.LOOSE if loose else Place.PACKED, CompressMode(compress), as_json)
        if jobs is None:
            head += islice(paths, _WORKERS_FROM - len(head))
            jobs = default_jobs() if len(head) >= _WORKERS_FROM and not loose else 1
        every = chain(head, paths)
        if jobs > 1 and len(head) >= _PACKED_FROM:
            stored = store_in_workers(self._session, every, how, jobs, self._bar.advance)
        else:
            stored = store_files(self._container, every, how, self._bar.advance)
        for chunk in stored:
            self._show(chunk)

    def _show(self, stored: ChunkResult) -> None:
        """Say what became of a chunk."""
        for reason in stored.refused:
            self.refuse(reason)
        self.objects += stored.objects
        self.size += stored.size
        if not self._quiet:
            for text in stored.texts:
                echo_now(text)

    def only_show(self, paths: Iterator[str], as_json: bool) -> None:
        """Print the name and the size of each file, and how many there are."""
        for path in paths:
            try:
                size = None if is_stream(path) else os.stat(path).st_size
            except OSError as error:
                self.refuse(f"{path}: {error.strerror}")
                continue
            self.objects += 1
            self.size += size or 0
            if not self._quiet:
                echo(line_of(path, size, as_json))
        if not as_json:
            echo(f"[info] {count(self.objects, 'file')} to store, {human(self.size)}")
