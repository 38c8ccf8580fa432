"""All errors that the store raises on purpose, grouped by what a caller does about them.

Each class also subclasses the builtin that fits, so that ``except KeyError`` or ``except OSError`` work as expected.

=====================  ==================================================================================
the caller should      class
=====================  ==================================================================================
correct the call       `InvalidKey`, `AmbiguousKey`, `InvalidOption`, `InvalidSource`, `UnreadableSource`
ask for another        `ObjectNotFound`
look at the directory  `NotAContainer`, `ContainerExists`, `UnsupportedContainer`, `ReadOnlyContainer`, `NotOurs`
open it anew           `ContainerReplaced`
validate and repair    `DamagedContainer`, `DamagedObject`
try again, or wait     `SourceChanged`, `Busy`, `WorkerDied`, `WriterPoisoned`
=====================  ==================================================================================
"""

from __future__ import annotations

import errno
import os

_OF_THE_SYSTEM = ("errno", "strerror", "filename", "filename2")
"""Fields of an OSError that are not in its ``__dict__``."""


OWN_NUMBERS = "its file system gives each name of a file a number of its own, as sshfs and some other of FUSE"
"""Why a container is not written on a file system where two names of one file have different inode numbers."""


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


class NotAContainer(RsdosError, FileNotFoundError):
    """There is no container at this path."""

    def __init__(self, path: str | os.PathLike[str], reason: str = "no config.json there") -> None:
        super().__init__(f"{os.fspath(path)}: not a container ({reason})")
        self.errno = errno.ENOENT
        self.path = path


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
    """The container cannot be written: no permission, a read-only mount, or no working ``flock``."""

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(f"{os.fspath(path)}: cannot be written ({reason})")
        self.errno = errno.EROFS
        self.path = path


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


def log_warning(text: str, *values: object) -> None:
    """Log a warning to the logger "rsdos": something failed, and the call succeeded nevertheless."""
    import logging  # 3 ms that no short command should pay.

    logging.getLogger("rsdos").warning(text, *values)
