"""Where an object is."""

from enum import Enum


class ObjectType(Enum):
    """Where an object is: in a file of its own, in a pack, or nowhere."""

    LOOSE = "loose"
    PACKED = "packed"
    MISSING = "missing"
