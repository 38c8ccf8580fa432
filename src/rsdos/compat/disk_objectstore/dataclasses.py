"""The results of the methods of `Container`. Their fields can be read as items, too."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rsdos.compat.disk_objectstore.object_type import ObjectType


class _WithItems:
    """Gives the fields as items. An unknown one raises KeyError."""

    def __getitem__(self, item: str) -> Any:
        return asdict(self)[item]  # type: ignore[call-overload]  # every subclass is a dataclass


@dataclass(frozen=True)
class ObjectCount(_WithItems):
    """The numbers of packed and of loose objects (one that is both counts twice), and of packs."""

    packed: int
    loose: int
    pack_files: int


@dataclass(frozen=True)
class ObjectMeta(_WithItems):
    """The metadata of an object. ``size`` is raw bytes, ``pack_length`` stored bytes.

    The ``pack_…`` fields are None for an object that is not packed, and ``size`` for a missing one.
    """

    type: ObjectType
    size: int | None
    pack_id: int | None
    pack_compressed: bool | None
    pack_offset: int | None
    pack_length: int | None


@dataclass(frozen=True)
class TotalSize(_WithItems):
    """Bytes of the packed objects, raw and stored, of the files of packs and index, and of loose objects."""

    total_size_packed: int
    total_size_packed_on_disk: int
    total_size_packfiles_on_disk: int
    total_size_packindexes_on_disk: int
    total_size_loose: int


@dataclass(frozen=True)
class ValidationIssues(_WithItems):
    """The keys of objects with a wrong hash, with another size than the index says, or overlapping another."""

    invalid_hashes_loose: list[str]
    invalid_hashes_packed: list[str]
    invalid_sizes_packed: list[str]
    overlapping_packed: list[str]

    def is_valid(self) -> bool:
        """Return whether there are no issues."""
        return not any(asdict(self).values())
