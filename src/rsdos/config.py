"""``config.json``: the settings of a container, chosen when it is created.

The file is written last: the directory is a container from the moment the file exists. In version 2 it is a document
with a checksum (`rsdos.storage.checked_json`), in version 1 plain JSON, as disk-objectstore writes it. Keys that this
release does not know are kept.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from types import MappingProxyType
from typing import Any

from rsdos.codecs.spec import parse_compression
from rsdos.errors import ContainerExists, DamagedContainer, InvalidOption, NotAContainer, UnsupportedContainer
from rsdos.hashing import SHA256, HashType, hash_type
from rsdos.model import Codec, Compression, Durability, ReadableBy
from rsdos.names import CONFIG
from rsdos.root import no_container
from rsdos.storage import posix
from rsdos.storage.base import Storage, Version
from rsdos.storage.checked_json import decode_document, encode_document

VERSION = 2
"""The version of new containers, unless the caller asks for another."""

VERSION_1 = 1
"""The container version of disk-objectstore and of rsdos 0.1."""

REMOTE_VERSION = 3
"""The version of containers on object storage: every object in them is written once."""

VERSIONS = (VERSION_1, VERSION, REMOTE_VERSION)

DEFAULT_PACK_SIZE = 4 * 1024**3
REMOTE_PACK_SIZE = 32 * 1024**2
"""In version 3: one request, which a bad line repeats, and which a few threads hold in memory at a time."""

DEFAULT_COMPRESSION = {VERSION: "zstd", VERSION_1: "zlib+1", REMOTE_VERSION: "zstd"}
MOST_PREFIX = 8
"""The largest ``loose_prefix_len``. With a larger one every object would have its own directory."""

_MOST_BYTES = 1 << 20
_KNOWN = "this rsdos knows versions 1, 2 and 3"
# Compiled at first use. rsdos 0.1 writes a UUID with its hyphens.
_CONTAINER_ID = r"[0-9a-f]{32}"
_DISK_OBJECTSTORE_ZLIB = r"zlib\+[1-9]"
_VERSION_1_ID = r"[0-9a-f-]{1,64}"


def _new_id() -> str:
    import uuid  # 2 ms, needed only for a new container.

    return uuid.uuid4().hex


def default_pack_size(version: int) -> int:
    """Return the stored bytes from which on a pack of a container version is full, unless the user says otherwise."""
    return REMOTE_PACK_SIZE if version == REMOTE_VERSION else DEFAULT_PACK_SIZE


class Config:
    """The settings of one container; immutable. Raises `InvalidOption` for a value that makes no sense.

    ``pack_size_target`` is in stored bytes: a pack that has reached it is sealed. ``compression`` and
    ``loose_compression`` are specifications (``zstd:+3``, ``zlib+1``, ``none``), kept as they were given. Without a
    ``container_id`` a new one is made.
    """

    # Not a dataclass: importing `dataclasses` takes a fifth of the time of `rsdos status`.
    __slots__ = (
        "compression",
        "container_id",
        "durability",
        "hash_type",
        "loose_compression",
        "loose_prefix_len",
        "pack_size_target",
        "unknown",
        "version",
    )
    container_id: str
    compression: str
    loose_compression: str
    durability: Durability
    pack_size_target: int
    loose_prefix_len: int
    hash_type: str
    unknown: Mapping[str, Any]
    version: int

    def __init__(  # noqa: PLR0913  the settings of a container
        self,
        *,
        container_id: str | None = None,
        compression: str = "",
        loose_compression: str = "none",
        durability: Durability = Durability.FULL,
        pack_size_target: int | None = None,
        loose_prefix_len: int = 2,
        hash_type: str = SHA256.name,
        unknown: Mapping[str, Any] = MappingProxyType({}),
        version: int = VERSION,
    ) -> None:
        if version not in DEFAULT_COMPRESSION:
            raise InvalidOption(f"container version {version!r:.40}; {_KNOWN}")
        settings = {
            "container_id": _new_id() if container_id is None else container_id,
            "compression": DEFAULT_COMPRESSION[version] if compression == "" else compression,
            "loose_compression": loose_compression,
            "durability": durability,
            "pack_size_target": default_pack_size(version) if pack_size_target is None else pack_size_target,
            "loose_prefix_len": loose_prefix_len,
            "hash_type": hash_type,
            "unknown": unknown,
            "version": version,
        }
        for name, value in settings.items():
            object.__setattr__(self, name, value)
        self._check()

    def __reduce__(self) -> tuple[object, ...]:
        return _made_of, (self._members() | {"unknown": dict(self.unknown)},)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Config does not change: {name}")

    def _members(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    def __eq__(self, other: object) -> bool:
        return self._members() == other._members() if isinstance(other, Config) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.container_id)

    def __repr__(self) -> str:
        return f"Config({', '.join(f'{name}={value!r}' for name, value in self._members().items())})"

    def changed(self, **settings: Any) -> Config:
        """Return a copy with these settings changed."""
        return Config(**{**self._members(), **settings})

    def _check(self) -> None:
        id_form = _VERSION_1_ID if self.version == VERSION_1 else _CONTAINER_ID
        if not isinstance(self.container_id, str) or not re.fullmatch(id_form, self.container_id):
            raise InvalidOption("container_id is 32 hex characters")
        longest = 2 * self.hash.digest_bytes - 1 if self.version == VERSION_1 else MOST_PREFIX
        for name, least, most in (("pack_size_target", 1, 1 << 62), ("loose_prefix_len", 0, longest)):
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise InvalidOption(f"{name} is a whole number from {least} to {most}, not {value!r:.40}")
        if self.version != VERSION_1 and self.hash_type != SHA256.name:
            raise InvalidOption(
                f"hash_type is {SHA256.name} in container version {self.version}, not {self.hash_type!r:.40}"
            )
        if self.version == REMOTE_VERSION and self.durability is not Durability.FULL:
            raise InvalidOption(f"durability is always full in container version {self.version}")
        for name in ("compression", "loose_compression"):
            if not isinstance(getattr(self, name), str):
                raise InvalidOption(f"{name} is a text such as zstd:+3, not {getattr(self, name)!r:.40}")
            parse_compression(getattr(self, name))

    def refuse_unreadable(self, readers: ReadableBy) -> None:
        """Raise `InvalidOption` when ``readers`` could not read a version 1 container with these settings."""
        if self.version != VERSION_1:
            return
        if self.loose_compression != "none" or self.durability is not Durability.FULL:
            raise InvalidOption("loose_compression and durability are settings of container version 2")
        is_zlib = self.codec.codec is Codec.ZLIB
        if readers is ReadableBy.ALL and is_zlib and not re.fullmatch(_DISK_OBJECTSTORE_ZLIB, self.compression):
            raise InvalidOption(f"disk-objectstore reads zlib+1 to zlib+9, not {self.compression}")
        if readers is ReadableBy.ALL and self.codec.codec is not Codec.ZLIB:
            raise InvalidOption(
                f"disk-objectstore cannot read {self.compression} in container version 1, only zlib; "
                "allow it with --readers rsdos if only rsdos reads the container"
            )

    @property
    def hash(self) -> HashType:
        """The hash that makes the keys."""
        return hash_type(self.hash_type)

    @property
    def codec(self) -> Compression:
        """The compression of packed objects."""
        return parse_compression(self.compression)

    @property
    def loose_codec(self) -> Compression:
        """The compression of loose objects."""
        return parse_compression(self.loose_compression)


def _made_of(members: dict[str, Any]) -> Config:
    return Config(**members)


def read_config(path: str) -> Config:
    """Return the configuration in the file at ``path``.

    Raise `NotAContainer` when there is no file, `DamagedContainer` when it is damaged, and `UnsupportedContainer` when
    it has a version or a setting that this release does not know.
    """
    try:
        return _config_of(path, posix.read_file(path, _MOST_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        raise NotAContainer(os.path.dirname(path)) from None


def read_config_from(storage: Storage) -> tuple[Config, Version]:
    """Return the configuration of the container in a storage, and which file it was.

    Behind a network the version is (), of no file: to ask for it would be a second request. Raises as `read_config`
    does; `NotAContainer` says what is there instead, and what to do.
    """
    path = storage.path(CONFIG)
    try:
        if not storage.traits.is_remote:
            data, version = storage.read_with_version(CONFIG, _MOST_BYTES)
            return _config_of(path, data), version
        try:
            return _config_of(path, storage.read(CONFIG, _MOST_BYTES)), ()
        except DamagedContainer:
            # A bit may have flipped on its way.
            return _config_of(path, storage.read(CONFIG, _MOST_BYTES)), ()
    except (FileNotFoundError, NotADirectoryError):
        raise no_container(storage.root, is_directory=storage.traits.files) from None


def refuse_inside(path: str) -> None:
    """Raise `ContainerExists` when the path of a new container is inside another container.

    The outer container would treat the inner one as a foreign file: no backup of it would contain it.
    """
    at = os.path.realpath(path)
    while at != (at := os.path.dirname(at)):
        try:
            read_config(os.path.join(at, "config.json"))
        except UnsupportedContainer:
            pass  # A container of a newer release.
        except OSError:
            continue  # No container, or not recognisable as one.
        raise ContainerExists(path, f"is inside another container, {at}")


@lru_cache(maxsize=16)  # Saves 40 us in a program that opens and closes the container for each object.
def _config_of(path: str, data: bytes) -> Config:
    """Return the configuration in these bytes; see `read_config`."""
    version = _version_in(data)
    try:
        known, unknown = _decode_version_1(data) if version == VERSION_1 else _decode_version_2(data)
    except ValueError as error:
        if version not in VERSIONS:
            raise _unsupported(path, version) from None
        raise DamagedContainer(path, str(error)) from None
    if unknown.pop("container_version", VERSION) not in VERSIONS:
        raise _unsupported(path, version)
    if known.get("container_id") is None:
        raise DamagedContainer(path, "it has no container_id")
    try:
        durability = Durability(known.pop("durability", None))
        version = VERSIONS[VERSIONS.index(version)] if version in VERSIONS else VERSION
        return Config(durability=durability, unknown=unknown, version=version, **known)
    except ValueError as error:
        raise UnsupportedContainer(path, str(error)) from None


_SETTINGS = (
    "container_id",
    "compression",
    "loose_compression",
    "durability",
    "pack_size_target",
    "loose_prefix_len",
    "hash_type",
)
_VERSION_1_SETTINGS = {
    "loose_prefix_len": "loose_prefix_len",
    "pack_size_target": "pack_size_target",
    "hash_type": "hash_type",
    "container_id": "container_id",
    "compression": "compression_algorithm",
}
"""The settings of version 1, and their names in its file."""

_SINCE_5 = {"container_id", "compression_algorithm"}
"""Settings that disk-objectstore 0.4.0 did not write yet."""


def _version_in(data: bytes) -> object:
    """Return the version in the file, before its checksum is verified; `VERSION` when it has none."""
    try:
        return json.loads(data)["container_version"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return VERSION


def _unsupported(path: str, version: object) -> UnsupportedContainer:
    return UnsupportedContainer(path, f"container version {version!r:.40}; {_KNOWN}")


def _decode_version_2(data: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of version 2, and the unknown keys."""
    fields = decode_document(data)
    return {name: fields.pop(name) for name in _SETTINGS if name in fields}, fields


def _decode_version_1(data: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of version 1, and the unknown keys. Raise ValueError when a setting is missing."""
    fields: dict[str, Any] = json.loads(data)
    missing = set(_VERSION_1_SETTINGS.values()) - set(fields)
    if missing == _SINCE_5:
        # 0.4.0 knew no other compression. The id is the same each time, as a resumed migration needs it; two
        # containers with the same settings share it.
        fields |= {"compression_algorithm": "zlib+1", "container_id": sha256(data).hexdigest()[:32]}
    elif missing:
        raise ValueError(f"it has no {min(missing)}")
    known = {name: fields.pop(theirs) for name, theirs in _VERSION_1_SETTINGS.items()}
    return known | {"durability": Durability.FULL.value}, fields


def encode_config(config: Config) -> bytes:
    """Return the bytes of ``config.json``."""
    fields: dict[str, Any] = {"container_version": config.version}
    if config.version == VERSION_1:
        fields |= {theirs: getattr(config, name) for name, theirs in _VERSION_1_SETTINGS.items()}
        return json.dumps(fields | dict(config.unknown)).encode()
    fields |= {name: getattr(config, name) for name in _SETTINGS}
    fields["durability"] = config.durability.value
    return encode_document(fields | dict(config.unknown))
