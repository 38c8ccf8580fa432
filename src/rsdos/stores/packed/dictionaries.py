"""The dictionaries in the packs of version 2, for a reader (ADR 17).

A dictionary is in every pack whose objects need it, twice: before the first of these objects, and at the end of the
same batch. Its number is its place in the pack's list, which only grows. It is named by its SHA-256, which every read
from a pack verifies.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING

from rsdos.codecs.dictionary import Dictionary, cached, remember
from rsdos.errors import DecodeError, log_warning
from rsdos.index.dictionaries import PackDictionary
from rsdos.index.view import IndexView
from rsdos.model import FIRST_DICTIONARY
from rsdos.pack.reader import read_best
from rsdos.stores.packed.open_packs import OpenPacks

if TYPE_CHECKING:
    from rsdos.index.index import Index

_GONE = (errno.EIO, errno.ENOENT, errno.EBADF)
"""A copy cannot be read; any other error of the system says nothing about it."""


class PackDictionaries:
    """Finds dictionaries by the state of the index that lookups use. Any number of threads."""

    def __init__(self, packs: OpenPacks, index: Callable[[], Index | None]) -> None:
        self._packs = packs
        self._index = index
        self._intact: set[tuple[int, bytes]] = set()
        """The (pack, digest) of which a good copy was read."""
        self._told: set[tuple[int, int]] = set()
        """The (pack, offset) of damaged copies that were reported: every object of a pack may need one of them."""

    def _view(self) -> IndexView:
        index = self._index()
        if index is None:
            raise DecodeError("the store that this reader was made for is gone")
        return index.view

    def named(self, pack_id: int, codec: int) -> Dictionary:
        """Return the dictionary that a codec names in a pack.

        Raise `DecodeError` where the pack has none of this number, or no pack has a good copy of it: the entry is
        damaged, or of a state that is not the newest.
        """
        places = self._view().dictionaries_of(pack_id)
        number = codec - FIRST_DICTIONARY
        if not 0 <= number < len(places):
            raise DecodeError(f"codec {codec} is not known in pack {pack_id}")
        place = places[number]
        return cached(place.digest) or self._read(pack_id, place)

    def _read(self, pack_id: int, place: PackDictionary) -> Dictionary:
        """Return a dictionary from its pack or, where both copies are bad, from another pack that has it."""
        found = self.intact(pack_id, place)
        if found is not None:
            return found
        for pack in self._view().manifest.packs.with_dictionaries():
            for other in pack.dictionaries if pack.id != pack_id else ():
                found = self.intact(pack.id, other) if other.digest == place.digest else None
                if found is not None:
                    log_warning("dictionary %s: read from pack %s: bad in pack %s", place.key, pack.id, pack_id)
                    return found
        raise DecodeError(f"dictionary {place.key}: no good copy of it is left")

    def intact(self, pack_id: int, place: PackDictionary) -> Dictionary | None:
        """Return a dictionary of which this very pack has a good copy; None where both are bad.

        A writer may refer to such a one only: one that is cached may be bad on the disk by now.
        """
        name = pack_id, place.digest
        found = cached(place.digest)
        if found is not None and name in self._intact:
            return found
        for offset in place.offsets:
            data = self._good_copy(pack_id, place, offset)
            if data is None:
                if (pack_id, offset) not in self._told:
                    self._told.add((pack_id, offset))
                    log_warning("pack %s: the dictionary at byte %s is damaged", pack_id, offset)
                continue
            try:
                found = found or remember(Dictionary(data))
            except DecodeError:
                return None  # It was never one of zstd.
            self._intact.add(name)
            return found
        return None

    def wrote(self, pack_id: int, dictionary: Dictionary) -> None:
        """Note that a pack has a good copy of a dictionary now."""
        self._intact.add((pack_id, remember(dictionary).digest))

    def is_anywhere(self, digest: bytes) -> bool:
        """Return whether any pack has a good copy of a dictionary."""
        return any(
            self.is_good(pack_id, place, offset)
            for pack_id, place in self.places()
            if place.digest == digest
            for offset in place.offsets
        )

    def is_good(self, pack_id: int, place: PackDictionary, offset: int) -> bool:
        """Return whether the copy at an offset has the bytes of the dictionary."""
        return self._good_copy(pack_id, place, offset) is not None

    def _good_copy(self, pack_id: int, place: PackDictionary, offset: int) -> bytes | None:
        read = partial(self._copy, pack_id, place, offset)
        return read_best(self._packs.storage, read, lambda data: data is None)

    def _copy(self, pack_id: int, place: PackDictionary, offset: int) -> bytes | None:
        """Return the copy at an offset, read once; None if it is not good."""
        try:
            data = self._packs.read_any(pack_id, offset, place.length)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            return None
        return data if sha256(data).digest() == place.digest else None

    def places(self) -> Iterator[tuple[int, PackDictionary]]:
        """Yield the pack and the place of every dictionary, the newest first."""
        for pack in self._view().manifest.packs.with_dictionaries():
            for place in reversed(pack.dictionaries):
                yield pack.id, place
