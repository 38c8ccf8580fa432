"""Rows of version 1 that lead into packs of version 2."""

from __future__ import annotations

from rsdos.model import Codec, Record, RecordFlag, Stored
from rsdos.stores.v1.row import Row
from rsdos.streams.frames import plain_length


def row_of(record: Record, pack_id: int) -> Row:
    """Return the row of a packed object in the pack that version 1 knows as ``pack_id``.

    Version 1 reads a framed object without its table of frames, as one stream of zlib or as raw bytes.
    """
    length = record.length
    if record.flags:
        length = plain_length(Stored(Codec(record.codec), RecordFlag(record.flags), record.length, record.size))
    return Row(record.key, int(record.codec != Codec.RAW), record.size, record.offset, length, pack_id)
