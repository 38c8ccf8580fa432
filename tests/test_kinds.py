"""Packs of the three kinds: what was inserted by key and what snapshots hold keep apart, whatever bytes they share."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rsdos import CompressMode, Container, Durability, InvalidOption, Place, UnsupportedContainer
from rsdos.index.manifest import Manifest
from rsdos.maintenance import clean, optimize, pack, repack, retain, transfer
from rsdos.maintenance.inspect import inspect_object
from rsdos.maintenance.repack import RepackOptions
from rsdos.maintenance.repair import index as repair_index
from rsdos.maintenance.repair import objects as repair_objects
from rsdos.model import FRAME_SIZE, Copy, PackKind, Trust
from rsdos.storage.checked_json import decode_document, encode_document
from rsdos.stores.encoding import Encoding
from rsdos.stores.packed.delete import write_tombstones
from tests.data import key_of, noise, text
from tests.helpers import assert_holds, flip, manifest_of, native
from tests.snapshots.saving import save

HELD, PLAIN, TREES = PackKind.HELD, PackKind.PLAIN, PackKind.TREES
OBJECTS = {key_of(data): data for data in (b"", b"x", text(3000), noise(5000), text(FRAME_SIZE + 5), noise(70))}


@pytest.fixture
def store(tmp_path: Path) -> Container:
    return Container.create(tmp_path / "store")


def insert(container: Container, kind: PackKind, *contents: bytes) -> list[str]:
    return container.engine.objects.insert_many(contents, kind=kind)


def kinds_of(container: Container, key: str) -> list[PackKind]:
    """The kinds of the packs that have a copy of an object."""
    engine = container.engine
    engine.packed.refresh()
    kinds = {pack.id: pack.kind for pack in manifest_of(container.path).packs}
    return sorted(
        kinds[copy.extent.pack_id] for copy in engine.packed.inspection.copies_of(bytes.fromhex(key)) if copy.extent
    )


def collect(container: Container) -> None:
    """Delete all that is in packs of other kinds than plain, as a collection does that finds no snapshot."""
    packed = native(container.engine)
    view = packed.index.refresh().of_kinds((HELD, TREES))
    for entries in view.live_tables():
        write_tombstones(packed.context, Durability.FULL, entries)


def live(manifest: Manifest) -> dict[PackKind, int]:
    """The objects that keys lead to, by the kind of their packs."""
    counts = dict.fromkeys(PackKind, 0)
    for entry in manifest.packs:
        counts[entry.kind] += entry.live.objects
    return counts


def run_repack(container: Container, *pack_ids: int) -> None:
    for pack_id in pack_ids:
        repack.execute(container.engine, repack.plan(container.engine, RepackOptions(pack_id=pack_id)))


# Packs.


@pytest.mark.parametrize("kind", PackKind)
def test_objects_of_each_kind_are_read_by_key(store: Container, kind: PackKind) -> None:
    keys = insert(store, kind, *OBJECTS.values())
    assert keys == list(OBJECTS)
    assert_holds(store, OBJECTS) if kind is not TREES else None
    assert dict(Container(store.path).extract_many(keys)) == OBJECTS
    assert store.has_many(keys) == [True] * len(keys)
    (entry,) = manifest_of(store.path).packs
    assert entry.kind is kind
    with open(store.engine.layout.pack(entry.id), "rb") as file:
        assert file.read(48)[40:] == bytes([kind, 0, 0, 0, 0, 0, 0, 0])


def test_each_kind_has_packs_of_its_own_and_goes_on_with_them(store: Container) -> None:
    for round_ in range(3):
        for kind in PackKind:
            insert(store, kind, noise(100, 10 * round_ + kind))
    packs = manifest_of(store.path).packs
    assert [entry.kind for entry in packs] == [PLAIN, HELD, TREES]
    assert [entry.objects for entry in packs] == [3, 3, 3]


def test_a_container_without_snapshots_stays_as_it_was(store: Container) -> None:
    store.insert_many(OBJECTS.values())
    members = json.loads(Path(store.engine.layout.manifest(manifest_of(store.path).number)).read_bytes())
    assert members["manifest_version"] == 3
    assert "kind" not in members["packs"][0]


def test_what_snapshots_need_is_neither_loose_nor_in_version_1(store: Container, tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match="not loose"):
        store.engine.objects.insert_many([b"x"], to=Place.LOOSE, kind=HELD)
    old = Container.create(tmp_path / "old", container_version=1)
    with pytest.raises(InvalidOption, match="migrate"):
        insert(old, HELD, b"x")


# Rule 1: of the copies of a key one counts.


def test_a_plain_copy_counts_before_a_held_one_and_the_other_is_dead(store: Container) -> None:
    insert(store, HELD, *OBJECTS.values())
    store.insert_many(OBJECTS.values())
    assert live(manifest_of(store.path)) == {PLAIN: len(OBJECTS), HELD: 0, TREES: 0}
    assert_holds(store, OBJECTS)
    store.delete(OBJECTS)
    assert live(manifest_of(store.path)) == {PLAIN: 0, HELD: len(OBJECTS), TREES: 0}
    assert_holds(store, OBJECTS)
    collect(store)
    assert live(manifest_of(store.path)) == {PLAIN: 0, HELD: 0, TREES: 0}
    assert_holds(store, {})


def test_counts_are_the_same_when_they_are_made_anew(store: Container) -> None:
    insert(store, HELD, *OBJECTS.values(), b"held alone")
    insert(store, TREES, b"x", b"a page")
    store.insert_many([*OBJECTS.values(), b"plain alone"])
    manifest = manifest_of(store.path)
    assert native(store.engine).index.refresh().counted() == manifest.packs
    assert len(store) == len(OBJECTS) + 2


# Rule 2: an insert by key takes only a plain or a loose copy for a duplicate.


@pytest.mark.parametrize("other", [HELD, TREES])
@pytest.mark.parametrize("to", Place)
def test_what_is_inserted_by_key_stays_when_a_snapshot_that_had_it_goes(
    store: Container, other: PackKind, to: Place
) -> None:
    insert(store, other, *OBJECTS.values())
    assert store.insert_many(OBJECTS.values(), to=to) == list(OBJECTS)
    assert [store.insert(data, to=to) for data in OBJECTS.values()] == list(OBJECTS)
    collect(store)
    assert_holds(store, OBJECTS)


def test_a_second_insert_by_key_stores_nothing(store: Container) -> None:
    insert(store, HELD, *OBJECTS.values())
    store.insert_many(OBJECTS.values())
    before = manifest_of(store.path).packs
    store.insert_many(OBJECTS.values())
    assert manifest_of(store.path).packs == before


@pytest.mark.parametrize("other", [HELD, TREES])
def test_clean_leaves_a_loose_file_alone_that_only_a_snapshot_has_packed(store: Container, other: PackKind) -> None:
    store.insert_many(OBJECTS.values(), to=Place.LOOSE)
    insert(store, other, *OBJECTS.values())
    plan = clean.plan(store.engine)
    assert (plan.objects, plan.length) == (0, 0)
    report = clean.execute(store.engine, plan)
    assert (report.cleaned, report.damaged) == (0, ())
    collect(store)
    assert_holds(store, OBJECTS)


@pytest.mark.parametrize("other", [HELD, TREES])
def test_clean_leaves_a_loose_file_alone_whose_plain_copy_is_damaged_though_a_snapshot_has_a_good_one(
    store: Container, other: PackKind
) -> None:
    data = noise(2000)
    store.insert(data)
    store.pack_all_loose(clean=False)
    insert(store, other, data)
    if other is HELD:
        assert kinds_of(store, key_of(data)) == [PLAIN]
        known = store.engine.packed.writer(lambda digests, trust, raws=None: [Copy.MISSING] * len(digests), kind=HELD)
        with known as writer:
            writer.add_parts([data], Encoding(CompressMode.NO, store.config.codec))
            writer.commit()
    damage(store, key_of(data), PLAIN)
    report = clean.execute(store.engine, clean.plan(store.engine))
    assert (report.cleaned, report.damaged) == (0, (key_of(data),))


@pytest.mark.parametrize("other", [HELD, TREES])
def test_packing_packs_what_only_a_snapshot_has_packed(store: Container, other: PackKind) -> None:
    store.insert_many(OBJECTS.values(), to=Place.LOOSE)
    insert(store, other, *OBJECTS.values())
    report = pack.pack_all(store.engine, pack.PackOptions())
    assert (report.objects, report.known, report.cleaned) == (len(OBJECTS), 0, len(OBJECTS))
    collect(store)
    assert_holds(store, OBJECTS)


def test_a_transfer_of_keys_stores_what_the_target_has_for_snapshots_alone(store: Container, tmp_path: Path) -> None:
    source = Container.create(tmp_path / "source")
    source.insert_many(OBJECTS.values())
    insert(store, HELD, *OBJECTS.values())
    options = transfer.TransferOptions(list(OBJECTS))
    report = transfer.execute(store.engine, transfer.plan(store.engine, source.engine, options))
    assert (report.objects, report.known) == (len(OBJECTS), 0)
    collect(store)
    assert_holds(store, OBJECTS)


def test_a_transfer_without_keys_takes_what_was_inserted_by_key(store: Container, tmp_path: Path) -> None:
    store.insert_many(OBJECTS.values())
    store.insert(b"loose")
    insert(store, HELD, b"held")
    insert(store, TREES, b"page")
    target = Container.create(tmp_path / "target")
    transfer.execute(target.engine, transfer.plan(target.engine, store.engine, transfer.TransferOptions()))
    assert_holds(target, OBJECTS | {key_of(b"loose"): b"loose"})


def test_a_copy_for_snapshots_never_answers_a_question_of_an_insert_by_key(store: Container) -> None:
    insert(store, HELD, b"held")
    insert(store, TREES, b"page")
    digests = [bytes.fromhex(key_of(data)) for data in (b"held", b"page")]
    check = store.engine.packed.check_copies
    assert check(digests, Trust.INDEX, Durability.FULL) == [Copy.MISSING] * 2
    assert check(digests[:1], Trust.INDEX, Durability.FULL) == [Copy.MISSING]
    assert check(digests, Trust.VERIFY, Durability.FULL, kind=HELD) == [Copy.GOOD, Copy.MISSING]
    assert check(digests, Trust.VERIFY, Durability.FULL, kind=TREES) == [Copy.MISSING, Copy.GOOD]
    assert store.engine.packed.contains_many(digests) == [True, True]
    assert store.engine.packed.verify_many(digests, PLAIN) == [False, False]


class Deleting(io.BytesIO):
    """A source behind whose first ``after`` bytes another process deletes an object by key."""

    def __init__(self, path: Path, key: str, after: int) -> None:
        super().__init__(noise(4 * FRAME_SIZE, 77))
        self._path = path
        self._after = after
        self._key: str | None = key

    def read(self, size: int | None = -1, /) -> bytes:
        if self._key and self.tell() >= self._after:
            key, self._key = self._key, None
            assert Container(self._path).delete([key]) == [key]
        return super().read(size)


# Small objects are looked up before the next one is read to its end, large ones before it is written.
@pytest.mark.parametrize(("size", "after"), [(100, 2 * FRAME_SIZE), (FRAME_SIZE + 7, 0)])
def test_a_duplicate_that_is_deleted_is_stored_again_though_a_snapshot_holds_it(
    store: Container, size: int, after: int
) -> None:
    data = noise(size, 5)
    key = key_of(data)
    insert(store, HELD, data)
    store.insert_many([data])
    source = data if size < FRAME_SIZE else io.BytesIO(data)
    assert store.insert_many([source, Deleting(Path(store.path), key, after)])[0] == key
    collect(store)
    assert store.extract(key) == data


# Rule 3: what a save stores.


def test_a_held_insert_takes_a_plain_copy_for_a_duplicate_but_no_loose_one(store: Container) -> None:
    store.insert_many([b"packed"])
    store.insert(b"loose")
    insert(store, TREES, b"page")
    insert(store, HELD, b"packed", b"loose", b"page")
    assert [kinds_of(store, key_of(data)) for data in (b"packed", b"loose", b"page")] == [
        [PLAIN],
        [HELD],
        [HELD, TREES],
    ]
    store.delete([key_of(b"loose")])
    assert store.extract(key_of(b"loose")) == b"loose"


def test_packs_of_trees_alone_have_every_page(store: Container) -> None:
    store.insert_many([b"one"])
    insert(store, HELD, b"two")
    insert(store, TREES, b"one", b"two", b"three")
    assert [kinds_of(store, key_of(data)) for data in (b"one", b"two", b"three")] == [
        [PLAIN, TREES],
        [HELD, TREES],
        [TREES],
    ]
    before = manifest_of(store.path).packs
    insert(store, TREES, b"one", b"two", b"three")
    assert manifest_of(store.path).packs == before


# Rules 4 and 5, as far as packs know them.


def test_a_delete_by_key_takes_away_plain_and_loose_copies_only(store: Container) -> None:
    insert(store, HELD, *OBJECTS.values())
    insert(store, TREES, b"page")
    store.insert_many(OBJECTS.values())
    store.insert(b"loose")
    assert store.delete([*OBJECTS, key_of(b"loose"), key_of(b"page")]) == [*OBJECTS, key_of(b"loose")]
    assert_holds(store, OBJECTS)
    assert store.extract(key_of(b"page")) == b"page"


def test_what_is_not_retained_goes_and_what_snapshots_hold_stays(store: Container) -> None:
    insert(store, HELD, *OBJECTS.values())
    insert(store, TREES, b"page")
    store.insert_many([*OBJECTS.values(), b"kept", b"gone"])
    options = retain.RetainOptions([key_of(b"kept")])
    assert retain.plan(store.engine, options).objects == len(OBJECTS) + 1
    assert store.retain([key_of(b"kept")]).deleted == len(OBJECTS) + 1
    assert_holds(store, OBJECTS | {key_of(b"kept"): b"kept"})
    assert store.extract(key_of(b"page")) == b"page"


# Repack.


@pytest.mark.parametrize("kind", PackKind)
def test_a_repack_writes_to_packs_of_the_same_kind(store: Container, kind: PackKind) -> None:
    contents = [noise(500, seed) for seed in range(6)]
    for some in (contents[:2], contents[2:4], contents[4:]):
        insert(store, kind, *some)
    for other in PackKind:
        insert(store, other, noise(100, 50 + other))
    (old,) = (entry.id for entry in manifest_of(store.path).packs if entry.kind is kind)
    run_repack(store, old)
    manifest = manifest_of(store.path)
    assert old not in manifest.pack_ids
    assert sorted(entry.kind for entry in manifest.packs) == sorted(PackKind)
    assert [store.extract(key_of(data)) for data in contents] == contents
    assert native(store.engine).index.refresh().counted() == manifest.packs


def test_a_repack_keeps_a_plain_copy_beside_a_held_one_and_drops_the_held_one(store: Container) -> None:
    insert(store, HELD, *OBJECTS.values())
    store.insert_many(OBJECTS.values())
    held, plain = (entry.id for entry in manifest_of(store.path).packs)
    run_repack(store, plain)
    assert live(manifest_of(store.path)) == {PLAIN: len(OBJECTS), HELD: 0, TREES: 0}
    assert [kinds_of(store, key) for key in OBJECTS] == [[PLAIN, HELD]] * len(OBJECTS)
    run_repack(store, held)
    assert [kinds_of(store, key) for key in OBJECTS] == [[PLAIN]] * len(OBJECTS)
    assert_holds(store, OBJECTS)
    assert native(store.engine).index.refresh().counted() == manifest_of(store.path).packs


def test_a_repack_keeps_a_page_that_others_have_stored_too(store: Container) -> None:
    insert(store, TREES, b"page")
    insert(store, HELD, b"page")
    store.insert_many([b"page"])
    run_repack(store, *manifest_of(store.path).pack_ids)
    assert kinds_of(store, key_of(b"page")) == [PLAIN, TREES]


def test_optimize_merges_small_packs_with_packs_of_their_kind(tmp_path: Path) -> None:
    store = Container.create(tmp_path / "store", pack_size_target=1)
    contents = {kind: [noise(3000, 100 * kind + seed) for seed in range(20)] for kind in PackKind}
    for kind, some in contents.items():
        for data in some:
            insert(store, kind, data)
    assert len(manifest_of(store.path).packs) == 60
    store.close()
    config = Path(store.path) / "config.json"
    config.write_bytes(config_with_target(config.read_bytes(), 1 << 22))
    store = Container(store.path)
    optimize.execute(store.engine, optimize.plan(store.engine, optimize.OptimizeOptions()))
    manifest = manifest_of(store.path)
    assert sorted(entry.kind for entry in manifest.packs) == sorted(PackKind)
    for kind, some in contents.items():
        assert [kinds_of(store, key_of(data)) for data in some] == [[kind]] * 20


def config_with_target(data: bytes, target: int) -> bytes:
    return encode_document({**decode_document(data), "pack_size_target": target})


# What is listed.


def test_pages_are_neither_listed_nor_counted_and_what_is_held_is(store: Container) -> None:
    insert(store, TREES, b"page", b"held page", b"plain page", b"loose page")
    insert(store, HELD, b"held", b"held page")
    store.insert_many([b"plain", b"plain page"])
    store.insert_many([b"loose", b"loose page"], to=Place.LOOSE)
    listed = {b"held", b"held page", b"plain", b"plain page", b"loose", b"loose page"}
    keys = sorted(map(key_of, listed))
    assert sorted(store) == keys
    assert len(store) == len(keys)
    assert sorted(meta.key for metas in store.engine.objects.meta_lists() for meta in metas) == keys
    assert len(store.engine.packed) == 4
    assert store.engine.packed.maintenance.stats().live.objects == 4
    assert store.status().packed_objects == 4
    assert store.find(key_of(b"page")[:10]) == key_of(b"page")


def test_inspect_says_what_an_object_is_stored_for(store: Container) -> None:
    insert(store, HELD, b"held", b"both", b"loose too")
    insert(store, TREES, b"page")
    store.insert_many([b"plain", b"both"])
    store.insert(b"loose too")
    stored_for = {
        data: inspect_object(store.engine, key_of(data)).stored_for
        for data in (b"plain", b"held", b"page", b"both", b"loose too")
    }
    assert stored_for == {
        b"plain": ("key",),
        b"held": ("snapshots",),
        b"page": ("snapshots",),
        b"both": ("key", "snapshots"),
        b"loose too": ("key", "snapshots"),
    }


# The index again from the packs.


def everything(store: Container) -> Callable[[Container], None]:
    """Fill a container, and return what asserts that it is whole."""
    insert(store, HELD, *OBJECTS.values())
    insert(store, TREES, b"page", b"")
    store.insert_many([b"", b"plain"])
    native(store.engine).index.commit(lambda newest: newest._replace(refs=key_of(b"page"), epoch=5), Durability.FULL)
    was = manifest_of(store.path)

    def check(container: Container) -> None:
        assert dict(container.extract_many([*OBJECTS, key_of(b"plain"), key_of(b"page")])) == {
            **OBJECTS,
            key_of(b"plain"): b"plain",
            key_of(b"page"): b"page",
        }
        assert len(container) == len(OBJECTS) + 1
        now = native(container.engine).index.refresh().manifest
        assert {entry.id: (entry.kind, entry.live) for entry in now.packs} == {
            entry.id: (entry.kind, entry.live) for entry in was.packs
        }

    return check


def lose_manifests(container: Container) -> None:
    for number in container.engine.layout.manifest_numbers():
        Path(container.engine.layout.manifest(number)).unlink()
    container.close()


def test_without_a_manifest_packs_are_read_by_the_kinds_in_their_headers(store: Container) -> None:
    check = everything(store)
    lose_manifests(store)
    check(Container(store.path))


def test_a_repair_of_the_index_finds_the_kinds_in_the_headers(store: Container) -> None:
    check = everything(store)
    number = manifest_of(store.path).number
    lose_manifests(store)
    store = Container(store.path)
    report = repair_index.execute(store.engine, repair_index.plan(store.engine))
    assert report.is_changed and report.is_good
    manifest = manifest_of(store.path)
    assert manifest.epoch == manifest.number > number
    check(store)
    assert not repair_index.plan(store.engine).faults


def test_a_repair_asks_for_the_newest_refs_document(store: Container) -> None:
    everything(store)
    maintenance = store.engine.packed.maintenance
    page, other = key_of(b"page"), key_of(b"")
    assert not maintenance.index_faults()
    assert not maintenance.index_faults(lambda manifest, view: manifest.refs)
    (fault,) = maintenance.index_faults(lambda manifest, view: other)
    assert "refs document" in fault.reason
    from rsdos.stores.quarantine import Quarantine

    seen = []

    def find(manifest: Manifest, view: object) -> str:
        seen.append((manifest.refs, [entry.kind for entry in manifest.packs]))
        return other

    assert maintenance.rebuild_index(Quarantine(store.engine.layout, "index"), find).is_changed
    assert manifest_of(store.path).refs == other
    assert {refs for refs, _ in seen} == {page}
    assert not maintenance.index_faults(lambda manifest, view: other)


def test_a_manifest_that_calls_a_pack_plain_that_is_held_is_repaired(store: Container) -> None:
    check = everything(store)
    index = native(store.engine).index
    held = next(entry for entry in manifest_of(store.path).packs if entry.kind is HELD)
    index.commit(lambda newest: newest.with_pack(held._replace(kind=PLAIN))._replace(refs=""), Durability.FULL)
    plan = repair_index.plan(store.engine)
    assert any("another kind" in fault.reason for fault in plan.faults)
    assert repair_index.execute(store.engine, plan).is_good
    check(store)


# Damage.


def damage(container: Container, key: str, kind: PackKind) -> None:
    """Damage the copy of an object in packs of a kind."""
    view = native(container.engine).index.refresh().of_kinds((kind,))
    (record,) = view.find_all(bytes.fromhex(key))
    flip(Path(container.engine.layout.pack(record.pack_id)), record.offset)
    container.close()


@pytest.mark.parametrize("kind", PackKind)
def test_a_repair_of_objects_gives_each_kind_a_good_copy_again(store: Container, kind: PackKind) -> None:
    data = noise(2000)
    key = key_of(data)
    insert(store, HELD, data)
    insert(store, TREES, data)
    store.insert_many([data])
    damage(store, key, kind)
    options = repair_objects.RepairObjectsOptions()
    report = repair_objects.execute(store.engine, repair_objects.plan(store.engine, options))
    assert [remedy.key for remedy in report.repaired] == [key]
    assert kinds_of(store, key) == ([PLAIN, TREES] if kind is HELD else [PLAIN, HELD, TREES])
    assert not repair_objects.plan(store.engine, options).remedies
    assert store.extract(key) == data


def test_a_repair_keeps_a_loose_object_and_what_snapshots_hold_of_it(store: Container) -> None:
    data = noise(2000)
    key = key_of(data)
    store.insert(data)
    insert(store, HELD, data)
    damage(store, key, HELD)
    options = repair_objects.RepairObjectsOptions()
    repair_objects.execute(store.engine, repair_objects.plan(store.engine, options))
    assert kinds_of(store, key) == [HELD]
    store.delete([key])
    assert store.extract(key) == data


def test_a_repair_from_another_container_does_not_make_a_held_object_one_by_key(
    store: Container, tmp_path: Path
) -> None:
    data = noise(2000)
    key = key_of(data)
    other = Container.create(tmp_path / "other")
    other.insert(data)
    insert(store, HELD, data)
    damage(store, key, HELD)
    options = repair_objects.RepairObjectsOptions((other.engine,))
    report = repair_objects.execute(store.engine, repair_objects.plan(store.engine, options))
    assert [remedy.key for remedy in report.repaired] == [key]
    assert kinds_of(store, key) == [HELD]
    assert store.extract(key) == data


def test_what_is_given_up_raises_the_epoch(store: Container) -> None:
    data = noise(2000)
    insert(store, HELD, data)
    native(store.engine).index.commit(lambda newest: newest._replace(epoch=3), Durability.FULL)
    damage(store, key_of(data), HELD)
    options = repair_objects.RepairObjectsOptions(beyond_help=repair_objects.Unrepairable.QUARANTINE)
    repair_objects.execute(store.engine, repair_objects.plan(store.engine, options))
    assert manifest_of(store.path).epoch == 4
    assert not store.has(key_of(data))


@pytest.mark.parametrize("kind", PackKind)
def test_a_damaged_pack_is_emptied_into_a_pack_of_its_kind(store: Container, kind: PackKind) -> None:
    contents = [noise(500, seed) for seed in range(4)]
    insert(store, kind, *contents[:2])
    insert(store, kind, *contents[2:])
    (old,) = manifest_of(store.path).packs
    scan = store.engine.packed.inspection.scan(old.id)
    store.close()
    flip(Path(store.engine.layout.pack(old.id)), scan.batches[0].footer_offset + 20)
    assert repair_index.execute(store.engine, repair_index.plan(store.engine)).is_good
    (now,) = manifest_of(store.path).packs
    assert (now.kind, now.id != old.id) == (kind, True)
    assert [store.extract(key_of(data)) for data in contents] == contents


def test_a_header_of_another_kind_is_found_by_a_validation(store: Container) -> None:
    insert(store, HELD, b"held")
    held = manifest_of(store.path).packs[0]
    index = native(store.engine).index
    index.commit(lambda newest: newest.with_pack(held._replace(kind=PLAIN)), Durability.FULL)
    assert any("kind" in finding.reason for finding in store.validate().files)


# A manifest of a later release.


def write_manifest_of_version_7(container: Container) -> None:
    newest = Path(container.engine.layout.manifest(manifest_of(container.path).number))
    newest.write_bytes(encode_document({**decode_document(newest.read_bytes()), "manifest_version": 7}))
    container.close()


def test_a_manifest_of_a_later_release_is_no_damage_and_nothing_is_written(store: Container) -> None:
    keys = store.insert_many(OBJECTS.values())
    insert(store, HELD, b"held")
    store.insert(b"loose")
    write_manifest_of_version_7(store)
    files = {path: path.read_bytes() for path in store.path.rglob("*") if path.is_file() and "locks" not in path.parts}
    store = Container(store.path)
    assert dict(store.extract_many(keys)) == OBJECTS
    assert store.extract(key_of(b"held")) == b"held"
    assert "later release" in store.status().damage
    writes: list[Callable[[], object]] = [
        lambda: store.insert_many([b"new"]),
        lambda: store.delete([key_of(b"loose")]),
        lambda: store.delete(keys),
        lambda: store.retain(keys),
        store.pack_all_loose,
        store.clean_storage,
        store.optimize,
        lambda: repair_index.plan(store.engine),
        store.validate,
    ]
    for write in writes:
        with pytest.raises(UnsupportedContainer, match="later release"):
            write()
    store.close()
    assert {path: path.read_bytes() for path in files} == files


def test_inspect_knows_what_snapshots_reach_that_is_stored_by_key_alone(store: Container) -> None:
    store.insert_many([b"by key", b"both"])
    save(store.engine, "data", {"one": b"both", "two": b"held"})
    stored_for = {data: inspect_object(store.engine, key_of(data)).stored_for for data in (b"by key", b"both", b"held")}
    assert stored_for == {b"by key": ("key",), b"both": ("key", "snapshots"), b"held": ("snapshots",)}
    # Without the newest manifest it is not known what snapshots reach, and what there is is shown all the same.
    lose_manifests(store)
    assert inspect_object(store.engine, key_of(b"both")).stored_for == ("key",)
