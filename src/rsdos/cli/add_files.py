"""``rsdos add-files``."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING

import click

from rsdos.cli.add_chunk import StoredChunk, store_chunk, store_in_workers
from rsdos.cli.bar import Bar
from rsdos.cli.passing import pass_session
from rsdos.cli.render import echo_json, human, name, one_line, short
from rsdos.cli.session import Session
from rsdos.errors import UnreadableSource

if TYPE_CHECKING:
    from rsdos.container import Container
    from rsdos.model import CompressMode

_PACKED_FROM = 100
"""``--to auto``: from so many files on they go straight to a pack."""

_CHUNK = 8192
"""Files of one insert, and so of one sync: their keys are printed when all of them are durable."""

_CHUNK_BYTES = 256 << 20
"""Or of so many bytes: whoever is killed has to read no more than these again."""

_LOOSE_CHUNK = 256
"""The loose store syncs as many files together."""

_LINES = 16
"""Lines that are printed together: 2 KB, which a pipe takes whole or, when the user interrupts, not at all."""

_READ = 1 << 16


@click.command()
@click.argument("files", nargs=-1, type=click.Path())
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
    default=1,
    show_default=True,
    help="Processes that store at the same time, each in a pack of its own; lines come as they are done.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line.")
@pass_session
def command(  # noqa: PLR0913, PLR0917  one for each option
    session: Session,
    files: tuple[str, ...],
    recursive: bool,
    from_file: str | None,
    null: bool,
    to: str,
    compress: str,
    jobs: int,
    as_json: bool,
) -> int:
    """Store files and directories; prints the key, the name and the size of each.

    A line is printed when its object is durable. A file that cannot be read is named on standard error, the others
    are stored, and the exit code is 1. A symbolic link is followed when it is named, and passed over with -r, as is
    the container itself.
    """
    from rsdos.model import CompressMode

    if not files and from_file is None:
        raise click.UsageError("name files, or --from-file")
    if to == "loose" and compress == "yes":
        raise click.UsageError("--compress is for packs; loose objects are compressed by init --loose-compression")
    container = session.container()
    _ = container.config
    names = chain(files, _listed(from_file, null) if from_file is not None else ())
    with Bar(prints=True) as bar:
        adding = _Adding(session, container, CompressMode(compress), as_json, jobs, bar)
        adding.add(_walk(names, recursive, adding), to)
    if adding.passed_over:
        click.echo(f"rsdos: warning: passed over {adding.passed_over} that are no regular files (links, ...)", err=True)
    return 1 if adding.failed else 0


class _Adding:
    """One run: stores files in chunks, prints what is durable, and remembers whether anything failed."""

    def __init__(
        self, session: Session, container: Container, mode: CompressMode, as_json: bool, jobs: int, bar: Bar
    ) -> None:
        self._session = session
        self._container = container
        self._jobs = jobs
        self._mode = mode
        self._as_json = as_json
        self._bar = bar
        self.failed = False
        self.passed_over = 0
        own = os.stat(container.path)
        self._own = (own.st_dev, own.st_ino)

    def refuse(self, message: str) -> None:
        """Say what is wrong with one file, and go on."""
        self.failed = True
        click.echo(f"rsdos: error: {one_line(message)}", err=True)

    def is_container(self, directory: str) -> bool:
        """Whether it is the container that is being added to: its own files are not for storing."""
        status = os.stat(directory)
        return (status.st_dev, status.st_ino) == self._own

    def add(self, paths: Iterator[str], to: str) -> None:
        """Store all files."""
        from rsdos.model import Place

        head = list(islice(paths, _PACKED_FROM))
        loose = to == "loose" or (to == "auto" and len(head) < _PACKED_FROM)
        place = Place.LOOSE if loose else Place.PACKED
        self._bar.start("Adding", None, "files")
        chunks = self._chunks(chain(head, paths), _LOOSE_CHUNK if loose else _CHUNK)
        if self._jobs > 1 and len(head) == _PACKED_FROM:
            stored = store_in_workers(self._session, chunks, place, self._mode, self._jobs)
        else:
            stored = (store_chunk(self._container, chunk, place, self._mode) for chunk in chunks)
        for outcome in stored:
            self._show(outcome)

    def _chunks(self, paths: Iterator[str], most: int) -> Iterator[list[str]]:
        """The files that look readable, in lists of bounded count and bytes."""
        chunk: list[str] = []
        total = 0
        for path in paths:
            size = self._readable_size(path)
            if size is not None:
                chunk.append(path)
                total += size
            if len(chunk) == most or total >= _CHUNK_BYTES:
                yield chunk
                chunk, total = [], 0
        if chunk:
            yield chunk

    def _readable_size(self, path: str) -> int | None:
        try:
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableSource(path, errno.EINVAL, "is not a regular file")
        except UnreadableSource as error:
            self.refuse(str(error))
        except OSError as error:
            self.refuse(f"{path}: {error.strerror}")
        else:
            return status.st_size
        return None

    def _show(self, stored: StoredChunk) -> None:
        """Say what became of a chunk: some lines at a time, since every call costs 14 us."""
        for reason in stored.refused:
            self.refuse(reason)
        if self._as_json:
            for key, path, size in stored.files:
                echo_json({"key": key, "path": short(path), "size": size})
        else:
            lines = [f"{key} - {name(path)}: {human(size)}" for key, path, size in stored.files]
            for at in range(0, len(lines), _LINES):
                click.echo("\n".join(lines[at : at + _LINES]))
        self._bar.advance(stored.count)


def _listed(source: str, null: bool) -> Iterator[str]:
    """The names in a file, one after another, without reading all of it."""
    with open(source if source != "-" else 0, "rb", closefd=source != "-") as stream:
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
                    if entry.is_dir(follow_symlinks=False):
                        directories.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        yield entry.path
                    else:
                        adding.passed_over += 1
        except OSError as error:
            adding.refuse(f"{error.filename or directory}: {error.strerror}")
