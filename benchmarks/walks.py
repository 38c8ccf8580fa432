"""How far a call walks through the house: calls, files, and returns to a file that was left, for six operations."""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from runpy import run_module
from types import FrameType

import rsdos
from rsdos import Container, Place

_HOME = str(Path(rsdos.__file__).parent)
_COMPREHENSIONS = frozenset({"<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>"})
_DECODE = "decode_manifest"


@dataclass
class Walk:
    """The Python calls of one operation, in the order in which they were made."""

    files: list[str] = field(default_factory=list)
    names: Counter[str] = field(default_factory=Counter)

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(_HOME) and code.co_name not in _COMPREHENSIONS:
            self.files.append(code.co_filename)
            self.names[code.co_name] += 1

    @property
    def changes(self) -> int:
        """How often a call was into another file than the call before it."""
        return sum(one != two for one, two in zip(self.files, self.files[1:], strict=False))

    @property
    def returns(self) -> int:
        """How often a change of file led to one that had been left."""
        return self.changes - len(set(self.files)) + 1


def walk_of(operation: Callable[[], object]) -> Walk:
    """Run an operation under the profile hook."""
    walk = Walk()
    sys.setprofile(walk)
    try:
        operation()
    finally:
        sys.setprofile(None)
    return walk


def main() -> None:
    """Print a line for each walk."""
    print(f"{'walk':<22}{'calls':>7}{'files':>7}{'changes':>9}{'returns':>9}{'manifests decoded':>19}")
    with tempfile.TemporaryDirectory() as scratch:
        for name, walk in _walks(Path(scratch)):
            counts = len(walk.files), len(set(walk.files)), walk.changes, walk.returns, walk.names[_DECODE]
            print(f"{name:<22}{counts[0]:>7,}{counts[1]:>7}{counts[2]:>9,}{counts[3]:>9,}{counts[4]:>19}")


def _command(arguments: list[str]) -> None:
    with _arguments(arguments), suppress(SystemExit):
        run_module("rsdos", run_name="__main__")


@contextmanager
def _arguments(arguments: list[str]) -> Iterator[None]:
    """Have other arguments of the command line in a block."""
    before, sys.argv = sys.argv, arguments
    try:
        yield
    finally:
        sys.argv = before


def _walks(scratch: Path) -> list[tuple[str, Walk]]:
    tree = scratch / "tree"
    tree.mkdir()
    for number in range(120):
        (tree / str(number)).write_bytes(b"file %d" % number)
    with Container.create(scratch / "container") as container:
        container.insert(b"first of its writer")
        container.insert_many([b"a", b"b"], to=Place.PACKED)
        walks = [("insert, loose", walk_of(lambda: container.insert(b"an object")))]
        keys: list[str] = []
        bulk = walk_of(lambda: keys.extend(container.insert_many([b"x", b"y", b"z"], to=Place.PACKED)))
        walks.append(("insert_many of 3", bulk))
        container.extract(keys[0])
        walks.append(("extract, packed", walk_of(lambda: container.extract(keys[0]))))
        walks.append(("extract_many of 5", walk_of(lambda: list(container.extract_many([*keys, *keys[:2]])))))
    arguments = ["rsdos", "--path", str(scratch / "container"), "add-files", "--quiet", "-r", str(tree)]
    walks.append(("add-files -r, 120", walk_of(lambda: _command(arguments))))
    with Container(scratch / "container") as container:
        container.delete(keys[:2])
        walks.append(("repack of one pack", walk_of(partial(container.repack, min_dead=0.0))))
    return walks


if __name__ == "__main__":
    main()
