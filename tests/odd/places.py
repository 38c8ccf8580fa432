"""Places on odd file systems: made, mounted, and unmounted again. Linux, root, and FUSE or a loop device."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.helpers import ROOT, child_environment

Command = tuple[str, ...]

IMAGES: dict[str, tuple[Command, Command]] = {
    "ext2": (("mkfs.ext2", "-q", "-F", "{image}"), ("mount", "-t", "ext2", "-o", "loop", "{image}", "{place}")),
    "ext4": (("mkfs.ext4", "-q", "-F", "{image}"), ("mount", "-t", "ext4", "-o", "loop", "{image}", "{place}")),
    "exFAT": (("mkfs.exfat", "{image}"), ("mount.exfat-fuse", "{device}", "{place}")),
    "ntfs-3g": (("mkfs.ntfs", "-q", "-F", "{image}"), ("ntfs-3g", "{image}", "{place}")),
}
"""What makes a file system of an image, and what mounts it."""

VIEWS: dict[str, Command] = {
    "bindfs": ("bindfs", "{below}", "{place}"),
    "bindfs of another user": ("bindfs", "--force-user=nobody", "--chown-ignore", "{below}", "{place}"),
    "overlayfs": ("mount", "-t", "overlay", "overlay", "-o", "{layers}", "{place}"),
    "fuse-overlayfs": ("fuse-overlayfs", "-o", "{layers}", "{place}"),
}
"""What shows another directory, or two of them."""


class NotHere(Exception):
    """Why such a file system is not to be had."""


@contextmanager
def place_on(kind: str, directory: Path) -> Iterator[Path]:
    """A mounted file system of one of `IMAGES` or `VIEWS`, for one block. Raises `NotHere`."""
    _need_root()
    names = {name: str(directory / name) for name in ("image", "place", "below", "lower", "upper", "work")}
    for name in ("place", "below", "lower", "upper", "work"):
        os.mkdir(names[name])
    names["layers"] = "lowerdir={lower},upperdir={upper},workdir={work}".format(**names)
    commands = list(IMAGES.get(kind, ())) or [VIEWS[kind]]
    if kind in IMAGES:
        with open(names["image"], "wb") as image:
            image.truncate(64 << 20)
    with ExitStack() as undone:
        for command in commands:
            if "{device}" in command:
                names["device"] = _run("losetup", "--find", "--show", names["image"])
                undone.callback(_run, "losetup", "--detach", names["device"])
            _run(*(word.format(**names) for word in command))
        undone.callback(_unmount, directory / "place")
        yield directory / "place"


HABITS: dict[str, dict[str, Any]] = {
    "none": {},
    "own numbers": {"use_ino": False},  # The names of one file have numbers of their own, as on many of FUSE.
    "no mapping": {"direct_io": True},
    "old answers": {"attr_timeout": 1, "entry_timeout": 1},  # libfuse's own: the kernel believes for a second.
    "no hiding": {"hard_remove": True},  # A file that is open and has no name can be written, and not asked about.
}
"""What is not a call that fails, and the options of the mount that make it so."""


@contextmanager
def mirror(directory: Path, call: str, number: int = 0) -> Iterator[Path]:
    """``directory/below`` seen through FUSE, with one call that fails (tests/odd/mirror.py). Raises `NotHere`."""
    _need_root()
    if not os.path.exists("/dev/fuse"):
        raise NotHere("there is no /dev/fuse")
    if importlib.util.find_spec("mfusepy") is None:
        raise NotHere("mfusepy is not installed")
    below, place = directory / "below", directory / "place"
    for path in (below, place):
        path.mkdir(exist_ok=True)
    code = "import sys; from tests.odd.mirror import main; main(*sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", code, below, place, call, str(number)],
        env=child_environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while not os.path.ismount(place):
            if process.poll() is not None:
                assert process.stderr is not None
                raise NotHere(f"FUSE: {process.stderr.read()[-300:]}")
        yield place
    finally:
        _unmount(place)
        process.communicate()


def _need_root() -> None:
    if sys.platform != "linux" or os.geteuid():
        raise NotHere("needs Linux and root")


def _run(program: str, *arguments: str) -> str:
    if shutil.which(program) is None:
        raise NotHere(f"{program} is not installed")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotHere(f"{program}: {done.stderr.strip()[-300:]}")
    return done.stdout.strip()


def _unmount(place: Path) -> None:
    """As soon as nothing is open there: whoever has something open is the fault that the tests look for."""
    if os.path.ismount(place):
        subprocess.run(["umount", place], cwd=ROOT, check=True, capture_output=True)
