"""The seams: what a store and its helpers promise each other, without saying how.

`ObjectStore` is spoken by every store (loose, packed, later version 1 and remote ones) and by the container.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Literal, Protocol, Self, overload

from rsdos.model import Missing, ObjectMeta, Source


class Progress(Protocol):
    """Told by a long operation how far it is. Called from the thread that runs the operation."""

    def start(self, description: str, total: int | None, unit: str) -> None:
        """A step begins: ``total`` units to do (None: not known), ``unit`` is "objects" or "bytes"."""

    def advance(self, amount: int) -> None:
        """``amount`` more units are done."""

    def finish(self) -> None:
        """The step has ended."""


class ObjectStore(Protocol):
    """The verbs of a content-addressed store. Keys are 64 lower-case hex characters, of the SHA-256 of the raw bytes.

    Any number of threads and processes may call any of them at the same time. An object that was inserted before a
    call began is found by it. Every read is verified: it returns the bytes that were inserted, or raises
    `DamagedObject`.
    """

    def insert(self, source: Source) -> str:
        """Store one object and return its key, once it is as durable as the container promises."""

    def insert_many(self, sources: Iterable[Source]) -> list[str]:
        """Store many objects and return their keys in the order given, once all are durable."""

    def extract(self, key: str) -> bytes:
        """The bytes of one object. Raises `ObjectNotFound`, `DamagedObject`, `InvalidKey`."""

    @overload
    def extract_many(
        self, keys: Iterable[str], *, missing: Literal["raise", "skip"] = "raise"
    ) -> Iterator[tuple[str, bytes]]:
        """Yield (key, bytes) of many objects in storage order, each key once.

        ``missing`` says what becomes of a key that is not there: "raise" `ObjectNotFound`, "skip" it, or yield
        (key, None) ("none").
        """

    @overload
    def extract_many(self, keys: Iterable[str], *, missing: Missing) -> Iterator[tuple[str, bytes | None]]: ...

    def open(self, key: str) -> io.BufferedReader:
        """A seekable binary stream of one object."""

    def extract_to(self, key: str, path: str | os.PathLike[str]) -> int:
        """Write one object to a file, which appears whole or not at all; returns its size."""

    def has(self, key: str) -> bool:
        """Whether the store has an object of this key."""

    def has_many(self, keys: Iterable[str]) -> list[bool]:
        """`has` for each key, in the order given."""

    def meta(self, key: str) -> ObjectMeta:
        """Sizes, codec and place of one object, without reading it."""

    def __iter__(self) -> Iterator[str]:
        """Every key once, in no particular order."""

    def __len__(self) -> int:
        """The number of objects."""

    def __contains__(self, key: object) -> bool:
        """`has`, but False for what is no key at all."""


class Closing(Protocol):
    """Something that holds descriptors or mappings and gives them back."""

    def close(self) -> None:
        """Give them back. Idempotent."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
