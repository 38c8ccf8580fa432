"""The packs of a manifest, with and without tables: every answer is that of a plain list, whatever was folded when."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from rsdos.index import pack_table
from rsdos.index.dictionaries import UNKNOWN, PackDictionary
from rsdos.index.folding import plan_fold
from rsdos.index.manifest import Manifest, decode_manifest, encode_manifest
from rsdos.index.pack_entry import PackEntry, sums_of
from rsdos.index.pack_table import PackTable, TableEntry, checksum_of, entry_of
from rsdos.index.packs import Packs, PackTables
from rsdos.index.table_reader import TableReader
from rsdos.model import Counts, PackKind
from rsdos.storage.checked_json import encode_document


def pack(pack_id: int, chance: random.Random) -> PackEntry:
    """Any pack that a manifest may have."""
    length = chance.randrange(1 << 40)
    total = Counts(*(chance.randrange(1 << 30) for _ in range(3)))
    dead = Counts(*(chance.randrange(most + 1) for most in total))
    places = tuple(
        PackDictionary(chance.randbytes(32), chance.randrange(1, 1 << 17), (chance.randrange(1 << 20), 0))
        for _ in range(chance.choice([0, 0, 0, 1, 3]))
    )
    length = max([length, *(place.end for place in places)])
    synced = length if chance.random() < 0.8 else chance.randrange(length + 1)
    kind = chance.choice([PackKind.PLAIN, PackKind.PLAIN, PackKind.HELD, PackKind.TREES])
    suffix = chance.choice(["", f"{chance.randrange(1, 1 << 64):016x}"])
    entry = PackEntry(pack_id, length, synced, chance.random() < 0.8, dictionaries=places, kind=kind, suffix=suffix)
    return entry.counting(total, dead)


def settled(pack_id: int) -> PackEntry:
    return PackEntry(pack_id, 8192, 8192, True, 10, 100, 90)


@dataclass
class Stored:
    """Packs as commits make them, the tables that were stored, and the same packs as a dictionary."""

    packs: Packs = field(default_factory=Packs)
    plain: dict[int, PackEntry] = field(default_factory=dict)
    files: dict[int, bytes] = field(default_factory=dict)

    def fold(self, most: int) -> bool:
        fold = plan_fold(self.packs, most)
        if fold is None:
            return False
        numbers = range(len(self.files) + 1, len(self.files) + 1 + len(fold.files))
        self.files.update(zip(numbers, fold.files, strict=True))
        after = fold.onto(self.packs, [(number, "") for number in numbers])
        assert after is not None
        self.packs = after
        return True

    def put(self, entries: Sequence[PackEntry]) -> None:
        self.packs = self.packs.with_entries(entries)
        self.plain.update({entry.id: entry for entry in entries})

    def take(self, pack_ids: Sequence[int]) -> None:
        self.packs = self.packs.without(pack_ids)
        for pack_id in pack_ids:
            self.plain.pop(pack_id, None)

    def read_again(self) -> Packs:
        reader = TableReader(lambda entry: self.files[entry.number])
        manifest = Manifest(1, "0" * 32, 1 << 20, len(self.files) + 1, self.packs)
        return decode_manifest(encode_manifest(manifest), reader).packs


def assert_like(packs: Packs, plain: dict[int, PackEntry]) -> None:
    """Every answer is the one that a plain list of the packs gives."""
    entries = [plain[pack_id] for pack_id in sorted(plain)]
    assert [*packs] == entries
    assert packs == tuple(entries)
    assert len(packs) == len(entries)
    assert [*reversed(packs)] == entries[::-1]
    assert [*packs.ids] == [entry.id for entry in entries]
    assert packs.kinds == {entry.id: entry.kind for entry in entries if entry.kind}
    assert [*packs.behind] == [entry for entry in entries if entry.synced < entry.length]
    assert [*packs.unsealed()] == [entry for entry in entries if not entry.sealed]
    assert sorted(packs.with_dictionaries()) == [entry for entry in entries if entry.dictionaries]
    for kinds in ((PackKind.PLAIN,), (PackKind.PLAIN, PackKind.HELD), (PackKind.TREES,), tuple(PackKind)):
        some = [entry for entry in entries if entry.kind in kinds]
        assert packs.sums(kinds) == sums_of(some)
        assert [*packs.of_kinds(kinds)] == some
        assert [*packs.of_kinds(kinds).ids] == [entry.id for entry in some]
        assert (packs.of_kinds(kinds) is packs) == (len(some) == len(entries))
    for pack_id in range(max([*plain, 0]) + 3):
        assert packs.find(pack_id) == plain.get(pack_id)
        assert (pack_id in packs.live) == packs.has(pack_id) == (pack_id in plain)
        assert packs.synced_of(pack_id) == (plain[pack_id].synced if pack_id in plain else 0)


@pytest.mark.parametrize("seed", range(12))
def test_packs_that_are_folded_at_any_time_are_the_same_packs(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(pack_table, "MOST_ROWS", chance.choice([3, 8, 40]))
    monkeypatch.setattr("rsdos.index.table_reader.MOST_ROWS", 40)
    monkeypatch.setattr(pack_table, "MOST_DICTIONARIES", chance.choice([3, 20]))
    stored, next_id, folds, most = Stored(), 1, 0, 0
    for _ in range(60):
        before = stored.packs, dict(stored.plain)
        if chance.random() < 0.6 or not stored.plain:
            # Ids are given out in order, and committed in any.
            fresh = list(range(next_id, next_id + chance.randrange(1, 9)))
            next_id = fresh[-1] + 1
            stored.put([pack(pack_id, chance) for pack_id in chance.sample(fresh, chance.randrange(len(fresh)) + 1)])
        else:
            some = chance.sample(sorted(stored.plain), min(len(stored.plain), chance.randrange(1, 6)))
            stored.put([pack(pack_id, chance)._replace(kind=stored.plain[pack_id].kind) for pack_id in some])
            stored.take(chance.sample(sorted(stored.plain), min(len(stored.plain), chance.randrange(5))))
        was = set(before[1])
        assert [entry.id for entry in stored.packs.new_since(before[0])] == sorted(set(stored.plain) - was)
        assert [entry.id for entry in before[0].new_since(stored.packs)] == sorted(was - set(stored.plain))
        folds += stored.fold(chance.choice([4, 6]))
        assert [entry.id for entry in stored.packs.new_since(before[0])] == sorted(set(stored.plain) - was)
        assert_like(stored.packs, stored.plain)
        assert_like(stored.read_again(), stored.plain)
        assert stored.packs == stored.read_again()
        most = max(most, len(stored.packs.tables.tables))
    assert folds > 5
    assert most > 1


def test_a_fold_takes_what_will_not_change_and_leaves_what_may() -> None:
    stored = Stored()
    written = settled(7)._replace(sealed=False)
    behind = settled(11)._replace(synced=4096)
    stored.put([*map(settled, range(1, 7)), written, *map(settled, range(8, 11)), behind])
    assert plan_fold(stored.packs, 11) is None
    assert stored.fold(10)
    assert [*stored.packs.changed] == [7, 11]
    assert [entry.first for entry in stored.packs.tables.entries] == [1]
    assert not stored.fold(10)
    # Where most of them may change, all go: a fold of few would come with each commit.
    stored.put([settled(pack_id)._replace(sealed=False) for pack_id in range(12, 30)])
    assert stored.fold(10)
    assert not stored.packs.changed


def test_a_table_that_no_row_touches_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack_table, "MOST_ROWS", 8)
    stored = Stored()
    stored.put([settled(pack_id) for pack_id in range(1, 25)])
    assert stored.fold(4)
    one, two, three = stored.packs.tables.tables
    stored.put([settled(pack_id)._replace(dead_objects=1) for pack_id in range(9, 14)])
    assert stored.fold(4)
    assert stored.packs.tables.tables[0] is one
    assert stored.packs.tables.tables[1] is not two
    assert stored.packs.tables.tables[2] is three
    assert_like(stored.packs, stored.plain)


def test_a_fold_is_not_for_packs_that_another_has_folded() -> None:
    stored = Stored()
    stored.put([settled(pack_id) for pack_id in range(1, 9)])
    fold = plan_fold(stored.packs, 4)
    assert fold is not None
    # What was committed since the plan stays: a change, a pack that is gone, and a new one.
    later = stored.packs.with_entries([settled(2)._replace(dead_objects=3), settled(9)]).without([5])
    after = fold.onto(later, [(1, "")])
    assert after is not None
    assert [*after] == [*later]
    assert ([*after.changed], [*after.gone]) == ([2, 9], [5])
    assert fold.onto(after, [(2, "")]) is None


def table(*packs: PackEntry) -> tuple[bytes, TableEntry]:
    fold = plan_fold(Packs.of(packs), 0)
    assert fold is not None
    (data,) = fold.files
    return data, entry_of(data, 5)


def test_every_bit_of_a_table_counts() -> None:
    place = PackDictionary(bytes(range(32)), 100, (4096, 8000))
    data, entry = table(settled(1), settled(4)._replace(dictionaries=(place,)))
    assert [*PackTable(data, entry).rows()][1].dictionaries == (place,)
    for offset in range(len(data)):
        for bit in (1, 128):
            with pytest.raises(ValueError, match="pack table 5"):
                PackTable(data[:offset] + bytes([data[offset] ^ bit]) + data[offset + 1 :], entry)
    for length in (0, 1, 31, len(data) - 1):
        with pytest.raises(ValueError, match="bytes"):
            PackTable(data[:length], entry)
    with pytest.raises(ValueError, match="bytes"):
        PackTable(data + b"\0", entry)
    for wrong in (entry._replace(check=7), entry._replace(first=2), entry._replace(last=5), entry._replace(count=1)):
        with pytest.raises(ValueError, match="pack table 5"):
            PackTable(data, wrong)


def forged(data: bytes, at: int, change: bytes) -> tuple[bytes, TableEntry]:
    """A table with other bytes, whose checksum is right, and which the manifest names by that."""
    changed = bytearray(data[:at] + change + data[at + len(change) :])
    changed[20:24] = checksum_of(changed).to_bytes(4, "little")
    return bytes(changed), entry_of(bytes(changed), 5)


def test_a_forged_table_is_refused_before_it_is_believed() -> None:
    data, _ = table(settled(1), settled(4), settled(9))
    count, head = 3, 32
    ids = head + 72 * count
    narrow = ids + 4 * count
    for at, change in (
        (12, (1 << 31).to_bytes(4, "little")),  # rows
        (16, (1 << 31).to_bytes(4, "little")),  # dictionaries
        (ids + 4, (1).to_bytes(4, "little")),  # an id twice
        (ids + 4, (11).to_bytes(4, "little")),  # ids that do not ascend
        (head + 8 * count + 7, b"\x20"),  # a number that no pack has
        (narrow, b"\3"),  # a kind
        (narrow + count, b"\2"),  # neither sealed nor not
        (narrow + 2 * count, b"\1"),  # a dictionary that is not there
    ):
        changed, entry = forged(data, at, change)
        with pytest.raises(ValueError, match="pack table 5"):
            PackTable(changed, entry._replace(first=1, last=9, count=3))


def test_a_dictionary_outside_its_pack_is_none() -> None:
    data, _ = table(settled(1)._replace(dictionaries=(PackDictionary(bytes(32), 100, (4096, 8000)),)))
    changed, entry = forged(data, len(data) - 8, (8190).to_bytes(8, "little"))
    (row,) = PackTable(changed, entry).rows()
    assert row.dictionaries == (UNKNOWN,)


def test_tables_of_a_manifest_are_refused_before_they_are_read() -> None:
    stored = Stored()
    stored.put([settled(pack_id) for pack_id in range(1, 9)])
    stored.fold(4)
    whole = members(Manifest(1, "0" * 32, 9, 2, stored.packs))
    (row,) = whole["tables"]
    assert row == {
        "number": 1,
        "first": 1,
        "last": 8,
        "count": 8,
        "length": len(stored.files[1]),
        "check": row["check"],
    }
    for changes in (
        {"number": 2}, {"number": 0}, {"first": 0}, {"last": 9}, {"first": 8, "last": 1}, {"count": 0}, {"count": 9},
        {"count": 4097, "last": 5000}, {"length": 10}, {"length": 1 << 40}, {"check": 1 << 32}, {"check": -1},
        {"number": True}, {"length": "1"}, {"suffix": "../../etc/passwd"}, {"suffix": 7},
    ):  # fmt: skip
        with pytest.raises(ValueError, match="pack table"):
            decode_manifest(encode_document({**whole, "tables": [row | changes]}), _never_read)
    wrong: list[object] = [{}, [7], [row, row], [row | {"first": 5}, row | {"number": 1, "last": 4, "count": 4}]]
    for tables in wrong:
        with pytest.raises(ValueError, match="table"):
            decode_manifest(encode_document({**whole, "tables": tables}), _never_read)
    with pytest.raises(ValueError, match="nothing reads them"):
        decode_manifest(encode_document(whole))


def members(manifest: Manifest) -> dict[str, Any]:
    """The members of a manifest's document."""
    found: dict[str, Any] = json.loads(encode_manifest(manifest))
    del found["checksum"]
    return found


def _never_read(entries: tuple[TableEntry, ...]) -> PackTables:
    raise AssertionError(entries)


def test_a_row_that_is_gone_is_one_of_a_table_and_not_listed() -> None:
    stored = Stored()
    stored.put([settled(pack_id) for pack_id in range(1, 9)])
    stored.fold(4)
    for gone, changed in (([9], []), ([3, 3], []), ([True], []), ([3], [settled(3)])):
        packs = stored.packs.without([3]).with_entries(changed)
        whole = members(Manifest(1, "0" * 32, 9, 9, packs)) | {"gone": gone}
        with pytest.raises(ValueError, match="gone"):
            decode_manifest(encode_document(whole), TableReader(lambda entry: stored.files[entry.number]))
