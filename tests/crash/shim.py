"""The shim between a process and the C library (`shim.c`): built here, and spoken to from inside the process."""

from __future__ import annotations

import ctypes
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

CAN_BUILD = sys.platform == "linux" and shutil.which("gcc") is not None
"""Elsewhere its tests are skipped."""

_SOURCE = Path(__file__).with_name("shim.c")
_HEAD = struct.Struct("=4i4q")


class Kind(IntEnum):
    """What a call changes; the numbers are in ``shim.c``."""

    CREATE = 1
    WRITE = 2
    TRUNCATE = 3
    SYNC = 4
    LINK = 5
    RENAME = 6
    UNLINK = 7
    MKDIR = 8
    RMDIR = 9
    OPEN = 10
    ATTRIBUTES = 11
    MARK = 12
    """No call: an acknowledgement."""
    SYMLINK = 13
    READ = 14
    """This and all below change nothing: they are met at a gate only."""
    LOOK = 15
    """``stat``, ``access``, the beginning of a listing."""
    LOCK = 16
    UNLOCK = 17
    WAIT = 18
    """No call: somebody else has the lock, or the process would sleep."""


STATE_LENGTH = 1 << 14
"""Bytes of the file that SHIM_STATE names: what the shim knows, for the programs that a process runs, too."""


class Mode(IntEnum):
    """What happens at the n-th call; the numbers are in ``shim.c``."""

    COUNT = 0
    KILL = 1
    """The whole process group dies: who arms it has one of its own."""
    TORN = 2
    """Half of the write is done, then the process dies."""
    SHORT = 3
    ERROR = 4
    STICKY = 5
    """It fails, and so does every later call that counts."""


LOOKS = frozenset({Kind.OPEN, Kind.READ, Kind.LOOK})
CHANGES = frozenset(Kind) - LOOKS - {Kind.MARK, Kind.LOCK, Kind.UNLOCK, Kind.WAIT}
NEED_SPACE = frozenset({Kind.CREATE, Kind.WRITE, Kind.LINK, Kind.SYMLINK, Kind.MKDIR})
OPENS = frozenset({Kind.OPEN, Kind.CREATE, Kind.TRUNCATE})


class Call(NamedTuple):
    """A recorded call. ``data`` are the bytes written from ``offset``; ``size`` is theirs. Paths are absolute."""

    kind: Kind
    is_directory: bool
    path: str
    other: str
    inode: int
    offset: int
    data: bytes


def build(directory: Path) -> Path:
    """Compile the shim into a directory; returns the library."""
    library = directory / "shim.so"
    if not library.exists():
        new = directory / f"shim-{os.getpid()}.so"
        command = ["gcc", "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(new), str(_SOURCE), "-ldl"]
        subprocess.run(command, check=True)
        new.rename(library)
    return library


def _library() -> ctypes.CDLL:
    """The shim that this process was started with."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "shim_arm"):
        raise RuntimeError("this process was not started with LD_PRELOAD=shim.so")
    library.shim_path.restype = ctypes.c_char_p
    return library


def arm(
    prefix: Path, mode: Mode, number: int = 0, error: int = 0, kinds: frozenset[Kind] = CHANGES, trace: int = -1
) -> None:
    """Watch the calls below ``prefix``; at the ``number``-th (from 1) of those ``kinds`` happens what ``mode`` says.

    ``trace``: a descriptor, outside, that all calls are recorded to. Children inherit it.
    """
    bits = sum(1 << kind for kind in kinds)
    _library().shim_arm(os.fsencode(prefix), int(mode), number, error, bits, trace)


def disarm() -> None:
    _library().shim_disarm()


def count() -> int:
    """How many calls have counted since the shim was armed, in children too."""
    return int(_library().shim_count())


def reached() -> str:
    """The kind and path of the n-th call; "" when it was not reached."""
    library = _library()
    kind = library.shim_kind()
    return f"{Kind(kind).name.lower()} {os.fsdecode(library.shim_path())}" if kind else ""


def gate(socket: int, kinds: frozenset[Kind] = frozenset(Kind)) -> None:
    """Let this process say each call of those ``kinds`` below the prefix, and wait for one byte before it makes it.

    Messages are a byte, the kind, and the path, one to a packet of ``socket``. With -1 it says none any more.
    """
    _library().shim_gate(socket, sum(1 << kind for kind in kinds))


def ignore_locks() -> None:
    """Let ``flock`` behind the gate of this process say yes and lock nothing, until the next gate: the control."""
    _library().shim_lockless()


def mark(text: str) -> None:
    """Put an acknowledgement between the recorded calls, and through the gate."""
    _library().shim_mark(text.encode())


def calls(trace: Path) -> Iterator[Call]:
    """What was recorded."""
    with trace.open("rb") as file:
        while head := file.read(_HEAD.size):
            kind, is_directory, path, other, inode, offset, size, length = _HEAD.unpack(head)
            names = file.read(path).decode(errors="surrogateescape"), file.read(other).decode(errors="surrogateescape")
            data = file.read(length)
            del size
            yield Call(Kind(kind), bool(is_directory), *names, inode, offset, data)
