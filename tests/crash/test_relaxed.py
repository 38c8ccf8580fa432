"""Relaxed and full writers that take turns, and the power lost behind each turn by the worst that POSIX allows.

Relaxed may lose the latest inserts and deletes, never usability; what was acknowledged by full ones is there (ADR 11).
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from rsdos import Container, DamagedContainer, Place
from rsdos.index import compact
from rsdos.index.commits import CommitLog
from rsdos.index.compact import COMPACT_FROM
from rsdos.index.merge import MOST_SEGMENTS
from rsdos.pack.format import batch_end
from tests.crash.disk import Disk
from tests.data import key_of, noise, text
from tests.helpers import ABSENT, assert_holds, manifest_of

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc to tell descriptors' paths")

HISTORIES = int(os.environ.get("HISTORIES", "5"))
"""How many histories are played."""

TURNS = 8

WAYS: dict[str, dict[str, bool]] = {
    "nothing unsynced": {},
    "names without bytes": {"names_survive": True},
    "lengths without bytes": {"lengths_survive": True},
}


class Promises:
    """What full writers have acknowledged, and nobody has touched since."""

    def __init__(self) -> None:
        self.there: dict[str, bytes] = {}
        self.gone: set[str] = set()
        self.known: dict[str, bytes] = {}
        """Everything that was ever inserted."""

    def inserted(self, objects: list[bytes], durability: str) -> None:
        for data in objects:
            key = key_of(data)
            self.known[key] = data
            self.gone.discard(key)
            if durability == "full":
                self.there[key] = data

    def deleted(self, keys: list[str], durability: str) -> None:
        for key in keys:
            self.there.pop(key, None)
            if durability == "full":
                self.gone.add(key)


def turns(path: Path, seed: int) -> Iterator[tuple[str, Promises]]:
    """Play a history; what was done, and what is promised behind it."""
    chance = random.Random(seed)
    promises = Promises()
    for number in range(TURNS):
        durability = chance.choice(("relaxed", "relaxed", "full"))
        kind = chance.choice(("insert", "insert", "insert", "again", "delete", "many", "loose", "pack", "repack"))
        with Container(path, durability=durability) as container:
            fresh = [noise(chance.randrange(1, 6000), seed * 1000 + number * 10 + n) for n in range(3)]
            if kind == "insert":
                container.insert_many(fresh)
                promises.inserted(fresh, durability)
            elif kind == "many":
                for n in range(MOST_SEGMENTS + 2):
                    container.insert(b"%d %d %d" % (seed, number, n), to=Place.PACKED)
                    promises.inserted([b"%d %d %d" % (seed, number, n)], durability)
            elif kind == "loose":
                container.insert_many(fresh, to=Place.LOOSE)
                promises.inserted(fresh, durability)
            elif kind == "again" and promises.known:
                some = chance.sample(sorted(promises.known.values()), min(3, len(promises.known)))
                container.insert_many(some, to=chance.choice((Place.LOOSE, Place.PACKED)))
                promises.inserted(some, durability)
            elif kind == "delete" and promises.known:
                some_keys = chance.sample(sorted(promises.known), min(2, len(promises.known)))
                container.delete(some_keys)
                promises.deleted(some_keys, durability)
            elif kind == "pack":
                container.pack_all_loose()
            else:
                container.repack(min_dead=0)
        yield f"{number}: {kind}, {durability}", promises


def judge(path: Path, promises: Promises) -> None:
    with Container(path) as container:
        keys = set(container)
        assert len(container) == len(keys)
        assert not container.has(ABSENT)
        assert container.has_many(sorted(promises.there)) == [True] * len(promises.there)
        assert container.delete([ABSENT]) == []
        for key, data in promises.there.items():
            assert container.extract(key) == data
        assert keys.isdisjoint(promises.gone)
        assert keys <= set(promises.known)
        for key in keys:
            if container.meta(key).place is Place.LOOSE and key not in promises.there:
                continue  # It may be a name without its bytes.
            assert container.extract(key) == promises.known[key]
    with Container(path) as container:
        assert set(container.insert_many([*promises.known.values(), b"more"])) == {*promises.known, key_of(b"more")}
        assert_holds(container, {**promises.known, key_of(b"more"): b"more"})
    with Container(path) as container:
        report = container.validate("full")
        assert not report.files
        assert not [finding for finding in report.damaged if not finding.path.startswith("loose/")]


@pytest.mark.parametrize("entries", [COMPACT_FROM, 2], ids=["small batches", "large batches"])
@pytest.mark.parametrize("seed", range(HISTORIES))
def test_mixed_histories(tmp_path: Path, seed: int, entries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of two entries or more count as large: they have a segment file, which may survive without them."""
    monkeypatch.setattr(compact, "COMPACT_FROM", entries)
    path, left = tmp_path / "container", tmp_path / "left"
    Container.create(path).close()
    disk = Disk(path)
    history = turns(path, seed)
    done: list[str] = []
    while True:
        with disk.watched():
            turn = next(history, None)
        if turn is None:
            return
        done.append(turn[0])
        for how, survives in WAYS.items():
            disk.lose_power(left, **survives)
            try:
                judge(left, turn[1])
            except Exception as error:
                raise AssertionError(f"{how}, behind {done}") from error
            shutil.rmtree(left)


