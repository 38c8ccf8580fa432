"""What the fuzzer puts into places of a container or backup, and the places that need not be there yet."""

from __future__ import annotations

import os
import random
import socket
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from tests.data import noise
from tests.hostile.templates import BACKUPS, BYTES, EXTRACTED, Template


def _link(target: str) -> Callable[[Path, Template], None]:
    def put(place: Path, template: Template) -> None:
        place.symlink_to(template.outside / target if target else "nowhere")

    return put


def _file(data: bytes) -> Callable[[Path, Template], None]:
    def put(place: Path, _: Template) -> None:
        place.write_bytes(data)

    return put


def _directory(place: Path, _: Template) -> None:
    place.mkdir()
    (place / "mine.txt").write_bytes(BYTES)
    (place / "more").mkdir()


def _twin(place: Path, template: Template) -> None:
    """A link in the place of a directory or file to that of the same name in a container outside."""
    parts = place.parts
    root = next(at for at, part in enumerate(parts) if part == "case")
    for version in (2, 1):
        twin = template.outside / f"container-{version}" / Path(*parts[root + 1 :])
        if twin.exists():
            place.symlink_to(twin)
            return
    place.symlink_to(template.outside / f"container-{random.choice((1, 2))}")


def _socket(place: Path, _: Template) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as made:
        before = os.getcwd()
        os.chdir(place.parent)
        try:
            made.bind(place.name)
        except OSError:
            place.touch()  # Its name is too long for one.
        finally:
            os.chdir(before)


def _device(place: Path, _: Template) -> None:
    try:
        os.mknod(place, 0o666 | stat.S_IFCHR, os.makedev(1, 5))
    except PermissionError:
        place.symlink_to("/dev/zero")


def _sparse(place: Path, _: Template) -> None:
    with open(place, "wb") as file:
        file.truncate(1 << 40)


def _hard_link(place: Path, template: Template) -> None:
    """Another name of a file outside: the name may go, and the file has to stay as it is."""
    os.link(template.outside / "a file", place)


KINDS: dict[str, Callable[[Path, Template], None]] = {
    "link to a directory": _link("."),
    "link to an empty directory": _link("ab"),
    "link to a container": _link("container-2"),
    "link to its like in a container": _twin,
    "link to a file": _link("a file"),
    "link to nowhere": _link(""),
    "link to itself": lambda place, _: place.symlink_to(place.name),
    "FIFO": lambda place, _: os.mkfifo(place),
    "socket": _socket,
    "device": _device,
    "directory": _directory,
    "empty directory": lambda place, _: place.mkdir(),
    "empty file": lambda place, _: place.touch(),
    "file of zeros": _file(bytes(70_000)),
    "file of noise": _file(noise(70_000, 5)),
    "file of JSON": _file(b'{"a": ' * 3000),
    "sparse file": _sparse,
    "hard link to a file": _hard_link,
    "nothing": lambda place, _: None,
}

_MORE = (
    *("migration.json", "notes.json", "validation.json", "config.json.new", "config.json.clearing", "remotes.json"),
    *(
        "remotes.json.new",
        "quarantine",
        "locks",
        "checkouts",
        "packs",
        "packed",
        "index",
        "loose",
        "sandbox",
        "remotes",
    ),
    *("duplicates", "loose/ab", "loose/zz", "sandbox/mine", "packs/0.lock", "packs/1", "packs.idx", "packs.idx-wal"),
    *("packs.idx-shm", "packs.idx-journal", "packs.idx.new", "packs.idx.salvaged", "locks/commit", "locks/readers"),
    *("locks/maintenance", "locks/turn", "locks/pack-1", "locks/pack-2", "locks/reserve", "locks/remotes"),
    *("locks/backup", "locks/last-backup.json", "locks/save-1", "locks/save-2", "index/manifest.new"),
    *("index/manifest-0000000099.json", "index/0000000001.seg", "packed/0000000002.pack", "packed/mine"),
    *("packed/0000000001.pack.found", "remotes/origin", "checkouts/mine", f"checkouts/{'0' * 32}.state"),
)
"""Places of a container that need not be there yet."""
_MORE_OF_BACKUPS = ("live-backup", "last-backup", ".rsdos-lock", ".deleting-backup_20260101000000_abcd", "mine")


def places(subject: str, template: Template, chance: random.Random) -> list[str]:
    """Return the places of a subject."""
    if subject == EXTRACTED:
        return [template.loose, template.packed, "mine", f".rsdos-{'0' * 16}.part"]
    root = template.root / subject
    there = [str(path.relative_to(root)) for path in sorted(root.rglob("*"))]
    # A half for what is there many times over.
    few = [place for place in there if place.count("/") < 3 and not ("loose/" in place and chance.random() < 0.5)]
    return [*few, *(_MORE_OF_BACKUPS if subject in BACKUPS else _MORE)]
