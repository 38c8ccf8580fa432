"""The seam between the store and its medium: named objects below one root.

Packs, segments and manifests are read and written through `Storage`, and never through paths. `LocalStorage` is a
directory, `MemoryStorage` the memory of this process. `rsdos.testing.StorageConformance` tests a storage.

What a medium must guarantee:

1. Read after write. Every reader finds an object as soon as the put of it has returned.
2. Whole or not at all. No reader sees a part of an object that is being put. (An object that a writer appends to may be
   longer than its manifest says; readers trust the manifest.)
3. One winner. Of all calls of `Storage.put_new` for one name at most one stores its bytes, until the name is removed.
4. Versions. Two objects that ever had the same name differ in `FileInfo.version`. So does an object after a change.
5. Stable puts. An object survives a crash of the medium once `Storage.sync` and `Storage.sync_names` have returned.

Everything else is a trait (`Traits`): the store asks for the traits that it needs when it is opened, and an error names
the missing one.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from rsdos.errors import DecodeError, ReadOnlyContainer, Refused, Unavailable
from rsdos.model import BytesLike

if TYPE_CHECKING:
    from rsdos.storage.opened import AppendFile, HeldLock, RandomAccess

Version: TypeAlias = tuple[int, ...]
"""Distinguishes an object from every other one of its name, and from itself before a change. Only compare it."""

MOST_NAME = 1024
"""The most bytes of a name: the limit of object stores."""

_NAME = re.compile(r"(?!\.\.?(?:/|\Z))[A-Za-z0-9_.-]+(?:/(?!\.\.?(?:/|\Z))[A-Za-z0-9_.-]+)*")


class Put(Enum):
    """The outcome of a `Storage.put_new`."""

    OURS = "ours"
    """The bytes are stored under the name, and this call stored them."""
    TAKEN = "taken"
    """Another object has the name; nothing was stored."""
    UNKNOWN = "unknown"
    """The answer was lost: the bytes may be stored, now or later. Read the name to find out."""


class PutResult(NamedTuple):
    """The outcome of a `Storage.put_new`, and the version of what it stored (None: nothing, or not known)."""

    outcome: Put
    version: Version | None = None


class Traits(NamedTuple):
    """What a medium can do beyond the guarantees above. Errors give these names."""

    medium: str
    """The kind of medium, for messages: "a directory", "memory"."""
    appends: bool = False
    """`Storage.append` works: an object can grow while others read its beginning."""
    locks: bool = False
    """`Storage.lock` works, between all programs that use the medium, and the lock of a dead holder is free."""
    files: bool = False
    """The medium is a directory of this machine: objects can have files of their own, and damaged files can be moved to
    quarantine."""
    new_is_exclusive: bool = True
    """Guarantee 3 holds. Without it the medium can only be read: see ADR 46."""
    lists_in_order: bool = True
    """`Storage.list` starts where it is asked to, and costs what it returns. Without it the medium lists everything."""
    etag_is_md5: bool = False
    """`FileInfo.etag` is the MD5 of the bytes, or of the MD5s of the parts."""
    is_remote: bool = False
    """Each verb is a request to another machine. An object that was removed cannot be read any more."""
    deletes: bool = True
    """`Storage.remove` works."""
    is_shared: bool = False
    """Other processes, and other machines, can open the same storage: they get it by a pickle."""


class FileInfo(NamedTuple):
    """What `Storage.stat` returns about an object."""

    name: str
    length: int
    """Bytes."""
    version: Version
    names: int = 1
    """The number of its names. A copy by hard links has more than one, and a change through one name shows in all."""
    time: float = 0.0
    """When the object was last changed, in seconds since 1970 of the medium's clock; 0.0 if that is not known."""
    etag: str = ""
    """The medium's own mark of the bytes; "" if there is none."""
    is_versioned: bool | None = None
    """Whether the medium keeps this version when another one is put over it; None if that is not known."""


class Span(NamedTuple):
    """A range of an object, in bytes."""

    name: str
    offset: int
    length: int


