"""All errors that the store raises on purpose, grouped by what a caller does about them.

Each class also subclasses the builtin that fits, so that ``except KeyError`` or ``except OSError`` work as expected.

=====================  ==================================================================================
the caller should      class
=====================  ==================================================================================
correct the call       `InvalidKey`, `AmbiguousKey`, `InvalidOption`, `InvalidName`, `InvalidSource`,
                       `UnreadableSource`
ask for another        `ObjectNotFound`, `RefNotFound`, `RefExists`
look at the directory  `NotAContainer`, `ContainerExists`, `UnsupportedContainer`, `ReadOnlyContainer`, `NotOurs`,
                       `Conflicts`
open it anew           `ContainerReplaced`
validate and repair    `DamagedContainer`, `DamagedObject`, `DamagedTree`
try again, or wait     `SourceChanged`, `Busy`, `RefMoved`, `WorkerDied`, `WriterPoisoned`
run it again           `Unavailable`, `RemoteUnavailable`, `CommitUnknown`, `Expired`
see to the remote      `Refused`, `StorageMismatch`, `RemoteChanged`, `RemoteWentBack`, `RemoteDiverged`
start processes anew   `RemoteAfterFork`
=====================  ==================================================================================
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

_OF_THE_SYSTEM = ("errno", "strerror", "filename", "filename2")
"""Fields of an OSError that are not in its ``__dict__``."""


OWN_NUMBERS = "its file system gives each name of a file a number of its own, as sshfs and some other of FUSE"
"""Why a container is not written on a file system where two names of one file have different inode numbers."""


def means_full(error: OSError) -> bool:
    """Return whether a disk or a quota is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def _again(kind: type[RsdosError], args: tuple[object, ...]) -> RsdosError:
    """Return an error with its arguments set, and no other attribute."""
    error = kind.__new__(kind)
    error.args = args
    return error


class RsdosError(Exception):
    """Base of all errors of this package."""

    def __str__(self) -> str:
        # KeyError and OSError print their arguments in their own ways; ours is one line.
        return str(self.args[0]) if self.args else type(self).__name__

    def __reduce__(self) -> tuple[object, ...]:
        # Not by ``__init__``: that takes the parts of the sentence, and `args` holds the whole sentence.
        state = self.__dict__ | {name: getattr(self, name) for name in _OF_THE_SYSTEM if hasattr(self, name)}
        return _again, (type(self), self.args), state


class InvalidKey(RsdosError, ValueError):
    """The string is not a key: a key is 64 lower-case hex characters (40 in a container of SHA-1)."""

    def __init__(self, key: object, expected: str) -> None:
        super().__init__(f"not a key: {key!r:.100} (expected {expected})")
        self.key = key


class AmbiguousKey(RsdosError, LookupError):
    """More than one object's key begins with the prefix."""

    def __init__(self, prefix: str) -> None:
        super().__init__(f"more than one key begins with {prefix}")
        self.prefix = prefix


class InvalidOption(RsdosError, ValueError):
    """An argument has a value that makes no sense: a pack size of zero, an unknown codec, a bad range."""


class InvalidName(RsdosError, ValueError):
    """The name cannot be given to an entry of a tree, or to a branch or tag."""

    def __init__(self, name: str | bytes, reason: str) -> None:
        self.name = name if isinstance(name, str) else os.fsdecode(name)
        """The name or path; bytes that are no UTF-8 are surrogates."""
        self.reason = reason
        super().__init__(f"{self.name!r:.300}: {reason}")


class InvalidSource(RsdosError, TypeError):
    """The argument cannot be inserted: it is neither bytes, nor a path, nor a binary stream."""


class UnreadableSource(RsdosError, OSError):
    """The file to insert cannot be read: it is missing, unreadable, or not a regular file. ``errno`` says which."""

    def __init__(self, path: str | os.PathLike[str], number: int, reason: str | None = None) -> None:
        self.reason = reason or os.strerror(number)
        super().__init__(f"{os.fspath(path)}: {self.reason}")
        self.errno = number
        self.path = path


class SourceChanged(RsdosError, OSError):
    """The file changed while it was read. Nothing of it was stored."""

    reason = "changed while it was read"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(f"{os.fspath(path)}: {self.reason}")
        self.errno = errno.EAGAIN
        self.path = path


class ObjectNotFound(RsdosError, KeyError):
    """The container has no object of this key."""

    def __init__(self, key: str) -> None:
        super().__init__(f"no such object: {key}")
        self.key = key