def lose(path: Path, left: Path, how: str, *calls: tuple[str, list[bytes]]) -> None:
    """Insert, by calls of their own, and lose the power."""
    disk = Disk(path)
    with disk.watched():
        for durability, objects in calls:
            with Container(path, durability=durability) as container:
                container.insert_many(objects)
    disk.lose_power(left, **WAYS[how])


@pytest.mark.parametrize("how", WAYS)
def test_a_full_writer_syncs_the_name_of_a_relaxed_writers_pack(tmp_path: Path, how: str) -> None:
    """Before, all of the pack was noted as stable, and with a power loss it was gone."""
    path, left = tmp_path / "container", tmp_path / "left"
    Container.create(path).close()
    disk = Disk(path)
    with disk.watched():
        with Container(path, durability="relaxed") as container:
            container.insert_many([b"relaxed", b"deleted"])
        with Container(path) as container:
            container.delete([key_of(b"deleted")])
            container.insert_many([b"relaxed"])
    disk.lose_power(left, **WAYS[how])
    with Container(left) as container:
        assert_holds(container, {key_of(b"relaxed"): b"relaxed"})


@pytest.mark.parametrize("how", ["names without bytes", "lengths without bytes"])
def test_a_pack_with_a_lost_end_is_read_and_the_next_writer_reports_it(tmp_path: Path, how: str) -> None:
    """Before, counting, listing and deleting raised `DamagedContainer` until a repair."""
    path, left = tmp_path / "container", tmp_path / "left"
    Container.create(path).close()
    lose(path, left, how, ("full", [b"full"]), ("relaxed", [text(9000, 1)]), ("relaxed", [text(9000, 2)]))
    (pack,) = manifest_of(left).packs  # A reader changes nothing of it.
    with Container(left) as container:
        assert_holds(container, {key_of(b"full"): b"full"})
        assert not container.has(key_of(text(9000, 1)))
        assert CommitLog(container.engine.layout, container.container_id).newest().packs == (pack,)
        assert container.validate("full").is_good
        assert container.delete([key_of(text(9000, 2))]) == []
        container.insert_many([text(9000, 2)])
        assert container.validate("full").is_good
    (now,) = manifest_of(left).packs
    assert now.synced == now.length
    with Container(left) as container:
        assert_holds(container, {key_of(b"full"): b"full", key_of(text(9000, 2)): text(9000, 2)})


def test_a_relaxed_container_works_after_the_loss_of_a_whole_pack(tmp_path: Path) -> None:
    path, left = tmp_path / "container", tmp_path / "left"
    Container.create(path, durability="relaxed").close()
    lose(path, left, "names without bytes", ("relaxed", [b"one"]), ("relaxed", [b"two"]))
    with Container(left) as container:
        assert (len(container), list(container), container.has(ABSENT)) == (0, [], False)
        assert container.validate("full").is_good
        container.insert_many([b"two"])
        container.clean_storage()
        assert_holds(container, {key_of(b"two"): b"two"})
    assert not (left / "packed" / "0000000001.pack").exists()