class Storage(Protocol):
    """Named objects below one root. Subclass it: methods with a body here are defaults.

    Names are relative, of ASCII letters, digits, "_", ".", "-" and "/" (`check_name`). Every verb raises ValueError for
    any other name, and `list` leaves out names of any other form. Any number of threads.

    Every verb raises OSError: FileNotFoundError for a missing object, PermissionError where the medium refuses. After
    an OSError idempotent verbs may be tried again; `put_new` may not, see `Put.UNKNOWN`.
    """

    root: str
    """The path of the storage, for messages."""
    traits: Traits

    def path(self, name: str) -> str:
        """Return the path of an object, for messages. Raise ValueError for anything but a name."""
        return f"{self.root}/{check_name(name)}"

    # Reading.

    def read(self, name: str, most: int) -> bytes:
        """Return a whole small object. Raise OSError with EFBIG when it has more than ``most`` bytes."""
        return self.read_with_version(name, most)[0]

    def read_with_version(self, name: str, most: int) -> tuple[bytes, Version]:
        """Return a whole small object as `read` does, and its version."""
        with _closing(self.open(name)) as file:
            size = file.size()
            if size > most:
                raise OSError(errno.EFBIG, f"larger than {most} bytes", file.path)
            return file.read(0, size), file.version

    def open(self, name: str, length: int | None = None) -> RandomAccess:
        """Open an object for reading at any offset. Links are never followed.

        ``length`` is what the caller knows of an object that never changes: a remote medium then need not be asked for
        it. A missing object is told by the first read in this case. Other media ignore it.
        """
        ...

    def read_spans(self, spans: Iterable[Span]) -> Iterator[bytes]:
        """Return the bytes of many ranges, in the order given, in bounded memory."""
        name, file = "", None
        for span in spans:
            if file is None or span.name != name:
                name, file = span.name, self.open(span.name)
            yield file.read(span.offset, span.length)

    def list(self, directory: str, after: str = "", most: int | None = None) -> Iterator[str]:
        """Return the names directly in a directory, without the directory, in order: at most ``most`` after ``after``.

        No lengths: these would cost one call for each name in a directory of this machine. Raise FileNotFoundError if
        the medium has directories, and this one is missing.
        """
        ...

    def list_infos(self, directory: str, after: str = "", most: int | None = None) -> Iterator[FileInfo]:
        """Return what `stat` returns of the objects directly in a directory, in order, as `list` does.

        The infos have whole names. Objects that are removed in between are left out. A medium that has directories
        lists those too. This default calls `stat` for each name; on object stores a list has all of it.
        """
        for name in self.list(directory, after, most):
            if info := self.stat(f"{directory}/{name}"):
                yield info

    def stat(self, name: str) -> FileInfo | None:
        """Return what is known of an object without reading it; None for a missing one."""
        ...

    def version(self, name: str) -> Version | None:
        """Return the version of an object; None for a missing one."""
        info = self.stat(name)
        return info and info.version

    def exists(self, name: str) -> bool:
        """Return whether an object exists."""
        return self.stat(name) is not None

    def is_prompt(self) -> bool:
        """Return whether guarantee 1 holds between machines too. Where it does not, a file that is opened is recent.

        A client of NFS answers from memory whether a name exists, for up to a minute.
        """
        return True

    # Writing.

    def may_add(self, directory: str) -> bool:
        """Return whether new objects can be made in a directory; True if that is not known."""
        return True

    def make_directory(self, directory: str) -> None:
        """Make a directory and its parents, if the medium has directories. Call this before a put in it."""
        return

    def put_new(self, name: str, data: bytes, still: Callable[[], bool] | None = None) -> PutResult:
        """Store a new object, whole, unless its name is taken. Its bytes are then stable; its name needs `sync_names`.

        ``still`` is called as late as possible, after all steps that take time. If it returns False, nothing is stored,
        and the outcome is `Put.TAKEN`. After an OSError look for the name to find out whether anything was stored.
        """
        ...

    def put_stream(self, name: str, parts: Iterable[BytesLike], length: int) -> None:
        """Store a new large object, whole, from parts that have ``length`` bytes in all.

        Raise FileExistsError when the name is taken, and ValueError when the parts have another length.
        """
        ...

    def empty(self, name: str) -> None:
        """Drop the bytes of an object and keep its name, which stays taken."""
        ...

    def remove(self, name: str) -> bool:
        """Remove an object. Return whether it was there; a remote medium, which is not told, returns True.

        Readers that have it open can still read it, except on a remote medium.
        """
        ...

    def link(self, name: str, new: str) -> bool:
        """Give an object that never changes a second name. Return False if that is taken, and is not of this object.

        A medium with the trait ``appends`` has this verb. The name is stable after `sync_names`.
        """
        raise unsupported(self, "link")

    # Verbs that not every medium has; see `Traits`.

    def sync(self, name: str) -> None:
        """Put the bytes of an object on stable storage, also bytes that another process wrote."""
        return

    def sync_names(self, directory: str) -> None:
        """Put the additions and removals of names in a directory on stable storage."""
        return

    def append(self, name: str, *, new: bool, still: Callable[[], bool] | None = None) -> AppendFile:
        """Open an object for one writer. ``new``: make it, and remove an object of a dead writer that has the name.

        ``still`` is called before such an object is removed, while no other writer can open it. If it returns False,
        the object stays. Raise `Busy` then, and when the object has a writer.
        """
        raise unsupported(self, "append")

    def create(self, name: str) -> AppendFile:
        """Make an object that is written at any offset before any process reads it. Raise FileExistsError."""
        raise unsupported(self, "append")

    def lock(self, name: str, *, shared: bool = False, wait: bool = True) -> HeldLock | None:
        """Take a lock. Return None if it is held by another caller and ``wait`` is false.

        Raise `Busy` instead of waiting for the calling thread itself, and OSError with ENOLCK, ENOSYS or ENOTSUP if
        nothing can be locked.
        """
        raise unsupported(self, "lock")

    def holder(self, name: str) -> str:
        """Return the text that the holder of a lock has left with `HeldLock.describe`; "" if there is none."""
        return ""

    def read_note(self, name: str, most: int) -> bytes:
        """Return the note in a lock, up to ``most`` bytes; b"" if there is none, or it cannot be read."""
        return b""

    def drop_copy(self, name: str) -> bool:
        """Drop the copy of an object that is kept on this machine, as it is damaged. Return whether there was one.

        The next reader gets the object from the medium.
        """
        return False

    # Connections.

    def close(self) -> None:
        """Give back connections and threads, if there are any. Idempotent; the next verb makes new ones."""
        return


