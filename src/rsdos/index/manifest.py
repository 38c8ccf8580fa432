"""The manifest: the file that says which packs and segments are live.

It is a document with a checksum (`rsdos.storage.checked_json`). Its members are the fields of `Manifest` (``notes`` may
be missing). The rows of its packs and segments have the fields of `PackEntry` and `SegmentEntry`. Sums over the packs
are not stored.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from operator import itemgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from rsdos.hashing import SHA256
from rsdos.index.pack_entry import PackEntry
from rsdos.index.packs import NO_PACKS, Packs, PackTables
from rsdos.model import LISTED, PackKind
from rsdos.names import LAST_NUMBER, LAST_PACK
from rsdos.storage.checked_json import decode_document, encode_compact, encode_document

if TYPE_CHECKING:
    from rsdos.index.pack_table import TableEntry
    from rsdos.index.remote_state import RemoteState
    from rsdos.storage.base import Version

VERSION = 4
"""Written if there are refs, an epoch, or packs that are not plain. Otherwise `_PLAIN_VERSION` is written."""

_PLAIN_VERSION = 3
"""Version 2, which is read as well, had no dictionaries, and no segment files with a place in a pack."""

TABLES_VERSION = 5
"""Written if there are pack tables, which a container has from some hundred packs on."""

REMOTE_VERSION = 6
"""Written in containers of version 3."""

_READ = (2, _PLAIN_VERSION, VERSION, TABLES_VERSION, REMOTE_VERSION)

_KINDS = {int(kind): kind for kind in PackKind}

WHOLE_PACK = 0
"""The offset of a tombstone that kills a whole pack, whatever its key. No object is there, but the header."""

_MOST = 1 << 62
"""No number in a manifest is larger, so that sums stay far from 2^64."""

_Entry = TypeVar("_Entry", "PackEntry", "SegmentEntry")


class UnknownManifest(ValueError):
    """The version of a manifest is not known: a later release has written it. This is not damage."""


class SegmentEntry(NamedTuple):
    """A live segment: the file ``index/<number>.seg``, or a range of a pack (``number`` is 0 then).

    The entry of a file that belongs to one batch also has the place of the batch's table in its pack (``pack_id`` is 0
    otherwise). If the batch is removed, the file is too. The table may be a compact one. Such a file is never synced,
    and if it is lost or damaged, the table is read. So it counts as ``synced``.

    ``synced`` says whether a segment file is on stable storage; for a segment in a pack, the ``synced`` of its pack
    says so. ``check`` shows whether another file was put in the place of a segment file: it is the first bytes of its
    header's hash (0: not known).
    """

    count: int  # type: ignore[assignment]  # a tuple's method of this name is of no use here
    tombstones: int
    number: int = 0
    pack_id: int = 0
    offset: int = 0
    length: int = 0
    synced: bool = True
    check: int = 0
    suffix: str = ""

    def of_batch(self, table: SegmentEntry) -> SegmentEntry:
        """Return the entry of this file with the place of the table that has the same entries."""
        return self._replace(pack_id=table.pack_id, offset=table.offset, length=table.length, synced=True)

    @property
    def is_of_batch(self) -> bool:
        """Whether it is a file with the entries of one batch, which has a table in its pack as well."""
        return self.number > 0 and self.pack_id > 0


SegmentName = tuple[int, int, int]
"""The number, pack and offset of a segment. No two segments have the same, and the bytes of a segment never change."""

segment_name: Callable[[SegmentEntry], SegmentName] = itemgetter(2, 3, 4)
"""Returns the name of a segment. Fast, because each commit needs the name of each segment several times."""


class Manifest(NamedTuple):
    """One state of the packed side of a container. A commit is a pure function from the newest one to the next."""

    number: int
    container_id: str
    next_pack_id: int = 1
    next_segment: int = 1
    packs: Packs = NO_PACKS
    segments: tuple[SegmentEntry, ...] = ()
    notes: Mapping[str, Any] = MappingProxyType({})
    """What operators' tools have noted, by name: the last validation, say. Anything that JSON has."""
    refs: str = ""
    """The key of the newest refs document; "" for none."""
    epoch: int = 0
    """Grows with each commit that deletes what a snapshot may need. A running save then looks its objects up again."""
    remote: RemoteState | None = None
    """The part that only containers of version 3 have, see `rsdos.index.remote_state`."""

    @property
    def pack_ids(self) -> Sequence[int]:
        """The ids of the live packs, ascending."""
        return self.packs.ids

    @property
    def objects(self) -> int:
        """The number of packed objects that are listed, each key counted once."""
        sums = self.packs.sums(LISTED)
        return sums.total.objects - sums.dead.objects

    def of_kinds(self, kinds: Collection[PackKind]) -> Manifest:
        """Return the same without the packs of other kinds; itself if there are none."""
        packs = self.packs.of_kinds(kinds)
        return self if packs is self.packs else self._replace(packs=packs)

    @property
    def packs_length(self) -> int:
        """The committed bytes of all pack files."""
        return self.packs.sums().length

    def with_note(self, name: str, note: object) -> Manifest:
        """Return the same with this note, in the place of the one of its name."""
        return self._replace(notes={**self.notes, name: note})

    def with_pack(self, pack: PackEntry) -> Manifest:
        """Return the same with this pack, new or in place of the one of its id. Its id is never given out again."""
        return self._replace(packs=self.packs.with_entries((pack,)), next_pack_id=max(self.next_pack_id, pack.id + 1))

    def with_packs(self, packs: Iterable[PackEntry]) -> Manifest:
        """Return the same with these packs in the place of those of the same ids."""
        return self._replace(packs=self.packs.with_entries(packs))

    def without_pack(self, pack_id: int) -> Manifest:
        """Return the same without a pack and its own segments. Merged segments may still have entries of the pack."""
        segments = tuple(segment for segment in self.segments if segment.pack_id != pack_id)
        return self._replace(packs=self.packs.without((pack_id,)), segments=segments)

    def with_segments(self, gone: Iterable[SegmentEntry], *fresh: SegmentEntry) -> Manifest:
        """Return the same with some segments replaced by others."""
        names = set(map(segment_name, gone))
        kept = (segment for segment in self.segments if segment_name(segment) not in names)
        after = max((segment.number + 1 for segment in fresh), default=0)
        return self._replace(segments=(*kept, *fresh), next_segment=max(self.next_segment, after))


