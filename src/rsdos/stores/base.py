"""The base of all stores: the verbs by key, made from a few lookups by digest that each store has in its own way.

A **lookup** answers from the loaded version of the store, its *visible* objects; for an object that is not visible it
returns None. If a lookup finds nothing, the verbs check whether that version is still the latest. If it is not, they
look up again in the latest version. An object is missing only when the answer is stable (docs/design.md, section 4).

Beside writers that commit without a pause no answer would ever be stable, and none has to be. Assume that an object
exists all the time, and that a lookup does not find it. Then the object was in a pack when that lookup searched the
loose files, so it is in the version that is loaded next. That takes two lookups; `LOOKUPS` is more.
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
from rsdos.model import BytesLike, Copy, Durability, MetaColumns, Missing, ObjectMeta, Trust
from rsdos.storage import posix
from rsdos.stores import order

CHUNK = 1 << 17
"""Keys of a bulk call that are looked up together. They take 30 MB."""

LOOKUPS = 4
"""Lookups, each in a newer version, after which an object that none of them found is missing."""

MOST_LOOKUPS = 100
"""Lookups, each in a newer version, that may find a pack removed. Each time a repack has run between two calls."""

_T = TypeVar("_T")


class KnownCheck(Protocol):
    """Says which objects the container has already, in good copies that are durable enough."""

    def __call__(
        self, digests: Sequence[bytes], trust: Trust, /, raws: Sequence[BytesLike] | None = None
    ) -> Sequence[Copy]:
        """Return the copy of each object. ``raws`` are their bytes, if the caller has them."""


class Store(ABC):
    """The reading verbs of `rsdos.protocols.ObjectStore`; any number of threads."""

    hash: HashType
    """The hash that makes the keys."""

    # The lookups.

    @abstractmethod
    def read(self, digest: bytes) -> bytes | None:
        """Return the verified bytes of one object. Raise `DamagedObject`."""

    @abstractmethod
    def frames(self, digest: bytes) -> Iterator[BytesLike] | None:
        """Return the verified bytes of one object, in parts of at most one frame; a smaller object is one part."""

    def has_hash(self, digest: bytes) -> bool:
        """Return whether an object is visible and its bytes have the hash of its key. The whole object is read."""
        hasher = self.hash.new()
        try:
            parts = self.frames(digest)
            if parts is None:
                return False  # Hashing nothing would give the key of the empty object.
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
        """Return the metadata of one object without reading it."""

    @abstractmethod
    def read_many(self, digests: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
        """Yield (position, bytes) of the visible objects, in storage order. Raise `DamagedObject`."""

    def read_lists(self, digests: Sequence[bytes]) -> Iterator[tuple[Sequence[int], Sequence[bytes]]]:
        """Yield the same as `read_many`, in lists of positions and of bytes, for as many objects as one read takes."""
        for at, data in self.read_many(digests):
            yield (at,), (data,)

    @abstractmethod
    def contains_many(self, digests: Sequence[bytes]) -> list[bool]:
        """Return which of the objects are visible."""

    def may_have(self, digest: bytes) -> bool:
        """Return whether an object is visible, good or not; True if damage hides the answer."""
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

        ``raws`` are their bytes, if the caller has them: a comparison takes a tenth of the time of a hash.

        With full durability a good copy is on stable storage: this call puts it there, or returns that it is missing.
        """

    def version(self) -> object:
        """Return the version that lookups use from now on, until a refresh by this thread or another."""
        return None

    def has_version(self) -> bool:
        """Return whether a version is loaded. If not, the next lookup, or `version`, loads the latest."""
        return True

    def is_latest(self, version: object) -> bool:
        """Return whether ``version``, which was taken before a lookup, is still the latest."""
        return True

    def refresh(self) -> None:
        """Load the latest version."""
        return

    clock: Callable[[], float] = staticmethod(monotonic)
    """Seconds, for `order.is_due`."""

    _asked = -inf
    """The time of the last check whether the loaded version is the latest."""

    def _keep_current(self) -> None:
        """Load a newer version, if there is one. Check at most once a second. Call it before a lookup whose answer may
        come from the loaded version alone.
        """
        now = self.clock()
        if order.is_due(self._asked, now):
            # If none is loaded yet, this lookup loads the latest.
            if self.has_version() and not self.is_latest(self.version()):
                self.refresh()
            self._asked = now

    # The verbs.

    def lookup(self, find: Callable[[bytes], _T | None], key: str) -> _T:
        """Return the stable answer of a lookup for an object. Raise `ObjectNotFound`, `InvalidKey`."""
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
        """Yield once for each lookup to make, each in the latest version, until no newer one came during a lookup.

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
        """Return the bytes of one object. Raise `ObjectNotFound`, `DamagedObject`, `InvalidKey`."""
        # Like `lookup`, but with one call less if the first lookup finds the object.
        data = self.read(self.hash.parse_key(key))
        return self.lookup(self.read, key) if data is None else data

    def open(self, key: str) -> io.BufferedReader:
        """Return a seekable binary stream of one object. Raise as `extract` does. Its reads raise `DamagedObject`."""
        return self.lookup(self.stream, key)

    def parts(self, key: str) -> Iterator[BytesLike]:
        """Return the bytes of one object in order, in parts of at most one frame; a smaller object is one part."""
        return self.lookup(self.frames, key)

    def meta(self, key: str) -> ObjectMeta:
        """Return sizes, codec and place of one object. They may be a second old.

        Raise `ObjectNotFound`, `InvalidKey`.
        """
        self._keep_current()
        return self.lookup(self.describe, key)

    def extract_to(self, key: str, path: str | os.PathLike[str]) -> int:
        """Write one object to a file, in the memory of two frames. Return its size.

        The file appears whole or not at all, and replaces a regular file. It is not synced. Raise what `extract`
        raises, `InvalidOption` if anything but a regular file has the path, and OSError.
        """
        return write_out(self.lookup(self.frames, key), os.fspath(path))

    @overload
    def extract_many(
        self, keys: Iterable[str], *, missing: Literal["raise", "skip"] = "raise"
    ) -> Iterator[tuple[str, bytes]]: ...
    @overload
    def extract_many(self, keys: Iterable[str], *, missing: Missing) -> Iterator[tuple[str, bytes | None]]: ...
    def extract_many(self, keys: Iterable[str], *, missing: Missing = "raise") -> Iterator[tuple[str, bytes | None]]:
        """Yield (key, bytes) of many objects: for every 131,072 keys in storage order, each once.

        ``missing`` says what to do about keys without an object, after all others: "raise" `ObjectNotFound`, "skip"
        them, or yield (key, None) ("none"). Memory: 8 MiB of objects at a time, or one that is larger.
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
        """Return whether there is an object of this key; True may be a second old. Raise `InvalidKey`.

        Another process may delete the object at any time. To be sure that it is there, insert it in any case.
        """
        return self.has_many((key,))[0]

    def has_many(self, keys: Iterable[str]) -> list[bool]:
        """Return `has` for each key, in the order given."""
        keys = iter(keys)
        answers: list[bool] = []
        while chunk := list(islice(keys, CHUNK)):
            digests = self.hash.parse_keys(chunk)
            now = self.clock()
            due = order.is_due(self._asked, now)
            if due and not self.has_version():
                self._asked, due = now, False  # The lookup loads the latest.
            version = self.version()
            present = self.contains_many(digests)
            # The answer that all are there may be a second old. If any is absent, one check after the lookup serves
            # all keys.
            if due or not all(present):
                present = self._present_now(digests, version, present)
                self._asked = now
            answers += present
        return answers

    def _present_now(self, digests: Sequence[bytes], version: object, present: list[bool]) -> list[bool]:
        """Return ``present``, the answers in ``version``, or those in a newer one, if there is any."""
        for _ in range(LOOKUPS):
            if self.is_latest(version):
                break
            self.refresh()
            version = self.version()
            present = self.contains_many(digests)
            if all(present):
                break
        return present

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.hash.is_key(key) and self.has(key)

    @abstractmethod
    def key_lists(self) -> Iterator[Sequence[str]]:
        """Yield every key once, in lists of bounded size. Raise `DamagedContainer` at the end if damage hides some."""

    def meta_lists(self) -> Iterator[Sequence[ObjectMeta | DamagedObject]]:
        """Do `key_lists` with the metadata of each object, or the error that says why they are not known."""
        for keys in self.key_lists():
            yield self.metas_of(keys)

    def meta_columns(self) -> Iterator[MetaColumns]:
        """Do `meta_lists`, as columns."""
        return map(MetaColumns.of, self.meta_lists())

    def metas_of(self, keys: Sequence[str]) -> list[ObjectMeta | DamagedObject]:
        """Return the metadata of those keys that the store has, one by one."""
        metas: list[ObjectMeta | DamagedObject] = []
        for key in keys:
            try:
                meta = self.describe(self.hash.parse_key(key))
            except DamagedObject as error:
                metas.append(error)
            else:
                metas += [meta] if meta else []
        return metas

    def __iter__(self) -> Iterator[str]:
        for keys in self.key_lists():
            yield from keys

    @abstractmethod
    def __len__(self) -> int: ...