class _closing:
    """Closes an open object at the end of a block. (Every short command would import ``contextlib`` for it.)"""

    def __init__(self, file: RandomAccess) -> None:
        self._file = file

    def __enter__(self) -> RandomAccess:
        return self._file

    def __exit__(self, *_: object) -> None:
        self._file.close()


def check_name(name: str) -> str:
    """Return the name. Raise ValueError for a string that is no name, or could lead out of the root."""
    if len(name) > MOST_NAME or not _NAME.fullmatch(name):
        raise ValueError(f"not a name in a storage: {name!r:.100}")
    return name


def is_name(name: str) -> bool:
    """Return whether `check_name` accepts the string."""
    return len(name) <= MOST_NAME and _NAME.fullmatch(name) is not None


def unsupported(storage: Storage, verb: str) -> OSError:
    """Return the error for a verb that the traits of a storage do not have."""
    return OSError(errno.ENOTSUP, f"{storage.traits.medium} cannot {verb}", storage.root)


def require(storage: Storage, *traits: str) -> None:
    """Raise `ReadOnlyContainer`, which names it, for the first trait that a storage does not have."""
    for trait in traits:
        if not getattr(storage.traits, trait):
            reason = f"{storage.traits.medium} has no {trait!r}, which a container of version 2 needs"
            raise ReadOnlyContainer(storage.root, reason)


# What an error of reading says.

_NO_ROOM = frozenset((errno.ENOMEM, errno.EMFILE, errno.ENFILE))


def says_nothing(error: Exception) -> bool:
    """Return whether an error says nothing of what is stored: a lack of memory or descriptors, or of an answer.

    What could not be read for that reason is neither missing nor damaged.
    """
    return isinstance(error, OSError) and (isinstance(error, (Unavailable, Refused)) or error.errno in _NO_ROOM)


def may_be_whole(error: OSError) -> bool:
    """Return whether what could not be read may be whole nevertheless. A repair raises such an error, and stops.

    Beside `says_nothing`, that is a lack of permission.
    """
    return says_nothing(error) or isinstance(error, PermissionError)


@contextmanager
def passing_over_damage() -> Iterator[None]:
    """Leave the block at an error that means damage, for a repair that looks for the next copy."""
    try:
        yield
    except DecodeError:
        return
    except OSError as error:
        if may_be_whole(error):
            raise
