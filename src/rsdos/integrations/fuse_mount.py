"""The door to FUSE: snapshots as a read-only file system."""

from __future__ import annotations

import errno
import io
import itertools
import os
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from enum import Enum
from functools import wraps
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

from rsdos.container import Container
from rsdos.errors import RsdosError
from rsdos.facade.entry import ROOT, SnapshotEntry, mode_of, no_such_path
from rsdos.integrations.extras import missing_extra
from rsdos.integrations.newest import NewestSnapshots
from rsdos.worktree.checkout_links import leads_inside

try:
    import mfusepy
except ImportError:
    raise missing_extra("fuse", "mfusepy") from None
except OSError as error:
    raise ImportError(f"{error}: install FUSE, on Debian and Ubuntu by apt install fuse3") from None

if TYPE_CHECKING:
    from rsdos.facade.snapshot import Snapshot

_WHOLE = 1 << 20
"""The largest file that is read whole at its first read: one frame, which is decompressed whole anyway."""

_FOREVER = 86_400
"""Seconds for which the kernel keeps what it knows of a snapshot, which never changes."""

_TIMEOUTS = ("entry_timeout", "attr_timeout", "negative_timeout")

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Serving(Enum):
    """Which process serves a mount."""

    FOREGROUND = "foreground"
    """The process that mounts, until the snapshots are unmounted or it gets Ctrl-C."""
    BACKGROUND = "background"
    """A child in a session of its own. The process that mounts ends: with exit code 0 once the mount works."""


def mount(
    container: Container, mountpoint: str, ref: str | None = None, *, serving: Serving = Serving.FOREGROUND
) -> None:
    """Mount a snapshot, or all of them, read-only, until ``fusermount3 -u MOUNTPOINT``.

    With a ref the root is its directory, and stays that version. Without one the root has a directory for each branch
    and tag, which follows its branch (a file that is open stays what it was, and cannot be mapped to memory as shared);
    ``NAME@3`` and keys are there too, but not listed. Reads are verified: a read of
    damaged bytes is an I/O error. Links that may lead out of the snapshot cannot be read. While it is mounted, packs
    that maintenance has replaced stay on the disk.

    Args:
        container: the container.
        mountpoint: an empty directory.
        ref: the snapshot; None: all.
        serving: in the foreground the call returns when the mount is gone, in the background never.

    Raises:
        RefNotFound: there is no such snapshot.
        OSError: the mount point is no empty directory, or the system refuses the mount; FUSE says why on stderr.
    """
    if os.listdir(mountpoint):
        raise OSError(errno.ENOTEMPTY, "a mount point is an empty directory", mountpoint)
    names = container.snapshots
    len(names)  # In the background nobody would see that it cannot be read.
    snapshot = None if ref is None else names[ref]
    keeps = dict.fromkeys(_TIMEOUTS, 0 if snapshot is None else _FOREVER)
    # A branch that moves changes the size and the bytes of a path: its pages are never in the kernel's cache.
    cache = "direct_io" if snapshot is None else "kernel_cache"
    served = MountedSnapshots(container, snapshot)
    try:
        mfusepy.FUSE(
            served,
            os.path.abspath(mountpoint),
            foreground=serving is Serving.FOREGROUND,
            ro=True,
            fsname=f"rsdos:{container.path}".replace(",", "_"),
            subtype="rsdos",
            default_permissions=True,
            **{cache: True},
            **keeps,
        )
    except RuntimeError:
        raise OSError(errno.EIO, "cannot be mounted", mountpoint) from None


def _with_errors(call: Callable[_P, _T]) -> Callable[_P, _T]:
    """Turn errors of the store into I/O errors: mfusepy turns any error that is not an OSError into EINVAL."""

    @wraps(call)
    def wrapped(*arguments: _P.args, **named: _P.kwargs) -> _T:
        try:
            return call(*arguments, **named)
        except RsdosError as error:
            raise OSError(errno.EIO, str(error)) from error

    return wrapped


