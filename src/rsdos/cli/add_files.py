"""``rsdos add-files``."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING

import click

from rsdos.cli.bar import Bar
from rsdos.cli.render import echo_json, human, name
from rsdos.cli.session import Session, pass_session
from rsdos.errors import SourceChanged, UnreadableSource

if TYPE_CHECKING:
    from rsdos.container import Container
    from rsdos.model import CompressMode, Place

_PACKED_FROM = 100
"""``--to auto``: from so many files on they go straight to a pack."""

_CHUNK = 8192
"""Files of one insert, and so of one sync: their keys are printed when all of them are durable."""

_READ = 1 << 16


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    size: int


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
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line.")
@pass_session
def command(
    session: Session,
    files: tuple[str, ...],
    recursive: bool,
    from_file: str | None,
    null: bool,
    to: str,
    compress: str,
    as_json: bool,
) -> int:
    """Store files and directories; prints the key, the name and the size of each.

    A line is printed when its object is durable. A file that cannot be read is named on standard error, the others
    are stored, and the exit code is 1.
    """
    from rsdos.model import CompressMode

    if not files and from_file is None:
        raise click.UsageError("name files, or --from-file")
    if to == "loose" and compress == "yes":
        raise click.UsageError("--compress is for packs; loose objects are compressed by init --loose-compression")
    container = session.container()
    _ = container.config
    names = chain(files, _listed(from_file, null) if from_file is not None else ())
    with Bar() as bar:
        adding = _Adding(container, CompressMode(compress), as_json, bar)
        adding.add(_walk(names, recursive, adding), to)
    return 1 if adding.failed else 0


class _Adding:
    """One run: stores files in chunks, prints what is durable, and remembers whether anything failed."""

    def __init__(self, container: Container, mode: CompressMode, as_json: bool, bar: Bar) -> None:
        self._container = container
        self._mode = mode
        self._as_json = as_json
        self._bar = bar
        self.failed = False

    def refuse(self, message: str) -> None:
        """Say what is wrong with one file, and go on."""
        self.failed = True
        click.echo(f"rsdos: error: {name(message)}", err=True)

    def add(self, paths: Iterator[str], to: str) -> None:
        """Store all files."""
        from rsdos.model import Place

        head = list(islice(paths, _PACKED_FROM))
        loose = to == "loose" or (to == "auto" and len(head) < _PACKED_FROM)
        place = Place.LOOSE if loose else Place.PACKED
        paths = chain(head, paths)
        self._bar.start("Adding", None, "files")
        while chunk := list(islice(paths, _CHUNK)):
            self._add_chunk(chunk, place)
            self._bar.advance(len(chunk))

    def _add_chunk(self, paths: list[str], place: Place) -> None:
        files = [file for path in paths if (file := self._file(path))]
        while files:
            try:
                keys = self._container.insert_many([file.path for file in files], to=place, compress=self._mode)
            except (UnreadableSource, SourceChanged) as error:
                # It went bad between the check and the read: again without it. What was stored is found at once.
                self.refuse(str(error))
                files = [file for file in files if file.path != error.path]
            else:
                self._print(keys, files)
                return

    def _file(self, path: str) -> _File | None:
        try:
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableSource(path, errno.EINVAL, "is not a regular file")
            if not os.access(path, os.R_OK):
                raise UnreadableSource(path, errno.EACCES)
        except UnreadableSource as error:
            self.refuse(str(error))
        except OSError as error:
            self.refuse(f"{path}: {error.strerror}")
        else:
            return _File(path, status.st_size)
        return None

    def _print(self, keys: Iterable[str], files: Iterable[_File]) -> None:
        for key, file in zip(keys, files, strict=True):
            path = os.path.normpath(file.path)
            if self._as_json:
                echo_json({"key": key, "path": path, "size": file.size})
            else:
                click.echo(f"{key} - {name(path)}: {human(file.size)}")
        sys.stdout.flush()


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
    for directory, subdirectories, names in os.walk(
        top, onerror=lambda error: adding.refuse(f"{error.filename}: {error.strerror}")
    ):
        subdirectories.sort()
        for file_name in sorted(names):
            path = os.path.join(directory, file_name)
            if os.path.isfile(path) and not os.path.islink(path):
                yield path
