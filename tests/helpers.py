"""What several test modules share: data, containers' insides, and child processes."""

from __future__ import annotations

import io
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from rsdos import Container
from rsdos.codecs.spec import parse_compression
from rsdos.engine.engine import Engine
from rsdos.index.manifest import Manifest
from rsdos.model import FRAME_SIZE, Codec, Compression
from rsdos.stores.packed.store import PackedStore
from tests.data import key_of, noise, text
from tests.patience import HANG

ROOT = Path(__file__).resolve().parent.parent

SHELL = '#!/bin/sh\n[ "$1" = -l ] && shift 2\nshift\nexec sh -c "$*"\n'
"""A remote shell that runs what it is told here, whatever the host is called."""

ABSENT = "0" * 63 + "1"
"""A key that no test has the object of."""

BAD_KEYS: list[object] = [
    "",
    ".",
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    "ab/../../../etc/passwd",
    "a" * 63,
    "a" * 65,
    "A" * 64,
    "g" * 64,
    "a" * 63 + "\n",
    "a" * 63 + "é",
    "\0" * 64,
    "a" * 32 + "/" + "a" * 31,
    None,
    7,
    b"a" * 64,
]


SIZES = (
    0,
    1,
    2,
    849,
    850,
    5000,
    70_000,
    FRAME_SIZE - 1,
    FRAME_SIZE,
    FRAME_SIZE + 1,
    2 * FRAME_SIZE,
    3 * FRAME_SIZE + 5,
)
"""The sizes at which the store does something else."""


def objects_of_all_sizes() -> dict[str, bytes]:
    """Objects, by key, of all those sizes: some that compress and some that do not."""
    made = [make(size, seed) for seed, size in enumerate(SIZES) for make in (noise, text)]
    return {key_of(data): data for data in made}


def native(engine: Engine) -> PackedStore:
    """The packed store of a container of version 2."""
    assert isinstance(engine.packed, PackedStore)
    return engine.packed


def manifest_of(path: str | os.PathLike[str]) -> Manifest:
    """The newest manifest of a container."""
    return native(Engine(os.fspath(path))).index.commits.newest()


def tree(path: Path) -> dict[str, int]:
    """The length of every file below ``path``."""
    return {str(file.relative_to(path)): file.lstat().st_size for file in sorted(path.rglob("*")) if not file.is_dir()}


def descriptors() -> dict[int, str]:
    """What this process has open, and where that is, where the system can tell.

    Not connections to other machines: the library for object storage keeps them for later, and closes them in its time.
    """
    found = {}
    for name in os.listdir("/dev/fd"):
        with suppress(OSError):  # That of the listing itself.
            if _is_connection(int(name)):
                continue
            found[int(name)] = str(os.fstat(int(name))[:3])
        with suppress(OSError):
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found


def _is_connection(fd: int) -> bool:
    if not stat.S_ISSOCK(os.fstat(fd).st_mode):
        return False
    with socket.socket(fileno=os.dup(fd)) as one:
        return one.family in (socket.AF_INET, socket.AF_INET6)


def flip(path: Path, offset: int, mask: int = 0x01) -> None:
    """Flip bits of one byte of a file, in place."""
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ mask]))


def assert_holds(container: Container, objects: Mapping[str, bytes]) -> None:
    """The container has exactly these objects, and every way to read them agrees."""
    assert set(container) == set(objects)
    assert len(container) == len(objects)
    assert dict(container.extract_many(objects)) == objects
    assert all(container.has_many(objects))
    for key, data in objects.items():
        assert container.extract(key) == data
        assert container.meta(key).size == len(data)


def assert_no_leftovers(path: Path) -> None:
    """No unfinished file anywhere, and no pack that is longer than what was committed, or unknown."""
    assert tree(path / "sandbox") == {}
    packs = {f"{pack.id:010d}.pack": pack.length for pack in manifest_of(path).packs}
    assert tree(path / "packed") == packs
    assert not [name for name in tree(path / "index") if name.endswith(".new")]


def writable_as_nobody() -> bool:
    """Whether a child process can become a user without rights (tests run as root then)."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


NOBODY = 65534


def run_python(code: str, *arguments: object, user: int | None = None) -> str:
    """Run a script in a fresh interpreter, as another user if one is named; returns what it printed."""
    if user is not None:
        # Only behind the imports: the other user need not be able to read this checkout or the interpreter's files.
        code = _IMPORT_ALL + f"os.setgroups([]); os.setgid({user}); os.setuid({user})\n" + code
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        check=False,
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=HANG,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


_IMPORT_ALL = """
import importlib, os, pkgutil, rsdos
for module in pkgutil.walk_packages(rsdos.__path__, "rsdos."):
    if not module.name.startswith(("rsdos.cli", "rsdos.integrations", "rsdos.__main__")):
        importlib.import_module(module.name)
"""


def let_others_pass(path: Path) -> None:
    """Let every user read what a test has made, and pass through to it (pytest's own directories are private)."""
    for directory in (path, *path.parents):
        status = directory.stat()
        if status.st_uid == os.getuid() and directory != Path("/"):
            directory.chmod(status.st_mode | 0o055)


def child_environment() -> dict[str, str]:
    """The environment of a child that imports `rsdos` and `tests` from where this process has them."""
    import rsdos

    places = [str(Path(rsdos.__file__).parent.parent), str(ROOT)]
    return os.environ | {"PYTHONPATH": os.pathsep.join(places), "PYTHONDONTWRITEBYTECODE": "1"}


class Pattern(io.RawIOBase):
    """A generated stream of ``size`` bytes, in no memory: one block over and over, with a counter before each."""

    BLOCK = 1 << 16

    def __init__(self, size: int, block: Callable[[int], bytes] = text) -> None:
        self._left = size
        self._block = block(self.BLOCK - 8)
        self._number = 0
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        assert size is not None and size >= 0, "a whole read of a stream that does not fit into memory"
        parts = [self._rest]
        have = len(self._rest)
        while have < size:
            parts.append(self._number.to_bytes(8, "big") + self._block)
            have += self.BLOCK
            self._number += 1
        data = b"".join(parts)
        wanted = min(size, self._left)
        self._rest = data[wanted:]
        self._left -= wanted
        return data[:wanted]


class Breaking(io.RawIOBase):
    """A stream that raises after some bytes."""

    def __init__(self, data: bytes, error: BaseException) -> None:
        self._stream = io.BytesIO(data)
        self._error = error

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        data = self._stream.read(size)
        if not data:
            raise self._error
        return data


def open_descriptors() -> Iterator[str]:
    """What this process has open (Linux)."""
    for name in os.listdir("/proc/self/fd"):
        try:
            yield os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue


def compression_of(spec: str) -> Compression:
    """The compression of a specification, or "mixed": frames of which each is raw or zstd."""
    return Compression(Codec.MIXED, 1) if spec == "mixed" else parse_compression(spec)
