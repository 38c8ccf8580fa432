"""From raw to stored bytes: how a store encodes an object before it writes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import Enum
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from rsdos.codecs.auto import (
    clearly_smaller,
    encode_many_if_smaller,
    encode_many_with,
    looks_compressible,
)
from rsdos.codecs.checksum import crc32
from rsdos.codecs.coding import encode_many
from rsdos.codecs.sequential import SequenceEncoder, decode_sequence
from rsdos.errors import InvalidOption
from rsdos.hashing import HashType
from rsdos.model import (
    FIRST_DICTIONARY,
    FRAME_SIZE,
    BytesLike,
    Codec,
    Compression,
    CompressMode,
    RecordFlag,
    Stored,
)
from rsdos.streams.frames import FrameEncoder, frames
from rsdos.streams.pipeline import encoded
from rsdos.streams.plain import pieces
from rsdos.streams.sources import in_frames

if TYPE_CHECKING:
    from rsdos.codecs.dictionary import Dictionary

RAW = Compression(Codec.RAW)


class Framing(Enum):
    """How a store encodes an object of more than one frame."""

    NONE = "none"
    """As one stream of a codec: container version 1."""
    UNIFORM = "uniform"
    """As frames of one codec: loose objects."""
    MIXED = "mixed"
    """As frames of one codec, or as raw and zstd frames: packs of version 2."""


class Sink(Protocol):
    """A file that grows at its end and can be read back: a pack under its writer, or a file in the sandbox."""

    position: int

    def write(self, buffers: Sequence[BytesLike]) -> int:
        """Append some bytes. Return the offset of the first."""

    def read(self, offset: int, length: int) -> bytes:
        """Read back bytes that were written."""

    def rewind(self, offset: int) -> None:
        """Cut the file at ``offset``: the next bytes are written there."""


class Written(NamedTuple):
    """An object that was streamed into a sink. Its stored form begins at ``offset``; ``crc`` is of the stored bytes."""

    digest: bytes
    offset: int
    stored: Stored
    crc: int


class Forms(NamedTuple):
    """The stored forms of objects of at most one frame, as columns.

    A codec of `FIRST_DICTIONARY` + i names ``dictionaries[i]``. The writer replaces it with the codec that names the
    same dictionary in its pack.
    """

    stored: Sequence[bytes]
    codecs: Sequence[int]
    dictionaries: Sequence[Dictionary] = ()

    def part(self, begin: int, end: int) -> Forms:
        """Return the forms from ``begin`` to before ``end``."""
        return Forms(self.stored[begin:end], self.codecs[begin:end], self.dictionaries)


@dataclass(frozen=True, slots=True)
class Encoding:
    """A compression, and which objects get it."""

    mode: CompressMode
    compression: Compression

    def __post_init__(self) -> None:
        if not isinstance(self.mode, CompressMode):
            raise InvalidOption(f"whether to compress is a CompressMode, not {self.mode!r:.40}")
        if self.mode is CompressMode.YES and self.compression.codec is Codec.RAW:
            raise InvalidOption("asked to compress, but the container's compression is none")

    @classmethod
    def anew(cls, mode: CompressMode, compression: Compression) -> Encoding:
        """Return the encoding of an operation with a compression of its own. With ``none`` all objects are raw."""
        return cls(CompressMode.NO if compression.codec is Codec.RAW else mode, compression)

    @property
    def is_raw(self) -> bool:
        """Whether it compresses nothing."""
        return self.mode in (CompressMode.NO, CompressMode.KEEP) or self.compression.codec is Codec.RAW

    @property
    def can_use_dictionaries(self) -> bool:
        """Whether it compresses with zstd, so that a dictionary helps."""
        return self.compression.codec is Codec.ZSTD and not self.is_raw

    def encode_many(self, payloads: Sequence[bytes], dictionary: Dictionary | None = None) -> Forms:
        """Return the stored forms of objects of at most one frame.

        With zstd, small objects that the dictionary makes smaller are compressed with it. The others are stored as
        without a dictionary.
        """
        if self.is_raw:
            return Forms(payloads, [Codec.RAW] * len(payloads))
        if dictionary is not None and self.can_use_dictionaries:
            return self._encode_with(dictionary, payloads)
        return self._encode(payloads)

    def _encode(self, payloads: Sequence[bytes]) -> Forms:
        codec = self.compression.codec
        if self.mode is CompressMode.YES:
            return Forms(encode_many(payloads, self.compression), [codec] * len(payloads))
        encoded = encode_many_if_smaller(payloads, self.compression)
        stored = [raw if packed is None else packed for raw, packed in zip(payloads, encoded, strict=True)]
        return Forms(stored, [Codec.RAW if packed is None else codec for packed in encoded])

    def _encode_with(self, dictionary: Dictionary, payloads: Sequence[bytes]) -> Forms:
        forms = encode_many_with(dictionary, payloads, self.compression.level)
        codecs: list[int] = [FIRST_DICTIONARY] * len(payloads)
        others = [at for at, form in enumerate(forms) if form is None]
        without = self._encode([payloads[at] for at in others]) if others else Forms((), ())
        for at, form, codec in zip(others, without.stored, without.codecs, strict=True):
            forms[at], codecs[at] = form, codec
        return Forms(cast(list[bytes], forms), codecs, (dictionary,))

    def write_frames(
        self, source: Iterable[BytesLike], sink: Sink, hash_type: HashType, framing: Framing = Framing.MIXED
    ) -> Written:
        """Append an object of more than one frame to a sink. It takes the memory of a few frames."""
        start = sink.position
        hasher = hash_type.new()
        size = crc = 0
        rest = iter(source)
        first = next(rest)
        compression = self._for_stream(first, framing)
        encoder = _encoder(compression, framing)
        with closing(encoded(chain((first,), rest), encoder, hasher)) as ready:
            del first
            for frame, piece in ready:
                crc = crc32(piece, crc)
                sink.write([piece])
                size += len(frame)
        assert size > FRAME_SIZE
        tail = encoder.finish()
        sink.write([tail])
        flags = RecordFlag.NONE if framing is Framing.NONE else RecordFlag.FRAMED
        stored = Stored(encoder.codec, flags, sink.position - start, size)
        written = Written(hasher.digest(), start, stored, crc32(tail, crc))
        is_final = self.mode is not CompressMode.AUTO or encoder.codec in (Codec.RAW, Codec.MIXED)
        if is_final or clearly_smaller(stored.length, size):
            return written
        return _rewrite(written, sink, _encoder(self._by_frame(framing), framing))

    def _for_stream(self, first: BytesLike, framing: Framing) -> Compression:
        if self.is_raw:
            return RAW
        if self.mode is CompressMode.AUTO and not looks_compressible(first):
            return self._by_frame(framing)
        return self.compression

    def _by_frame(self, framing: Framing) -> Compression:
        """Return the compression of an object that does not compress as a whole: single frames, or nothing."""
        is_mixed = framing is Framing.MIXED and self.compression.codec is Codec.ZSTD
        return Compression(Codec.MIXED, self.compression.level) if is_mixed else RAW


def _encoder(compression: Compression, framing: Framing) -> FrameEncoder | SequenceEncoder:
    return SequenceEncoder(compression) if framing is Framing.NONE else FrameEncoder(compression)


def _rewrite(written: Written, sink: Sink, encoder: FrameEncoder | SequenceEncoder) -> Written:
    """Replace a compressed form that turned out not to be clearly smaller.

    The source may be gone. So the object is decoded from the sink and encoded anew after its first form. Then the new
    form is moved over the first one.
    """
    start, end = written.offset, sink.position
    crc = 0
    for frame in _read_back(written, sink):
        piece = encoder.add(frame)
        crc = crc32(piece, crc)
        sink.write([piece])
    tail = encoder.finish()
    sink.write([tail])
    length = sink.position - end
    sink.rewind(start)
    for at in range(0, length, FRAME_SIZE):
        sink.write([sink.read(end + at, min(FRAME_SIZE, length - at))])
    stored = Stored(encoder.codec, written.stored.flags, length, written.stored.size)
    return Written(written.digest, start, stored, crc32(tail, crc))


def _read_back(written: Written, sink: Sink) -> Iterator[BytesLike]:
    """Yield the raw frames of an object that was written."""
    stored = written.stored

    def fetch(offset: int, length: int) -> bytes:
        return sink.read(written.offset + offset, length)

    if stored.flags:
        return frames(fetch, stored)
    return in_frames(decode_sequence(pieces(fetch, stored.length), stored.codec, stored.size))