class Published(NamedTuple):
    """A manifest, and the version of its file."""

    manifest: Manifest
    version: Version
    before: Version | None = None
    """The version of the file of the manifest before it, which was there under the lock, if it was committed just now.
    """


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the bytes of a manifest file."""
    members = manifest._asdict()
    remote = members.pop("remote")
    tables = manifest.packs.tables.count
    is_plain = not (remote or tables or manifest.refs or manifest.epoch or manifest.packs.kinds)
    if is_plain:
        del members["refs"], members["epoch"]
    for name, entries in (("packs", manifest.packs.changed.values()), ("segments", manifest.segments)):
        members[name] = [entry._asdict() for entry in entries]
    for row in members["packs"]:
        if not row["suffix"]:
            del row["suffix"]
        if not row["kind"]:
            del row["kind"]
        if dictionaries := row.pop("dictionaries"):
            from rsdos.index.dictionaries import dictionary_rows

            row["dictionaries"] = dictionary_rows(dictionaries)
    # Sixteen manifests stay, each with many segments. Half of each row would be the usual values.
    members["segments"] = [
        {name: value for name, value in row.items() if value != _MOST_HAVE.get(name)} for row in members["segments"]
    ]
    version = _PLAIN_VERSION if is_plain else VERSION
    if tables:
        from rsdos.index.table_reader import members_of

        version = TABLES_VERSION
        members |= members_of(manifest.packs)
    if remote is not None:
        from rsdos.index.remote_state import encode_state

        version = REMOTE_VERSION
        members |= encode_state(remote)
    # A manifest of version 3 is compressed, and one with tables is long: only programs read them.
    encode = encode_compact if tables or remote else encode_document
    return encode({"manifest_version": version, **members, "notes": {**manifest.notes}})


OpenTables = Callable[["tuple[TableEntry, ...]"], PackTables]
"""Opens pack tables, see `rsdos.index.pack_table.TableReader`."""


def _no_tables(entries: tuple[TableEntry, ...]) -> PackTables:
    raise ValueError(f"it has {len(entries)} pack tables, and nothing reads them")


def decode_manifest(data: bytes, open_tables: OpenTables = _no_tables) -> Manifest:
    """Return the manifest in a file. Raise ValueError with the reason if it is damaged or contradicts itself.

    Raise `UnknownManifest` for an undamaged manifest of an unknown version. ``open_tables`` is called if the manifest
    names pack tables; its errors are passed on.
    """
    members = decode_document(data)
    version = members.pop("manifest_version", None)
    if version not in _READ:
        raise UnknownManifest(f"manifest version {version!r:.40} is not known")
    segments = tuple(_segment({**_MOST_HAVE, **row}) for row in _rows(members, "segments"))
    numbers = {name: _number(members.get(name), name) for name in ("number", "next_pack_id", "next_segment")}
    numbers["epoch"] = _number(members.get("epoch", 0), "epoch")
    limits = (("number", LAST_NUMBER), ("next_pack_id", LAST_PACK + 1), ("next_segment", LAST_NUMBER + 1))
    for name, most in limits:
        if numbers[name] > most:
            raise ValueError(f"{name} is beyond {most}: {numbers[name]}")
    if any(segment.number >= numbers["next_segment"] for segment in segments):
        raise ValueError("a segment has a number that was never given out")
    notes = members.get("notes", {})
    if not isinstance(notes, dict):
        raise ValueError("notes is not an object")
    refs = members.get("refs", "")
    if not isinstance(refs, str) or (refs and not SHA256.is_key(refs)):
        raise ValueError(f"refs is not a key: {refs!r:.80}")
    container_id = str(members.get("container_id"))
    has_tables = version == TABLES_VERSION or (version == REMOTE_VERSION and "tables" in members)
    packs = _packs(members, open_tables if has_tables else None)
    manifest = Manifest(
        container_id=container_id, packs=packs, segments=segments, notes=notes, refs=refs, remote=None, **numbers
    )
    if version != REMOTE_VERSION:
        return manifest
    from rsdos.index.remote_state import decode_state

    if manifest.next_pack_id != manifest.next_segment:
        raise ValueError("next_pack_id and next_segment are not the same")
    return manifest._replace(remote=decode_state(members, manifest.number, manifest.next_pack_id))


class NamedFiles(NamedTuple):
    """The numbers of the segment files and of the pack tables that a manifest names."""

    segments: Collection[int]
    tables: Collection[int]


def files_of(manifest: Manifest) -> NamedFiles:
    """Return the files of the index that a manifest names."""
    segments = {segment.number for segment in manifest.segments}
    return NamedFiles(segments, {entry.number for entry in manifest.packs.tables.entries})


def files_in(data: bytes) -> NamedFiles:
    """Return `files_of` of the manifest in a file, without decoding its packs. Raise as `decode_manifest` does."""
    members = decode_document(data)
    if members.get("manifest_version") not in _READ:
        raise UnknownManifest("not known")
    segments = {row.get("number", 0) for row in _rows(members, "segments")}
    return NamedFiles(segments, {row.get("number", 0) for row in _rows({"tables": [], **members}, "tables")})


def _packs(members: dict[str, Any], open_tables: OpenTables | None) -> Packs:
    packs = [_pack(row) for row in _rows(members, "packs")]
    for pack in packs:
        if pack.synced > pack.length or pack.dead_objects > pack.objects or not 0 < pack.id < members["next_pack_id"]:
            raise ValueError(f"pack {pack.id}: its numbers contradict each other")
    if len({pack.id for pack in packs}) != len(packs):
        raise ValueError("a pack is listed twice")
    if open_tables is None:
        return Packs.of(packs)
    from rsdos.index.table_reader import packs_of

    return packs_of(members, packs, open_tables)


def _members(kind: type[Any]) -> tuple[tuple[str, ...], int]:
    """Return the names of an entry's plain members in order, and the position of the only one that is no number."""
    names = tuple(name for name in kind._fields if name not in ("dictionaries", "kind", "suffix"))
    (flag,) = (at for at, name in enumerate(names) if isinstance(kind._field_defaults.get(name), bool))
    return names, flag


