"""The format of a pack file. All numbers are little-endian and unsigned.

A pack is a header and then batches. Each batch starts on a 4096-byte boundary and ends on one::

    header | zeros to 4096 | batch | batch | ...
    batch  = payloads, one after another | zeros to 64 | segment (``rsdos.index.segment``) | zeros | footer

Header, 64 bytes at offset 0:

======  ====  =====================================================
offset  size  what
======  ====  =====================================================
0       8     magic ``RSDOSPAK``
8       2     version, 2
10      6     zero
16      16    container id
32      8     pack id
40      1     kind: 0 plain, 1 held, 2 trees
41      7     zero
48      16    first 16 bytes of the SHA-256 of bytes 0 to 48
======  ====  =====================================================

Footer, the last 64 bytes of a batch; the next batch starts, and the file may end, right behind it:

======  ====  =====================================================
offset  size  what
======  ====  =====================================================
0       8     magic ``RSDOSFTR``
8       2     version, 2
10      2     zero
12      4     number of entries in the segment
16      8     offset where the batch starts
24      8     offset of the segment
32      8     length of the segment
40      8     offset of the previous batch's footer, 0 for the first
48      16    first 16 bytes of the SHA-256 of: container id, pack id
              (8 bytes), this footer's own offset (8 bytes), and
              bytes 0 to 48 of this footer
======  ====  =====================================================

The footer's checksum covers its offset: a pack that is stored as an object inside a pack has footers of another
container, another pack or another offset, and is never taken for structure. Because footers end on a 4096-byte
boundary, a scan for them looks at one place in 4096.
"""

from __future__ import annotations

import struct
from hashlib import sha256
from typing import NamedTuple

from rsdos.model import PackKind

ALIGNMENT = 4096
SEGMENT_ALIGNMENT = 64
HEADER_SIZE = 64
FOOTER_SIZE = 64
VERSION = 2

_HEADER_MAGIC = b"RSDOSPAK"
_FOOTER_MAGIC = b"RSDOSFTR"
_HEADER = struct.Struct("<8sHHI16sQB7x")
_FOOTER = struct.Struct("<8sHHIQQQQ")
_PLACE = struct.Struct("<QQ")
_CHECKED = 48
_KINDS = frozenset(PackKind)
assert _HEADER.size == _FOOTER.size == _CHECKED


class Batch(NamedTuple):
    """Where the parts of one batch stand in its pack. Offsets and lengths in bytes."""

    start: int
    segment_offset: int
    segment_length: int
    entries: int
    footer_offset: int
    previous_footer: int

    @property
    def end(self) -> int:
        """Where the next batch starts."""
        return self.footer_offset + FOOTER_SIZE


def align(offset: int, to: int = ALIGNMENT) -> int:
    """The first multiple of ``to`` that is not below ``offset``."""
    return -(-offset // to) * to


def batch_end(segment_offset: int, segment_length: int) -> int:
    """Where the batch with that segment ends, behind its footer."""
    return align(segment_offset + segment_length + FOOTER_SIZE)


def encode_header(container_id: bytes, pack_id: int, kind: PackKind = PackKind.PLAIN) -> bytes:
    """The header with the zeros behind it: the first `ALIGNMENT` bytes of a pack."""
    head = _HEADER.pack(_HEADER_MAGIC, VERSION, 0, 0, container_id, pack_id, kind)
    return (head + sha256(head).digest()[:16]).ljust(ALIGNMENT, b"\0")


def header_fault(data: bytes, container_id: bytes, pack_id: int) -> str | None:
    """Why ``data`` is not the beginning of this pack, or None when it is."""
    head = data[:_CHECKED]
    if len(data) < HEADER_SIZE or sha256(head).digest()[:16] != data[_CHECKED:HEADER_SIZE]:
        return "the header is damaged"
    magic, version, _, _, container, number, kind = _HEADER.unpack(head)
    if magic != _HEADER_MAGIC or version != VERSION:
        return "not a pack of version 2"
    if container != container_id:
        return "it belongs to another container"
    if number != pack_id:
        return f"it is pack {number}, under a false name"
    if kind not in _KINDS:
        return f"pack kind {kind} is not known"
    return None


def named_by(data: bytes, container_id: bytes) -> int | None:
    """The id of the pack of this container that begins with ``data``, or None when it is no such beginning."""
    head = data[:_CHECKED]
    if len(data) < HEADER_SIZE:
        return None
    number: int = _HEADER.unpack(head)[5]
    return number if header_fault(data, container_id, number) is None else None


def header_kind(data: bytes) -> PackKind:
    """The kind of the pack that begins with ``data``, in which `header_fault` finds none."""
    return PackKind(_HEADER.unpack(data[:_CHECKED])[6])


def encode_footer(batch: Batch, container_id: bytes, pack_id: int) -> bytes:
    """The footer of a batch."""
    head = _FOOTER.pack(
        _FOOTER_MAGIC,
        VERSION,
        0,
        batch.entries,
        batch.start,
        batch.segment_offset,
        batch.segment_length,
        batch.previous_footer,
    )
    return head + _footer_checksum(head, container_id, pack_id, batch.footer_offset)


def decode_footer(data: bytes, container_id: bytes, pack_id: int, offset: int) -> Batch | None:
    """The batch whose footer is at ``offset``, or None when ``data`` is no footer, or not one of that place."""
    if len(data) != FOOTER_SIZE or not data.startswith(_FOOTER_MAGIC):
        return None
    head = data[:_CHECKED]
    if data[_CHECKED:] != _footer_checksum(head, container_id, pack_id, offset):
        return None
    _, version, _, entries, start, segment_offset, segment_length, previous = _FOOTER.unpack(head)
    batch = Batch(start, segment_offset, segment_length, entries, offset, previous)
    plausible = (
        version == VERSION
        and start % ALIGNMENT == 0
        and ALIGNMENT <= start <= segment_offset
        and segment_offset + segment_length <= offset
        and previous in (0, start - FOOTER_SIZE)
    )
    return batch if plausible else None


def _footer_checksum(head: bytes, container_id: bytes, pack_id: int, offset: int) -> bytes:
    return sha256(container_id + _PLACE.pack(pack_id, offset) + head).digest()[:16]