class RefNotFound(RsdosError, KeyError):
    """There is no branch, version, tag or snapshot of this name."""

    def __init__(self, name: str, reason: str = "no such branch, tag or snapshot") -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name


class RefExists(RsdosError, FileExistsError):
    """The name is that of a branch or tag already."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.errno = errno.EEXIST
        self.name = name


class RefMoved(RsdosError, BlockingIOError):
    """The branch has another newest version than the caller knew: somebody else saved to it. Nothing was published.

    ``snapshot`` is the key of the snapshot that was to become its next version, if it is stored, or "".
    """

    def __init__(self, name: str, reason: str, snapshot: str = "") -> None:
        super().__init__(f"{name}: {reason}")
        self.errno = errno.EAGAIN
        self.name = name
        self.snapshot = snapshot


class NotAContainer(RsdosError, FileNotFoundError):
    """There is no container at this path. ``advice`` is what to do, where that is known."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        reason: str = "not a container (no config.json there)",
        advice: str = "",
    ) -> None:
        super().__init__(f"{os.fspath(path)}: {reason}{advice and '; '}{advice}")
        self.errno = errno.ENOENT
        self.path = path
        self.reason = reason
        self.advice = advice


class ContainerExists(RsdosError, FileExistsError):
    """A container cannot be created here: there is one already, or the directory is not empty."""

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(f"{os.fspath(path)}: {reason}")
        self.errno = errno.EEXIST
        self.path = path


class UnsupportedContainer(RsdosError, NotImplementedError):
    """The container has a version or a setting that this release does not know."""

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(f"{os.fspath(path)}: {reason}")
        self.path = path


class NotOurs(RsdosError, OSError):
    """A symbolic link or a foreign file is in the place of a directory or file of the container. It was left alone."""

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(f"{os.fspath(path)}: {reason}")
        self.errno = errno.ELOOP
        self.path = path


class ReadOnlyContainer(RsdosError, PermissionError):
    """The container cannot be written: no permission, a read-only mount, or no working ``flock``.

    Reading works. A container of version 1 may need to be written to be opened at all: then the message says so.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str, what: str = "written") -> None:
        super().__init__(f"{os.fspath(path)}: cannot be {what} ({reason})")
        self.errno = errno.EROFS
        self.path = path


class Conflicts(RsdosError, FileExistsError):
    """Modified or unknown files are in the way of a checkout. Nothing was written.

    ``paths`` are theirs, below the directory; ``reasons`` are pairs of such a path and a sentence.
    """

    def __init__(self, directory: str | os.PathLike[str], conflicts: Sequence[tuple[bytes, str]]) -> None:
        path, reason = conflicts[0]
        more = f", and {len(conflicts) - 1:,} more" if len(conflicts) > 1 else ""
        first = os.path.join(os.fspath(directory), os.fsdecode(path))
        super().__init__(f"{first}: {reason}{more}; nothing was written")
        self.errno = errno.EEXIST
        self.directory = directory
        self.paths = tuple(path for path, _ in conflicts)
        self.reasons = tuple(conflicts)


class ContainerReplaced(RsdosError, OSError):
    """The container at the path is not the one that was opened: it was migrated, or replaced by another container.

    Also raised when lock files were removed while this process held them. The call has stored nothing; an iteration
    has yielded a part. Open the container again; a `Container` does so by itself after `close`.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(f"{os.fspath(path)}: {reason}")
        self.errno = errno.ESTALE
        self.path = path


class DamagedContainer(RsdosError, OSError):
    """A file of the container itself (configuration, manifest, segment, pack structure) is damaged."""

    def __init__(self, path: str | os.PathLike[str], reason: str, offset: int | None = None) -> None:
        where = "" if offset is None else f" at byte {offset}"
        self.reason = f"damaged{where}: {reason}"
        """The message without the path."""
        super().__init__(f"{os.fspath(path)}: {self.reason}")
        self.errno = errno.EIO
        self.path = path
        self.offset = offset


