"""Bringing dictionaries into the pack of version 2 that a writer appends to (ADR 17)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rsdos.codecs.dictionary import Dictionary
from rsdos.index.dictionaries import MOST_DICTIONARIES, PackDictionary
from rsdos.model import FIRST_DICTIONARY, Codec
from rsdos.stores.encoding import Forms
from rsdos.stores.packed.active_pack import ActivePack
from rsdos.stores.packed.dictionaries import PackDictionaries


class DictionaryWriter:
    """Brings dictionaries into the pack that a writer has to itself. One thread; `end_batch` comes before a batch ends.

    To a chooser it is what the container has (`rsdos.codecs.dictionary.KnownDictionaries`).
    """

    def __init__(self, pack: ActivePack, dictionaries: PackDictionaries) -> None:
        self._pack = pack
        self._dictionaries = dictionaries
        self._brought: list[tuple[Dictionary, int]] = []
        """What the open batch brings in, and the offset of its first copy."""

    # What there is.

    def here(self) -> Iterator[Dictionary]:
        yield from (one for one, _ in reversed(self._brought))
        mine = map(self._intact, reversed(self._pack.dictionaries))
        yield from (one for one in mine if one is not None)

    def is_here(self, dictionary: Dictionary) -> bool:
        return self._number(dictionary.digest) is not None

    @property
    def room(self) -> int:
        """How many more dictionaries the pack can have."""
        return MOST_DICTIONARIES - len(self._pack.dictionaries) - len(self._brought)

    def has_room(self) -> bool:
        return self.room > 0

    def elsewhere(self) -> Iterator[Dictionary]:
        seen: set[bytes] = set()
        for pack_id, place in self._dictionaries.places():
            if place.digest not in seen and self._number(place.digest) is None:
                found = self._dictionaries.intact(pack_id, place)
                if found is not None:
                    seen.add(place.digest)
                    yield found

    def _number(self, digest: bytes) -> int | None:
        """Return the number of a dictionary in this pack; None where the pack has no good copy of it."""
        places = self._pack.dictionaries
        for number, place in enumerate(places):
            if place.digest == digest and self._intact(place) is not None:
                return number
        for number, (one, _) in enumerate(self._brought, len(places)):
            if one.digest == digest:
                return number
        return None

    def _intact(self, place: PackDictionary) -> Dictionary | None:
        return self._dictionaries.intact(self._pack.pack.id, place)

    def takes(self, dictionary: Dictionary, saved: int) -> bool:
        """See `rsdos.stores.batch.OpenBatch.takes`."""
        return saved > 2 * len(dictionary) or self.is_here(dictionary)

    # Using them.

    def codec_of(self, dictionary: Dictionary) -> int | None:
        """Return the codec that names a dictionary in this pack; write it there first where the pack lacks it.

        None where the pack has as many as it can have.
        """
        number = self._number(dictionary.digest)
        if number is not None:
            return FIRST_DICTIONARY + number
        if not self.has_room():
            return None
        number = len(self._pack.dictionaries) + len(self._brought)
        self._brought.append((dictionary, self._pack.writer.write([dictionary.data])))
        return FIRST_DICTIONARY + number

    def placed(self, forms: Forms, sizes: Sequence[int]) -> tuple[Sequence[bytes], Sequence[int]]:
        """Return stored bytes and their codecs in this pack; write the dictionaries first that they need.

        Where the pack has no number left for one, its objects become raw.
        """
        stored, codecs = forms.stored, forms.codecs
        own: dict[int, int] = {}
        for codec in sorted(codec for codec in set(codecs) if codec >= FIRST_DICTIONARY):
            dictionary = forms.dictionaries[codec - FIRST_DICTIONARY]
            named = self.codec_of(dictionary)
            if named is None:
                stored, named = _expanded(dictionary, codec, stored, forms.codecs, sizes), Codec.RAW
            own[codec] = named
        is_same = all(codec == named for codec, named in own.items())
        return stored, codecs if is_same else [own.get(codec, codec) for codec in codecs]

    def end_batch(self) -> tuple[PackDictionary, ...]:
        """Write the second copies of what the open batch has brought in, and return the places of both."""
        places = []
        for one, first in self._brought:
            places.append(PackDictionary(one.digest, len(one), (first, self._pack.writer.write([one.data]))))
            self._dictionaries.wrote(self._pack.pack.id, one)
        self._brought.clear()
        return tuple(places)


def _expanded(
    dictionary: Dictionary, codec: int, stored: Sequence[bytes], codecs: Sequence[int], sizes: Sequence[int]
) -> list[bytes]:
    """Return the stored bytes with the raw ones in the place of those that have a codec."""
    at = [i for i, own in enumerate(codecs) if own == codec]
    raws = dictionary.decompress_many([stored[i] for i in at], [sizes[i] for i in at])
    expanded = list(stored)
    for i, raw in zip(at, raws, strict=True):
        expanded[i] = raw
    return expanded
