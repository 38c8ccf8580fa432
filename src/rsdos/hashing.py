"""Keys: the hash of raw bytes, and the only function that accepts a key from outside."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, overload

from rsdos.cpu import clear_vectors
from rsdos.errors import InvalidKey, InvalidOption
from rsdos.model import BytesLike

if TYPE_CHECKING:
    from hashlib import _Hash


_TOGETHER = 1 << 12
"""Keys that are parsed together: twice their text fits into the processor's caches."""


class JoinedDigests(Sequence[bytes]):
    """Many digests in one bytes object, as a bulk lookup takes them, and their keys beside them.

    An object for each digest would cost 0.12 us and 80 bytes.
    """

    __slots__ = ("_keys", "_step", "joined")

    def __init__(self, joined: bytes, digest_bytes: int, keys: list[str] | None = None) -> None:
        self._keys = keys
        self.joined = joined
        """The digests, one after another."""
        self._step = digest_bytes

    @property
    def keys(self) -> list[str]:
        """The digests in hex."""
        if self._keys is None:
            self._keys = list(map(bytes.hex, self))
        return self._keys

    def __len__(self) -> int:
        return len(self.joined) // self._step

    def __iter__(self) -> Iterator[bytes]:
        joined, step = self.joined, self._step
        return (joined[at : at + step] for at in range(0, len(joined), step))

    @overload
    def __getitem__(self, at: int) -> bytes: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[bytes]: ...
    def __getitem__(self, at: int | slice) -> bytes | Sequence[bytes]:
        if isinstance(at, slice):
            start, end, step = at.indices(len(self))
            if step == 1:
                keys = self._keys[start:end] if self._keys is not None else None
                return JoinedDigests(self.joined[start * self._step : end * self._step], self._step, keys)
            return [self[one] for one in range(start, end, step)]
        start = range(0, len(self.joined), self._step)[at]
        return self.joined[start : start + self._step]


_WORTH_CLEARING = 4096
"""Bytes to hash from which on clearing the registers saves more time than it costs, roughly."""


class Hasher:
    """Hashes an object in parts; parts of some KiB or more are fastest. For one thread at a time."""

    __slots__ = ("_hash", "digest")

    def __init__(self, new: Callable[..., _Hash]) -> None:
        self._hash = new()
        self.digest: Callable[[], bytes] = self._hash.digest

    def update(self, part: BytesLike) -> None:
        """Add the next part."""
        clear_vectors()
        self._hash.update(part)


class HashType:
    """A hash, and the form of the keys that it makes: lower-case hex. Immutable; any number of threads."""

    def __init__(self, name: str, new: Callable[..., _Hash]) -> None:
        self.name = name
        self._new = new
        self.digest_bytes: int = new().digest_size
        self._characters = 2 * self.digest_bytes

    @cached_property
    def _is_key(self) -> Callable[[str], re.Match[str] | None]:
        return re.compile(rf"[0-9a-f]{{{self._characters}}}").fullmatch

    def __repr__(self) -> str:
        return f"HashType({self.name!r})"

    def __reduce__(self) -> tuple[Callable[[str], HashType], tuple[str]]:
        return hash_type, (self.name,)

    def new(self) -> Hasher:
        """Return a `Hasher` for one object."""
        return Hasher(self._new)

    def digest_of(self, data: BytesLike) -> bytes:
        """Return the digest of ``data``."""
        if len(data) >= _WORTH_CLEARING:
            clear_vectors()
        return self._new(data).digest()

    def keys_of(self, payloads: Iterable[BytesLike]) -> list[str]:
        """Return the key of each payload."""
        clear_vectors()
        new = self._new
        return [new(data).hexdigest() for data in payloads]

    def spelled_by(self, keys: list[str]) -> JoinedDigests:
        """Return the digests of keys that this class made. A key from outside goes through `parse_keys`."""
        return JoinedDigests(bytes.fromhex("".join(keys)), self.digest_bytes, keys)

    def is_key(self, text: object) -> bool:
        """Return whether ``text`` has the form of a key."""
        return isinstance(text, str) and self._is_key(text) is not None

    @cached_property
    def form(self) -> str:
        """The form of a key, for messages."""
        return f"{self._characters} lower-case hex characters"

    def parse_key(self, key: str) -> bytes:
        """Return the digest of a key. Raise `InvalidKey` for anything else.

        No path is made of a key that has not passed this function.
        """
        try:
            digest = bytes.fromhex(key)
        except (TypeError, ValueError):
            raise InvalidKey(key, self.form) from None
        # Rejects spaces and capitals: the digest in hex is the key again. A regular expression takes twice as long.
        if len(digest) != self.digest_bytes or digest.hex() != key:
            raise InvalidKey(key, self.form)
        return digest

    def parse_keys(self, keys: Iterable[str]) -> Sequence[bytes]:
        """Return the digests of many keys, by one check of their joined text (5 times faster than one by one).

        Raise `InvalidKey` for the first that is not a key.
        """
        keys = list(keys)
        parts = []
        for at in range(0, len(keys), _TOGETHER):
            some = keys[at : at + _TOGETHER]
            try:
                joined = "".join(some)
                parts.append(bytes.fromhex(joined))
            except (TypeError, ValueError):
                return [self.parse_key(key) for key in keys]
            if parts[-1].hex() != joined or set(map(len, some)) - {self._characters}:
                return [self.parse_key(key) for key in keys]
        return JoinedDigests(b"".join(parts), self.digest_bytes, keys)

    def parse_lines(self, text: str) -> Sequence[bytes]:
        """Return the digests of keys in a text, one a line: 0.1 us each. Blanks around a key and empty lines are left
        out.

        Raise `InvalidKey` for the first that is not a key.
        """
        try:
            joined = bytes.fromhex(text)  # It skips the ends of lines.
        except ValueError:
            joined = b""
        is_whole = joined and not len(joined) % self.digest_bytes
        if is_whole and joined.hex("\n", self.digest_bytes) == text.removesuffix("\n"):
            return JoinedDigests(joined, self.digest_bytes)
        return self.parse_keys(filter(None, (line.strip() for line in text.split("\n"))))

    def parse_prefix(self, prefix: str, shortest: int) -> str:
        """Return the beginning of a key, of at least ``shortest`` characters. Raise `InvalidKey` for anything else."""
        is_prefix = isinstance(prefix, str) and shortest <= len(prefix) <= self._characters
        if not is_prefix or not re.fullmatch("[0-9a-f]*", prefix):
            raise InvalidKey(prefix, f"a key, or the first {shortest} characters or more of one, in lower-case hex")
        return prefix


def join_digests(digests: Sequence[bytes]) -> bytes:
    """Return many digests as one bytes object."""
    return digests.joined if isinstance(digests, JoinedDigests) else b"".join(digests)


def spell_digests(digests: Sequence[bytes]) -> list[str]:
    """Return the keys of many digests."""
    return digests.keys if isinstance(digests, JoinedDigests) else list(map(bytes.hex, digests))


SHA256 = HashType("sha256", hashlib.sha256)
"""The hash of container version 2."""

SHA1 = HashType("sha1", hashlib.sha1)
"""A hash that version 1 allows. It no longer prevents somebody from making two objects with one key."""

_TYPES = MappingProxyType({known.name: known for known in (SHA256, SHA1)})


def hash_type(name: str) -> HashType:
    """Return the hash of this name. Raise `InvalidOption`, which lists the known ones."""
    known = _TYPES.get(name) if isinstance(name, str) else None
    if known is None:
        raise InvalidOption(f"unknown hash {name!r:.40}; known are {' and '.join(_TYPES)}")
    return known
