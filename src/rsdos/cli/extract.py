"""``rsdos extract``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

import click

from rsdos.cli.key_file import KeyFile
from rsdos.cli.keys import whole_keys
from rsdos.cli.options import pass_session, show_stats
from rsdos.cli.progress_bar import Bar
from rsdos.cli.render import echo, echo_error, echo_json, name, one_line
from rsdos.cli.session import Session
from rsdos.errors import DamagedContainer, DamagedObject, ObjectNotFound
from rsdos.figures import count, human
from rsdos.model import FRAME_SIZE
from rsdos.progress import Stopwatch, step
from rsdos.stores.base import write_out

if TYPE_CHECKING:
    from rsdos.container import Container

_CHUNK = 1 << 17
"""Keys that are read together, in storage order: as many as a bulk read looks up at a time."""


@click.command()
@click.argument("destination", metavar="DEST", type=click.Path())
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@click.option(
    "--from-file", "listed", type=click.Path(), help="Write the objects whose keys are in this file, one a line."
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON document.")
@click.option("--stats", is_flag=True, help="Print objects/s, bytes/s and peak memory to stderr at the end.")
@pass_session
def command(
    session: Session, destination: str, keys: tuple[str, ...], listed: str | None, as_json: bool, stats: bool
) -> int:
    """Write objects to files in the directory DEST: all objects, or those with the given KEYs.

    The name of each file is the whole key. A file appears whole or not at all, and replaces an older one. "-" as a file
    of keys is standard input. Missing objects, damaged objects and invalid keys are named on standard error, the other
    objects are written, and the exit code is 1.

    \b
    Example: rsdos extract out 0f3a91 7c55de
    """
    if keys and listed is not None:
        raise click.UsageError("give either KEYs, or --from-file")
    watch = Stopwatch()
    container = session.container()
    if container.config.hash.is_key(destination):
        raise click.UsageError(
            "the first argument is the directory, and this is a key; for a directory of this name write ./KEY"
        )
    session.refuse_own(destination)
    os.makedirs(destination, exist_ok=True)
    with container, Bar() as bar, step(bar, "Extracting", None, "objects"):
        run = _Extraction(container, destination, bar)
        whole, absent = whole_keys(session, keys)
        for key in absent:
            run.refuse(f"no such object: {key}")
        if whole or not keys:
            run.extract(whole or (container if listed is None else KeyFile(listed)))
    if as_json:
        echo_json({"objects": run.objects, "size": run.size, "failed": run.failed})
    else:
        echo(f"[info] Extracted {count(run.objects, 'object')}, {human(run.size)}, to {name(destination)}")
    if stats:
        show_stats(run.objects, run.size, watch.seconds)
    return 1 if run.failed else 0


class _Extraction:
    """One run, and its counts: ``failed`` objects were named on standard error."""

    def __init__(self, container: Container, destination: str, bar: Bar) -> None:
        self._container = container
        self._destination = destination
        self._bar = bar
        self.objects = self.size = self.failed = 0

    def extract(self, keys: Iterable[str]) -> None:
        """Write all objects of these keys."""
        rest = self._valid(iter(keys))
        while chunk := list(dict.fromkeys(islice(rest, _CHUNK))):
            self._extract(chunk)

    def _valid(self, keys: Iterator[str]) -> Iterator[str]:
        is_key = self._container.config.hash.is_key
        try:
            for key in keys:
                if is_key(key):
                    yield key
                else:
                    self.refuse(f"not a key: {key!r:.100}")
        except DamagedContainer as error:
            # The iteration over all objects raises this after the last object that it can find.
            self.refuse(f"{error}; some objects cannot be listed (see: rsdos validate)")

    def _extract(self, chunk: list[str]) -> None:
        """Write small objects in bulk; then, one by one, large objects and those for which the bulk read fails."""
        single: list[str] = []
        small = [key for key in chunk if self._is_small(key, single)]
        done: set[str] = set()
        try:
            for key, data in self._container.extract_many(small, missing="none"):
                if data is not None:
                    self._write(key, data)
                    done.add(key)
        except (DamagedObject, DamagedContainer):
            pass  # It is raised again, and reported, below.
        single += [key for key in small if key not in done]
        for key in single:
            try:
                self._count(self._container.extract_to(key, self._path(key)))
            except (ObjectNotFound, DamagedObject) as error:
                self.refuse(str(error))
            except DamagedContainer as error:
                self.refuse(f"object {key} cannot be found: {error}")

    def _is_small(self, key: str, others: list[str]) -> bool:
        try:
            if self._container.meta(key).size <= FRAME_SIZE:
                return True
        except (ObjectNotFound, DamagedObject, DamagedContainer):
            pass  # As above.
        others.append(key)
        return False

    def _write(self, key: str, data: bytes) -> None:
        self._count(write_out(iter((data,)), self._path(key)))

    def _path(self, key: str) -> str:
        return os.path.join(self._destination, key)

    def _count(self, size: int) -> None:
        self.objects += 1
        self.size += size
        self._bar.advance(1)

    def refuse(self, message: str) -> None:
        """Print what is wrong with one object, and continue."""
        self.failed += 1
        echo_error(f"rsdos: error: {one_line(message)}")