class DamagedObject(RsdosError, OSError):
    """The bytes of an object are not those that were stored, and no other copy is good. No byte of it is returned."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"object {key} is damaged: {reason}")
        self.errno = errno.EIO
        self.key = key
        self.reason = reason


class DamagedTree(RsdosError, OSError):
    """A page of a tree, a snapshot or a refs document is missing, damaged, or has what none may have.

    ``range`` is None, or the paths between which entries are lost: those behind the first, up to and with the second,
    in the order of trees. ``b""`` is an open end.
    """

    def __init__(self, key: str, reason: str, lost: tuple[bytes, bytes] | None = None) -> None:
        first, last = map(os.fsdecode, lost or (b"", b""))
        behind, upto = first and f" behind {first!r:.300}", last and f" up to {last!r:.300}"
        where = f"; the entries{behind}{upto} are lost" if lost else ""
        super().__init__(f"tree object {key} is damaged: {reason}{where}")
        self.errno = errno.EIO
        self.key = key
        self.reason = reason
        self.range = lost


class DecodeError(RsdosError, ValueError):
    """Stored bytes do not decode to the object. Stores turn this into a `DamagedObject`, which has the key."""


class Busy(RsdosError, BlockingIOError):
    """Another process holds a lock that this operation needs."""

    def __init__(self, what: str, holder: str = "") -> None:
        super().__init__(f"{what} is in use by {holder or 'another process'}")
        self.errno = errno.EAGAIN
        self.what = what
        self.holder = holder


class WorkerDied(RsdosError, ChildProcessError):
    """A process that shared the work ended without a word: it was killed, by a lack of memory perhaps."""


class WriterPoisoned(RsdosError, ValueError):
    """The writer failed before and accepts no more objects. Begin a new one."""


class Unavailable(RsdosError, ConnectionError):
    """The storage could not be reached, or had no answer but errors of its own, until the deadline.

    What was acknowledged before is stored. Run the operation again: what it has stored is found.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: cannot be reached ({reason})")
        self.errno = errno.EHOSTUNREACH
        self.path = path
        self.reason = reason


class RemoteUnavailable(Unavailable):
    """The object is only in a remote, and the remote cannot be reached. Objects that are here are read."""

    def __init__(self, path: str, reason: str, key: str = "") -> None:
        super().__init__(path, f"{reason}; object {key} is not here" if key else reason)
        self.key = key
        """The key of the object; "" if that is not known."""


class Refused(RsdosError, PermissionError):
    """The storage refuses a request: wrong credentials, a policy, no room, or a clock that is off by 15 minutes."""

    def __init__(self, path: str, reason: str, action: str = "") -> None:
        needs = f"; this needs {action}" if action else ""
        super().__init__(f"{path}: refused ({reason}){needs}")
        self.errno = errno.EACCES
        self.path = path
        self.reason = reason
        self.action = action
        """The permission that is missing, "s3:PutObject" for example; "" if that is not known."""


class StorageMismatch(RsdosError, OSError):
    """The URL or its options lead to no storage: there is no such bucket, or it is in another region."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.errno = errno.EINVAL
        self.path = path
        self.reason = reason


class CommitUnknown(RsdosError, TimeoutError):
    """The answer to a commit was lost, and the storage could not be asked for it until the deadline.

    The objects may be stored or not. Run the operation again: it finds those that are stored.
    """

    def __init__(self, path: str, number: int) -> None:
        super().__init__(f"{path}: commit {number} may or may not be stored; run the operation again")
        self.errno = errno.ETIMEDOUT
        self.path = path
        self.number = number


class Expired(RsdosError, OSError):
    """The pack ids that this process had reserved were taken back, since it did not commit for long.

    Nothing of the last commit is stored. Run the operation again: it sends what is missing.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}; run the operation again")
        self.errno = errno.ESTALE
        self.path = path
        self.reason = reason


class RemoteChanged(RsdosError, OSError):
    """There is another container at the URL than the one that was known. Nothing was written."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.errno = errno.ESTALE
        self.path = path
        self.reason = reason


class RemoteWentBack(RsdosError, OSError):
    """The remote is older than it was: it was restored from a backup, or commits were deleted. Nothing was written."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.errno = errno.ESTALE
        self.path = path
        self.reason = reason


class RemoteDiverged(RsdosError, OSError):
    """The remote has another commit of a number that was seen before: two regions wrote to it. Nothing was written."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.errno = errno.ESTALE
        self.path = path
        self.reason = reason


class RemoteAfterFork(RsdosError, RuntimeError):
    """A parent of this process used a storage behind a network before it forked.

    Start workers with spawn or forkserver.
    Threads and connections of the client library do not survive a fork: a call would wait forever.
    """

    def __init__(self, path: str) -> None:
        super().__init__(
            f"{path}: cannot be used in a forked process, since its parent used such a storage before; start workers "
            "with spawn or forkserver"
        )
        self.path = path


def log_warning(text: str, *values: object) -> None:
    """Log a warning to the logger "rsdos": something failed, and the call succeeded nevertheless."""
    import logging  # 3 ms that no short command should pay.

    logging.getLogger("rsdos").warning(text, *values)