def test_damage_of_what_was_never_synced_stays_damage(tmp_path: Path) -> None:
    """A container that is always relaxed notes nothing as stable: a flipped bit must not read as "not there" there."""
    with Container.create(tmp_path, durability="relaxed") as container:
        key = container.insert(noise(9000, 1), to=Place.PACKED)
        other = container.insert(noise(9000, 2), to=Place.PACKED)
    segment = manifest_of(tmp_path).segments[0]
    path = tmp_path / "packed" / "0000000001.pack"
    data = bytearray(path.read_bytes())
    data[segment.offset + 10] ^= 1
    path.write_bytes(data)
    with Container(tmp_path) as container:
        assert container.extract(other) == noise(9000, 2)
        with pytest.raises(DamagedContainer):
            container.has(ABSENT)
        with suppress(DamagedContainer):
            assert container.has(key)
        assert not container.validate("full").is_good


@pytest.mark.parametrize("what", ["the end of the pack", "a sector of its table", "its footer", "all of the pack"])
def test_a_large_batch_that_a_power_loss_took_is_gone_though_its_segment_file_is_there(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is looked up, and whole; and so are the batches behind the lost one gone."""
    monkeypatch.setattr(compact, "COMPACT_FROM", 30)
    first, lost, behind = ([noise(90, 100 * seed + n) for n in range(50)] for seed in range(3))
    path, left = tmp_path / "container", tmp_path / "left"
    with Container.create(path) as container:
        container.insert_many(first)
    with Container(path, durability="relaxed") as container:
        container.insert_many(lost)
        container.insert_many(behind)
    _, of_lost, of_behind = manifest_of(path).segments
    assert of_lost.is_of_batch and of_behind.is_of_batch
    shutil.copytree(path, left)  # In a place that this process has not seen.
    pack = left / "packed" / "0000000001.pack"
    data = bytearray(pack.read_bytes())
    if what == "the end of the pack":
        del data[of_lost.offset + 100 :]
    elif what == "a sector of its table":
        at = of_lost.offset // 512 * 512 + 1024
        assert at + 512 < of_lost.offset + of_lost.length
        data[at : at + 512] = bytes(512)
    elif what == "its footer":
        end = batch_end(of_lost.offset, of_lost.length)
        data[end - 512 : end] = bytes(512)
    else:
        data[manifest_of(path).packs[0].synced :] = b""
    pack.write_bytes(data)
    kept = {key_of(data): data for data in first}
    with Container(left) as container:
        assert_holds(container, kept)
        assert container.has_many(list(map(key_of, lost + behind))) == [False] * 100
        assert container.validate("full").is_good
        assert not container.status().is_recovered
        container.insert_many(behind)
        kept |= {key_of(data): data for data in behind}
        assert_holds(container, kept)
        assert container.validate("full").is_good
    with Container(left) as container:
        assert_holds(container, kept)
        assert not container.repair_index().is_changed


def test_a_large_relaxed_batch_is_read_from_its_pack_where_only_its_segment_file_was_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compact, "COMPACT_FROM", 3)
    objects = [noise(90, n) for n in range(5)]
    path, left = tmp_path / "container", tmp_path / "left"
    with Container.create(path, durability="relaxed") as container:
        container.insert_many(objects)
    shutil.copytree(path, left)
    (file,) = (left / "index").glob("*.seg")
    file.write_bytes(bytes(file.stat().st_size))
    kept = {key_of(data): data for data in objects}
    with Container(left) as container:
        assert_holds(container, kept)
        assert not container.status().is_recovered
        container.insert_many([b"more"])
        assert_holds(container, kept | {key_of(b"more"): b"more"})
        assert container.validate("full").is_good
    assert all(segment.number for segment in manifest_of(left).segments if segment.count == 5)
