"""The manifest: the one file that says which packs and segments are live.

It is a document with a checksum (`rsdos.storage.checked_json`); its members are the fields of `Manifest` (``notes``
may be missing), its packs and segments those of `PackEntry` and `SegmentEntry`. What can be added up from the packs is
not stored a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from rsdos.model import Counts
from rsdos.names import LAST_NUMBER, LAST_PACK
from rsdos.storage.checked_json import decode_document, encode_document

if TYPE_CHECKING:
    from rsdos.index.dictionaries import PackDictionary

VERSION = 3
"""2, which is read as well, had no dictionaries, and no segment files with a place in a pack."""

_READ = (2, VERSION)

WHOLE_PACK = 0
"""The offset of a tombstone that kills a whole pack, whatever its key: a header stands there, and never an object."""

_MOST = 1 << 62
"""No number in a manifest is larger: sums of them stay far from 2^64."""

_Entry = TypeVar("_Entry", "PackEntry", "SegmentEntry")


class PackEntry(NamedTuple):
    """A live pack. ``length`` bytes of it are committed, the first ``synced`` of them are on stable storage.

    ``objects`` and ``size`` (raw bytes) count everything ever appended, ``stored`` the stored bytes of that;
    ``dead_objects``, ``dead_size`` and ``dead_stored`` the part of it that no key leads to any more. ``dictionaries``
    are those that objects of the pack may need, in the order of their numbers.
    """

    id: int
    length: int
    synced: int
    sealed: bool = False
    objects: int = 0
    size: int = 0
    stored: int = 0
    dead_objects: int = 0
    dead_size: int = 0
    dead_stored: int = 0
    dictionaries: tuple[PackDictionary, ...] = ()

    @property
    def total(self) -> Counts:
        """Everything that was ever appended."""
        return Counts(self.objects, self.size, self.stored)

    @property
    def dead(self) -> Counts:
        """The part that no key leads to any more."""
        return Counts(self.dead_objects, self.dead_size, self.dead_stored)

    @property
    def live(self) -> Counts:
        """The part that keys lead to, each key counted once."""
        return self.total - self.dead

    @property
    def overhead(self) -> int:
        """The committed bytes that are of no object: header, alignment, tables of contents, dictionaries."""
        return max(self.length - self.stored, 0)

    def counting(self, total: Counts, dead: Counts) -> PackEntry:
        """Return the entry with these counts."""
        return PackEntry(*self[:4], *total, *dead, self.dictionaries)


class SegmentEntry(NamedTuple):
    """A live segment: the file ``index/<number>.seg``, or a range of a pack (``number`` is 0 then).

    A file that has the entries of one batch names that as well, by the place of the table that the batch has in its
    pack (``pack_id`` is 0 otherwise): where the batch goes, the file does. The table may be a compact one. Such a file
    is never synced, and where it is lost or damaged, the table is read: it counts as ``synced``.

    ``synced`` tells whether a segment file is on stable storage; one in a pack is where its pack is. ``check`` tells a
    segment file from any other that is put in its place: the first bytes of its header's hash (0: not known).
    """

    count: int  # type: ignore[assignment]  # a tuple's method of this name is of no use here
    tombstones: int
    number: int = 0
    pack_id: int = 0
    offset: int = 0
    length: int = 0
    synced: bool = True
    check: int = 0

    @property
    def is_of_batch(self) -> bool:
        """Whether it is a file with the entries of one batch, which has a table in its pack as well."""
        return self.number > 0 and self.pack_id > 0


SegmentName = tuple[int, int, int]
"""The number, pack and offset of a segment: what tells it from all others. Its bytes never change."""

segment_name: Callable[[SegmentEntry], SegmentName] = itemgetter(2, 3, 4)
"""Returns the name of a segment: each commit asks all of them for it, several times."""


class Manifest(NamedTuple):
    """One state of the packed side of a container. A commit is a pure function from the newest one to the next."""

    number: int
    container_id: str
    next_pack_id: int = 1
    next_segment: int = 1
    packs: tuple[PackEntry, ...] = ()
    segments: tuple[SegmentEntry, ...] = ()
    notes: Mapping[str, Any] = MappingProxyType({})
    """What operators' tools have noted, by name: the last validation, say. Anything that JSON has."""

    @property
    def pack_ids(self) -> tuple[int, ...]:
        """The ids of the live packs."""
        return tuple(pack.id for pack in self.packs)

    def pack(self, pack_id: int) -> PackEntry | None:
        """The live pack of this id, or None."""
        return next((pack for pack in self.packs if pack.id == pack_id), None)

    @property
    def objects(self) -> int:
        """The number of packed objects, each key counted once."""
        return sum(pack.objects - pack.dead_objects for pack in self.packs)

    @property
    def packs_length(self) -> int:
        """Committed bytes of all pack files."""
        return sum(pack.length for pack in self.packs)

    def with_note(self, name: str, note: object) -> Manifest:
        """The same with this note, in the place of the one of its name."""
        return self._replace(notes={**self.notes, name: note})

    def with_pack(self, pack: PackEntry) -> Manifest:
        """The same with this pack, new or in place of the one of its id; its id is never given out again."""
        others = (other for other in self.packs if other.id != pack.id)
        packs = tuple(sorted((*others, pack), key=lambda entry: entry.id))
        return self._replace(packs=packs, next_pack_id=max(self.next_pack_id, pack.id + 1))

    def without_pack(self, pack_id: int) -> Manifest:
        """The same without a pack and the segments inside it; merged segments may still have entries of it."""
        packs = tuple(pack for pack in self.packs if pack.id != pack_id)
        segments = tuple(segment for segment in self.segments if segment.pack_id != pack_id)
        return self._replace(packs=packs, segments=segments)

    def with_segments(self, gone: Iterable[SegmentEntry], *fresh: SegmentEntry) -> Manifest:
        """The same with some segments replaced by others."""
        names = set(map(segment_name, gone))
        kept = (segment for segment in self.segments if segment_name(segment) not in names)
        after = max((segment.number + 1 for segment in fresh), default=0)
        return self._replace(segments=(*kept, *fresh), next_segment=max(self.next_segment, after))


