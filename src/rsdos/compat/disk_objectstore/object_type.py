"""The place of an object."""

from enum import Enum


class ObjectType(Enum):
    """The place of an object: loose, packed, or missing."""

    LOOSE = "loose"
    PACKED = "packed"
    MISSING = "missing"
