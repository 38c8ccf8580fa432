"""Push: what a remote lacks, and nothing else, in its stored form."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsdos import CompressMode, Container, InvalidOption, ObjectNotFound, RefExists
from rsdos.engine.publish import read_refs
from rsdos.index import difference as index_difference
from rsdos.maintenance import tag
from rsdos.maintenance.remotes import push
from rsdos.maintenance.remotes.connect import connected
from rsdos.maintenance.remotes.copying import RemoteOptions
from rsdos.maintenance.remotes.difference import KeySelection
from rsdos.model import FRAME_SIZE, PackKind
from rsdos.progress import Silence
from rsdos.storage.url import open_storage
from rsdos.stores.packed.reader import RecordReader
from rsdos.stores.packs import Packing
from tests.data import key_of, noise, text
from tests.helpers import ABSENT, assert_holds, flip, native, objects_of_all_sizes
from tests.remotes.opening import again, is_whole
from tests.snapshots.saving import save


def test_a_push_sends_what_the_remote_lacks_and_the_next_one_nothing(here: Container, there: Container) -> None:
    objects = objects_of_all_sizes()
    here.insert_many(objects.values())
    there.insert_many(list(objects.values())[::3])
    known = len(there)
    report = here.remotes.push()
    assert (report.objects, report.known) == (len(objects) - known, known)
    assert (report.damaged, report.missing) == ((), ())
    assert_holds(again(there), objects)
    assert is_whole(there)
    report = here.remotes.push()
    assert (report.objects, report.known) == (0, len(objects))


def test_loose_objects_are_pushed_too(here: Container, there: Container) -> None:
    objects = {key_of(data): data for data in (b"loose", text(100_000), noise(FRAME_SIZE + 9), b"both")}
    for data in objects.values():
        here.insert(data)
    there.insert_many([b"loose"])
    here.insert_many([b"both"])
    assert here.remotes.push().objects == len(objects) - 1
    assert_holds(again(there), objects)


def test_stored_bytes_are_sent_as_they_are_and_not_decoded(
    here: Container, there: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = [text(3000, seed) for seed in range(50)] + [text(3 * FRAME_SIZE), noise(2000)]
    keys = here.insert_many(objects, compress=CompressMode.YES)

    def refuse(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(RecordReader, "decoded", refuse)
    monkeypatch.setattr(RecordReader, "frames", refuse)
    report = here.remotes.push()
    monkeypatch.undo()
    assert report.copied == report.objects == len(objects)
    for key in keys:
        ours, theirs = here.meta(key), again(there).meta(key)
        assert (ours.codec, ours.length, ours.size) == (theirs.codec, theirs.length, theirs.size)
        assert native(there.engine).index.find(bytes.fromhex(key)) is not None
    assert is_whole(there)


def test_objects_that_need_a_dictionary_are_sent_with_it(here: Container, there: Container) -> None:
    rows = [b'{"number": %d, "name": "row %d", "kind": "%s"}' % (at, at, b"ab" * (at % 7)) for at in range(4000)]
    here.insert_many(rows)
    assert any(pack.dictionaries for pack in native(here.engine).index.newest().packs)
    report = here.remotes.push()
    assert report.objects == len(rows)
    assert report.length < report.size * 0.6
    assert_holds(again(there), {key_of(row): row for row in rows})


def test_a_damaged_object_is_named_and_left_out(here: Container, there: Container) -> None:
    small, large, good = noise(2000), noise(FRAME_SIZE + 2000), noise(3000, 1)
    keys = here.insert_many([small, large, good], compress=CompressMode.NO)
    for key in keys[:2]:
        extent = here.meta(key).extent
        assert extent
        flip(here.path / "packed" / f"{extent.pack_id:010d}.pack", extent.offset + 100)
    report = again(here).remotes.push()
    assert {key for key, _ in report.damaged} == set(keys[:2])
    assert all(reason for _, reason in report.damaged)
    assert set(again(there)) == {key_of(good)}
    # Once it is mended, the next push sends it.
    here.insert_many([small, large])
    assert again(here).remotes.push().damaged == ()
    assert len(again(there)) == 3


def test_the_good_copy_of_an_object_is_sent_where_another_is_damaged(here: Container, there: Container) -> None:
    data = noise(FRAME_SIZE + 2000)
    (key,) = here.insert_many([data], compress=CompressMode.NO)
    extent = here.meta(key).extent
    assert extent
    flip(here.path / "packed" / f"{extent.pack_id:010d}.pack", extent.offset + 100)
    here.insert_many([data])  # It sees the damage, and stores another copy.
    assert again(here).remotes.push().damaged == ()
    assert again(there).extract(key) == data


def test_keys_and_prefixes_select_objects_and_no_names(here: Container, there: Container) -> None:
    keys = here.insert_many([noise(100, seed) for seed in range(200)])
    loose = here.insert(b"loose")
    save(here.engine, "flowers", {"a": b"a"})
    assert here.remotes.push(keys=[keys[3], keys[3], loose]).objects == 2
    assert set(again(there)) == {keys[3], loose}
    prefix = keys[0][:1]
    begin = {key for key in [*keys, loose] if key.startswith(prefix)}
    assert here.remotes.push(prefix=prefix).objects == len(begin - {keys[3], loose})
    assert set(again(there)) == begin | {keys[3], loose}
    assert not read_refs(again(there).engine)[0].names()
    with pytest.raises(ObjectNotFound):
        here.remotes.push(keys=[ABSENT])
    with pytest.raises(InvalidOption):
        here.remotes.push(keys=[ABSENT], prefix="ab")
    with pytest.raises(InvalidOption):
        here.remotes.push(prefix="xyz")


def test_deletes_are_not_sent_and_what_the_remote_deleted_is_sent_again(here: Container, there: Container) -> None:
    keys = here.insert_many([b"one", b"two"])
    here.remotes.push()
    here.delete([keys[0]])
    again(there).delete([keys[1]])
    assert again(here).remotes.push().objects == 1
    assert set(again(there)) == set(keys)


def test_dead_copies_are_not_sent(here: Container, there: Container) -> None:
    keys = here.insert_many([noise(1000, seed) for seed in range(20)])
    here.delete(keys[:15])
    assert here.remotes.push().objects == 5
    assert again(there).status().dead_length == 0


def test_names_travel_with_all_that_they_lead_to(here: Container, there: Container) -> None:
    files = {"a.txt": b"a", "dir/b.bin": noise(2 * FRAME_SIZE)}
    here.insert_many([b"plain"])
    save(here.engine, "flowers", files)
    save(here.engine, "flowers", files | {"c": b"c"})
    tag.tag(here.engine, "v1", "flowers@1")
    report = here.remotes.push()
    assert [str(name) for name in report.names] == ["flowers@1", "flowers@2", "v1"]
    assert is_whole(there)
    ours, theirs = read_refs(here.engine)[0], read_refs(again(there).engine)[0]
    assert {name: theirs.find(name) for name in ("flowers", "flowers@1", "v1")} == {
        name: ours.find(name) for name in ("flowers", "flowers@1", "v1")
    }
    assert (again(there).snapshots["flowers"] / "dir/b.bin").read_bytes() == files["dir/b.bin"]
    # What only snapshots hold is held there too, and no object by key.
    assert native(again(there).engine).contains_many([bytes.fromhex(key_of(b"c"))], PackKind.PLAIN) == [False]
    save(here.engine, "flowers", {"a.txt": b"next"})
    assert [str(name) for name in again(here).remotes.push().names] == ["flowers@3"]


def test_a_name_that_means_something_else_there_is_refused_before_anything_is_sent(
    here: Container, there: Container
) -> None:
    here.insert_many([b"plain"])
    save(here.engine, "flowers", {"a": b"ours"})
    save(there.engine, "flowers", {"a": b"theirs"})
    with pytest.raises(RefExists, match="flowers"):
        here.remotes.push()
    assert not again(there).has(key_of(b"plain"))
    assert (again(there).snapshots["flowers"] / "a").read_bytes() == b"theirs"


def test_an_object_that_is_deleted_there_while_it_counts_as_known_is_sent_after_all(
    here: Container, there: Container
) -> None:
    keys = here.insert_many([b"known", b"new"])
    there.insert_many([b"known"])
    save(there.engine, "counts", {"a": b"a"})  # From the first save on deletes are counted.
    with connected(here.engine) as connection:
        plan = push.plan(here.engine, connection, RemoteOptions())
        assert (plan.objects, plan.known) == (1, 1)
        again(there).delete([keys[0]])
        push.execute(here.engine, connection, plan)
    assert set(keys) <= set(again(there))


def test_an_object_that_is_deleted_there_is_sent_after_all_where_deletes_are_not_counted(
    here: Container, there: Container
) -> None:
    keys = here.insert_many([b"known", b"new"])
    there.insert_many([b"known"])
    with connected(here.engine) as connection:
        plan = push.plan(here.engine, connection, RemoteOptions())
        again(there).delete([keys[0]])
        push.execute(here.engine, connection, plan)
    assert set(again(there)) == set(keys)


def test_an_object_that_is_deleted_here_meanwhile_is_named(here: Container, there: Container) -> None:
    keys = here.insert_many([b"stays", b"goes"])
    with connected(here.engine) as connection:
        plan = push.plan(here.engine, connection, RemoteOptions())
        again(here).delete([keys[1]])
        here.engine.packed.refresh()
        report = push.execute(here.engine, connection, plan)
    assert report.missing == (keys[1],)
    assert set(again(there)) == {keys[0]}


def test_more_objects_than_fit_into_memory_are_pushed_pass_by_pass(
    here: Container, there: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_difference, "_MOST", 50)
    objects = {key_of(data): data for data in (noise(50 + seed, seed) for seed in range(700))}
    some = list(objects.values())
    for at in range(0, 300, 100):
        here.insert_many(some[at : at + 100])
    here.insert_many(some[300:])  # More in one pack than one pass takes.
    report = here.remotes.push()
    assert report.objects == len(objects)
    assert_holds(again(there), objects)


def test_a_dry_run_counts_and_changes_nothing(here: Container, on_disk: Container) -> None:
    here.insert_many([noise(1000, seed) for seed in range(100)], compress=CompressMode.NO)
    save(here.engine, "flowers", {"a": noise(5000)})
    before = {path: path.stat().st_mtime_ns for path in on_disk.path.rglob("*") if "locks" not in path.parts}
    options = RemoteOptions(pack_size=30_000)
    with connected(here.engine, packing=options.packing) as connection:
        plan = push.plan(here.engine, connection, options)
        estimate = push.estimate(here.engine, connection, plan)
    assert (estimate.objects, estimate.size, estimate.length) == (100, 100_000, 100_000)
    assert estimate.held == 3  # A file, a page and a snapshot.
    assert estimate.held_size > 5000
    assert [str(name) for name in estimate.names] == ["flowers@1"]
    assert estimate.packs == 5
    assert estimate.requests.sent > 105_000
    assert {path: path.stat().st_mtime_ns for path in on_disk.path.rglob("*") if "locks" not in path.parts} == before


def test_the_pack_size_of_a_push_is_that_of_its_packs_alone(here: Container, on_disk: Container) -> None:
    here.insert_many([noise(1000, seed) for seed in range(100)], compress=CompressMode.NO)
    here.remotes.push(pack_size=20_000)
    assert again(on_disk).status().packs == 5
    assert again(on_disk).config.pack_size_target == on_disk.config.pack_size_target
    with pytest.raises(InvalidOption):
        here.remotes.push(pack_size=0)


def test_a_limit_makes_packs_small_and_never_larger(here: Container) -> None:
    own = Packing(1 << 30)
    assert RemoteOptions(limit=1000).packing(own).target == 5000
    assert RemoteOptions(limit=1000, pack_size=700).packing(own).target == 700
    assert RemoteOptions().packing(own) == own
    assert RemoteOptions(uploads=2).packing(own).uploads == 2
    with pytest.raises(InvalidOption, match="limit"):
        RemoteOptions(limit=0)
    with pytest.raises(InvalidOption, match="pack_size"):
        RemoteOptions(pack_size=0)
    with pytest.raises(InvalidOption, match="uploads"):
        RemoteOptions(uploads=0)


def test_containers_of_version_1_are_refused_with_a_way_out(here: Container, on_disk: Container) -> None:
    old = Container.create(here.path.parent / "old", container_version=1)
    here.remotes.add("old", old.path)
    with pytest.raises(InvalidOption, match="migrate"):
        here.remotes.push("old")
    old.remotes.add("origin", on_disk.path)
    with pytest.raises(InvalidOption, match="migrate"):
        old.remotes.push()


def test_a_container_is_no_remote_of_itself(here: Container, tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match="itself"):
        here.remotes.add("origin", here.path)
    assert here.remotes.list() == []
    (tmp_path / "other").symlink_to(here.path)
    with pytest.raises(InvalidOption, match="itself"):
        here.remotes.add("origin", tmp_path / "other")


def test_a_container_that_has_come_to_be_its_own_remote_is_not_pushed_into(here: Container, tmp_path: Path) -> None:
    here.remotes.add("origin", tmp_path / "later")
    here.close()
    here.path.rename(tmp_path / "later")
    with pytest.raises(InvalidOption, match="itself"):
        Container(tmp_path / "later").remotes.push()


def test_a_selection_is_of_keys_or_of_a_prefix() -> None:
    assert KeySelection().has_all
    assert not KeySelection(()).has_all
    assert not KeySelection(prefix="ab").has_all


def test_a_push_of_many_objects_takes_few_requests(here: Container, tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}"
    Container.create(open_storage(url), container_version=3)
    here.remotes.add("origin", url)
    here.insert_many([noise(100, seed) for seed in range(3000)], compress=CompressMode.NO)
    report = here.remotes.push(pack_size=30_000)
    packs = 10
    # A pack is a put; beside them a segment, two reservations and a commit.
    assert packs <= report.requests.put <= packs + 4
    assert report.requests.get <= packs + 20
    assert report.requests.delete == 0
    assert report.requests.sent > 300_000
    with connected(here.engine) as connection:
        options = RemoteOptions(pack_size=30_000)
        plan = push.plan(here.engine, connection, options)
        assert plan.objects == 0
        assert push.estimate(here.engine, connection, plan).requests.put == 0


def test_the_estimate_of_a_dry_run_is_near_to_what_is_made(here: Container, tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}"
    Container.create(open_storage(url), container_version=3)
    here.remotes.add("origin", url)
    here.insert_many([noise(100, seed) for seed in range(3000)], compress=CompressMode.NO)
    options = RemoteOptions(pack_size=30_000)
    with connected(here.engine, packing=options.packing) as connection:
        plan = push.plan(here.engine, connection, options)
        estimate = push.estimate(here.engine, connection, plan)
        report = push.execute(here.engine, connection, plan)
    assert abs(estimate.requests.put - report.requests.put) <= 2
    assert 0.8 < estimate.requests.sent / report.requests.sent < 1.25


class Steps(Silence):
    """The steps of an operation: what each is called, its total, and how much of it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int | None, int]] = []

    def start(self, description: str, total: int | None, unit: str) -> None:
        self.told.append((description, total, 0))

    def advance(self, amount: int) -> None:
        description, total, done = self.told[-1]
        self.told[-1] = description, total, done + amount


def test_progress_is_told_in_stored_bytes_and_comes_to_its_end(here: Container, there: Container) -> None:
    here.insert_many([noise(1000, seed) for seed in range(50)], compress=CompressMode.NO)
    save(here.engine, "flowers", {"a": b"a"})
    steps = Steps()
    here.remotes.push(progress=steps)
    assert steps.told == [("Pushing", 50_000, 50_000), ("Pushing snapshots", None, 2)]
