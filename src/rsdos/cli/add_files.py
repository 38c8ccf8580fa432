"""``rsdos add-files``."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import nullcontext
from functools import lru_cache, partial
from types import TracebackType
from typing import Self

import click

from rsdos.cli.dask import dask_option, workers_of
from rsdos.cli.exit_codes import DONE, FAILED
from rsdos.cli.options import pass_session_to_write, quiet_option, show_stats
from rsdos.cli.progress_bar import Bar
from rsdos.cli.render import echo, echo_error, echo_now, one_line, short
from rsdos.cli.session import Session
from rsdos.engine.workers import MOST_JOBS
from rsdos.figures import count, human
from rsdos.ingest.add import WORKERS_FROM, AddOptions, add_walk
from rsdos.ingest.files import ChunkResult
from rsdos.ingest.walk import IS_DIRECTORY, Directories, FileSource, RefusedFile, Skipped, Stream, Walk, size_of
from rsdos.model import CompressMode, Place, Readable
from rsdos.standard import OutputClosed, standard_input

_LINES = 16
"""Lines that are printed together: 2 KB, which reach a pipe whole, or not at all if the user interrupts."""

_READ = 1 << 16
"""Bytes of a list of names that are read at a time."""

_STREAM = re.compile(r"-|/dev/stdin|/dev/fd/\d+|/proc/self/fd/\d+")


@click.command()
@click.argument("files", nargs=-1, type=click.Path(readable=False))
@click.option("-r", "--recursive", is_flag=True, help="Descend into directories. Links found there are not followed.")
@click.option(
    "--exclude",
    "patterns",
    multiple=True,
    metavar="PATTERN",
    help="With -r: leave out files and directories that match; see below. May be given more than once.",
)
@click.option("--from-file", type=click.Path(), help="Read more names from this file. - is standard input.")
@click.option("-0", "--null", is_flag=True, help="The names end with NUL. Default: if the first 64 KiB contain one.")
@click.option(
    "--to",
    type=click.Choice(["loose", "packed", "auto"]),
    default="auto",
    show_default=True,
    help="Where to store the files. auto: in packs if there are 100 files or more, or with --compress yes.",
)
@click.option(
    "--compress",
    type=click.Choice(["no", "yes", "auto", "keep"]),
    default="auto",
    show_default=True,
    help="Whether to compress files that go to a pack. Loose files follow the container's --loose-compression. Objects "
    "that are stored already stay as they are.",
)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1, 64),
    help="Processes that store at the same time, each in a pack of its own. Lines come as files are done. Default: 1; "
    f"with -r, as many as there are cores, {MOST_JOBS} at most, for {WORKERS_FROM} files or more that go to packs.",
)
@dask_option
@click.option("--dry-run", is_flag=True, help="Only print the names and sizes of the files that would be stored.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document a line.")
@quiet_option
@click.option("--stats", is_flag=True, help="Print files/s, bytes/s and peak memory to stderr at the end.")
@pass_session_to_write
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
    scheduler: str | None,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    stats: bool,
) -> int:
    """Store files and directories, and print the key, the name and the size of each. "-" is standard input.

    A line is printed when its object is durable. In packs, up to 16,384 files or 256 MiB become durable together. After
    an interruption run the same command again: what is stored already is read, but not written again.

    A file that cannot be read is named on standard error, the others are stored, and the exit code is 1. A symbolic
    link is followed when it is named on the command line, and skipped when -r finds it. The container itself is always
    skipped.

    A PATTERN is as in a .gitignore: *, ? and [a-z] match any characters but the slash, ** matches directories. A
    pattern without a slash matches a name anywhere; one with a slash begins at the directory that -r was given; one
    that ends with a slash matches directories only. One that begins with ! includes again what an earlier one leaves
    out, except in a directory that is left out.

    \b
    Example: rsdos add-files -r data --exclude '*.tmp' --exclude .git/ --json > keys.jsonl
    """
    _refuse_usage(files, recursive, patterns, from_file, to, compress)
    engine = session.container().engine
    walk = Walk(engine.directory, patterns)
    walk.add(map(_source, files), Directories.DESCEND if recursive else Directories.REFUSE)
    if from_file is not None:
        walk.add(map(_source, _listed(from_file, null)), Directories.DESCEND if recursive else Directories.SKIP)
    output = _Output(as_json, quiet)
    if dry_run:
        output.show_names(walk)
        output.tell_skipped(walk.skipped)
        return FAILED if output.failed else DONE
    if jobs is None and not recursive:
        jobs = 1  # A list of names gets its lines in its own order.
    place = None if to == "auto" else Place(to)
    total = None if recursive or from_file is not None else size_of(files)
    is_forced = compress == "yes"  # All files go to packs: those that add no object to the packs were there already.
    before = len(engine.packed) if is_forced else 0
    with workers_of(scheduler, jobs) as workers, Bar(quiet=quiet) as bar, output:
        report = add_walk(engine, walk, AddOptions(place, CompressMode(compress), workers), bar, output.show, total)
    if is_forced and (known := report.files - (len(engine.packed) - before)) > 0 and not quiet:
        echo_error(
            f"rsdos: note: {count(known, 'file')} had been stored before, in a form that stays; "
            "`rsdos optimize repack --compression` changes it"
        )
    if report.shortage:
        echo_error(f"rsdos: note: {report.shortage}")
    if stats:
        show_stats(report.files, report.size, report.seconds)
    output.tell_skipped(report.skipped)
    if recursive and report.files and not as_json and not quiet:
        echo_error("rsdos: note: names were not kept, only printed; `rsdos save NAME DIR` keeps them")
    return FAILED if output.failed else DONE


def _refuse_usage(
    files: tuple[str, ...],
    recursive: bool,
    patterns: tuple[str, ...],
    from_file: str | None,
    to: str,
    compress: str,
) -> None:
    if not files and from_file is None:
        raise click.UsageError("name files, or give --from-file")
    if patterns and not recursive:
        raise click.UsageError("--exclude needs -r")
    if from_file == "-" and "-" in files:
        raise click.UsageError("standard input is either a file or a list of names, not both")
    if to == "loose" and compress == "yes":
        raise click.UsageError(
            "--compress is for packs; init --loose-compression sets the compression of loose objects"
        )


def _source(name: str) -> FileSource:
    """Return the file of this name; or a stream, if the name is that of one that the shell has opened."""
    return Stream(name, partial(_opened, name)) if name[:1] in ("-", "/") and _STREAM.fullmatch(name) else name


def _opened(name: str) -> Readable:
    # What the shell has opened is closed when this process ends.
    return standard_input() if name in ("-", "/dev/stdin") else open(name, "rb", buffering=0)


def _listed(source: str, null: bool) -> Iterator[str]:
    """Yield the names in a file, without reading all of it at once."""
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


class _Output:
    """Prints what becomes of the files of one run, and remembers whether any was refused."""

    def __init__(self, as_json: bool, quiet: bool) -> None:
        self._as_json = as_json
        self._quiet = quiet
        self._objects = 0
        self.failed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """On interruption, report how many files are stored. The rest of the current chunk is lost."""
        if isinstance(error, KeyboardInterrupt) or (
            isinstance(error, Exception) and not isinstance(error, OutputClosed) and self._objects
        ):
            echo_error(
                f"rsdos: note: {count(self._objects, 'file')} stored so far, perhaps more than were listed; to "
                "continue, run the same command again: what is stored already is read, but not written again"
            )

    def show(self, chunk: ChunkResult) -> None:
        """Print the files of a chunk: those that are stored, and those that were refused."""
        for refused in chunk.refused:
            self._refuse(refused)
        self._objects += chunk.objects
        if not self._quiet:
            for text in self._texts(chunk):
                echo_now(text)

    def _refuse(self, refused: RefusedFile) -> None:
        self.failed = True
        hint = " (-r descends into it)" if refused.reason == IS_DIRECTORY else ""
        echo_error(f"rsdos: error: {one_line(f'{refused}{hint}')}")

    def _texts(self, chunk: ChunkResult) -> Iterator[str]:
        """The lines of a chunk, a few in each text."""
        rows = zip(chunk.keys, chunk.paths, chunk.sizes, strict=True)
        if self._as_json:
            lines = [json.dumps({"key": key, "path": short(path), "size": size}) for key, path, size in rows]
        else:
            lines = [f"{key} - {_shown(path)}: {_human(size)}" for key, path, size in rows]
        for at in range(0, len(lines), _LINES):
            yield "\n".join(lines[at : at + _LINES])

    def show_names(self, walk: Walk) -> None:
        """Print the name and the size of each file, and how many there are."""
        size = 0
        for source in walk:
            path = source if isinstance(source, str) else source.path
            try:
                length = os.stat(path).st_size if isinstance(source, str) else None
            except OSError as error:
                self._refuse(RefusedFile(path, error.strerror or str(error)))
                continue
            self._objects += 1
            size += length or 0
            if not self._quiet:
                echo(_line_of(path, length, self._as_json))
        for refused in walk.take_refused():
            self._refuse(refused)
        if not self._as_json:
            echo(f"[info] {count(self._objects, 'file')} to store, {human(size)}")

    def tell_skipped(self, skipped: Skipped) -> None:
        """Say on standard error what the walk has left out."""
        what = {
            f"{count(skipped.irregular, 'name')} of links and special files": skipped.irregular,
            f"{count(skipped.own, 'name')} of the container itself": skipped.own,
            f"{count(skipped.directories, 'name')} of directories (-r descends into them)": skipped.directories,
        }
        for text, number in what.items():
            if number:
                echo_error(f"rsdos: warning: skipped {text}")


def _line_of(path: str, size: int | None, as_json: bool) -> str:
    """Return the line of a file that is not stored yet. A stream has no size before it is read."""
    if as_json:
        return json.dumps({"path": short(path), "size": size})
    return _shown(path) if size is None else f"{_shown(path)}: {_human(size)}"


_human = lru_cache(1 << 12)(human)


def _shown(path: str) -> str:
    """`rsdos.cli.render.name`, which costs 2 us, called once for each directory."""
    head, _, tail = path.rpartition("/")
    if not head or tail in ("", "."):
        return one_line(short(path))
    return _before(head) + one_line(tail)


@lru_cache(16)
def _before(directory: str) -> str:
    """The part of a shown name before the name of a file in this directory."""
    return one_line(short(f"{directory}/-"))[:-1]