class MountedSnapshots(mfusepy.Operations):
    """Answers the kernel's requests to the mount. Any thread."""

    use_ns = True

    def __init__(self, container: Container, snapshot: Snapshot | None) -> None:
        self._container = container
        self._snapshot = snapshot
        self._newest = NewestSnapshots(container)
        self._files: dict[int, _OpenFile] = {}
        self._numbers = itertools.count(1)
        self._stack = ExitStack()
        self._owner = {"st_uid": os.getuid(), "st_gid": os.getgid()}

    def init(self, path: str) -> None:
        """Keep all packs from now on. This runs in the process that serves, a fork of the one that mounts."""
        self._stack.enter_context(self._container.engine.protect_packs())

    def destroy(self, path: str) -> None:
        """Let the packs go."""
        self._stack.close()

    def _find(self, path: str) -> _Found:
        """Return what is at a path. Raise FileNotFoundError."""
        inner = path.strip("/")
        snapshot = self._snapshot
        if snapshot is None:
            name, _, inner = inner.partition("/")
            if not name:
                return _Found(None, ROOT)
            snapshot = self._newest.at(name)
        entry = snapshot.entry(inner)
        if entry is None:
            raise no_such_path(path)
        return _Found(snapshot, entry)

    @_with_errors
    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        """Return what `os.lstat` says."""
        snapshot, entry = self._find(path)
        time = 0 if snapshot is None else int(snapshot.time.timestamp()) * 1_000_000_000
        if entry.mtime is not None:
            time = entry.mtime
        return {
            "st_mode": mode_of(entry),
            "st_nlink": 1,  # of a directory, this means "not known" to find and others
            "st_size": entry.size,
            "st_blocks": (entry.size + 511) // 512,
            **dict.fromkeys(("st_mtime", "st_ctime", "st_atime"), time),
            **self._owner,
        }

    @_with_errors
    def readdir(self, path: str, fh: int) -> Iterable[Any]:
        """Return the names of a directory, and their kinds."""
        snapshot, entry = self._find(path)
        if snapshot is None:
            return [".", "..", *self._newest.names()]
        below = snapshot.listing(entry.path)
        return [".", "..", *((each.name, {"st_mode": mode_of(each)}, 0) for each in below)]

    @_with_errors
    def readlink(self, path: str) -> str:
        """Return the target of a link. Raise PermissionError if it may lead out of the snapshot."""
        entry = self._find(path).entry
        if not entry.is_link:
            raise OSError(errno.EINVAL, "is not a link", path)
        if not leads_inside(os.fsencode(entry.path.rpartition("/")[0]), os.fsencode(entry.target)):
            raise PermissionError(errno.EACCES, "the link may lead out of the snapshot", path)
        return entry.target

    @_with_errors
    def open(self, path: str, flags: int) -> int:
        """Return the number of an open file. Nothing is read yet: the kernel may have all of it in its cache."""
        entry = self._find(path).entry
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        number = next(self._numbers)
        self._files[number] = _OpenFile(self._container, entry)
        return number

    @_with_errors
    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        """Return bytes of an open file."""
        return self._files[fh].read(size, offset)

    def release(self, path: str, fh: int) -> int:
        """Close a file."""
        self._files.pop(fh).close()
        return 0

    def statfs(self, path: str) -> dict[str, int]:
        """Return the numbers of a full disk that is as large as the snapshot."""
        size = 0 if self._snapshot is None else self._snapshot.size
        files = 0 if self._snapshot is None else self._snapshot.entries
        return {
            "f_bsize": 4096,
            "f_frsize": 4096,
            "f_blocks": (size + 4095) // 4096,
            "f_files": files,
            "f_namemax": 255,
        }


class _Found(NamedTuple):
    """An entry and its snapshot; None for the directory of all names."""

    snapshot: Snapshot | None
    entry: SnapshotEntry


class _OpenFile:
    """An open file, which is read at the first read: a small one whole, a larger one by a stream. Any thread."""

    def __init__(self, container: Container, entry: SnapshotEntry) -> None:
        self._container = container
        self._entry = entry
        self._lock = threading.Lock()
        self._stream: io.BufferedIOBase | None = None

    def read(self, size: int, offset: int) -> bytes:
        """Return bytes from an offset on."""
        with self._lock:
            if self._stream is None:
                key = self._entry.key
                whole = self._entry.size <= _WHOLE
                self._stream = io.BytesIO(self._container.extract(key)) if whole else self._container.open(key)
            self._stream.seek(offset)
            return self._stream.read(size)

    def close(self) -> None:
        """Close the stream."""
        with self._lock:
            if self._stream is not None:
                self._stream.close()
