"""``rsdos add-files``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from itertools import chain, islice
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

from rsdos.cli.add_chunk import How, StoredChunk, store_files
from rsdos.cli.add_workers import MOST_JOBS, default_jobs, store_in_workers
from rsdos.cli.bar import Bar
from rsdos.cli.passing import pass_session
from rsdos.cli.render import count, echo_error, echo_now, one_line
from rsdos.cli.run import show_stats
from rsdos.cli.session import Session
from rsdos.standard import OutputClosed, standard_input

if TYPE_CHECKING:
    from rsdos.container import Container
    from rsdos.model import CompressMode

_PACKED_FROM = 100
"""``--to auto``: from so many files on they go straight to a pack."""

_WORKERS_FROM = 16384
"""From so many files on there are workers unasked: one process takes 0.3 s for them, which two can halve."""

_READ = 1 << 16


@click.command()
@click.argument("files", nargs=-1, type=click.Path(readable=False))
@click.option("-r", "--recursive", is_flag=True, help="Descend into directories; links found there are not followed.")
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
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line.")
@click.option("--stats", is_flag=True, help="Files/s, bytes/s and peak memory at the end, on stderr.")
@pass_session
def command(  # noqa: PLR0913, PLR0917  one for each option
    session: Session,
    files: tuple[str, ...],
    recursive: bool,
    from_file: str | None,
    null: bool,
    to: str,
    compress: str,
    jobs: int | None,
    as_json: bool,
    stats: bool,
) -> int:
    """Store files and directories; prints the key, the name and the size of each.

    A line is printed when its object is durable, which in packs 16,384 files, or 256 MiB, become together. Interrupted,
    the same command goes on: what is stored is read, and not written, again.

    A file that cannot be read is named on standard error, the others are stored, and the exit code is 1. A symbolic
    link is followed when it is named, and passed over with -r, as is the container itself.
    """
    from rsdos.model import CompressMode

    if not files and from_file is None:
        raise click.UsageError("name files, or --from-file")
    if to == "loose" and compress == "yes":
        raise click.UsageError("--compress is for packs; loose objects are compressed by init --loose-compression")
    if jobs is None and not recursive:
        jobs = 1  # Of a list of names the lines are wanted in its order.
    begun = monotonic()
    container = session.container()
    _ = container.config
    names = chain(files, _listed(from_file, null) if from_file is not None else ())
    with Bar(prints=True) as bar, _Adding(session, container, bar) as adding:
        adding.add(
            _walk(names, recursive, adding), to, CompressMode(compress), as_json, jobs or (None if recursive else 1)
        )
    if stats:
        show_stats(adding.objects, adding.size, monotonic() - begun)
    if adding.passed_over:
        echo_error(f"rsdos: warning: passed over {adding.passed_over} that are no regular files (links, ...)")
    return 1 if adding.failed else 0


class _Adding:
    """One run: stores files in chunks, prints what is durable, and remembers whether anything failed."""

    def __init__(self, session: Session, container: Container, bar: Bar) -> None:
        self._session = session
        self._container = container
        self._bar = bar
        self.failed = False
        self.passed_over = 0
        self.objects = self.size = 0
        own = os.stat(session.path)
        self._own = (own.st_dev, own.st_ino)

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

    def is_container(self, directory: str) -> bool:
        """Whether it is the container that is being added to: its own files are not for storing."""
        status = os.stat(directory)
        return (status.st_dev, status.st_ino) == self._own

    def add(self, paths: Iterator[str], to: str, mode: CompressMode, as_json: bool, jobs: int | None) -> None:
        """Store all files."""
        from rsdos.model import Place

        self._bar.start("Adding", None, "files")
        head = list(islice(paths, _PACKED_FROM))
        loose = to == "loose" or (to == "auto" and len(head) < _PACKED_FROM)
        how = How(Place.LOOSE if loose else Place.PACKED, mode, as_json)
        if jobs is None:
            head += islice(paths, _WORKERS_FROM - len(head))
            jobs = default_jobs() if len(head) >= _WORKERS_FROM and not loose else 1
        every = chain(head, paths)
        if jobs > 1 and len(head) >= _PACKED_FROM:
            stored = store_in_workers(self._session, every, how, jobs)
        else:
            stored = store_files(self._container, every, how)
        for chunk in stored:
            self._show(chunk)

    def _show(self, stored: StoredChunk) -> None:
        """Say what became of a chunk."""
        for reason in stored.refused:
            self.refuse(reason)
        self.objects += stored.objects
        self.size += stored.size
        for text in stored.texts:
            echo_now(text)
        self._bar.advance(stored.files)


def _listed(source: str, null: bool) -> Iterator[str]:
    """The names in a file, one after another, without reading all of it."""
    with nullcontext(standard_input()) if source == "-" else open(source, "rb") as stream:
        rest = stream.read(_READ)
        separator = b"\0" if null or b"\0" in rest else b"\n"
        while data := rest:
            *lines, rest = data.split(separator)
            yield from (os.fsdecode(line) for line in lines if line)
            more = stream.read(_READ)
            if not more:
                break
            rest += more
        if rest:
            yield os.fsdecode(rest)


def _walk(names: Iterable[str], recursive: bool, adding: _Adding) -> Iterator[str]:
    """The files that the names stand for."""
    for path in names:
        if not os.path.isdir(path):
            yield path
        elif recursive:
            yield from _descend(path, adding)
        else:
            adding.refuse(f"{path}: is a directory (-r descends into it)")


def _descend(top: str, adding: _Adding) -> Iterator[str]:
    """The regular files below a directory. Memory: the names of directories that are still to be visited."""
    directories = [top]
    while directories:
        directory = directories.pop()
        try:
            if adding.is_container(directory):
                continue
            with os.scandir(directory) as entries:
                for entry in entries:
                    if entry.is_file(follow_symlinks=False):
                        yield entry.path
                    elif entry.is_dir(follow_symlinks=False):
                        directories.append(entry.path)
                    else:
                        adding.passed_over += 1
        except OSError as error:
            adding.refuse(f"{error.filename or directory}: {error.strerror}")
