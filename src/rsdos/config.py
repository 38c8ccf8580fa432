"""``config.json``: what was decided about a container when it was made.

It is a document with a checksum (`rsdos.documents`), written last when a container is made: a directory is a container
from the moment it is there. Keys that this release does not know are kept.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rsdos import fsio
from rsdos.codecs import parse_compression
from rsdos.documents import decode_document, encode_document
from rsdos.errors import DamagedContainer, InvalidOption, NotAContainer, UnsupportedContainer
from rsdos.hashing import SHA256, HashType, hash_type
from rsdos.model import Compression, Durability

VERSION = 2
DEFAULT_PACK_SIZE = 4 * 1024**3
DEFAULT_COMPRESSION = "zstd"
MOST_PREFIX = 8
"""Longest ``loose_prefix_len``: beyond it every object would have a directory of its own."""

_MOST_BYTES = 1 << 20
_CONTAINER_ID = re.compile(r"[0-9a-f]{32}").fullmatch


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of one container. Raises `InvalidOption` when one makes no sense.

    ``pack_size_target`` is in stored bytes: a pack that has reached it is sealed. ``compression`` and
    ``loose_compression`` are specifications (``zstd:+3``, ``zlib+1``, ``none``), kept as they were given.
    """

    container_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    compression: str = DEFAULT_COMPRESSION
    loose_compression: str = "none"
    durability: Durability = Durability.FULL
    pack_size_target: int = DEFAULT_PACK_SIZE
    loose_prefix_len: int = 2
    hash_type: str = SHA256.name
    unknown: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.container_id, str) or not _CONTAINER_ID(self.container_id):
            raise InvalidOption("container_id is 32 hex characters")
        for name, least, most in (("pack_size_target", 1, 1 << 62), ("loose_prefix_len", 0, MOST_PREFIX)):
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise InvalidOption(f"{name} is a whole number from {least} to {most}, not {value!r:.40}")
        if self.hash_type != SHA256.name:
            raise InvalidOption(
                f"hash_type is {SHA256.name} in container version {VERSION}, not {self.hash_type!r:.40}"
            )
        for name in ("compression", "loose_compression"):
            if not isinstance(getattr(self, name), str):
                raise InvalidOption(f"{name} is a text such as zstd:+3, not {getattr(self, name)!r:.40}")
            parse_compression(getattr(self, name))

    @property
    def hash(self) -> HashType:
        """What keys are made with here."""
        return hash_type(self.hash_type)

    @property
    def codec(self) -> Compression:
        """What compressing an object for a pack means here."""
        return parse_compression(self.compression)

    @property
    def loose_codec(self) -> Compression:
        """What compressing a loose object means here."""
        return parse_compression(self.loose_compression)


def read_config(path: str) -> Config:
    """The configuration in the file at ``path``.

    Raises `NotAContainer` when there is none, `DamagedContainer` when it is not whole, and `UnsupportedContainer`
    when it is of another version or holds a setting that this release does not know.
    """
    try:
        data = fsio.read_file(path, _MOST_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        raise NotAContainer(os.path.dirname(path)) from None
    try:
        fields = decode_document(data)
    except ValueError as error:
        _refuse_other_version(path, data)
        raise DamagedContainer(path, str(error)) from None
    _refuse_other_version(path, data)
    fields.pop("container_version", None)
    if "container_id" not in fields:
        raise DamagedContainer(path, "it has no container_id")
    known = {name: fields.pop(name) for name in Config.__dataclass_fields__ if name in fields and name != "unknown"}
    try:
        durability = Durability(known.pop("durability", None))
        return Config(durability=durability, unknown=fields, **known)
    except ValueError as error:
        raise UnsupportedContainer(path, str(error)) from None


def _refuse_other_version(path: str, data: bytes) -> None:
    """Other versions need not have our checksum: version 1 has none."""
    try:
        version = json.loads(data)["container_version"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return
    if version != VERSION:
        raise UnsupportedContainer(path, f"container version {version!r:.40}; this rsdos knows version {VERSION}")


def encode_config(config: Config) -> bytes:
    """The bytes of ``config.json``."""
    fields: dict[str, Any] = {"container_version": VERSION}
    fields |= {name: getattr(config, name) for name in Config.__dataclass_fields__ if name != "unknown"}
    fields["durability"] = config.durability.value
    return encode_document(fields | dict(config.unknown))
