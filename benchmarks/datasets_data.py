"""The directory of `benchmarks.datasets`: files of about 1.1 KB in directories of 100, the same in each run."""

from __future__ import annotations

import os
import random
from pathlib import Path

IN_A_DIRECTORY = 100
"""Files in each directory; 100 directories are in one above."""

_DONE = ".made"


def make_files(root: Path, count: int) -> None:
    """Make the directory, if it is not there whole. Half of each file compresses, as records and small pictures do."""
    done = root.with_name(root.name + _DONE)
    if done.exists() and done.read_text() == str(count):
        return
    chance = random.Random(count)
    for number in range(count):
        path = file_path(root, number)
        if number % IN_A_DIRECTORY == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_content(chance, number))
    done.write_text(str(count))


def file_path(root: Path, number: int) -> Path:
    """The path of a file."""
    directory = number // IN_A_DIRECTORY
    return root / f"part-{directory // 100:04d}" / f"{directory % 100:02d}" / f"{number:08d}.dat"


def _content(chance: random.Random, number: int) -> bytes:
    size = chance.randint(300, 1900)
    text = (b'{"id": %d, "label": "flower", "split": "train"}\n' % number) * (size // 90 + 1)
    return (chance.randbytes(size // 2) + text)[:size]


class Edit:
    """Ten files with other content of another size, until it is left."""

    def __init__(self, root: Path, count: int) -> None:
        chance = random.Random(7)
        self._paths = [file_path(root, chance.randrange(count)) for _ in range(10)]
        self._before = [path.read_bytes() for path in self._paths]

    def __enter__(self) -> Edit:
        for number, path in enumerate(self._paths):
            path.write_bytes(os.urandom(500 + number))
        return self

    def __exit__(self, *error: object) -> None:
        for path, data in zip(self._paths, self._before, strict=True):
            path.write_bytes(data)
