"""Repack: dead bytes go, and nothing else."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from rsdos import Busy, CompressMode, Container, DamagedObject, InvalidOption, Place, names
from rsdos.maintenance import repack
from rsdos.maintenance.repack import RepackOptions, RepackReport
from rsdos.model import FRAME_SIZE, Codec
from rsdos.storage.locks import acquire, acquire_shared
from rsdos.stores.encoding import Encoding
from rsdos.stores.packed.store import PackedStore
from tests.data import key_of, noise, text
from tests.helpers import assert_holds, assert_no_leftovers, flip, manifest_of

OBJECTS = {key_of(data): data for data in (b"", b"x", text(3000), noise(5000), text(FRAME_SIZE + 5), noise(70))}


@pytest.fixture(params=[1, 2])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Container:
    return Container.create(tmp_path / "store", container_version=request.param)


def run(container: Container, options: RepackOptions = RepackOptions()) -> RepackReport:  # noqa: B008
    return repack.execute(container.engine, repack.plan(container.engine, options))


def packs_of(container: Container) -> list[int]:
    return container.engine.layout.pack_ids()


def test_the_dead_go_and_the_living_stay(store: Container) -> None:
    keys = store.insert_many(OBJECTS.values())
    old = Container(store.path)
    assert dict(old.extract_many(keys)) == OBJECTS
    store.delete(keys[3:4])
    kept = {key: OBJECTS[key] for key in keys if key != keys[3]}
    before = store.status()
    (pack_id,) = packs_of(store)
    report = run(store, RepackOptions(min_dead=0))
    assert (report.objects, report.pack_ids, report.kept) == (len(kept), (pack_id,), ())
    assert report.size == sum(map(len, kept.values()))
    assert_holds(store, kept)
    assert_holds(old, kept)
    assert_holds(Container(store.path), kept)
    after = store.status()
    assert (after.dead_length, after.dead_objects) == (0, 0)
    assert report.freed == before.packs_length - after.packs_length > 0
    assert pack_id not in packs_of(store)
    assert run(store, RepackOptions(min_dead=0)).pack_ids == ()
    # An id is never used twice, and what was deleted can come again.
    assert store.insert_many(OBJECTS.values()) == keys
    assert pack_id not in packs_of(store)
    assert_holds(Container(store.path), OBJECTS)


def test_the_empty_object_alone_is_transferred(store: Container) -> None:
    """Of its pack not a byte is left."""
    empty, gone = store.insert_many([b"", b"gone"])
    store.delete([gone])
    assert run(store, RepackOptions(min_dead=0)).objects == 1
    assert_holds(Container(store.path), {empty: b""})


def test_only_packs_that_are_worth_it(tmp_path: Path) -> None:
    for version in (1, 2):
        store = Container.create(tmp_path / str(version), pack_size_target=20_000, container_version=version)
        data = [noise(2000, seed) for seed in range(60)]
        keys = store.insert_many(data)
        by_pack: dict[int, list[str]] = {}
        for key in keys:
            extent = store.meta(key).extent
            assert extent is not None
            by_pack.setdefault(extent.pack_id, []).append(key)
        full, little, none, *_ = by_pack
        gone = [*by_pack[full], *by_pack[little][:1]]
        store.delete(gone)
        plan = repack.plan(store.engine, RepackOptions())
        assert full in plan.pack_ids or full not in packs_of(store)
        assert little not in plan.pack_ids
        assert run(store).objects == 0
        assert full not in packs_of(store)
        assert little in packs_of(store)
        assert run(store, RepackOptions(pack_id=little)).objects == len(by_pack[little]) - 1
        assert none in packs_of(store)
        assert_holds(store, {key: one for key, one in zip(keys, data, strict=True) if key not in gone})
        with pytest.raises(InvalidOption):
            run(store, RepackOptions(pack_id=99))
        with pytest.raises(InvalidOption):
            run(store, RepackOptions(min_dead=1.5))


@pytest.mark.parametrize("compression", ["none", "zlib", "zstd:+3"])
def test_another_compression(compression: str, store: Container) -> None:
    if compression.startswith("zstd") and store.config.version == 1:
        with pytest.raises(InvalidOption):
            run(store, RepackOptions(compression))
        return
    objects = list(OBJECTS.values())
    keys = store.insert_many(objects[:3])
    keys += store.insert_many(objects[3:], compress=CompressMode.NO)
    report = run(store, RepackOptions(compression))
    assert (report.objects, report.damaged) == (len(OBJECTS), ())
    assert_holds(Container(store.path), OBJECTS)
    codecs = {store.meta(key).codec for key in keys}
    assert codecs == {{"none": Codec.RAW, "zlib": Codec.ZLIB, "zstd:+3": Codec.ZSTD}[compression]}
    assert all(store.engine.packed.verify_many([bytes.fromhex(key) for key in keys]))


def test_a_compression_for_what_becomes_clearly_smaller_alone(container: Container) -> None:
    keys = container.insert_many(OBJECTS.values(), compress=CompressMode.NO)
    mixed = container.insert_many([noise(FRAME_SIZE) + text(2 * FRAME_SIZE)], compress=CompressMode.NO)
    run(container, RepackOptions("zstd:+3", compress=CompressMode.AUTO))
    codecs = {key: container.meta(key).codec for key in keys + mixed}
    assert codecs[key_of(noise(5000))] is Codec.RAW
    assert codecs[key_of(text(3000))] is codecs[key_of(text(FRAME_SIZE + 5))] is Codec.ZSTD
    assert codecs[mixed[0]] is Codec.MIXED


def test_mixed_frames_are_copied_as_they_are_and_compressed_as_a_whole_on_request(container: Container) -> None:
    data = noise(FRAME_SIZE) + text(2 * FRAME_SIZE) + noise(70)
    key, gone = container.insert_many([data, noise(80)])
    stored = stored_bytes(container, key)
    container.delete([gone])
    run(container, RepackOptions(min_dead=0))
    assert stored_bytes(container, key) == stored
    assert container.meta(key).codec is Codec.MIXED
    for compression, codec in (("zstd", Codec.ZSTD), ("none", Codec.RAW), ("zlib", Codec.ZLIB)):
        run(container, RepackOptions(compression))
        assert container.meta(key).codec is codec
        assert Container(container.path).extract(key) == data


def stored_bytes(container: Container, key: str) -> bytes:
    extent = container.meta(key).extent
    assert extent is not None
    pack = (container.path / "packed" / f"{extent.pack_id:010d}.pack").read_bytes()
    return pack[extent.offset : extent.offset + extent.length]


def test_stored_bytes_are_copied_as_they_are(store: Container) -> None:
    keys = store.insert_many(OBJECTS.values(), compress=CompressMode.AUTO)
    before = {key: (store.meta(key).codec, store.meta(key).length) for key in keys}
    store.delete(keys[1:2])
    run(store, RepackOptions(min_dead=0))
    assert {key: (store.meta(key).codec, store.meta(key).length) for key in keys if key in store} == {
        key: form for key, form in before.items() if key != keys[1]
    }


def test_a_pack_that_is_written_to_is_left_alone(store: Container) -> None:
    keys = store.insert_many(OBJECTS.values())
    store.delete(keys[:3])
    (pack_id,) = packs_of(store)
    with acquire(store.engine.layout.pack_lock(pack_id)):
        assert run(store, RepackOptions(min_dead=0)).skipped == (pack_id,)
    assert_holds(store, {key: OBJECTS[key] for key in keys[3:]})


def test_a_long_reader_keeps_a_pack(store: Container) -> None:
    keys = store.insert_many(OBJECTS.values())
    store.delete(keys[3:4])
    kept = {key: OBJECTS[key] for key in keys if key != keys[3]}
    (pack_id,) = packs_of(store)
    with acquire_shared(store.engine.layout.readers_lock):
        report = run(store, RepackOptions(min_dead=0))
        assert report.kept == (pack_id,)
        assert Path(store.engine.layout.pack(pack_id)).exists()
        assert_holds(Container(store.path), kept)
    store.pack_all_loose()  # Any maintenance sweeps.
    assert pack_id not in packs_of(store)
    assert_holds(Container(store.path), kept)


def test_an_open_extract_many_is_a_long_reader(container: Container) -> None:
    keys = container.insert_many(OBJECTS.values())
    container.delete(keys[3:4])
    kept = {key: OBJECTS[key] for key in keys if key != keys[3]}
    reading = Container(container.path).extract_many(kept)
    seen = dict([next(reading)])
    assert run(container, RepackOptions(min_dead=0)).kept == (1,)
    assert seen | dict(reading) == kept


def test_a_rebuild_does_not_resurrect_deleted_objects(container: Container) -> None:
    """The old pack is still there, for a reader; the object was deleted in its new place; then the index is lost."""
    keys = container.insert_many(OBJECTS.values())
    container.delete(keys[2:3])
    with acquire_shared(container.engine.layout.readers_lock):
        assert run(container, RepackOptions(min_dead=0)).kept == (1,)
        other = Container(container.path)
        # Not by `delete`, which would sweep the old pack away if the reader were gone by now.
        packed = other.engine.packed
        assert isinstance(packed, PackedStore)
        assert list(packed.maintenance.delete([bytes.fromhex(keys[1])])) == [bytes.fromhex(keys[1])]
    assert sorted(packs_of(container)) == [1, 2]
    for path in (container.path / "index").iterdir():
        path.unlink()
    assert_holds(Container(container.path), {key: OBJECTS[key] for key in [keys[0], *keys[3:]]})


def test_tombstones_for_other_packs_go_along(tmp_path: Path) -> None:
    """The pack that holds them is repacked; what they kill is in one that stays."""
    container = Container.create(tmp_path / "container", pack_size_target=30_000)
    first = container.insert_many(noise(1000, seed) for seed in range(40))
    second = container.insert_many(noise(1000, seed) for seed in range(40, 60))
    container.delete(first[:5])
    deletions = [segment.pack_id for segment in manifest_of(container.path).segments if segment.tombstones]
    assert deletions
    container.delete(second)
    for _ in range(2):
        for pack_id in deletions:
            if manifest_of(container.path).packs.has(pack_id):
                run(container, RepackOptions(pack_id=pack_id))
        deletions = [segment.pack_id for segment in manifest_of(container.path).segments if segment.tombstones]
    left = {key: noise(1000, seed) for seed, key in enumerate(first) if seed >= 5}
    assert_holds(Container(container.path), left)
    for path in (container.path / "index").iterdir():
        path.unlink()
    assert_holds(Container(container.path), left)


def test_the_old_pack_is_sealed_once_whichever_pack_is_free(container: Container) -> None:
    keys = container.insert_many(OBJECTS.values())
    container.delete(keys[:2])
    number = manifest_of(container.path).number
    lock = container.engine.layout.storage.lock(names.pack_lock(2), wait=False)
    assert lock is not None
    with lock:
        assert run(container, RepackOptions(pack_id=1)).pack_ids == (1,)
    assert packs_of(container) == [3]
    assert manifest_of(container.path).number == number + 2
    assert_holds(Container(container.path), {key: OBJECTS[key] for key in keys[2:]})


def test_a_pack_that_is_younger_than_the_loaded_state_is_rewritten(tmp_path: Path) -> None:
    """As by a process that has the container open since before the plan was made."""
    container = Container.create(tmp_path / "container", pack_size_target=5000)
    first = container.insert_many([noise(6000, 1)])
    other = Container(container.path)
    assert other.has(first[0])
    second = container.insert_many([noise(6000, 2)])
    packs = packs_of(container)
    assert len(packs) == 2
    rewritten = other.engine.packed.maintenance.rewrite(packs[1:], None, lambda _: None)
    assert (rewritten.objects, rewritten.is_gone) == (1, True)
    assert_holds(Container(container.path), {first[0]: noise(6000, 1), second[0]: noise(6000, 2)})


def test_a_second_copy_does_not_go_on_and_the_only_good_one_does(container: Container) -> None:
    encoding = Encoding(CompressMode.NO, container.config.codec)
    data = [noise(500, seed) for seed in range(4)]
    packed = container.engine.packed
    with packed.writer() as one, Container(container.path).engine.packed.writer() as two:
        for writer in (one, two):
            writer.add_many(data, encoding)
            writer.commit()
    objects = {key_of(one): one for one in data}
    assert (container.status().packed_objects, container.status().dead_objects) == (4, 4)
    # In pack 1 the first is damaged now: of pack 2 that one goes on (to pack 1, which is not sealed), the others not.
    flip(container.path / "packed" / "0000000001.pack", 4096)
    report = run(container, RepackOptions(pack_id=2))
    assert report.objects == 1
    assert (container.status().packed_objects, container.status().dead_objects) == (4, 1)
    assert_holds(Container(container.path), objects)
    # The damaged one does not go on, as there is another.
    report = run(container, RepackOptions(pack_id=1))
    assert (report.objects, report.damaged) == (4, ())
    assert (container.status().packed_objects, container.status().dead_objects) == (4, 0)
    assert_holds(Container(container.path), objects)


def test_a_damaged_object_is_copied_and_reported(container: Container) -> None:
    keys = container.insert_many(OBJECTS.values(), compress=CompressMode.NO)
    for key in keys[3:5]:
        extent = container.meta(key).extent
        assert extent is not None
        flip(container.path / "packed" / "0000000001.pack", extent.offset + 10)
    for compression in ("keep", "zlib"):
        (pack_id,) = packs_of(container)
        report = run(container, RepackOptions(compression, pack_id=pack_id))
        assert sorted(report.damaged) == sorted(keys[3:5])
        fresh = Container(container.path)
        for key in keys:
            if key in keys[3:5]:
                with pytest.raises(DamagedObject):
                    fresh.extract(key)
            else:
                assert fresh.extract(key) == OBJECTS[key]


def test_a_pack_of_damaged_structure_is_left_for_repair(container: Container) -> None:
    keys = container.insert_many([noise(5000)])
    container.insert_many([noise(6000, 1)])
    pack = container.path / "packed" / "0000000001.pack"
    flip(pack, manifest_of(container.path).packs[0].length - 30)
    assert run(container, RepackOptions(pack_id=1)).unreadable == (1,)
    assert Container(container.path).extract(keys[0]) == noise(5000)


def test_a_second_run_is_told_the_holder_of_the_lock(store: Container) -> None:
    keys = store.insert_many(OBJECTS.values())
    store.delete(keys[:3])
    with store.engine.maintenance("validate"), pytest.raises(Busy, match="validate, process"):
        run(Container(store.path), RepackOptions(min_dead=0))


@pytest.mark.parametrize("seed", range(4))
def test_everything_at_random_against_a_dict(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    store = Container.create(tmp_path / "store", pack_size_target=6000, container_version=1 + seed % 2)
    other = Container(store.path)
    data = {key_of(one): one for one in (noise(rng.randrange(400), n) for n in range(150))}
    model: dict[str, bytes] = {}
    for _ in range(80):
        keys = rng.sample(list(data), rng.randrange(1, 30))
        match rng.randrange(5):
            case 0 | 1:
                rng.choice((store, other)).insert_many([data[key] for key in keys], to=rng.choice(list(Place)))
                model |= {key: data[key] for key in keys}
            case 2:
                gone = rng.choice((store, other)).delete(keys)
                assert gone == [key for key in keys if model.pop(key, None) is not None]
            case 3:
                rng.choice((store, other)).pack_all_loose()
            case 4:
                run(rng.choice((store, other)), RepackOptions(min_dead=rng.choice((0, 0.2, 0.5))))
        if rng.random() < 0.3:
            assert_holds(rng.choice((other, Container(store.path))), model)
    store.pack_all_loose()
    assert_holds(Container(store.path), model)
    assert len(store.engine.packed) == len(model)
    if store.config.version == 2:
        assert_no_leftovers(store.path)
        counted = manifest_of(store.path)
        for path in (store.path / "index").iterdir():
            path.unlink()
        assert_holds(Container(store.path), model)
        assert Container(store.path).status().packed_objects == counted.objects


@pytest.mark.parametrize("how", ["flipped", "emptied", "missing"])
def test_a_pack_whose_segment_file_is_damaged_is_rewritten_by_the_table_in_it(tmp_path: Path, how: str) -> None:
    """The file is not synced before the commit that names it: a power loss may take it, and the pack has the same."""
    path = tmp_path / "container"
    objects = {key_of(data): data for data in (b"%d" % number for number in range(9000))}
    with Container.create(path) as container:
        keys = container.insert_many(objects.values())
        container.delete(keys[:10])
    (segment,) = (path / "index").glob("*.seg")
    if how == "flipped":
        for at in (70, 5000, 100_000):
            flip(segment, at)
    elif how == "emptied":
        segment.write_bytes(bytes(segment.stat().st_size))
    else:
        segment.unlink()
    with Container(path) as container:
        report = run(container, RepackOptions(min_dead=0))
        assert (report.objects, report.pack_ids, report.unreadable) == (8990, (1,), ())
        assert container.status().dead_objects == 0
        assert_holds(container, {key: objects[key] for key in keys[10:]})
        assert container.validate("full").is_good
