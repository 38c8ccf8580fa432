"""Progress, as it looks on a terminal that has both standard output and standard error."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from rsdos import Container, Place
from rsdos.model import FRAME_SIZE
from tests.cli.conftest import Run
from tests.data import key_of, noise

SIZE = 12 * FRAME_SIZE

AT_ONCE = """
import sys
from rsdos.cli import progress_bar as bar
bar._QUIET_SECONDS = bar._REDRAW_SECONDS = -1.0
from rsdos.cli.entry import main
main()
"""


def on_a_terminal(directory: Path, *arguments: str) -> tuple[str, list[str]]:
    """All that a command writes to its terminal, and what is to be seen there in the end."""
    ours, theirs = pty.openpty()
    # Else a terminal of no width, on which nothing is drawn.
    code = "import os, fcntl, termios, struct\nfcntl.ioctl(2, termios.TIOCSWINSZ, struct.pack('4H', 40, 200, 0, 0))\n"
    command = (sys.executable, "-c", code + AT_ONCE, *arguments)
    written = bytearray()
    with subprocess.Popen(command, cwd=directory, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        while True:
            try:
                part = os.read(ours, 1 << 16)
            except OSError:  # As Linux says that nobody has it open any more.
                break
            if not part:
                break
            written += part
    os.close(ours)
    assert process.returncode == 0, written
    text = written.decode()
    return text, [line for line in map(_as_seen, text.replace("\r\n", "\n").split("\n")) if line]


def _as_seen(line: str) -> str:
    seen = ""
    for part in line.split("\r"):
        seen = part + seen[len(part) :]
    return seen.rstrip()


def amounts(text: str, what: str) -> set[str]:
    """The different amounts that were shown of it."""
    return {line for line in text.split("\r") if line.startswith(what) and " of " in line}


@pytest.fixture
def filled(run: Run, tmp_path: Path) -> Path:
    run("init")
    (tmp_path / "large").write_bytes(noise(SIZE))
    (tmp_path / "small").write_bytes(b"small")
    return tmp_path


@pytest.mark.parametrize("place", ["loose", "packed"])
def test_progress_is_reported_while_a_large_file_is_inserted(filled: Path, place: str) -> None:
    text, seen = on_a_terminal(filled, "add-files", "--to", place, "small", "large")
    assert len(amounts(text, "Adding")) > 6
    assert seen == [f"{key_of(b'small')} - small: 5 B", f"{key_of(noise(SIZE))} - large: 12.6 MB"]


def test_quiet_draws_nothing(filled: Path) -> None:
    assert on_a_terminal(filled, "add-files", "--quiet", "large") == ("", [])


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("place", [Place.LOOSE, Place.PACKED])
def test_progress_is_reported_while_a_large_object_is_checked(tmp_path: Path, place: Place, version: int) -> None:
    with Container.create(tmp_path / "container", container_version=version) as container:
        container.insert(noise(SIZE), to=place)
    text, seen = on_a_terminal(tmp_path, "validate", "--full")
    shown = {line for line in text.split("\r") if line.startswith("Checking") and "MB" in line}
    assert len(shown) > 6
    assert len(seen) == 1 and seen[0].startswith("[info] Checked 1 copy of an object, 12.6 MB (full)")


def test_a_save_and_a_checkout_show_files_and_bytes(run: Run, tmp_path: Path) -> None:
    run("init")
    for number in range(40):
        (tmp_path / "tree" / str(number)).parent.mkdir(exist_ok=True)
        (tmp_path / "tree" / str(number)).write_bytes(noise(FRAME_SIZE // 4, number))
    for command in (("save", "tree", "tree"), ("checkout", "tree", "out")):
        text, seen = on_a_terminal(tmp_path, *command)
        assert any(" files/s  " in line and "B/s" in line for line in text.split("\r")), text
        assert len(seen) == 1 and seen[0].startswith("[info] ")
        assert run("export", "tree", "-o", "tree.tar").stderr == ""
