"""What every store has in common: the verbs by key, made from a few lookups by digest that differ from store to store.

A **lookup** answers from the version of the store that is loaded, the *visible* objects: None, or nothing, for an
object that is not visible. When a lookup finds nothing, the verbs ask whether that version is still the latest; if not,
they look again in the next. Only when the answer is stable is an object missing (design, section 3).

Beside writers that never rest no answer would ever be stable, and none has to be. Say that an object is there all the
time, and that a lookup does not find it. When that lookup came to the loose files, the object was in a pack; so it is
in the version that is loaded after the lookup. `LOOKUPS` is more than the two lookups that this takes.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from math import inf
from operator import itemgetter
from time import monotonic
from typing import Literal, Protocol, TypeVar, overload

from rsdos.errors import DamagedContainer, DamagedObject, DecodeError, InvalidOption, ObjectNotFound, log_warning
from rsdos.hashing import HashType
from rsdos.model import BytesLike, Copy, Durability, Missing, ObjectMeta, Trust
from rsdos.storage import posix
from rsdos.stores import order

CHUNK = 1 << 17
"""Keys of a bulk call that are looked up together: 30 MB while that lasts."""

LOOKUPS = 4
"""Lookups, each in a newer version, that have to find nothing before that is the answer."""

MOST_LOOKUPS = 100
"""Lookups, each in a newer version, that may meet what has gone since: each time a repack between two calls."""

_T = TypeVar("_T")


class KnownCheck(Protocol):
    """Says which of some objects are there already, each in a good copy that is as durable as it should be."""

    def __call__(
        self, digests: Sequence[bytes], trust: Trust, /, raws: Sequence[BytesLike] | None = None
    ) -> Sequence[Copy]:
        """Return what there is of each object. ``raws`` are their bytes, where the caller has them."""


class Store(ABC):
    """The reading verbs of `rsdos.protocols.ObjectStore`; any number of threads."""

    hash: HashType
    """What keys are made with."""

    # The lookups.

    @abstractmethod
    def read(self, digest: bytes) -> bytes | None:
        """Return the verified bytes of one object. Raises `DamagedObject`."""

    @abstractmethod
    def frames(self, digest: bytes) -> Iterator[BytesLike] | None:
        """Return the verified bytes of one object, in parts of at most one frame; a smaller object is one part."""

    def has_hash(self, digest: bytes) -> bool:
        """Whether an object is visible and its bytes are those of its key. Reads it to its end."""
        hasher = self.hash.new()
        try:
            parts = self.frames(digest)
            if parts is None:
                return False  # Not the hash of nothing, which is that of the empty object.
            for part in parts:
                hasher.update(part)
        except DamagedObject:
            return False
        return hasher.digest() == digest

    @abstractmethod
    def stream(self, digest: bytes) -> io.BufferedReader | None:
        """Return a seekable stream of one object."""

    @abstractmethod
    def describe(self, digest: bytes) -> ObjectMeta | None:
        """Return what is known of one object without reading it."""

    @abstractmethod
    def read_many(self, digests: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
        """Yield (position, bytes) of those that are visible, in storage order. Raises `DamagedObject`."""

    def read_lists(self, digests: Sequence[bytes]) -> Iterator[tuple[Sequence[int], Sequence[bytes]]]:
        """`read_many` as lists of positions and of bytes: as many objects at a time as the store reads together."""
        for at, data in self.read_many(digests):
            yield (at,), (data,)

    @abstractmethod
    def contains_many(self, digests: Sequence[bytes]) -> list[bool]:
        """Return which of the objects are visible."""

    def may_have(self, digest: bytes) -> bool:
        """Whether an object is visible, good or not; also True where damage leaves that open."""
        try:
            return self.contains_many((digest,))[0]
        except DamagedContainer:
            return True

    @abstractmethod
    def check_copies(
        self,
        digests: Sequence[bytes],
        trust: Trust,
        durability: Durability,
        raws: Sequence[BytesLike] | None = None,
    ) -> list[Copy]:
        """Return which of the objects are visible, and whether their copies are good.

        ``raws`` are their bytes, where the caller has them: comparing with these takes a tenth of hashing.

        Under full durability a good copy is on stable storage: it is put there, or counts as missing.
        """

    def version(self) -> object:
        """Return the version that lookups go to from now on, until a refresh by this thread or another."""
        return None

    def has_version(self) -> bool:
        """Whether a version is loaded already; else the next lookup, or `version`, loads the latest."""
        return True

    def is_latest(self, version: object) -> bool:
        """Whether ``version``, taken before a lookup, is still all there is."""
        return True

    def refresh(self) -> None:
        """Load the latest version."""
        return

    clock: Callable[[], float] = staticmethod(monotonic)
    """Seconds, for `order.is_due`."""

    _asked = -inf
    """When it was last asked whether the loaded version is the latest."""

    def _keep_current(self) -> None:
        """Load a newer version before an answer that rests on the loaded one alone; at most once a second."""
        now = self.clock()
        if order.is_due(self._asked, now):
            # A version that this very lookup loads is the latest.
            if self.has_version() and not self.is_latest(self.version()):
                self.refresh()
            self._asked = now

    # The verbs.

    def lookup(self, find: Callable[[bytes], _T | None], key: str) -> _T:
        """Return what a lookup finds of an object once its answer is stable. Raises `ObjectNotFound`, `InvalidKey`."""
        digest = self.hash.parse_key(key)
        result = find(digest)
        if result is None:
            for _ in self.look_again(LOOKUPS):
                result = find(digest)
                if result is not None:
                    break
            else:
                raise ObjectNotFound(key)
        return result

    def look_again(self, most: int, exhausted: Callable[[], Exception] | None = None) -> Iterator[None]:
        """Yield once for each lookup to make: the next in the latest version, until none came during a lookup.

        After ``most`` lookups stop, or raise ``exhausted``. The caller leaves the loop when it has its answer.
        """
        for _ in range(most):
            version = self.version()
            yield
            if self.is_latest(version):
                return
            self.refresh()
        if exhausted is not None:
            raise exhausted()

    def extract(self, key: str) -> bytes:
        """Return the bytes of one object. Raises `ObjectNotFound`, `DamagedObject`, `InvalidKey`."""
        # `lookup`, without the call where the first lookup finds it.
        data = self.read(self.hash.parse_key(key))
        return self.lookup(self.read, key) if data is None else data

    def open(self, key: str) -> io.BufferedReader:
        """Return a seekable binary stream of one object; see `extract`. Its reads raise `DamagedObject`."""
        return self.lookup(self.stream, key)

    def parts(self, key: str) -> Iterator[BytesLike]:
        """Return the bytes of one object in order, in parts of at most one frame; a smaller object is one part."""
        return self.lookup(self.frames, key)

    def meta(self, key: str) -> ObjectMeta:
        """Return sizes, codec and place of one object, as of a second ago at most.

        Raises `ObjectNotFound`, `InvalidKey`.
        """
        self._keep_current()
        return self.lookup(self.describe, key)

    def extract_to(self, key: str, path: str | os.PathLike[str]) -> int:
        """Write one object to a file, in the memory of two frames; return its size.

        The file appears whole or not at all, and replaces a regular file that is there. It is not synced. Raises what
        `extract` does, `InvalidOption` when something that is no regular file is there, and OSError.
        """
        return write_out(self.lookup(self.frames, key), os.fspath(path))

    @overload
    def extract_many(
        self, keys: Iterable[str], *, missing: Literal["raise", "skip"] = "raise"
    ) -> Iterator[tuple[str, bytes]]: ...
    @overload
    def extract_many(self, keys: Iterable[str], *, missing: Missing) -> Iterator[tuple[str, bytes | None]]: ...
    def extract_many(self, keys: Iterable[str], *, missing: Missing = "raise") -> Iterator[tuple[str, bytes | None]]:
        """Yield (key, bytes) of many objects, of every 131,072 keys in storage order and each once.

        ``missing`` says what to do about keys that are not there, after those that are: "raise" `ObjectNotFound`,
        "skip" them, or yield (key, None) ("none"). Memory: 8 MiB of objects at a time, or one that is larger.
        """
        if missing not in ("raise", "skip", "none"):
            raise InvalidOption(f'missing is "raise", "skip" or "none", not {missing!r:.40}')
        return self._extract_many(iter(keys), missing)

    def _extract_many(self, keys: Iterator[str], missing: Missing) -> Iterator[tuple[str, bytes | None]]:
        while chunk := list(islice(keys, CHUNK)):
            todo, digests = chunk, self.hash.parse_keys(chunk)
            if _has_twice(todo, digests):
                todo = list(dict.fromkeys(chunk))
                digests = self.hash.parse_keys(todo)
            for _ in self.look_again(LOOKUPS + 1):
                found: list[Sequence[int]] = []
                for positions, payloads in self.read_lists(digests):
                    found.append(positions)
                    yield from zip(_picked(todo, positions), payloads, strict=True)
                rest = rest_of(len(todo), found)
                todo, digests = [todo[at] for at in rest], [digests[at] for at in rest]
                if not todo:
                    break
            if todo and missing == "raise":
                raise ObjectNotFound(todo[0])
            if missing == "none":
                yield from ((key, None) for key in todo)

    def has(self, key: str) -> bool:
        """Whether there is an object of this key; that there is, as of a second ago at most. Raises `InvalidKey`.

        It may be deleted at any time. To make sure that an object is there insert it, whatever this says.
        """
        return self.has_many((key,))[0]

    def has_many(self, keys: Iterable[str]) -> list[bool]:
        """`has` for each key, in the order given."""
        keys = iter(keys)
        answers: list[bool] = []
        while chunk := list(islice(keys, CHUNK)):
            digests = self.hash.parse_keys(chunk)
            self._keep_current()
            version = self.version()
            present = self.contains_many(digests)
            looks = 1
            while not all(present) and looks <= LOOKUPS and not self.is_latest(version):
                self.refresh()
                looks += 1
                version = self.version()
                present = self.contains_many(digests)
            answers += present
        return answers

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.hash.is_key(key) and self.has(key)

    @abstractmethod
    def __iter__(self) -> Iterator[str]: ...

    @abstractmethod
    def __len__(self) -> int: ...


_FEW = 1 << 10
"""Keys up to which numpy is not imported for them."""


def _has_twice(keys: Sequence[str], digests: Sequence[bytes]) -> bool:
    """Whether any key is there twice; this may be True where none is."""
    if len(keys) <= _FEW:
        return len(set(keys)) < len(keys)
    from rsdos.index.entries import all_differ

    return not all_differ(digests)


def _picked(keys: Sequence[str], positions: Sequence[int]) -> Sequence[str]:
    """Return the keys at some positions.

    In random order each is a wait for memory: 0.35 us one by one as they are wanted, 0.14 in one call for all.
    """
    return itemgetter(*positions)(keys) if len(positions) > 1 else [keys[at] for at in positions]


def rest_of(count: int, found: Sequence[Sequence[int]]) -> list[int]:
    """Return those of ``count`` positions, ascending, that are in none of the lists. None is in two of them."""
    if sum(map(len, found)) == count:
        return []
    absent = bytearray(b"\1") * count
    for at in chain.from_iterable(found):
        absent[at] = 0
    return [at for at, flag in enumerate(absent) if flag]


def ask_for_rest(
    answers: list[Copy], digests: Sequence[bytes], copies: Callable[[Sequence[bytes]], Sequence[Copy]]
) -> list[Copy]:
    """Return ``answers``, with what another store says of those objects of which there is no good copy."""
    if answers.count(Copy.MISSING) == len(answers):
        return list(copies(digests)) if answers else answers
    rest = [at for at, copy in enumerate(answers) if copy is not Copy.GOOD]
    for at, copy in zip(rest, copies([digests[at] for at in rest]) if rest else (), strict=True):
        if copy is Copy.GOOD or answers[at] is Copy.MISSING:
            answers[at] = copy
    return answers


def first_good(digest: bytes, copies: Iterable[Callable[[], Iterator[BytesLike]]]) -> Iterator[BytesLike]:
    """Yield the parts of an object from the first of its copies; where that is damaged, go on in the next.

    Each copy yields only what it has verified. Raises `DamagedObject` when the last is damaged as well.
    """
    done = 0
    reason = "there is no copy of it"
    for parts in copies:
        position = 0
        try:
            for part in parts():
                begin = max(done - position, 0)
                position += len(part)
                if begin < len(part):
                    done = position
                    yield memoryview(part)[begin:] if begin else part
        except (DecodeError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in (errno.EIO, errno.ENOENT):
                raise
            reason = error.reason if isinstance(error, DamagedObject) else str(error)
            log_warning("object %s: a copy is damaged: %s", digest.hex(), reason)
        else:
            return
    raise DamagedObject(digest.hex(), reason)


def write_out(parts: Iterator[BytesLike], path: str) -> int:
    """Write a file from parts, so that it appears whole or not at all; return its size."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise InvalidOption(f"{path}: is there already, and is not a regular file")
    except FileNotFoundError:
        pass
    temporary = os.path.join(os.path.dirname(path), f".rsdos-{os.urandom(8).hex()}.part")
    try:
        with posix.NewFile(temporary) as fd:
            size = 0
            for part in parts:
                size += posix.write_at(fd, size, part)
            os.rename(temporary, path)
    except OSError as error:
        if os.path.basename(error.filename or "") == os.path.basename(temporary):
            error.filename = path  # Nobody knows the temporary name.
        raise
    return size
