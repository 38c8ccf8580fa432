"""The sandbox: what dead writers left goes, what a live one has stays."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from rsdos.stores.sandbox import Sandbox

WRITER = """
import sys, signal
from rsdos.stores.sandbox import Sandbox
sandbox = Sandbox(sys.argv[1])
sandbox.new_file().write([b"unfinished"])
print("ready", flush=True)
signal.pause()
"""


def test_only_the_dead_are_swept(tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, tmp_path], stdout=subprocess.PIPE) for _ in range(2)]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
    mine = Sandbox(str(tmp_path))
    file = mine.new_file()
    assert len(list(tmp_path.iterdir())) == 3
    writers[0].send_signal(signal.SIGKILL)
    writers[0].wait()
    (tmp_path / "foreign").write_text("not ours")
    assert Sandbox(str(tmp_path)).sweep() == 1
    assert mine.sweep() == 0
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 2
    assert Path(file.path).exists()
    assert (tmp_path / "foreign").exists()
    file.close()
    mine.close()
    writers[1].kill()
    for writer in writers:
        writer.wait()
        assert writer.stdout is not None
        writer.stdout.close()


def test_closing_in_one_thread_leaves_the_files_of_another(tmp_path: Path) -> None:
    sandbox = Sandbox(str(tmp_path))
    file = sandbox.new_file()
    sandbox.close()
    assert Sandbox(str(tmp_path)).sweep() == 0
    assert Path(file.path).exists()
    file.close()
    sandbox.close()
    assert list(tmp_path.iterdir()) == []