_FEW = 1 << 10
"""For this many keys or fewer numpy is not imported."""


def _has_twice(keys: Sequence[str], digests: Sequence[bytes]) -> bool:
    """Return whether any key is given twice; it may return True if none is."""
    if len(keys) <= _FEW:
        return len(set(keys)) < len(keys)
    from rsdos.index.digests import all_differ

    return not all_differ(digests)


def _picked(keys: Sequence[str], positions: Sequence[int]) -> Sequence[str]:
    """Return the keys at some positions.

    In random order each key waits for memory: 0.35 us if each is picked when it is needed, 0.14 in one call for all.
    """
    return itemgetter(*positions)(keys) if len(positions) > 1 else [keys[at] for at in positions]


def rest_of(count: int, found: Sequence[Sequence[int]]) -> list[int]:
    """Return those of ``count`` positions, ascending, that are in none of the lists. No position is in two lists."""
    if sum(map(len, found)) == count:
        return []
    absent = bytearray(b"\1") * count
    for at in chain.from_iterable(found):
        absent[at] = 0
    return [at for at, flag in enumerate(absent) if flag]


def ask_for_rest(
    answers: list[Copy], digests: Sequence[bytes], copies: Callable[[Sequence[bytes]], Sequence[Copy]]
) -> list[Copy]:
    """Return ``answers``, with the answers of another store for the objects without a good copy."""
    if answers.count(Copy.MISSING) == len(answers):
        return list(copies(digests)) if answers else answers
    rest = [at for at, copy in enumerate(answers) if copy is not Copy.GOOD]
    for at, copy in zip(rest, copies([digests[at] for at in rest]) if rest else (), strict=True):
        if copy is Copy.GOOD or answers[at] is Copy.MISSING:
            answers[at] = copy
    return answers


def first_good(digest: bytes, copies: Iterable[Callable[[], Iterator[BytesLike]]]) -> Iterator[BytesLike]:
    """Yield the parts of an object from the first of its copies. Where that copy is damaged, continue with the next.

    Each copy yields only verified parts. Raise `DamagedObject` if the last copy is damaged as well.
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
    """Write a file from parts, so that it appears whole or not at all. Return its size."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise InvalidOption(f"{path}: exists already, and is not a regular file")
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
            error.filename = path  # The user does not know the temporary name.
        raise
    return size
