"""What cases of the fuzzer are copies of: containers, backups, and what breaks off when one is copied elsewhere."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from rsdos import Container
from rsdos.progress import Silence
from tests.data import noise, text

LOOSE, PACKED = noise(900, 1), text(3000, 2)
BYTES = b"not yours"

CONTAINERS = "container-1", "container-2"
BACKUPS = "backup-1", "backup-2"
MIGRATED = "migrated-1", "migrated-2"
RESTORED = "restored-1", "restored-2"
CLONED = ("cloned-2",)
EXTRACTED = "extracted"
SUBJECTS = (*CONTAINERS * 8, *BACKUPS * 3, *MIGRATED, *RESTORED, *CLONED * 2, EXTRACTED, EXTRACTED)
"""As often as they are taken. The number is the version of the container that commands read from."""


class Template(NamedTuple):
    """Directories that cases are copies of, and the keys of a loose and a packed object, and of one of theirs."""

    root: Path
    loose: str
    packed: str
    of_theirs: str

    @property
    def outside(self) -> Path:
        return self.root / "outside"

    @property
    def directory(self) -> Path:
        """What is saved as a snapshot, and stays as it is."""
        return self.root / "directory"

    @property
    def theirs(self) -> Path:
        """Another container, with objects that the others lack."""
        return self.root / "theirs"


class _Broken(Exception):
    pass


class _Breaks(Silence):
    """Breaks an operation off when it has done something."""

    def advance(self, amount: int) -> None:
        raise _Broken


def make_templates(root: Path) -> Template:
    """Make one of each subject, and a directory outside that has containers too."""
    directory = root / "directory"
    (directory / "sub").mkdir(parents=True)
    (directory / "a").write_bytes(noise(700, 20))
    (directory / "sub" / "b").write_bytes(text(2000, 21))
    with Container.create(root / "theirs") as container:
        of_theirs = container.insert(b"a loose one of theirs")
        container.insert_many([noise(300, 30), noise(300, 31)])
        container.snapshots.save("theirs", directory, author="them")
    keys = ("", "")
    for version in (1, 2):
        keys = _make_container(root, version, directory)
        _break_off(root, version)
    outside = root / "outside"
    outside.mkdir()
    for version in (1, 2):
        shutil.copytree(root / f"container-{version}", outside / f"container-{version}")
    names = ("0", "0000000001.pack", "1", "config.json", "manifest-0000000009.json", "a file", keys[0], keys[1][2:])
    for name in names:
        (outside / name).write_bytes(BYTES)
    for name in ("ab", "loose", "packed", "index", "sandbox", "locks"):
        (outside / name).mkdir()
        (outside / name / "0000000001.pack").write_bytes(BYTES)
    return Template(root, *keys, of_theirs)


def _make_container(root: Path, version: int, directory: Path) -> tuple[str, str]:
    path = root / f"container-{version}"
    with Container.create(path, container_version=version) as container:
        keys = container.insert(LOOSE), container.insert_many([PACKED, *(noise(200, seed) for seed in range(9))])[0]
        container.insert_many([noise((2 << 20) + 5, 3)])
        container.delete([container.insert(b"deleted"), container.insert_many([b"deleted too"])[0]])
        container.engine.packed.maintenance.note("a note", 1)
        if version > 1:
            container.snapshots.save("flowers", directory, author="me")
            container.remotes.add("origin", str(root / "theirs"))
        container.backup(root / f"backup-{version}")
    # Dead writers' and others' leftovers have places too.
    claim = path / "sandbox" / f"0a1b2c3d-999999-{'0' * 16}"
    claim.mkdir(parents=True)
    (claim / "0").write_bytes(b"unfinished")
    return keys


def _break_off(root: Path, version: int) -> None:
    """Begin a copy of the container in each way that the same command goes on with."""
    source = root / f"container-{version}"

    def migrate(place: Path) -> None:
        with Container(source) as container:
            container.migrate(3 - version, place, snapshots="leave behind", progress=_Breaks())

    def restore(place: Path) -> None:
        Container.restore(root / f"backup-{version}", place, progress=_Breaks())

    def clone(place: Path) -> None:
        Container.clone(source, place, progress=_Breaks())

    ways: dict[str, Callable[[Path], None]] = {"migrated": migrate, "restored": restore, "cloned": clone}
    for name, way in ways.items():
        if name == "cloned" and version == 1:
            continue  # No remote is of version 1.
        try:
            way(root / f"{name}-{version}")
        except _Broken:
            continue
        raise AssertionError(f"{name}-{version} was not broken off")
