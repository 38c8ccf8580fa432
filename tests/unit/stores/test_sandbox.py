"""The sandbox: what dead writers left goes, what a live one has stays."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rsdos.layout import Layout
from rsdos.stores.sandbox import Sandbox

WRITER = """
import sys, signal
from rsdos.layout import Layout
from rsdos.stores.sandbox import Sandbox
sandbox = Sandbox(Layout(sys.argv[1]))
file = sandbox.new_file()
file.write([b"unfinished"])
print("ready", flush=True)
signal.pause()
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The root of a container that has nothing but its sandbox."""
    sandbox_of(tmp_path).mkdir()
    return tmp_path


def sandbox_of(root: Path) -> Path:
    return root / "sandbox"


def test_only_the_dead_are_swept(root: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, root], stdout=subprocess.PIPE) for _ in range(2)]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
    mine = Sandbox(Layout(str(root)))
    file = mine.new_file()
    assert len(list(sandbox_of(root).iterdir())) == 3
    writers[0].send_signal(signal.SIGKILL)
    writers[0].wait()
    (sandbox_of(root) / "foreign").write_text("not ours")
    assert Sandbox(Layout(str(root))).sweep() == 1
    assert mine.sweep() == 0
    assert len([path for path in sandbox_of(root).iterdir() if path.is_dir()]) == 2
    assert Path(file.path).exists()
    assert (sandbox_of(root) / "foreign").exists()
    file.close()
    mine.close()
    writers[1].kill()
    for writer in writers:
        writer.wait()
        assert writer.stdout is not None
        writer.stdout.close()


def test_closing_in_one_thread_leaves_the_files_of_another(root: Path) -> None:
    sandbox = Sandbox(Layout(str(root)))
    file = sandbox.new_file()
    sandbox.close()
    assert Sandbox(Layout(str(root))).sweep() == 0
    assert Path(file.path).exists()
    file.close()
    sandbox.close()
    assert list(sandbox_of(root).iterdir()) == []
