"""Objects that were compressed with a dictionary: every way in and out, and the dictionary twice in each pack."""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
import struct
import subprocess
import threading
import zlib
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from rsdos import Codec, CompressMode, Container, DamagedObject, Place
from rsdos.codecs import dictionary as cache
from rsdos.compat import disk_objectstore as compat
from rsdos.index.dictionaries import MOST_DICTIONARIES
from rsdos.index.pack_entry import PackEntry
from rsdos.model import FIRST_DICTIONARY, FRAME_SIZE
from rsdos.stores.encoding import Forms
from rsdos.stores.packed.writer import PackedBatch
from tests.data import key_of, noise, text
from tests.dictionaries import Reusing, chosen_by, records, trained, using
from tests.helpers import assert_holds, assert_no_leftovers, flip, manifest_of, native, run_python

SOME = {key_of(data): data for data in records(50)}
MORE = {key_of(data): data for data in records(40, 1)}


@pytest.fixture
def filled(tmp_path: Path) -> Container:
    """A container whose only batch was compressed with a dictionary."""
    with Container.create(tmp_path / "container") as container, using():
        container.insert_many(SOME.values())
    return Container(container.path)


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """No dictionary is cached from another test."""
    monkeypatch.setattr(cache, "_cached", {})


def codecs_of(container: Container, keys: list[str]) -> list[int]:
    """The codecs on disk."""
    index = native(container.engine).index
    index.refresh()
    return [index.find_all(bytes.fromhex(key))[0].codec for key in keys]


def pack(container: Container, pack_id: int = 1) -> PackEntry:
    entry = manifest_of(container.path).packs.find(pack_id)
    assert entry is not None
    return entry


def pack_file(container: Container, pack_id: int = 1) -> Path:
    return container.path / "packed" / f"{pack_id:010d}.pack"


