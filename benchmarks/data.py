"""The data: objects, files and streams that every side gets, made once in the working directory.

The text is Python source: the standard library of the running Python, in pieces. It is the same in every run.
"""

from __future__ import annotations

import mmap
import os
import random
import sysconfig
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.corpora import CORPORA

_CORPUS_BYTES = 24 << 20
_FILES_PER_DIRECTORY = 256
_PART = 1 << 20
_QUICK_SHARE = 0.02
"""Of a corpus, at the quick level."""


@dataclass(frozen=True, slots=True)
class Objects:
    """``count`` objects of ``size`` bytes on average, from half to one and a half of it; text, or random bytes."""

    name: str
    size: int
    count: int
    random: bool = False


@dataclass(frozen=True, slots=True)
class Level:
    """How much a run of the suite takes on.

    ``rounds`` of each case, up to ``most_rounds`` of those that are short; ``singles``: calls of one object each,
    ``loose_singles`` where each may sync; ``synced``: objects of one call that are a synced file each; ``loose``: loose
    objects that are packed; ``starts``: of the command; ``stream``: bytes of the stream. The quick level has neither
    the cases that are further points on a line nor the yardsticks.
    """

    name: str
    rounds: int
    most_rounds: int
    objects: tuple[Objects, ...]
    singles: int
    loose_singles: int
    synced: int
    loose: int
    stream: int
    starts: int
    is_quick: bool = False

    def of(self, name: str) -> Objects:
        """The objects of this name."""
        return next(objects for objects in self.objects if objects.name == name)


QUICK = Level(
    "quick",
    2,
    2,
    (
        Objects("text-1k", 1000, 10_000),
        Objects("noise-1k", 1000, 5_000, random=True),
        Objects("text-10k", 10_000, 1_000),
        Objects("text-100k", 100_000, 100),
    ),
    singles=500,
    loose_singles=100,
    synced=200,
    loose=500,
    stream=32 << 20,
    starts=3,
    is_quick=True,
)
FULL = Level(
    "full",
    3,
    5,
    (
        Objects("text-1k", 1000, 100_000),
        Objects("noise-1k", 1000, 50_000, random=True),
        Objects("text-10k", 10_000, 10_000),
        Objects("text-100k", 100_000, 1_000),
    ),
    singles=5_000,
    loose_singles=1_000,
    synced=5_000,
    loose=10_000,
    stream=1 << 30,
    starts=6,
)
LEVELS = {level.name: level for level in (QUICK, FULL)}


class Data:
    """What a level works on, in a directory."""

    def __init__(self, root: Path, level: Level) -> None:
        self.root = root
        self.level = level

    def make(self) -> None:
        """Make what is not there yet."""
        self.root.mkdir(parents=True, exist_ok=True)
        corpus = _corpus()
        for objects in self.level.objects:
            _once(self._blob(objects.name), partial(_write_objects, objects=objects, corpus=corpus))
        _once(self.stream("text"), lambda path: _write_stream(path, self.level.stream, lambda at: _turned(corpus, at)))
        noise = random.Random(7).randbytes
        _once(self.stream("noise"), lambda path: _write_stream(path, self.level.stream, lambda _: noise(_PART)))
        _once(self.tree, self._write_tree)

    def make_corpora(self, names: Sequence[str]) -> None:
        """Make some of `benchmarks.corpora` that are not there yet: `payloads` has them by name."""
        self.root.mkdir(parents=True, exist_ok=True)
        share = _QUICK_SHARE if self.level.is_quick else 1
        for corpus in CORPORA:
            if corpus.name in names:
                _once(self._blob(corpus.name), partial(_write_payloads, payloads=corpus.objects(share)))

    def _blob(self, name: str) -> Path:
        return self.root / f"{name}.{self.level.name}"

    @property
    def tree(self) -> Path:
        """A directory with each object of "text-1k" as a file."""
        return self.root / f"tree.{self.level.name}"

    @property
    def library(self) -> list[Path]:
        """The standard library and site-packages of the running Python as found."""
        paths = sysconfig.get_paths()
        places = [Path(paths["stdlib"]), Path(paths["purelib"])]
        return [place for place in places if not any(other in place.parents for other in places)]

    def stream(self, kind: str) -> Path:
        """One large file: "text" or "noise"."""
        return self.root / f"stream-{kind}.{self.level.name}"

    def payloads(self, name: str, count: int | None = None) -> list[bytes]:
        """Objects, in the order that everybody inserts them in."""
        path = self._blob(name)
        sizes = array("I", path.with_suffix(path.suffix + "-sizes").read_bytes())
        found = []
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            at = 0
            for size in sizes[:count]:
                found.append(mapped[at : at + size])
                at += size
        return found

    def _write_tree(self, path: Path) -> None:
        for number, payload in enumerate(self.payloads("text-1k")):
            directory = path / f"{number // _FILES_PER_DIRECTORY:04}"
            if number % _FILES_PER_DIRECTORY == 0:
                directory.mkdir(parents=True)
            (directory / f"{number}.txt").write_bytes(payload)


def files_below(places: list[Path]) -> Iterator[str]:
    """The regular files below some directories; links are not followed."""
    directories = [os.fspath(place) for place in places]
    while directories:
        with os.scandir(directories.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    directories.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    yield entry.path


def _once(path: Path, write: Callable[[Path], None]) -> None:
    if path.exists():
        return
    fresh = path.with_name(path.name + ".new")
    write(fresh)
    fresh.rename(path)


def _corpus() -> bytes:
    parts = []
    size = 0
    library = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(library.rglob("*.py")):
        if "site-packages" not in path.parts and size < _CORPUS_BYTES:
            parts.append(path.read_bytes())
            size += len(parts[-1])
    return b"".join(parts)


def _write_objects(path: Path, objects: Objects, corpus: bytes) -> None:
    _write_payloads(path, _objects(objects, corpus))


def _objects(objects: Objects, corpus: bytes) -> Iterator[bytes]:
    chance = random.Random(objects.name)
    for number in range(objects.count):
        size = chance.randrange(objects.size // 2, objects.size * 3 // 2)
        at = chance.randrange(len(corpus) - size)
        # The number makes every object another one.
        yield chance.randbytes(size) if objects.random else b"%016x\n" % number + corpus[at : at + size - 17]


def _write_payloads(path: Path, payloads: Iterable[bytes]) -> None:
    sizes = array("I")
    with path.open("wb") as file:
        for payload in payloads:
            file.write(payload)
            sizes.append(len(payload))
    name = path.name.removesuffix(".new")
    path.with_name(name + "-sizes").write_bytes(sizes.tobytes())


def _turned(corpus: bytes, at: int) -> bytes:
    start = at % (len(corpus) - _PART)
    return corpus[start : start + _PART]


def _write_stream(path: Path, size: int, part: Callable[[int], bytes]) -> None:
    with path.open("wb") as file:
        for at in range(0, size, _PART):
            file.write(part(at))
