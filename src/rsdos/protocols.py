"""The seams: the protocols between a store and its callers.

Every store (loose, packed, version 1) and the container implement `ObjectStore`.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from typing import Literal, Protocol, overload

from rsdos.model import Missing, ObjectMeta, Source


class Progress(Protocol):
    """Receives the progress of a long operation. Called from the thread that runs the operation."""

    def start(self, description: str, total: int | None, unit: str) -> None:
        """Begin a step of ``total`` units (None: not known); ``unit`` is "objects" or "bytes"."""

    def advance(self, amount: int) -> None:
        """Report that ``amount`` more units are done."""

    def finish(self) -> None:
        """End the step."""


class FileProgress(Progress, Protocol):
    """A `Progress` that counts files beside their bytes, where an operation on many files knows both."""

    def advance_files(self, files: int, size: int) -> None:
        """Report that ``files`` more files of ``size`` raw bytes are done. It is called in place of `advance`."""


class ObjectStore(Protocol):
    """The verbs of a content-addressed store. Keys are 64 lower-case hex characters, of the SHA-256 of the raw bytes.

    Any number of threads and processes may call them at the same time. A call finds every object that was inserted
    before the call began. Every read is verified: it returns the bytes that were inserted, or raises `DamagedObject`.
    """

    def insert(self, source: Source) -> str:
        """Store one object and return its key, once it is as durable as the container promises."""

    def insert_many(self, sources: Iterable[Source]) -> list[str]:
        """Store many objects and return their keys in the order given, once all are durable."""

    def extract(self, key: str) -> bytes:
        """Return the bytes of one object. Raise `ObjectNotFound`, `DamagedObject`, `InvalidKey`."""

    @overload
    def extract_many(
        self, keys: Iterable[str], *, missing: Literal["raise", "skip"] = "raise"
    ) -> Iterator[tuple[str, bytes]]:
        """Yield (key, bytes) of many objects in storage order, each key once.

        For a key that is not in the store, ``missing`` "raise" raises `ObjectNotFound`, "skip" leaves it out, and
        "none" yields (key, None).
        """

    @overload
    def extract_many(self, keys: Iterable[str], *, missing: Missing) -> Iterator[tuple[str, bytes | None]]: ...

    def open(self, key: str) -> io.BufferedReader:
        """Return a seekable binary stream of one object."""

    def extract_to(self, key: str, path: str | os.PathLike[str]) -> int:
        """Write one object to a file, which appears whole or not at all. Return its size in bytes."""

    def has(self, key: str) -> bool:
        """Return whether the store has an object with this key."""

    def has_many(self, keys: Iterable[str]) -> list[bool]:
        """Return `has` for each key, in the order given."""

    def meta(self, key: str) -> ObjectMeta:
        """Return the sizes, codec and place of one object without reading it."""

    def __iter__(self) -> Iterator[str]:
        """Iterate over all keys, each once, in no particular order."""

    def __len__(self) -> int:
        """Return the number of objects."""

    def __contains__(self, key: object) -> bool:
        """Return `has`, but False for anything that is not a key."""