_MOST_HAVE: dict[str, Any] = SegmentEntry._field_defaults
"""The values that members have if they are missing in the row of a segment."""

_MEMBERS: dict[type[Any], tuple[tuple[str, ...], int]] = {kind: _members(kind) for kind in (PackEntry, SegmentEntry)}


def _rows(members: dict[str, Any], name: str) -> list[dict[str, Any]]:
    rows = members.get(name)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{name} is not a list of objects")
    return rows


def _suffixed(entry: _Entry, row: dict[str, Any]) -> _Entry:
    if suffix := row.get("suffix"):
        from rsdos.index.remote_state import check_suffix

        return entry._replace(suffix=check_suffix(suffix))
    return entry


def _segment(row: dict[str, Any]) -> SegmentEntry:
    return _suffixed(_entry(SegmentEntry, row), row)


def _pack(row: dict[str, Any]) -> PackEntry:
    pack = _suffixed(_entry(PackEntry, row), row)
    if kind := row.get("kind"):
        if type(kind) is not int or kind not in _KINDS:
            raise ValueError(f"pack {pack.id}: kind {kind!r:.40} is not known")
        pack = pack._replace(kind=_KINDS[kind])
    rows = row.get("dictionaries")
    if rows is None:
        return pack
    from rsdos.index.dictionaries import dictionaries_of  # Most containers have none, and a short command counts.

    return pack._replace(dictionaries=dictionaries_of(rows, pack.length))


def _entry(kind: type[_Entry], row: dict[str, Any]) -> _Entry:
    names: tuple[str, ...] = _MEMBERS[kind][0]
    flag: int = _MEMBERS[kind][1]
    values: tuple[Any, ...] = tuple(map(row.get, names))
    # Check all at once, and one by one only for the error: a manifest may have thousands.
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
