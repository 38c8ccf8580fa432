"""What a command prints is printed whole, or it is an error: pipes that are slow, non-blocking, closed or full."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rsdos import Container
from rsdos.cli.process import guarded
from tests.cli.conftest import Run
from tests.data import key_of

OBJECTS = [b"object %d" % number for number in range(2001)]
LARGE = bytes(range(256)) * 2000

RSDOS = (sys.executable, "-m", "rsdos")
DOSTORE = (sys.executable, "-c", "from rsdos.compat.disk_objectstore.cli import main; main()")

HAS_FULL = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A directory with a container of both kinds of objects, and 300 files of 5,000 bytes of names."""
    with Container.create(tmp_path / "container") as container:
        container.insert_many(OBJECTS)
        container.insert(LARGE)
    (tmp_path / "tree").mkdir()
    for number in range(300):
        (tmp_path / "tree" / f"{number:0>150}").write_bytes(OBJECTS[number])
    return tmp_path


def through_a_slow_pipe(command: tuple[str, ...], directory: Path) -> tuple[int, bytes]:
    """The exit code and what arrives, by 64 bytes, from a pipe that is non-blocking at its other end."""
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
    with subprocess.Popen(command, cwd=directory, stdout=theirs, stderr=subprocess.DEVNULL) as process:
        os.close(theirs)
        arrived = bytearray()
        while part := os.read(ours, 64):
            arrived += part
        os.close(ours)
    return process.returncode, bytes(arrived)


@pytest.mark.parametrize(
    "arguments",
    [
        ("list",),
        ("list", "--long"),
        ("list", "--json"),
        ("inspect", "loose", "--json"),
        ("add-files", "-r", "tree"),
        ("add-files", "-r", "--json", "--jobs", "2", "tree"),
        ("cat-file", key_of(LARGE)),
        ("cat-file", "--range", "1:", key_of(LARGE)),
        ("status", "--json"),
        ("completion", "bash"),
        ("validate", "--json", "--dry-run"),
        ("add-files", "--help"),
        ("--help",),
    ],
    ids=" ".join,
)
def test_a_slow_non_blocking_pipe_gets_all_of_it(filled: Path, arguments: tuple[str, ...]) -> None:
    plain = subprocess.run((*RSDOS, *arguments), cwd=filled, capture_output=True, check=True).stdout
    code, arrived = through_a_slow_pipe((*RSDOS, *arguments), filled)
    assert code == 0
    assert sorted(arrived.splitlines()) == sorted(plain.splitlines())


@pytest.mark.parametrize("arguments", [("--help",), ("backup", "--help"), ("-p", "container", "add-files", "tree/*")])
def test_so_it_does_from_the_command_line_of_disk_objectstore(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    Container.create(tmp_path / "container", container_version=1).close()
    (tmp_path / "tree").mkdir()
    for number in range(300):
        (tmp_path / "tree" / f"{number:0>150}").write_bytes(OBJECTS[number])
    if "tree/*" in arguments:
        names = sorted(os.path.join("tree", name) for name in os.listdir(tmp_path / "tree"))
        arguments = (*arguments[:-1], *names)
    plain = subprocess.run((*DOSTORE, *arguments), cwd=tmp_path, capture_output=True, check=True).stdout
    assert through_a_slow_pipe((*DOSTORE, *arguments), tmp_path) == (0, plain)


COMMANDS = [
    ("list",),
    ("list", "--json"),
    ("status",),
    ("status", "--json"),
    ("cat-file", key_of(LARGE)),
    ("add-files", "-r", "tree"),
    ("inspect", "packed"),
    ("validate",),
    ("optimize", "--dry-run"),
    ("extract", "out"),
    ("completion", "zsh"),
    ("-h",),
    ("--version",),
]


@HAS_FULL
@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_full_disk_behind_standard_output_is_a_failure_of_one_line(filled: Path, arguments: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run((*RSDOS, *arguments), cwd=filled, stdout=full, stderr=subprocess.PIPE, text=True)
    *_, last = done.stderr.splitlines()
    assert (done.returncode, last) == (1, "rsdos: error: standard output: No space left on device")


@HAS_FULL
def test_a_full_disk_behind_dostore_is_a_failure_of_one_line(tmp_path: Path) -> None:
    Container.create(tmp_path / "dostore", container_version=1).close()
    with open("/dev/full", "wb") as full:
        done = subprocess.run((*DOSTORE, "status"), cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "Error: standard output: No space left on device\n")


@HAS_FULL
def test_a_failing_standard_error_stops_nothing_and_changes_the_exit_code(filled: Path) -> None:
    (filled / "link").symlink_to("nowhere")
    with open("/dev/full", "wb") as full:
        done = subprocess.run((*RSDOS, "add-files", "-r", "."), cwd=filled, stdout=subprocess.PIPE, stderr=full)
    assert done.returncode == 1  # Nothing failed but a warning of the link.
    assert done.stdout.count(b"\n") == 300


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_reader_that_has_gone_is_no_failure(filled: Path, arguments: tuple[str, ...]) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run((*RSDOS, *arguments), cwd=filled, stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    assert (done.returncode, done.stderr) == (0, b"")


def test_another_pipe_that_breaks_is_a_failure() -> None:
    def work() -> int:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    assert guarded(work) == 1


@pytest.mark.parametrize("option", ["--keep-from-file", "--from-file"])
def test_a_list_of_keys_from_a_non_blocking_pipe_is_read_to_its_end(filled: Path, option: str) -> None:
    """Half a list of what to keep would delete the rest."""
    theirs, ours = os.pipe()
    os.set_blocking(theirs, False)
    keys = [*map(key_of, OBJECTS), key_of(LARGE)]
    with subprocess.Popen((*RSDOS, "delete", option, "-"), cwd=filled, stdin=theirs, stdout=subprocess.PIPE) as process:
        os.close(theirs)
        # The pipe is empty while it starts and when it has read the first of them.
        for key in keys[:100]:
            os.write(ours, f"{key}\n".encode())
        os.write(ours, "\n".join(keys[100:]).encode())
        os.close(ours)
        assert process.stdout is not None
        said = process.stdout.read()
    assert process.returncode == 0
    count = 0 if "keep" in option else len(keys)
    assert f"Deleted {count:,} objects".encode() in said


def test_names_of_files_from_a_non_blocking_pipe_are_read_to_their_end(run: Run, filled: Path) -> None:
    theirs, ours = os.pipe()
    os.set_blocking(theirs, False)
    names = sorted(os.listdir(filled / "tree"))
    command = (*RSDOS, "add-files", "--from-file", "-")
    with subprocess.Popen(command, cwd=filled, stdin=theirs, stdout=subprocess.PIPE) as process:
        os.close(theirs)
        for name in names:
            os.write(ours, f"tree/{name}\n".encode())
        os.close(ours)
        assert process.stdout is not None
        said = process.stdout.read()
    assert process.returncode == 0
    assert said.count(b"\n") == len(names)
