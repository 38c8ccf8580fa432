"""Keys: the hash of raw bytes, and the one gate through which a key from outside comes in."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING

from rsdos.errors import InvalidKey, InvalidOption
from rsdos.model import BytesLike

if TYPE_CHECKING:
    from hashlib import _Hash


class HashType:
    """A hash, and the form of the keys that it makes: lower-case hex. Immutable; any number of threads."""

    def __init__(self, name: str, new: Callable[..., _Hash]) -> None:
        self.name = name
        self.new = new
        self.digest_bytes: int = new().digest_size
        self._characters = 2 * self.digest_bytes

    @cached_property
    def _is_key(self) -> Callable[[str], re.Match[str] | None]:
        return re.compile(rf"[0-9a-f]{{{self._characters}}}").fullmatch

    def __repr__(self) -> str:
        return f"HashType({self.name!r})"

    def __reduce__(self) -> tuple[Callable[[str], HashType], tuple[str]]:
        return hash_type, (self.name,)

    def digest_of(self, data: BytesLike) -> bytes:
        """The bytes that name ``data``."""
        return self.new(data).digest()

    def digests_of(self, payloads: Iterable[BytesLike]) -> list[bytes]:
        """`digest_of` for many."""
        new = self.new
        return [new(data).digest() for data in payloads]

    def is_key(self, text: object) -> bool:
        """Whether ``text`` has the form of a key."""
        return isinstance(text, str) and self._is_key(text) is not None

    @cached_property
    def form(self) -> str:
        """What a key looks like, for messages."""
        return f"{self._characters} lower-case hex characters"

    def parse_key(self, key: str) -> bytes:
        """The digest that a key spells. Raises `InvalidKey`.

        No path is ever made of a key that has not passed here.
        """
        if not isinstance(key, str) or self._is_key(key) is None:
            raise InvalidKey(key, self.form)
        return bytes.fromhex(key)

    def parse_keys(self, keys: Iterable[str]) -> Sequence[bytes]:
        """`parse_key` for many: one check of the joined text (5 times faster than one by one)."""
        keys = list(keys)
        try:
            joined = "".join(keys)
            digests = bytes.fromhex(joined)
        except (TypeError, ValueError):
            return [self.parse_key(key) for key in keys]
        if digests.hex() != joined or set(map(len, keys)) - {self._characters}:
            return [self.parse_key(key) for key in keys]
        step = self.digest_bytes
        return [digests[at : at + step] for at in range(0, len(digests), step)]

    def parse_prefix(self, prefix: str, shortest: int) -> str:
        """The beginning of a key, of at least ``shortest`` characters. Raises `InvalidKey`."""
        is_prefix = isinstance(prefix, str) and shortest <= len(prefix) <= self._characters
        if not is_prefix or not re.fullmatch("[0-9a-f]*", prefix):
            raise InvalidKey(prefix, f"a key, or the first {shortest} characters or more of one, in lower-case hex")
        return prefix


SHA256 = HashType("sha256", hashlib.sha256)
"""The hash of container version 2."""

SHA1 = HashType("sha1", hashlib.sha1)
"""Version 1 knows it as well. It no longer protects against somebody who makes two objects of one key."""

_TYPES = MappingProxyType({known.name: known for known in (SHA256, SHA1)})


def hash_type(name: str) -> HashType:
    """The hash of this name. Raises `InvalidOption`, which names those that are known."""
    known = _TYPES.get(name) if isinstance(name, str) else None
    if known is None:
        raise InvalidOption(f"unknown hash {name!r:.40}; known are {' and '.join(_TYPES)}")
    return known
