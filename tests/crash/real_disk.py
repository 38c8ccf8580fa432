"""Power losses on a real file system: an image whose machine goes down while an operation is at work.

ext4 and xfs are shut down without a flush of their logs, which drops all that was not synced, as a power loss does. Of
btrfs, which cannot be, the image is copied while it is mounted. Run as a program, as root, in a process of one thread,
because it forks: ``main(operation, directory, points, kind, syncs)``; prints the points tried and those that failed.
``syncs`` is "real", or "none" for the control, in which no sync does anything.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rsdos import Container
from tests.crash.calls import SYNCS, Fault, Hook, intercepted
from tests.crash.operation import Operation
from tests.crash.operations import OPERATIONS

_SHUTDOWN = 0x8004587D
"""EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN are one number."""
_WITHOUT_LOG = 2

KINDS = {
    "ext4": ("64M", ("mkfs.ext4", "-q", "-F")),
    "xfs": ("320M", ("mkfs.xfs", "-q", "-f")),
    "btrfs": ("256M", ("mkfs.btrfs", "-q", "-f")),
}
"""How large an image is (the least that its mkfs takes, or more), and what makes a file system of it."""


class Disk:
    """An image in a directory, and where it is mounted."""

    def __init__(self, directory: Path, kind: str) -> None:
        self.path = directory / "disk"
        self._image = directory / "image"
        self._kind = kind

    def make(self) -> None:
        """A new file system, empty and mounted."""
        size, mkfs = KINDS[self._kind]
        self._image.unlink(missing_ok=True)
        _run("truncate", f"--size={size}", self._image)
        _run(*mkfs, self._image)
        self.path.mkdir(exist_ok=True)
        self._mount()

    def lose_power(self) -> None:
        """What was not synced is gone, and the rest mounted again."""
        copy = self._image.with_name("copy")
        if self._kind == "btrfs":
            _run("cp", "--sparse=always", self._image, copy)
        else:
            self._shut_down()
        self.unmount()
        if self._kind == "btrfs":
            copy.rename(self._image)
        self._mount()

    def _shut_down(self) -> None:
        fd = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, struct.pack("I", _WITHOUT_LOG))
        finally:
            os.close(fd)

    def _mount(self) -> None:
        _run("mount", "-t", self._kind, "-o", "loop", self._image, self.path)

    def unmount(self) -> None:
        """If it is mounted; one that is shut down cannot even be asked."""
        subprocess.run(["umount", self.path], check=False, capture_output=True)


def main(name: str, directory: str, points: str, kind: str, syncs: str) -> None:
    operation = OPERATIONS[name]
    root = Path(directory)
    disk, template, acknowledged = Disk(root, kind), root / "template", root / "acknowledged"
    operation.prepare(template)
    path = disk.path / "container"
    tried, failed, number = 0, 0, 1
    step = _calls(operation.run, template, root / "trial") // int(points) or 1
    died = True
    while died:
        disk.make()
        if template.exists():
            shutil.copytree(template, path, symlinks=True)
        _run("sync", "--file-system", disk.path)
        acknowledged.write_bytes(b"")
        died = _in_child(partial(_die, operation.run, path, acknowledged, number, syncs))
        disk.lose_power()
        acks = acknowledged.read_text().split()
        wanted = {key: data for key, data in operation.wanted.items() if key in acks or not died}
        failed += _in_child(partial(_check, operation, path, wanted))
        disk.unmount()
        tried, number = tried + 1, number + step
    print(tried, failed)


def _calls(run: Callable[..., object], template: Path, trial: Path) -> int:
    """State-changing calls that the operation makes."""
    counter: list[str] = []
    if template.exists():
        shutil.copytree(template, trial, symlinks=True)

    def count(name: str, call: Callable[..., object], arguments: tuple[object, ...]) -> object:
        counter.append(name)
        return call(*arguments)

    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        with intercepted(count):
            run(trial, lambda key: None)
        os.write(write, str(len(counter)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    return int(os.read(read, 100))


def _die(run: Callable[..., object], path: Path, acknowledged: Path, number: int, syncs: str) -> None:
    with acknowledged.open("ab", buffering=0) as file, intercepted(_without_syncs(Fault("kill", number), syncs)):
        run(path, lambda key: file.write(f"{key}\n".encode()))


def _without_syncs(hook: Hook, syncs: str) -> Hook:
    def call(name: str, call: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        return hook(name, (lambda *_: None) if syncs == "none" and name in SYNCS else call, arguments)

    return call


def _check(operation: Operation, path: Path, wanted: Mapping[str, bytes]) -> None:
    """What was there and what was acknowledged is; the operation can be run again, and all is there then."""
    _hold(path / operation.source, operation.before)
    _hold(path / operation.target, wanted)
    operation.check(path)
    operation.run(path, lambda key: None)
    _hold(path / operation.target, operation.wanted)
    operation.check(path)


def _hold(path: Path, objects: Mapping[str, bytes]) -> None:
    if (path / "config.json").exists():
        with Container(path) as container:
            for key, data in objects.items():
                assert container.extract(key) == data
    else:
        assert not objects


def _in_child(run: Callable[[], None]) -> bool:
    """Run in a forked process; whether it was killed or failed. Nothing of it keeps the disk busy."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            run()
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] != 0


def _run(*command: object) -> None:
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
