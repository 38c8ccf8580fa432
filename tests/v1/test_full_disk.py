"""Version 1 on a disk that is full, or with a quota that is used up: nothing is damage, and reading goes on."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rsdos import Container
from tests.crash.shim import build
from tests.helpers import ROOT, child_environment, run_python

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("gcc") is None, reason="stands before the C library"
)

CHILD = """
import os, sys
from pathlib import Path
from rsdos import Container
from tests.crash import shim

path, number, key = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
shim.arm(path, shim.Mode.STICKY, 1, number, shim.NEED_SPACE)
container = Container(path)
assert len(container) == 51
assert container.extract(key) == b"0" * 50
assert key in container and len(dict(container.extract_many(list(container)))) == 51
assert container.status().packed_objects == 50
for write in (lambda: container.insert_many([b"new"]), lambda: container.delete([key])):
    try:
        write()
    except OSError as error:
        assert error.errno == number, repr(error)
    else:
        raise AssertionError("there was room")
shim.disarm()
assert container.delete([key]) == [key]
container.insert_many([b"new"])
assert len(container) == 51
"""


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_reading_needs_no_room_and_writing_says_what_is_wrong(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, number: int
) -> None:
    code = (
        "import sys\nfrom rsdos import Container\nc = Container.create(sys.argv[1], container_version=1)\n"
        "print(c.insert_many([b'%d' % (n % 10) * (50 + n // 10) for n in range(50)])[0])\nc.insert(b'loose')\nc.close()"
    )
    container = tmp_path / "container"
    # By a process that ends: its log goes with it.
    made = subprocess.run([sys.executable, "-c", code, container], capture_output=True, text=True, check=True)
    assert not (container / "packs.idx-wal").exists()
    environment = child_environment() | {"LD_PRELOAD": str(build(tmp_path_factory.mktemp("shim")))}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, container, str(number), made.stdout.strip()],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
def test_deleting_makes_room_on_a_full_disk(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("may not mount")
    try:
        code = (
            "import sys\nfrom rsdos import Container\nc = Container.create(sys.argv[1], container_version=1)\n"
            "print(c.insert_many([b'one', b'two'])[0])\nc.clean_storage()\nc.close()"
        )
        made = subprocess.run(
            [sys.executable, "-c", code, disk / "container"], capture_output=True, text=True, check=True
        )
        key = made.stdout.strip()
        with open(disk / "filler", "wb", buffering=0) as filler, pytest.raises(OSError, match="No space"):
            while True:
                filler.write(bytes(4096))
        container = Container(disk / "container")
        assert container.extract(key) == b"one"
        with pytest.raises(OSError, match="SQLite needs 128 KiB; free that much"):
            container.insert_many([b"three"])
        assert container.delete([key]) == [key]
        assert key not in container
        container.close()
        del container
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


MADE = (
    "import sys; from rsdos import Container; Container.create(sys.argv[1], container_version=1).insert_many([b'kept'])"
)

UNSYNCED = """
import os, signal, sys
from pathlib import Path
from rsdos import Container
from tests.crash import shim

path, at, number = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
container = Container(path)
assert len(container) == 1
shim.arm(path, shim.Mode.STICKY, at, number, frozenset({shim.Kind.SYNC}))
try:
    container.insert_many([b"new" * 100, b"other" * 50])
except OSError as error:
    print(error.errno, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_commit_that_was_written_and_not_synced_leads_to_its_bytes_after_a_crash(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, number: int
) -> None:
    """SQLite's log has the rows then, and brings them back; the pack must not have been cut."""
    environment = child_environment() | {"LD_PRELOAD": str(build(tmp_path_factory.mktemp("shim")))}
    came_back = 0
    for at in range(1, 20):
        path = tmp_path / f"{at}"
        # In another process: what was open in this one keeps its connection, and nothing would be recovered.
        run_python(MADE, path)
        done = subprocess.run(
            [sys.executable, "-c", UNSYNCED, path, f"{at}", f"{number}"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        with Container(path) as container:
            contents = dict(container.extract_many(list(container)))  # It raises for a row without its bytes.
        if not done.stdout:
            break
        assert done.stdout == f"{number}\n"
        came_back += len(contents) == 3
    else:
        raise AssertionError("no sync was the last")
    assert came_back, "no row came back: nothing was tested"
