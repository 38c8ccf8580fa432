"""Power losses on a real file system: an ext4 image whose machine goes down while an operation is at work.

EXT4_IOC_SHUTDOWN without a flush of the log drops all that was not synced, as a power loss does. Run as a program, as
root, in a process of one thread, because it forks: ``main(operation, directory, points)``; prints the points tried.
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

from rsdos import Container
from tests.crash.calls import Fault, intercepted
from tests.crash.operations import OPERATIONS

_SHUTDOWN = 0x8004587D
_WITHOUT_LOG = 2


def main(name: str, directory: str, points: str) -> None:
    operation = OPERATIONS[name]
    root = Path(directory)
    image, disk, template = root / "image", root / "disk", root / "template"
    operation.prepare(template)
    path, acknowledged = disk / "container", root / "acknowledged"
    tried, number, step = 0, 1, _calls(operation.run, template, root / "trial") // int(points) or 1
    died = True
    while died:
        _run("truncate", "--size=64M", image)
        _run("mkfs.ext4", "-q", "-F", image)
        disk.mkdir(exist_ok=True)
        _run("mount", "-o", "loop", image, disk)
        if template.exists():
            shutil.copytree(template, path)
        os.sync()
        acknowledged.write_bytes(b"")
        died = _in_child(partial(_die, operation.run, path, acknowledged, number))
        _lose_power(disk)
        _run("umount", disk)
        _run("mount", "-o", "loop", image, disk)
        acks = acknowledged.read_text().split()
        wanted = {key: data for key, data in operation.wanted.items() if key in acks or not died}
        ended = _in_child(partial(_check, path, {**operation.before, **wanted}, operation.run, operation.wanted))
        _run("umount", disk)
        assert not ended, f"power lost at call {number} of {name}"
        tried, number = tried + 1, number + step
    print(tried)


def _calls(run: Callable[..., object], template: Path, trial: Path) -> int:
    """State-changing calls that the operation makes."""
    counter: list[str] = []
    if template.exists():
        shutil.copytree(template, trial)

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


def _die(run: Callable[..., object], path: Path, acknowledged: Path, number: int) -> None:
    with acknowledged.open("ab", buffering=0) as file, intercepted(Fault("kill", number)):
        run(path, lambda key: file.write(f"{key}\n".encode()))


def _check(path: Path, wanted: dict[str, bytes], run: Callable[..., object], all_of_it: Mapping[str, bytes]) -> None:
    """What was acknowledged is there; the operation can be run again, and all is there then."""
    if (path / "config.json").exists():
        with Container(path) as container:
            for key, data in wanted.items():
                assert container.extract(key) == data
    else:
        assert not wanted
    run(path, lambda key: None)
    with Container(path) as container:
        for key, data in all_of_it.items():
            assert container.extract(key) == data


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


def _lose_power(disk: Path) -> None:
    fd = os.open(disk, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, _SHUTDOWN, struct.pack("I", _WITHOUT_LOG))
    finally:
        os.close(fd)


def _run(*command: object) -> None:
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
