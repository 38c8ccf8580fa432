"""A whole day on odd file systems: all of it works, or the first command says by name what is missing there.

The real ones, and one of our own that is a directory seen through FUSE and refuses one call (tests/odd/mirror.py).
Skipped, with the reason, where they are not to be had.
"""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from rsdos import Container
from tests.helpers import child_environment
from tests.odd.places import HABITS, IMAGES, VIEWS, NotHere, mirror, place_on

NO_LINKS = "its file system has no hard links"
NO_SYNC = "its file system cannot sync files"
NO_LOCKS = "its file system has no locks (flock)"
NO_RANGE_LOCKS = "its file system has no locks of a range of bytes"
OWN_NUMBERS = "its file system gives each name of a file a number of its own"


@contextmanager
def had(place: AbstractContextManager[Path]) -> Iterator[Path]:
    """A place for one block, or the test is skipped."""
    try:
        found = place.__enter__()
    except NotHere as error:
        pytest.skip(str(error))
    try:
        yield found
    finally:
        place.__exit__(None, None, None)


def run(module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, env=child_environment(), capture_output=True, text=True, check=False)


def assert_day(place: Path, version: int, lack: str = "") -> None:
    """All of it works; or, with a ``lack``, that is said by the first command, which makes no container."""
    done = run("tests.odd.day", place, version)
    if not lack:
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return
    assert done.stdout == ""
    assert lack in done.stderr.splitlines()[-1]
    assert not (place / "container" / "config.json").exists()
    said = run("rsdos", "-p", place / "other", "init", *(["--format", "1"] if version == 1 else []))
    assert said.returncode == 1
    assert lack in said.stderr and len(said.stderr.splitlines()) == 1


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("kind", [*IMAGES, *VIEWS])
def test_a_day_on_a_real_file_system(kind: str, version: int, tmp_path: Path) -> None:
    with had(place_on(kind, tmp_path)) as place:
        assert_day(place, version, NO_LINKS if kind == "exFAT" else "")


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("habit", HABITS)
def test_a_day_on_a_file_system_with_a_habit(habit: str, version: int, tmp_path: Path) -> None:
    with had(mirror(tmp_path, habit)) as place:
        assert_day(place, version, OWN_NUMBERS if habit == "own numbers" else "")


WITHOUT = ["symlink", "fsyncdir", "chown", "chmod", "utimens", "statfs", "fallocate"]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("number", [errno.ENOTSUP, errno.EPERM], ids=errno.errorcode.get)
@pytest.mark.parametrize("call", WITHOUT)
def test_a_day_without_a_call_that_can_be_done_without(call: str, number: int, version: int, tmp_path: Path) -> None:
    if call == "fsyncdir" and number == errno.EPERM:
        number = errno.EINVAL  # The other is an error, and no lack.
    with had(mirror(tmp_path, call, number)) as place:
        assert_day(place, version)


def test_a_directory_whose_sync_fails_is_named(tmp_path: Path) -> None:
    with had(mirror(tmp_path, "fsyncdir", errno.EIO)) as place:
        done = run("rsdos", "-p", place / "container", "init")
        assert done.returncode == 1
        assert str(place / "container") in done.stderr


LACKS = [
    ("link", errno.ENOSYS, NO_LINKS),
    ("link", errno.EPERM, NO_LINKS),
    ("fsync", errno.EINVAL, NO_SYNC),
    ("fsync", errno.ENOTSUP, NO_SYNC),
    ("flock", errno.ENOSYS, NO_LOCKS),
    ("flock", errno.ENOTSUP, NO_LOCKS),
    ("flock", errno.EINVAL, NO_LOCKS),
    ("flock", errno.EPERM, NO_LOCKS),
]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(("call", "number", "lack"), LACKS)
def test_a_missing_requirement_is_refused_by_name(
    call: str, number: int, lack: str, version: int, tmp_path: Path
) -> None:
    with had(mirror(tmp_path, call, number)) as place:
        assert_day(place, version, lack)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOTSUP, errno.EPERM], ids=errno.errorcode.get)
def test_without_locks_of_a_range_of_bytes_version_1_is_refused_by_name(number: int, tmp_path: Path) -> None:
    with had(mirror(tmp_path, "lock", number)) as place:
        assert_day(place, 1, NO_RANGE_LOCKS)
        done = run("tests.odd.day", place, 2)
        assert NO_RANGE_LOCKS in done.stderr.splitlines()[-1]
        assert done.stdout.splitlines()[-1] == "validate", "all but the migration to version 1"


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("call", "number", "lack"), [*LACKS, ("own numbers", 0, OWN_NUMBERS), ("lock", errno.ENOSYS, NO_RANGE_LOCKS)]
)
def test_a_container_that_came_there_is_read(call: str, number: int, lack: str, version: int, tmp_path: Path) -> None:
    """And what cannot be written says so, is no damage, and leaves what was there as it was."""
    path = tmp_path / "below" / "container"
    code = """
import sys
from rsdos import Container
with Container.create(sys.argv[1], container_version=int(sys.argv[2])) as container:
    container.insert_many([b"packed"])
    container.insert(b"loose")
"""
    done = subprocess.run([sys.executable, "-c", code, path, str(version)], env=child_environment(), check=False)
    assert done.returncode == 0
    with had(mirror(tmp_path, call, number)) as place:
        seen = place / "container"
        listed = run("rsdos", "-p", seen, "list")
        assert listed.returncode == 0 and len(listed.stdout.splitlines()) == 2, listed.stderr
        for key in listed.stdout.split():
            assert run("rsdos", "-p", seen, "cat-file", key).stdout in ("packed", "loose")
        (tmp_path / "file").write_bytes(b"new")
        stored = run("rsdos", "-p", seen, "add-files", "--to", "packed", tmp_path / "file")
        writes = (call, version) in (("own numbers", 1), ("lock", 2))  # What lacks is not needed there.
        assert (stored.returncode == 0) is writes, stored.stderr
        assert "damaged" not in stored.stderr and "in use by" not in stored.stderr
    with Container(path) as container:
        assert len(container) == 2 + writes
        assert container.validate("full").is_good
