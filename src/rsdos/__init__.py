"""rsdos: a fast, server-less, content-addressed disk object store.

>>> from rsdos import Container
>>> container = Container.create("/tmp/example")
>>> key = container.insert(b"some bytes")
>>> container.extract(key)
b'some bytes'
"""

from rsdos.container import Container
from rsdos.errors import (
    AmbiguousKey,
    Busy,
    ContainerExists,
    DamagedContainer,
    DamagedObject,
    InvalidKey,
    InvalidOption,
    InvalidSource,
    NotAContainer,
    ObjectNotFound,
    ReadOnlyContainer,
    RsdosError,
    SourceChanged,
    UnreadableSource,
    UnsupportedContainer,
    WriterPoisoned,
)
from rsdos.model import Codec, CompressMode, Durability, Extent, ObjectMeta, Place, Trust

__all__ = [
    "AmbiguousKey",
    "Busy",
    "Codec",
    "CompressMode",
    "Container",
    "ContainerExists",
    "DamagedContainer",
    "DamagedObject",
    "Durability",
    "Extent",
    "InvalidKey",
    "InvalidOption",
    "InvalidSource",
    "NotAContainer",
    "ObjectMeta",
    "ObjectNotFound",
    "Place",
    "ReadOnlyContainer",
    "RsdosError",
    "SourceChanged",
    "Trust",
    "UnreadableSource",
    "UnsupportedContainer",
    "WriterPoisoned",
]
