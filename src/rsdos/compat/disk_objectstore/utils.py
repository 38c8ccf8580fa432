"""The names of ``disk_objectstore.utils``, from the modules that define them."""

import fcntl
from contextlib import nullcontext
from typing import BinaryIO

from rsdos.compat.disk_objectstore.callbacks import rename_callback
from rsdos.compat.disk_objectstore.compression import (
    compute_hash_and_size,
    estimate_compression,
    get_compressobj_instance,
    get_hash_cls,
    get_stream_decompresser,
    is_known_hash,
    should_compress,
)
from rsdos.compat.disk_objectstore.exceptions import ClosingNotAllowed, ModificationNotAllowed
from rsdos.compat.disk_objectstore.merging import (
    Location,
    chunk_iterator,
    detect_where_sorted,
    merge_sorted,
    yield_first_element,
)
from rsdos.compat.disk_objectstore.streams import (
    CallbackStreamWrapper,
    LazyLooseStream,
    LazyOpener,
    PackedObjectReader,
    ZeroStream,
    ZlibLikeBaseStreamDecompresser,
    ZlibStreamDecompresser,
)
from rsdos.compat.disk_objectstore.writing import HashWriterWrapper, ObjectWriter, safe_flush_to_disk
from rsdos.model import CompressMode

F_FULLFSYNC: int = getattr(fcntl, "F_FULLFSYNC", 0)

# For annotations: streams to read, streams to read and seek in, and streams to write.
StreamReadBytesType = (
    BinaryIO | PackedObjectReader | CallbackStreamWrapper | ZlibLikeBaseStreamDecompresser | ZeroStream
)
StreamSeekBytesType = BinaryIO | PackedObjectReader | CallbackStreamWrapper | ZlibLikeBaseStreamDecompresser
StreamWriteBytesType = BinaryIO

__all__ = [
    "F_FULLFSYNC",
    "CallbackStreamWrapper",
    "ClosingNotAllowed",
    "CompressMode",
    "HashWriterWrapper",
    "LazyLooseStream",
    "LazyOpener",
    "Location",
    "ModificationNotAllowed",
    "ObjectWriter",
    "PackedObjectReader",
    "StreamReadBytesType",
    "StreamSeekBytesType",
    "StreamWriteBytesType",
    "ZeroStream",
    "ZlibLikeBaseStreamDecompresser",
    "ZlibStreamDecompresser",
    "chunk_iterator",
    "compute_hash_and_size",
    "detect_where_sorted",
    "estimate_compression",
    "get_compressobj_instance",
    "get_hash_cls",
    "get_stream_decompresser",
    "is_known_hash",
    "merge_sorted",
    "nullcontext",
    "rename_callback",
    "safe_flush_to_disk",
    "should_compress",
    "yield_first_element",
]
