"""A day of a container, from `init` to `migrate`, in a directory of any file system.

Run as a program: ``python -m tests.odd.day PLACE VERSION``; each step is printed when it is done. It ends with an error
where one fails. In a process of its own: it leaves nothing open on a file system that is to be unmounted.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from click.testing import CliRunner

from rsdos import Container
from rsdos.cli.main import rsdos
from tests.data import key_of, noise, text
from tests.helpers import assert_holds


class Refused(Exception):
    """A command has said that it cannot be done here."""


def command(*arguments: object) -> str:
    """Run ``rsdos``; what it has printed."""
    done = CliRunner().invoke(rsdos, list(map(str, arguments)), catch_exceptions=True)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    if done.exit_code:
        raise Refused(f"{arguments}: {done.output}")
    print(arguments[0] if arguments[0] != "-p" else arguments[2], flush=True)
    return str(done.output)


def main(place: Path, version: int) -> None:
    path = place / "container"
    with Container.create(path, container_version=version):
        print("init", flush=True)
    known = _insert(path, place)
    _maintain(path, known)
    _copy(path, place, known)
    _migrate(path, place, known, 3 - version)


def _insert(path: Path, place: Path) -> dict[str, bytes]:
    files = place / "files"
    files.mkdir()
    contents = [text(100, 1), noise(5_000, 2), text(3_000_000, 3), b"", noise(1_500_000, 4), b"kept open"]
    for number, data in enumerate(contents[:3]):
        (files / f"{number}").write_bytes(data)
    command("-p", path, "add-files", "--jobs", "2", "-r", files)
    with Container(path) as container:
        container.insert(contents[3])
        container.insert_many(contents[2:5], to="packed")
        with container.open(container.insert(contents[5])) as stream:  # Read while packing removes its file.
            container.pack_all_loose()
            container.clean_storage()
            assert stream.read() == contents[5]
        known = {key_of(data): data for data in contents}
        assert_holds(container, known)
    return known


def _maintain(path: Path, known: dict[str, bytes]) -> None:
    with Container(path) as container:
        for data in (noise(200_000, 5), noise(1_000, 6)):
            key = container.insert(data, to="packed")
            container.delete([key])
            assert key not in container
        loose = container.insert(b"loose, and deleted")
        container.delete([loose])
        data = b"loose"
        known[container.insert(data)] = data
        assert_holds(container, known)
    command("-p", path, "optimize", "repack", "--min-dead", "0%")
    command("-p", path, "optimize")
    command("-p", path, "status")
    command("-p", path, "validate", "--full")
    _holds(path, known)


def _copy(path: Path, place: Path, known: dict[str, bytes]) -> None:
    backups = place / "backups"
    command("-p", path, "backup", backups, "--keep", "1")
    with Container(path) as container:
        data = noise(50_000, 7)
        known[container.insert(data, to="packed")] = data
    for _ in range(2):  # One more than are kept.
        command("-p", path, "backup", backups, "--keep", "1", "--verify")
    generations = sorted(backups.glob("backup_*"))
    assert len(generations) == 2, generations
    command("restore", generations[-1], place / "restored")
    _holds(place / "restored", known)
    command("-p", place / "restored", "validate", "--full")


def _migrate(path: Path, place: Path, known: Mapping[str, bytes], version: int) -> None:
    command("migrate", path, place / "new", "--to", version)
    _holds(place / "new", known)
    command("migrate", path, "--to", version)
    _holds(path, known)
    with Container(path) as container:
        assert container.config.version == version
        key = container.insert(b"after it", to="packed")
        assert container.extract(key) == b"after it"
    command("-p", path, "validate", "--full")


def _holds(path: Path, known: Mapping[str, bytes]) -> None:
    with Container(path) as container:
        assert_holds(container, known)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
