"""Writers of packs, side by side and one after another."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import cast

import pytest

from rsdos import Busy, CompressMode, Container, WriterPoisoned
from rsdos.model import FRAME_SIZE, Codec, Compression, Source
from rsdos.storage.locks import acquire
from rsdos.stores.encoding import Encoding
from tests.data import key_of, noise, text
from tests.helpers import assert_holds, assert_no_leftovers, manifest_of

RAW = Encoding(CompressMode.NO, Compression(Codec.RAW))


def test_writers_at_the_same_time_have_a_pack_each(container: Container) -> None:
    others = [Container(container.path) for _ in range(3)]
    writers = [other.engine.packed.writer() for other in others]
    for number, writer in enumerate(writers):
        writer.__enter__()
        writer.add_many([b"%d" % number], RAW)
    for writer in reversed(writers):
        writer.commit()
        writer.__exit__(None, None, None)
    assert sorted(pack_id for writer in writers for pack_id in writer.pack_ids) == [1, 2, 3]
    assert_holds(container, {key_of(data): data for data in (b"0", b"1", b"2")})
    assert_no_leftovers(container.path)
    # One after another they go on in the first.
    container.insert_many([b"more"])
    assert container.meta(key_of(b"more")).extent is not None
    assert [pack.objects for pack in manifest_of(container.path).packs] == [2, 1, 1]


def test_an_object_written_by_two_writers_is_counted_as_dead_once(container: Container) -> None:
    data = [b"only in the first", b"in both", text(FRAME_SIZE + 1)]
    with Container(container.path).engine.packed.writer() as first:
        first.add_many(data[:2], RAW)
        first.add_frames(iter([data[2][:FRAME_SIZE], data[2][FRAME_SIZE:]]), RAW)
        container.insert_many([*data[1:], b"only in the second"])
        first.commit()
    manifest = manifest_of(container.path)
    assert manifest.objects == 4 == len(container)
    assert sum(pack.objects for pack in manifest.packs) == 6
    assert sum(pack.dead_objects for pack in manifest.packs) == 2
    assert sum(pack.dead_size for pack in manifest.packs) == len(b"in both") + FRAME_SIZE + 1
    assert any(pack.dead_stored for pack in manifest.packs)
    assert_holds(container, {key_of(one): one for one in (*data, b"only in the second")})


def test_an_object_inserted_while_a_writer_changed_packs_is_counted_once(tmp_path: Path) -> None:
    with Container.create(tmp_path / "container", pack_size_target=300) as container:
        with Container(container.path).engine.packed.writer() as first:
            first.add_many([b"fills the pack"], RAW)
            assert manifest_of(container.path).packs.has(1)
            container.insert_many([b"in both"])
            first.add_many([b"in both"], RAW)
            first.commit()
        manifest = manifest_of(container.path)
        assert (manifest.objects, len(list(container))) == (2, 2)
        assert sum(pack.live.size for pack in manifest.packs) == len(b"fills the pack") + len(b"in both")


@pytest.mark.parametrize("version", [1, 2])
def test_duplicate_deleted_before_commit_is_written_once(tmp_path: Path, version: int) -> None:
    data = noise(5000)
    with Container.create(tmp_path / "container", container_version=version) as container:
        container.insert_many([data])
        with Container(container.path).engine.packed.writer() as writer:
            writer.add_many([data], RAW)
            container.delete([key_of(data)])
            writer.add_many([data], RAW)
            writer.commit()
        assert_holds(container, {key_of(data): data})
        assert sum(pack.stored for pack in container.engine.packed.maintenance.stats().packs) == 2 * len(data)


def test_an_id_that_was_never_committed_is_used_and_one_that_was_is_not(container: Container) -> None:
    """A dead writer's file of an uncommitted id is taken over; one that the others have passed by is swept."""
    for pack_id in (1, 2):
        (container.path / "packed" / f"{pack_id:010d}.pack").write_bytes(b"of a dead writer")
    with acquire(container.engine.layout.pack_lock(1)):
        container.insert_many([b"x"])
        assert [pack.id for pack in manifest_of(container.path).packs] == [2]
    # 1 is not given out any more, though it is free again.
    container.insert_many([b"y"])
    assert [pack.id for pack in manifest_of(container.path).packs] == [2]
    container.pack_all_loose()
    assert_no_leftovers(container.path)
    assert_holds(container, {key_of(data): data for data in (b"x", b"y")})


def test_a_pack_is_sealed_when_it_has_reached_its_target(tmp_path: Path) -> None:
    with Container.create(tmp_path / "container", pack_size_target=50_000) as container:
        objects = {key_of(data): data for data in (noise(9000, seed) for seed in range(40))}
        container.insert_many(objects.values())
        packs = manifest_of(container.path).packs
        assert len(packs) >= 5
        assert all(pack.sealed and pack.length >= 50_000 for pack in packs[:-1])
        assert all(pack.length < 50_000 + 9000 + 2 * 4096 for pack in packs)
        assert [pack.objects for pack in packs if pack.objects == 0] == []
        assert_holds(container, objects)


def test_a_block_that_raises_undoes_everything(container: Container) -> None:
    kept = container.insert_many([b"kept"])
    length = manifest_of(container.path).packs[0].length
    with pytest.raises(ZeroDivisionError), container.engine.packed.writer() as writer:
        writer.add_many([noise(50_000)], RAW)
        raise ZeroDivisionError
    assert (container.path / "packed" / "0000000001.pack").stat().st_size == length
    with pytest.raises(WriterPoisoned):
        writer.add_many([b"more"], RAW)
    assert_holds(container, {kept[0]: b"kept"})
    assert_no_leftovers(container.path)


def test_a_large_duplicate_among_new_objects_leaves_no_hole(container: Container) -> None:
    large = noise(2 * FRAME_SIZE)
    container.insert_many([large])
    before = manifest_of(container.path)
    container.insert_many(cast("list[Source]", [b"a", large, b"b", large]))
    after = manifest_of(container.path)
    assert after.objects == before.objects + 2
    assert after.packs_length - before.packs_length <= 2 * 4096
    assert not any(pack.dead_stored for pack in after.packs)


def test_a_second_maintenance_run_waits_for_nobody(container: Container) -> None:
    container.insert(b"x")
    with container.engine.maintenance(), pytest.raises(Busy) as caught:
        Container(container.path).pack_all_loose()
    assert isinstance(caught.value, BlockingIOError)
    assert container.pack_all_loose().objects == 1


def test_threads_that_write_the_same_objects(container: Container) -> None:
    data = [noise(3000, seed) for seed in range(30)]
    barrier = threading.Barrier(4)
    results: list[list[str]] = []

    def write() -> None:
        barrier.wait()
        results.append(container.insert_many(data))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[key_of(one) for one in data]] * 4
    assert_holds(container, {key_of(one): one for one in data})
    assert os.listdir(container.path / "sandbox") == []