def encode_manifest(manifest: Manifest) -> bytes:
    """The bytes of a manifest file."""
    members = manifest._asdict()
    for name in ("packs", "segments"):
        members[name] = [entry._asdict() for entry in members[name]]
    for row in members["packs"]:
        if dictionaries := row.pop("dictionaries"):
            from rsdos.index.dictionaries import dictionary_rows

            row["dictionaries"] = dictionary_rows(dictionaries)
    # Sixteen manifests of as many segments stay: half of each row is what most segments have.
    members["segments"] = [
        {name: value for name, value in row.items() if value != _MOST_HAVE.get(name)} for row in members["segments"]
    ]
    return encode_document({"manifest_version": VERSION, **members, "notes": {**manifest.notes}})


def decode_manifest(data: bytes) -> Manifest:
    """The manifest in a file. Raises ValueError with the reason when it is not whole or makes no sense."""
    members = decode_document(data)
    version = members.pop("manifest_version", None)
    if version not in _READ:
        raise ValueError(f"manifest version {version!r:.40} is not known")
    packs = tuple(map(_pack, _rows(members, "packs")))
    segments = tuple(_entry(SegmentEntry, {**_MOST_HAVE, **row}) for row in _rows(members, "segments"))
    numbers = {name: _number(members.get(name), name) for name in ("number", "next_pack_id", "next_segment")}
    for pack in packs:
        if pack.synced > pack.length or pack.dead_objects > pack.objects or not 0 < pack.id < numbers["next_pack_id"]:
            raise ValueError(f"pack {pack.id}: its numbers contradict each other")
    limits = (("number", LAST_NUMBER), ("next_pack_id", LAST_PACK + 1), ("next_segment", LAST_NUMBER + 1))
    for name, most in limits:
        if numbers[name] > most:
            raise ValueError(f"{name} is beyond {most}: {numbers[name]}")
    if any(segment.number >= numbers["next_segment"] for segment in segments):
        raise ValueError("a segment has a number that was never given out")
    if len({pack.id for pack in packs}) != len(packs):
        raise ValueError("a pack is listed twice")
    notes = members.get("notes", {})
    if not isinstance(notes, dict):
        raise ValueError("notes is not an object")
    container_id = str(members.get("container_id"))
    return Manifest(container_id=container_id, packs=packs, segments=segments, notes=notes, **numbers)


def _members(kind: type[Any]) -> tuple[tuple[str, ...], int]:
    """The names of an entry's plain members in order, and which of them is the only one that is no number."""
    names = tuple(name for name in kind._fields if name != "dictionaries")
    (flag,) = (at for at, name in enumerate(names) if isinstance(kind._field_defaults.get(name), bool))
    return names, flag


_MOST_HAVE: dict[str, Any] = SegmentEntry._field_defaults
"""What a row of a segment that lacks a member means by it."""

_MEMBERS: dict[type[Any], tuple[tuple[str, ...], int]] = {kind: _members(kind) for kind in (PackEntry, SegmentEntry)}


def _rows(members: dict[str, Any], name: str) -> list[dict[str, Any]]:
    rows = members.get(name)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{name} is not a list of objects")
    return rows


def _pack(row: dict[str, Any]) -> PackEntry:
    pack = _entry(PackEntry, row)
    rows = row.get("dictionaries")
    if rows is None:
        return pack
    from rsdos.index.dictionaries import dictionaries_of  # Most containers have none, and a short command counts.

    return pack._replace(dictionaries=dictionaries_of(rows, pack.length))


def _entry(kind: type[_Entry], row: dict[str, Any]) -> _Entry:
    names: tuple[str, ...] = _MEMBERS[kind][0]
    flag: int = _MEMBERS[kind][1]
    values: tuple[Any, ...] = tuple(map(row.get, names))
    # All at once, and one by one only to say which it is: a manifest may have thousands.
    numbers = (*values[:flag], *values[flag + 1 :])
    if set(map(type, numbers)) != {int} or not 0 <= min(numbers) <= max(numbers) <= _MOST:
        for name, value in zip(names, values, strict=True):
            if name != names[flag]:
                _number(value, name)
    if not isinstance(values[flag], bool):
        raise ValueError(f"{names[flag]} is not true or false: {values[flag]!r:.40}")
    return kind(*values)


def _number(value: object, name: str) -> int:
    if type(value) is not int or not 0 <= value <= _MOST:
        raise ValueError(f"{name} is not a number in range: {value!r:.40}")
    return value
