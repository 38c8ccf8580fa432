"""What the actors share: one container, another beside it, and objects with names that a trace can be read with."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from rsdos import Container, Place
from rsdos.codecs import dictionary
from tests.data import key_of, noise, text
from tests.dictionaries import trained, using
from tests.helpers import flip

MAIN, OTHER, OUT, NEW, BACKUPS = "main", "other", "out", "new", "backups"
"""The directories: the container, one that is transferred from, one that is transferred to, where it is migrated to."""

SPARE, RESTORED = "spare", "restored"
"""A container with a good copy of what is damaged, and where a backup is restored to."""

_LARGE = 1 << 20

DATA = {
    "packed": noise(300, 1),
    "both": noise(300, 2),
    "loose": noise(300, 3),
    "large": text(_LARGE + 10, 4),
    "damaged": noise(300, 5),
    "new": noise(300, 6),
    "newer": noise(300, 7),
    "new large": text(_LARGE + 20, 8),
    **{f"kept {number}": noise(200, 10 + number) for number in (0, 3, 4)},
    **{f"kept {number}": text(395, 10 + number) for number in (1, 2)},
    "dead 1": noise(400, 20),
    "dead 2": noise(400, 21),
    **{f"taught {number}": b"%d is one of those that share words: " % number + noise(200, 40) for number in range(9)},
    "shared 1": noise(220, 30),
    "shared 2": text(900, 31),
}
KEYS = {name: key_of(data) for name, data in DATA.items()}
OWN = noise(300, 32)
"""Of snapshots alone."""
NAMES = {key: name for name, key in KEYS.items()} | {key_of(OWN): "own"}
SHARED = ("shared 1", "shared 2")
"""What snapshots hold as well: it may be there when nobody has inserted it."""
REFS = ["flowers", "pinned"]
"""The names of snapshots that are promised: a branch, and a tag."""
TAUGHT = [name for name in DATA if name.startswith("taught")]
"""What a dictionary can be trained on: as few as that takes."""
KEPT = [name for name in DATA if name.startswith("kept")]
PRESENT = ["packed", "both", "loose", "large", *KEPT]
"""What is in the container at first, and whole."""

Say = Callable[[str], None]


def names_of(keys: Iterable[str]) -> list[str]:
    return sorted(NAMES.get(key, key[:12]) for key in keys)


def prepare(path: Path, version: int, pack_size_target: int = 800) -> None:
    """Three packs, two with dead bytes, loose objects, one that is damaged; others that have some of it.

    In packs of that size each has one batch; in larger ones writers go on where others were. In version 2 the objects
    "kept 1" and "kept 2" need a dictionary.
    """
    path.mkdir()
    with Container.create(path / MAIN, container_version=version, pack_size_target=pack_size_target) as container:
        container.insert_many([DATA[name] for name in ("packed", "kept 0", "dead 1")])
        container.insert(DATA["both"])
        container.pack_all_loose(clean=False)
        with using(trained(0, 256)):
            container.insert_many([DATA[name] for name in ("kept 1", "kept 2", "dead 2")])
        container.insert_many([DATA[name] for name in ("large", "kept 3")])
        container.insert_many([DATA[name] for name in ("loose", "kept 4", "damaged")], to=Place.LOOSE)
        container.delete([KEYS["dead 1"], KEYS["dead 2"]])
        damaged = Path(container.engine.layout.loose_file(KEYS["damaged"]))
    flip(damaged, 100)
    for older in sorted((path / MAIN / "index").glob("manifest-*"))[:-1]:
        older.unlink()  # Nobody has need of them, and a validation reads them all.
    with Container.create(path / OTHER, container_version=version, pack_size_target=pack_size_target) as container:
        container.insert_many([DATA[name] for name in ("packed", "large", "new")])
        container.insert_many([DATA[name] for name in ("both", "loose", "newer")], to=Place.LOOSE)
    with Container.create(path / SPARE, container_version=version, pack_size_target=pack_size_target) as container:
        container.insert_many([DATA["damaged"]])
    Container.create(path / OUT, container_version=version, pack_size_target=pack_size_target).close()


class Template:
    """A directory kept in memory: 1 ms to make anew, a third of what `shutil.copytree` takes."""

    def __init__(self, path: Path) -> None:
        self._directories: list[str] = []
        self._files: list[tuple[str, bytes]] = []
        for directory, directories, names in os.walk(path):
            self._directories += (os.path.relpath(os.path.join(directory, name), path) for name in directories)
            self._files += (
                (os.path.relpath(os.path.join(directory, name), path), Path(directory, name).read_bytes())
                for name in names
            )

    def make(self, path: Path) -> None:
        """Make the directory."""
        path.mkdir()
        root = str(path)
        for name in self._directories:
            os.mkdir(f"{root}/{name}")
        for name, data in self._files:
            fd = os.open(f"{root}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            os.write(fd, data)
            os.close(fd)


class _Shared(threading.local):
    """What this thread opens when it opens the container: one that others have as well, if it is to share."""

    container: Container | None = None
    closes = True


shared = _Shared()


@contextmanager
def opened(path: Path, name: str = MAIN, **settings: object) -> Iterator[Container]:
    """A container, closed at the end. The dictionaries of its packs have to be read from there."""
    dictionary._cached = {}
    if name == MAIN and shared.container is not None:
        with shared.container if shared.closes else nullcontext():
            yield shared.container
        return
    with Container(path / name, **settings) as container:  # type: ignore[arg-type]
        yield container
