"""Zstd dictionaries: what many small objects have in common, given to zstd beside each of them.

A frame that was made with a dictionary has its content size, and neither a checksum nor the dictionary's id: what needs
it says which one it needs. Dictionaries that were read are cached in this process, by their digest.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from functools import partial
from hashlib import sha256
from typing import Protocol

import zstandard

from rsdos.codecs.zstd import TOGETHER, compress_together, decompress_together, meaning
from rsdos.errors import DecodeError
from rsdos.model import FRAME_SIZE, BytesLike

MAX_LENGTH = 1 << 20
"""The longest dictionary (bytes). zstd's own trainer makes 112,640 bytes by default."""

_MOST_CACHED = 32
"""Dictionaries that are cached, ..."""

_MOST_CACHED_LENGTH = 8 << 20
"""... and their bytes. Each takes 30 KB more, and 100 KB in every thread that has used it."""

_EMPTY_FRAME = b"\x28\xb5\x2f\xfd\x20\x00\x01\x00\x00"
"""The frame of no bytes: decoding it makes zstd digest the dictionary, or refuse it."""


class _Contexts(threading.local):
    """The zstd contexts of one thread for one dictionary; see `rsdos.codecs.zstd`."""

    def __init__(self, digested: zstandard.ZstdCompressionDict) -> None:
        self.compressors: dict[int, zstandard.ZstdCompressor] = {}
        self.decompressor = zstandard.ZstdDecompressor(dict_data=digested)


class Dictionary:
    """A zstd dictionary. Immutable; any number of threads; it survives a fork.

    Equal dictionaries have the same bytes. Raise `DecodeError` for bytes that are no dictionary of zstd.
    """

    __slots__ = ("_contexts", "_decoding", "_encoding", "data", "digest")

    def __init__(self, data: BytesLike) -> None:
        if len(data) > MAX_LENGTH:
            raise DecodeError(f"a dictionary of {len(data)} bytes; {MAX_LENGTH} are the most")
        self.data = bytes(data)
        """Its bytes, which name it."""
        self.digest = sha256(self.data).digest()
        """The SHA-256 of its bytes."""
        self._encoding: dict[int, zstandard.ZstdCompressionDict] = {}
        try:
            self._decoding = self._new()
            self._contexts = _Contexts(self._decoding)
            # Digested once, here: of two threads that do it at the same time one would lose its result, 30 KB.
            self._contexts.decompressor.decompress(_EMPTY_FRAME)
        except zstandard.ZstdError as error:
            raise meaning(error) from error
        except ValueError as error:
            raise DecodeError(f"not a dictionary of zstd: {error}") from error

    def _new(self) -> zstandard.ZstdCompressionDict:
        return zstandard.ZstdCompressionDict(self.data, dict_type=zstandard.DICT_TYPE_FULLDICT)

    @property
    def key(self) -> str:
        """The digest in hex."""
        return self.digest.hex()

    def __len__(self) -> int:
        return len(self.data)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dictionary) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    # Compressing.

    def compress_many(self, payloads: Sequence[BytesLike], level: int) -> list[bytes]:
        """Return a frame for each payload of 1 byte to one frame, with the threads of `threads_for`."""
        return compress_together(payloads, partial(self._compressor, level))

    def _compressor(self, level: int) -> zstandard.ZstdCompressor:
        """Return this thread's compressor of a level."""
        context = self._contexts.compressors.get(level)
        if context is None:
            digested = self._encoding.get(level)
            if digested is None:
                digested = self._new()
                # Otherwise each frame digests it again: 0.2 ms for 100 KB.
                digested.precompute_compress(level=level)
                digested = self._encoding.setdefault(level, digested)
            context = zstandard.ZstdCompressor(level=level, dict_data=digested, write_dict_id=False)
            self._contexts.compressors[level] = context
        return context

    # Decompressing.

    def decompress(self, stored: BytesLike, size: int) -> bytes:
        """Return the raw bytes of one frame. Raise `DecodeError` unless these are exactly ``size`` bytes.

        Memory is that of ``size`` bytes: a frame that declares another size, or none, is refused.
        """
        try:
            # zstandard allocates what the frame declares, whatever the caller allows.
            if 0 < size <= FRAME_SIZE and zstandard.frame_content_size(stored) == size:
                return self._contexts.decompressor.decompress(stored, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise meaning(error) from error
        raise DecodeError(f"zstd: the frame does not declare the {size} raw bytes it should have")

    def decompress_many(self, stored: Sequence[BytesLike], sizes: Sequence[int]) -> list[bytes]:
        """Return `decompress` of each pair of frame and size, with the threads of `threads_for`.

        Bytes behind a frame are an error only if fewer than 16 frames are given: the bulk call of zstd ignores them.
        """
        if len(stored) >= TOGETHER:
            try:
                return decompress_together(stored, sizes, partial(zstandard.ZstdDecompressor, dict_data=self._decoding))
            except zstandard.ZstdError as error:
                raise meaning(error) from error
        return list(map(self.decompress, stored, sizes))


class KnownDictionaries(Protocol):
    """The dictionaries that a container has, as a writer sees them. Nothing is read before it is asked for."""

    def here(self) -> Iterator[Dictionary]:
        """Yield those of the pack that is written to, the newest first: using one of them costs no bytes."""

    def is_here(self, dictionary: Dictionary) -> bool:
        """Return whether `here` has a dictionary."""

    def has_room(self) -> bool:
        """Return whether the pack that is written to can take another dictionary."""

    def elsewhere(self) -> Iterator[Dictionary]:
        """Yield those that only other packs have, each once, the newest first.

        Using one costs twice its bytes in the pack that is written to.
        """


class DictionaryChooser(Protocol):
    """Decides for each group of new objects which dictionary they are compressed with. One writer's; one thread."""

    def choose(self, payloads: Sequence[bytes], level: int, known: KnownDictionaries) -> Dictionary | None:
        """Return one of the known dictionaries, a new one, or None for none.

        ``payloads`` have at most one frame each, and 8 MiB or 8,192 objects in all. ``level`` is zstd's.
        """

    def choose_anew(
        self, payloads: Sequence[bytes], lengths: Sequence[int], level: int, known: KnownDictionaries
    ) -> Dictionary | None:
        """Return one for objects that are stored already; None where it would save less than a tenth of their lengths.

        A sample of ``payloads`` is read, by their places. ``lengths`` are what each takes now.
        """


_cached: dict[bytes, Dictionary] = {}
"""By digest. Never changed, but replaced: threads need no lock, and a fork finds it whole."""


def cached(digest: bytes) -> Dictionary | None:
    """Return the dictionary of a digest, if it was remembered."""
    return _cached.get(digest)


def remember(dictionary: Dictionary) -> Dictionary:
    """Cache a dictionary, for at most 32 of them and 8 MiB: those that were remembered first go. Return it."""
    global _cached  # noqa: PLW0603  a dictionary is its bytes, whichever container they were read from
    cache = {**_cached, dictionary.digest: dictionary}
    while len(cache) > 1 and (len(cache) > _MOST_CACHED or sum(map(len, cache.values())) > _MOST_CACHED_LENGTH):
        del cache[next(iter(cache))]
    _cached = cache
    return dictionary