def damage(container: Container, *copies: int, pack_id: int = 1, number: int = 0) -> None:
    """Flip a bit of some copies of a dictionary."""
    place = pack(container, pack_id).dictionaries[number]
    for copy in copies:
        flip(pack_file(container, pack_id), place.offsets[copy] + place.length // 2)
    cache._cached = {}


# In and out.


def test_every_way_to_read_gives_the_bytes(filled: Container, tmp_path: Path) -> None:
    assert_holds(filled, SOME)
    for key, data in SOME.items():
        with filled.open(key) as stream:
            stream.seek(10)
            assert stream.read() == data[10:]
        filled.extract_to(key, tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == data
        assert filled.meta(key).codec is Codec.ZSTD
    assert sum(filled.meta(key).length for key in SOME) < 0.5 * sum(map(len, SOME.values()))
    assert_no_leftovers(filled.path)


def test_another_process_reads_them(filled: Container) -> None:
    code = "import sys, rsdos\nwith rsdos.Container(sys.argv[1]) as c: print(sorted(k for k, d in c.extract_many(c)))"
    assert run_python(code, filled.path).strip() == str(sorted(SOME))


def test_threads_and_a_fork_read_them(filled: Container) -> None:
    failed: list[BaseException] = []

    def read() -> None:
        try:
            assert dict(filled.extract_many(SOME)) == SOME
            assert all(filled.extract(key) == data for key, data in SOME.items())
            filled.close()
        except BaseException as error:  # noqa: BLE001  told below
            failed.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    child = os.fork()
    if child == 0:
        read()
        os._exit(bool(failed))
    assert os.waitpid(child, 0)[1] == 0


def test_the_dictionary_is_in_the_pack_twice_around_its_objects(filled: Container) -> None:
    (place,) = pack(filled).dictionaries
    data = pack_file(filled).read_bytes()
    for offset in place.offsets:
        assert sha256(data[offset : offset + place.length]).digest() == place.digest == trained().digest
    extents = [filled.meta(key).extent for key in SOME]
    assert all(
        e and place.offsets[0] + place.length <= e.offset < e.offset + e.length <= place.offsets[1] for e in extents
    )
    (batch,) = filled.inspect_pack(1).batches
    assert batch.start <= place.offsets[0] and place.end <= batch.segment_offset
    assert set(codecs_of(filled, list(SOME))) == {FIRST_DICTIONARY}


def test_it_is_no_object_of_the_container(filled: Container) -> None:
    assert len(filled) == len(SOME) and trained().key not in filled
    assert trained().key not in set(filled)
    assert pack(filled).objects == len(SOME)
    assert filled.validate().is_good


def test_a_pack_that_has_it_does_not_get_it_again(filled: Container) -> None:
    before = pack(filled).dictionaries
    with using():
        filled.insert_many(MORE.values())
    assert pack(filled).dictionaries == before
    assert pack_file(filled).read_bytes().count(trained().data) == 2
    assert set(codecs_of(filled, list(MORE))) == {FIRST_DICTIONARY}
    assert_holds(filled, SOME | MORE)


def test_several_dictionaries_in_several_packs_each_with_its_own_numbers(tmp_path: Path) -> None:
    one, two, three = (trained(seed) for seed in range(3))
    objects: dict[str, bytes] = {}
    with Container.create(tmp_path / "container", pack_size_target=60_000) as container:
        for number, used in enumerate((one, two, three, one, two, three, three, two, one)):
            with using(used):
                made = records(60, number)
                objects |= dict(zip(container.insert_many(made), made, strict=True))
                container.insert_many([noise(12_000, number)], compress=CompressMode.NO)
                objects[key_of(noise(12_000, number))] = noise(12_000, number)
        lists = [[place.digest for place in entry.dictionaries] for entry in manifest_of(container.path).packs]
        assert len(lists) > 2 and len({tuple(digests) for digests in lists}) > 1
        assert all(len(set(digests)) == len(digests) for digests in lists)
        assert_holds(container, objects)
        assert container.validate().is_good
    with Container(container.path) as fresh:
        assert_holds(fresh, objects)


def test_one_call_that_fills_packs_takes_the_dictionary_to_each(tmp_path: Path) -> None:
    objects = {key_of(data): data for data in records(400)}
    with Container.create(tmp_path / "container", pack_size_target=20_000) as container, using():
        container.insert_many(objects.values())
        packs = manifest_of(container.path).packs
        assert len(packs) > 1 and all(len(entry.dictionaries) == 1 for entry in packs)
        assert_holds(container, objects)
        assert_no_leftovers(container.path)


def test_objects_of_every_kind_in_one_call(container: Container) -> None:
    objects = [b"", b"x", noise(300), text(400), text(70_000), noise(FRAME_SIZE), text(2 * FRAME_SIZE), *records(30)]
    with using():
        container.insert_many(objects)
        container.insert_many(objects)
    assert_holds(container, {key_of(data): data for data in objects})
    small = [key_of(records(30)[0])]
    assert codecs_of(container, small) == [FIRST_DICTIONARY]
    assert set(codecs_of(container, [key_of(noise(300)), key_of(b"")])) == {Codec.RAW}
    assert codecs_of(container, [key_of(text(70_000))]) == [Codec.ZSTD]
    assert len(container) == len(objects)


def test_a_single_insert_uses_what_its_pack_has(filled: Container) -> None:
    with chosen_by(Reusing(None)):
        for data in MORE.values():
            filled.insert(data, to=Place.PACKED)
    assert set(codecs_of(filled, list(MORE))) == {FIRST_DICTIONARY}
    assert len(pack(filled).dictionaries) == 1
    assert_holds(filled, SOME | MORE)


def test_a_dictionary_of_another_pack_is_found_by_its_key(filled: Container) -> None:
    filled.close()
    entry = pack(filled)
    native(filled.engine).index.commit(
        lambda newest: newest.with_pack(entry._replace(sealed=True)), native(filled.engine).durability
    )
    with chosen_by(Reusing(None)):
        filled.insert_many(MORE.values())
    assert [place.digest for place in pack(filled, 2).dictionaries] == [trained().digest]
    assert_holds(filled, SOME | MORE)


def test_nothing_is_written_where_no_object_gains(container: Container) -> None:
    with using():
        container.insert_many([noise(100, seed) for seed in range(30)])
    assert pack(container).dictionaries == ()
    assert pack_file(container).read_bytes().count(trained().data) == 0


def test_compressing_all_uses_it_for_all(container: Container) -> None:
    objects = [noise(100, 1), *records(5)]
    with using():
        container.insert_many(objects, compress=CompressMode.YES)
    # Noise gets a frame without it.
    assert codecs_of(container, [key_of(data) for data in objects]) == [Codec.ZSTD, *[FIRST_DICTIONARY] * 5]
    assert_holds(container, {key_of(data): data for data in objects})


@pytest.mark.parametrize("settings", [{"compression": "zlib+1"}, {"compression": "none"}, {"container_version": 1}])
def test_nobody_is_asked_where_no_dictionary_can_be(tmp_path: Path, settings: dict[str, object]) -> None:
    with Container.create(tmp_path / "container", **settings) as container, using() as chooser:  # type: ignore[arg-type]
        container.insert_many(SOME.values())
        container.insert_many(MORE.values(), to=Place.LOOSE)
        container.pack_all_loose()
        assert not chooser.asked
        assert_holds(container, SOME | MORE)


def test_loose_objects_are_packed_with_one(tmp_path: Path) -> None:
    with Container.create(tmp_path / "container") as container, using():
        container.insert_many(SOME.values(), to=Place.LOOSE)
        container.pack_all_loose()
        assert set(codecs_of(container, list(SOME))) == {FIRST_DICTIONARY}
        assert_holds(container, SOME)


def test_a_source_that_fails_leaves_nothing_of_a_dictionary(filled: Container) -> None:
    def sources() -> Iterator[bytes]:
        yield from MORE.values()
        yield noise(FRAME_SIZE + 1)
        raise RuntimeError

    before = pack(filled), pack_file(filled).stat().st_size
    with using(trained(1)), pytest.raises(RuntimeError):
        filled.insert_many(sources())
    assert (pack(filled), pack_file(filled).stat().st_size) == before
    with using(trained(2)):
        filled.insert_many(MORE.values())
    assert [place.digest for place in pack(filled).dictionaries] == [trained().digest, trained(2).digest]
    assert_holds(filled, SOME | MORE)


def test_a_large_duplicate_that_is_taken_back_takes_no_dictionary_with_it(filled: Container) -> None:
    large = text(2 * FRAME_SIZE)
    filled.insert_many([large])
    with using(trained(1)):
        filled.insert_many([*list(MORE.values())[:20], large, *list(MORE.values())[20:]])
    assert_holds(filled, SOME | MORE | {key_of(large): large})
    assert filled.validate().is_good


def test_a_pack_with_all_its_numbers_takes_more_objects_raw(filled: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsdos.stores.packed.dictionary_writer.MOST_DICTIONARIES", 2)
    assert MOST_DICTIONARIES == 240
    with using(trained(1), trained(2)):
        filled.insert_many(list(MORE.values())[:20])
        filled.insert_many(list(MORE.values())[20:])
    assert len(pack(filled).dictionaries) == 2
    assert_holds(filled, SOME | MORE)


# By other programs.


def frames_and_dictionaries(pack: bytes) -> tuple[dict[str, tuple[int, bytes]], dict[int, bytes]]:
    """Return codec and stored bytes of each object, and the dictionaries by their numbers, as docs/format.md says."""
    stored: dict[str, tuple[int, bytes]] = {}
    dictionaries: dict[int, bytes] = {}
    footer = len(pack) - 64
    while footer > 0:
        magic, _, _, _, start, at, _, before, _ = struct.unpack_from("<8sHHIQQQQ16s", pack, footer)
        assert magic == b"RSDOSFTR"
        magic, kind, _, z, n, _, _, d, first, _, _ = struct.unpack_from("<8sHHIQQIIII16s", pack, at)
        assert (magic, kind) == (b"RSDOSSEG", 3)
        stream = at + 64 + 36 * n
        columns = zlib.decompress(pack[stream : stream + z])
        gaps, lengths, _, _, codecs, _ = _columns(columns, n)
        end = 0
        for i in range(n):
            offset = (end + gaps[i]) % (1 << 64)
            end = offset + lengths[i]
            assert start <= offset <= end <= at
            stored[pack[at + 64 + 32 * i :][:32].hex()] = codecs[i], pack[offset:end]
        for number in range(d):
            digest, length, *offsets = struct.unpack_from("<32sQQQ", pack, stream + z + 56 * number)
            first_copy, second = (pack[offset : offset + length] for offset in offsets)
            assert first_copy == second and sha256(second).digest() == digest
            dictionaries[first + number] = second
        footer = before
    return stored, dictionaries


def _columns(data: bytes, n: int) -> Iterator[list[int]]:
    """Gap, length, size, pack id, codec, flags: of each the first bytes of all entries, then the second, and so on."""
    for width in (8, 8, 8, 4, 1, 1):
        column, data = data[: width * n], data[width * n :]
        yield [int.from_bytes(column[i::n], "little") for i in range(n)]


@pytest.mark.skipif(shutil.which("zstd") is None, reason="needs the program zstd")
def test_the_program_zstd_decodes_every_frame_with_its_dictionary(filled: Container, tmp_path: Path) -> None:
    """As docs/format.md promises: the frame and the dictionary are all that it needs. Two dictionaries, one pack."""
    with using(trained(1)):
        filled.insert_many(MORE.values())
    filled.close()
    stored, dictionaries = frames_and_dictionaries(pack_file(filled).read_bytes())
    for number, objects in enumerate((SOME, MORE)):
        (tmp_path / "dictionary").write_bytes(dictionaries[number])
        for key, data in objects.items():
            codec, frame = stored[key]
            assert codec == 16 + number and len(frame) < len(data)
            program = ["zstd", "-q", "-d", "-c", "-D", str(tmp_path / "dictionary")]
            assert subprocess.run(program, input=frame, stdout=subprocess.PIPE, check=True).stdout == data


# Looking at it.


def test_inspect_names_the_dictionary(filled: Container) -> None:
    key = next(iter(SOME))
    view = filled.inspect_object(key)
    assert view.dictionaries == (trained().key,) and view.copies[0].codec is Codec.ZSTD
    filled.insert(b"loose")
    assert filled.inspect_object(key_of(b"loose")).dictionaries == (None,)
    meta = compat.Container(filled.path).get_object_meta(key)
    assert meta["pack_compressed"] and meta["size"] == len(SOME[key])


# Beside others.


def test_a_reader_with_an_older_state_never_decodes_with_another_dictionary(filled: Container) -> None:
    """The pack of its state goes, and comes again in a place where number 0 is another dictionary."""
    with Container(filled.path) as reader:
        assert dict(reader.extract_many(list(SOME)[:10])) == {key: SOME[key] for key in list(SOME)[:10]}
        with using(trained(1)):
            entry = pack(filled)
            index = native(filled.engine).index
            index.commit(lambda newest: newest.with_pack(entry._replace(sealed=True)), native(filled.engine).durability)
            filled.insert_many(MORE.values())
        filled.repack(min_dead=0, pack_id=1)
        assert [place.digest for place in pack(filled, 2).dictionaries] == [trained(1).digest, trained().digest]
        assert not pack_file(filled).exists()
        cache._cached = {}
        assert dict(reader.extract_many(SOME)) == SOME
        assert all(reader.extract(key) == data for key, data in SOME.items())


def test_a_container_that_is_replaced_by_one_with_other_dictionaries(tmp_path: Path) -> None:
    with Container.create(tmp_path / "container") as container:
        shutil.copytree(container.path, tmp_path / "older")
        with using(trained(1)):
            container.insert_many(SOME.values())
        assert_holds(container, SOME)
        shutil.rmtree(container.path)
        shutil.copytree(tmp_path / "older", container.path)
        with Container(container.path) as other, using(trained(2)):
            other.insert_many([*MORE.values(), *SOME.values()])
        assert_holds(container, SOME | MORE)


def test_what_a_power_loss_takes_goes_with_its_dictionary(tmp_path: Path) -> None:
    with Container.create(tmp_path / "container") as container, using():
        container.insert_many(SOME.values())
    whole = pack_file(container).stat().st_size
    with Container(container.path, durability="relaxed") as container, using(trained(1)):
        container.insert_many(MORE.values())
    container.close()
    os.truncate(pack_file(container), whole)
    with Container(container.path) as container, using(trained(2)):
        assert_holds(container, SOME)
        container.insert_many(MORE.values())
        assert [place.digest for place in pack(container).dictionaries] == [trained().digest, trained(2).digest]
        assert_holds(container, SOME | MORE)
        assert container.validate().is_good


# Carrying.


def test_a_repack_keeps_the_stored_bytes_and_takes_the_dictionary_along(filled: Container) -> None:
    filled.insert_many([b"to be deleted"])
    filled.delete([key_of(b"to be deleted")])
    before = {key: filled.meta(key).length for key in SOME}
    assert filled.repack(min_dead=0).pack_ids == (1,)
    assert {key: filled.meta(key).length for key in SOME} == before
    assert [place.digest for place in pack(filled, 2).dictionaries] == [trained().digest]
    assert not pack_file(filled).exists()
    cache._cached = {}
    assert_holds(filled, SOME)
    assert filled.validate().is_good


def test_a_repack_translates_numbers(tmp_path: Path) -> None:
    with Container.create(tmp_path / "container") as container:
        for number in range(3):
            with using(trained(number)):
                made = records(200, number)
                container.insert_many(made)
        entry = pack(container)
        index = native(container.engine).index
        index.commit(lambda newest: newest.with_pack(entry._replace(sealed=True)), native(container.engine).durability)
        with using(trained(2)):
            container.insert_many(records(20, 9))
        objects = {key_of(data): data for seed in (0, 1, 2) for data in records(200, seed)}
        objects |= {key_of(data): data for data in records(20, 9)}
        container.repack(min_dead=0, pack_id=1)
        digests = [place.digest for place in pack(container, 2).dictionaries]
        assert (
            sorted(digests) == sorted(trained(number).digest for number in range(3)) and digests[0] == trained(2).digest
        )
        cache._cached = {}
        assert_holds(container, objects)
        assert container.validate().is_good


def test_a_repack_leaves_a_dictionary_behind_that_does_not_pay_any_more(filled: Container) -> None:
    kept = dict(list(SOME.items())[:3])
    filled.delete([key for key in SOME if key not in kept])
    filled.repack(min_dead=0)
    assert_holds(filled, kept)
    assert all(not entry.dictionaries for entry in manifest_of(filled.path).packs)
    assert all(path.read_bytes().count(trained().data) == 0 for path in (filled.path / "packed").iterdir())


@pytest.mark.parametrize("compression", ["zlib", "none", "zstd:3"])
def test_a_repack_with_a_compression_encodes_anew(filled: Container, compression: str) -> None:
    with using(trained(1)):
        filled.repack(compression)
    digests = [place.digest for entry in manifest_of(filled.path).packs for place in entry.dictionaries]
    assert digests == ([trained(1).digest] if compression == "zstd:3" else [])
    assert_holds(filled, SOME)
    assert filled.validate().is_good


def test_a_repack_beside_a_damaged_object_keeps_it_damaged(filled: Container) -> None:
    key = next(iter(SOME))
    extent = filled.meta(key).extent
    assert extent is not None
    flip(pack_file(filled), extent.offset + extent.length // 2)
    filled.close()
    for compression in ("keep", "zstd:3"):
        with using(trained(1)):
            (pack_id,) = manifest_of(filled.path).pack_ids
            assert filled.repack(compression, pack_id=pack_id).damaged == (key,)
        with pytest.raises(DamagedObject):
            filled.extract(key)
        rest = [one for one in SOME if one != key]
        assert dict(filled.extract_many(rest)) == {one: SOME[one] for one in rest}


@pytest.mark.parametrize("keys", [3, 50])
def test_a_transfer_takes_the_stored_bytes_where_the_dictionary_pays(
    filled: Container, tmp_path: Path, keys: int
) -> None:
    wanted = dict(list(SOME.items())[:keys])
    with Container.create(tmp_path / "other") as other:
        report = other.transfer_from(filled, keys=list(wanted))
        pays = sum(len(data) - filled.meta(key).length for key, data in wanted.items()) > 2 * len(trained())
        assert report.copied == (keys if pays else 0)
        assert [place.digest for place in pack(other).dictionaries] == ([trained().digest] if pays else [])
        cache._cached = {}
        assert_holds(other, wanted)


@pytest.mark.parametrize("how", ["in place", "to a new one"])
def test_a_migration_to_version_1_and_back_loses_nothing(filled: Container, tmp_path: Path, how: str) -> None:
    place = None if how == "in place" else tmp_path / "other"
    filled.insert_many([text(FRAME_SIZE + 1)])
    objects = SOME | {key_of(text(FRAME_SIZE + 1)): text(FRAME_SIZE + 1)}
    with using(trained(1)):
        filled.migrate(1, place)
        with Container(place or filled.path) as other:
            assert_holds(other, objects)
            other.migrate(2)
    with Container(place or filled.path) as again:
        assert_holds(again, objects)
        assert again.validate().is_good


def test_a_backup_and_a_restore_have_it(filled: Container, tmp_path: Path) -> None:
    filled.backup(tmp_path / "backups", verify=True)
    with using(trained(1)):
        filled.insert_many(MORE.values())
    filled.backup(tmp_path / "backups", verify=True)
    Container.restore(tmp_path / "backups", tmp_path / "restored", verify=True)
    with Container(tmp_path / "restored") as restored:
        assert_holds(restored, SOME | MORE)
        assert restored.validate().is_good


def test_the_index_comes_back_from_the_packs(filled: Container) -> None:
    with using(trained(1), trained(2)):
        filled.insert_many(MORE.values())
        filled.insert_many([extra := records(1, 8)[0]])
    objects = SOME | MORE | {key_of(extra): extra}
    lists = [entry.dictionaries for entry in manifest_of(filled.path).packs]
    filled.close()
    shutil.rmtree(filled.path / "index")
    (filled.path / "index").mkdir()
    (filled.path / "locks" / "commit").unlink()
    cache._cached = {}
    with Container(filled.path) as reader:
        assert_holds(reader, objects)
    with Container(filled.path) as container:
        assert container.repair_index().is_good
    assert [entry.dictionaries for entry in manifest_of(filled.path).packs] == lists
    with Container(filled.path) as container:
        assert_holds(container, objects)
        assert container.validate().is_good


def test_a_rebuild_that_has_lost_a_table_shifts_no_number(filled: Container) -> None:
    """Objects of the second dictionary would decode to other bytes with the first: frames have no checksum."""
    with using(trained(1)):
        filled.insert_many(MORE.values())
    first = filled.inspect_pack(1).batches[0]
    flip(pack_file(filled), first.segment_offset + 100)
    filled.close()
    shutil.rmtree(filled.path / "index")
    (filled.path / "index").mkdir()
    (filled.path / "locks" / "commit").unlink()
    cache._cached = {}
    with Container(filled.path) as reader:
        assert {key: reader.extract(key) for key in MORE} == MORE
    with Container(filled.path) as container:
        container.repair_index()
    with Container(filled.path) as container:
        assert dict(container.extract_many(MORE)) == MORE


# Damage.


def damaged_keys(container: Container) -> set[str]:
    report = Container(container.path).validate()
    return {finding.key for finding in report.damaged if finding.key}


@pytest.mark.parametrize("copy", [0, 1])
def test_one_bad_copy_costs_no_object_is_told_and_repaired(
    filled: Container, copy: int, caplog: pytest.LogCaptureFixture
) -> None:
    damage(filled, copy)
    with caplog.at_level(logging.WARNING, "rsdos"):
        assert_holds(filled, SOME)
    assert ("dictionary" in caplog.text) == (copy == 0)
    for depth in ("quick", "full"):
        report = Container(filled.path).validate(depth)
        assert not report.is_good and not report.damaged
        (finding,) = report.files
        assert finding.path == "packed/0000000001.pack" and trained().key in finding.reason
        assert finding.offset == pack(filled).dictionaries[0].offsets[copy]
    with Container(filled.path) as container:
        repaired = container.repair_index()
        assert repaired.is_good and not repaired.lost
    assert Container(filled.path).validate().is_good
    cache._cached = {}
    assert_holds(Container(filled.path), SOME)
    assert [place.digest for place in pack(filled, 2).dictionaries] == [trained().digest]


def test_two_bad_copies_cost_the_objects_that_need_it_and_no_other(
    filled: Container, caplog: pytest.LogCaptureFixture
) -> None:
    with using(trained(1)):
        filled.insert_many(MORE.values())
    filled.insert_many([noise(500)], compress=CompressMode.NO)
    damage(filled, 0, 1)
    filled.close()
    for key in SOME:
        for read in (filled.extract, lambda key: dict(filled.extract_many([key])), lambda key: filled.open(key).read()):
            with pytest.raises(DamagedObject, match="dictionary"):
                read(key)
    # Not once for each object. caplog may have each twice.
    assert len(set(caplog.messages)) == 2
    assert len(caplog.messages) < len(SOME)
    assert dict(filled.extract_many([*MORE, key_of(noise(500))])) == MORE | {key_of(noise(500)): noise(500)}
    for depth in ("quick", "full"):
        report = Container(filled.path).validate(depth)
        assert {finding.key for finding in report.damaged} == set(SOME)
        assert len(report.files) == 2


def test_a_dictionary_that_is_cached_does_not_hide_that_both_copies_are_bad(filled: Container) -> None:
    assert_holds(filled, SOME)
    kept = cache._cached
    damage(filled, 0, 1)
    cache._cached = kept
    assert damaged_keys(filled) == set(SOME)


def test_what_a_repair_finds_lost_stays_damaged_and_is_never_missing(filled: Container, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    filled.close()
    shutil.copytree(filled.path, backup)
    filled.insert_many([noise(500)], compress=CompressMode.NO)
    damage(filled, 0, 1)
    filled.close()
    assert filled.repack(min_dead=0, pack_id=1).unreadable == (1,)
    with Container(filled.path) as container:
        report = container.repair_index()
        assert set(report.lost) == set(SOME)
    with Container(filled.path) as container:
        assert container.extract(key_of(noise(500))) == noise(500)
        for key in SOME:
            with pytest.raises(DamagedObject):
                container.extract(key)
        assert damaged_keys(container) == set(SOME)
        repaired = container.repair_objects([backup])
        assert {action.key for action in repaired.repaired} == set(SOME)
        assert_holds(container, SOME | {key_of(noise(500)): noise(500)})
    assert Container(filled.path).validate().is_good


def test_the_same_dictionary_of_another_pack_serves(filled: Container) -> None:
    entry = pack(filled)
    index = native(filled.engine).index
    index.commit(lambda newest: newest.with_pack(entry._replace(sealed=True)), native(filled.engine).durability)
    with using():
        filled.insert_many(MORE.values())
    filled.close()
    damage(filled, 0, 1)
    with Container(filled.path) as container:
        assert_holds(container, SOME | MORE)
        report = container.validate()
        assert not report.damaged and len(report.files) == 2
        assert container.repair_index().is_good
    cache._cached = {}
    with Container(filled.path) as container:
        assert_holds(container, SOME | MORE)
        assert container.validate().is_good


def test_a_writer_refers_to_no_dictionary_that_is_bad_in_its_pack(filled: Container) -> None:
    """One that is cached would let it write what nobody else can read."""
    assert_holds(filled, SOME)
    filled.close()
    kept = cache._cached
    assert kept
    damage(filled, 0, 1)
    cache._cached = kept
    with Container(filled.path) as container, using():
        container.insert_many(MORE.values())
    assert [place.digest for place in pack(filled).dictionaries] == [trained().digest] * 2
    cache._cached = {}
    with Container(filled.path) as container:
        assert_holds(container, SOME | MORE)  # By the new copies also those that were lost.


def test_a_repack_keeps_the_only_copy_whose_dictionary_is_there(filled: Container) -> None:
    """The other copy is as it was written, and of no use."""
    index = native(filled.engine).index
    sealed = pack(filled)._replace(sealed=True)
    index.commit(lambda newest: newest.with_pack(sealed), filled.engine.durability)
    damage(filled, 0, 1)
    filled.close()
    with using(None):
        filled.insert_many(SOME.values())
    assert_holds(filled, SOME)
    assert filled.repack(pack_id=2).objects == len(SOME)
    filled.close()
    assert_holds(filled, SOME)


def test_quarantine_names_the_dictionary_and_has_its_bytes(filled: Container) -> None:
    key = next(iter(SOME))
    extent = filled.meta(key).extent
    assert extent is not None
    flip(pack_file(filled), extent.offset + extent.length // 2)
    filled.close()
    report = filled.repair_objects(unrepairable="quarantine")
    assert [action.key for action in report.beyond_help] == [key]
    directory = filled.path / "quarantine" / "objects-1"
    described = json.loads((directory / f"{key}.json").read_text())
    assert [copy["dictionary"] for copy in described["copies"]] == [trained().key]
    for copy in (0, 1):
        assert (directory / f"{trained().key}.dictionary.{copy}").read_bytes() == trained().data


@pytest.mark.parametrize("codec", [4, 15, 17, 255])
def test_an_entry_with_a_codec_that_its_pack_does_not_have_is_damaged(filled: Container, codec: int) -> None:
    key, data = next(iter(MORE.items()))
    with native(filled.engine).writer() as writer:
        batch = writer._batch
        assert isinstance(batch, PackedBatch)
        writer.unknown([bytes.fromhex(key)])
        batch.put([bytes.fromhex(key)], Forms(trained().compress_many([data], 1), [Codec.ZSTD]), [len(data)])
        batch._tables[-1].records["codec"] = codec
        writer.commit()
    for _ in range(2):
        for read in (filled.extract, lambda key: dict(filled.extract_many([key]))):
            with pytest.raises(DamagedObject, match=f"codec {codec}"):
                read(key)
        filled.close()
    assert damaged_keys(filled) == {key}


@pytest.mark.parametrize("seed", range(4))
def test_everything_at_random_against_a_dict(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    some = [trained(number, 512) for number in range(4)]
    store = Container.create(tmp_path / "store", pack_size_target=rng.choice((14_000, 60_000)))
    other = Container(store.path)
    data = {key_of(one): one for number in range(4) for one in records(80, number)}
    model: dict[str, bytes] = {}
    for _ in range(40):
        keys = rng.sample(list(data), rng.randrange(1, 120))
        one = rng.choice((store, other))
        with using(rng.choice((*some, None))):
            match rng.randrange(6):
                case 0 | 1:
                    one.insert_many([data[key] for key in keys], to=rng.choice(list(Place)))
                    model |= {key: data[key] for key in keys}
                case 2:
                    gone = one.delete(keys)
                    assert gone == [key for key in keys if model.pop(key, None) is not None]
                case 3:
                    one.pack_all_loose()
                case 4:
                    one.repack(rng.choice(("keep", "keep", "zstd:1", "none")), min_dead=rng.choice((0, 0.2)))
                case 5:
                    one.optimize()
        if rng.random() < 0.3:
            cache._cached = {}
            assert_holds(rng.choice((other, Container(store.path))), model)
    store.pack_all_loose()
    assert_no_leftovers(store.path)
    assert store.validate().is_good
    store.close()
    lists = {entry.id: entry.dictionaries for entry in manifest_of(store.path).packs}
    shutil.rmtree(store.path / "index")
    (store.path / "index").mkdir()
    (store.path / "locks" / "commit").unlink()
    cache._cached = {}
    with Container(store.path) as fresh:
        assert_holds(fresh, model)
        assert fresh.repair_index().is_good
        assert_holds(fresh, model)
        assert {entry.id: entry.dictionaries for entry in manifest_of(store.path).packs} == lists
