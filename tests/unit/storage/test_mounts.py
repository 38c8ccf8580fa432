"""What file system a file is on, from a table of mounts."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rsdos.storage import mounts

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the table is Linux's")

TABLE = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
23 22 0:23 / /dev/shm rw - tmpfs shm rw
24 22 0:44 / /home rw,relatime shared:1 master:2 - nfs4 server:/home rw,vers=4.2
25 24 0:45 / /home/of\\040mine rw - btrfs /dev/vdb rw
26 22 0:46 /sub /data rw - fuse.sshfs server:/ rw
27 22 0:47 / /scratch rw - lustre 10.0.0.1@tcp:/scratch rw
28 22 0:48 / /layers rw - overlay overlay rw
29 22 0:49 / /somewhere rw - fs-of-tomorrow nothing rw
"""


@pytest.fixture(autouse=True)
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "mountinfo"
    path.write_text(TABLE)
    monkeypatch.setattr(mounts, "_TABLE", str(path))
    mounts._type_of.cache_clear()
    yield path
    mounts._type_of.cache_clear()


@pytest.mark.parametrize(
    ("device", "path", "is_local"),
    [
        ((254, 0), "/srv/store/index/1.seg", True),
        ((254, 7), "/not/in/the/table", True),
        ((0, 23), "/dev/shm/store/index/1.seg", True),
        ((0, 44), "/home/me/store/index/1.seg", False),
        ((0, 45), "/home/of mine/store/index/1.seg", True),
        ((0, 46), "/data/store/index/1.seg", False),
        ((0, 47), "/scratch/store/index/1.seg", False),
        ((0, 48), "/layers/store/index/1.seg", True),
        ((0, 49), "/somewhere/store/index/1.seg", False),
        # Numbers that are not in the table: subvolumes of what they are below.
        ((0, 91), "/home/of mine/subvolume/index/1.seg", True),
        ((0, 92), "/home/of mine, not/index/1.seg", False),
        ((0, 93), "/scratchy/index/1.seg", False),
    ],
)
def test_what_is_of_this_machine(device: tuple[int, int], path: str, is_local: bool) -> None:
    assert mounts.is_local(os.makedev(*device), path) is is_local


@pytest.mark.parametrize(
    ("device", "path", "is_prompt"),
    [
        ((254, 0), "/srv/store", True),
        ((0, 23), "/dev/shm/store", True),
        ((0, 44), "/home/me/store", False),
        ((0, 46), "/data/store", True),
        ((0, 47), "/scratch/store", True),
        ((0, 49), "/somewhere/store", False),
    ],
)
def test_where_the_names_of_other_machines_are_seen_at_once(
    device: tuple[int, int], path: str, is_prompt: bool
) -> None:
    assert mounts.is_prompt(os.makedev(*device), path) is is_prompt


@pytest.mark.parametrize("text", ["", "nonsense\n", "1 2 3 - \n"])
def test_where_it_cannot_be_told_it_is_not(table: Path, text: str) -> None:
    table.write_text(text)
    assert not mounts.is_local(os.makedev(0, 23), "/dev/shm/x")
    mounts._type_of.cache_clear()
    table.unlink()
    assert not mounts.is_local(os.makedev(0, 23), "/dev/shm/x")


def test_this_machine_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for path in (tmp_path, Path("/proc/self")):
        kind = mounts._type_of(path.stat().st_dev, str(path))
        assert kind and (kind == "proc") is (path != tmp_path)
