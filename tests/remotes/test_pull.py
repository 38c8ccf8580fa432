"""Pull, fetch, compare and clone: what comes from a remote, hashed on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsdos import CompressMode, Container, ContainerExists, InvalidOption, NotAContainer, ObjectNotFound, RefExists
from rsdos.engine.publish import read_refs
from rsdos.maintenance.remotes import clone, pull
from rsdos.maintenance.remotes.connect import connected
from rsdos.maintenance.remotes.copying import RemoteOptions
from rsdos.maintenance.remotes.table import Seen, find_remote
from rsdos.model import FRAME_SIZE
from rsdos.stores.packed.store import PackedStore
from rsdos.trees.refs import Refs
from tests.data import key_of, noise, text
from tests.helpers import ABSENT, assert_holds, flip, objects_of_all_sizes
from tests.remotes.opening import again
from tests.snapshots.saving import save


def refs_of(container: Container) -> Refs:
    return read_refs(again(container).engine)[0]


def test_a_pull_brings_what_is_missing_here_and_the_next_one_nothing(here: Container, there: Container) -> None:
    objects = objects_of_all_sizes()
    there.insert_many(objects.values())
    some = list(objects.values())[::3]
    here.insert_many(some[::2])
    for data in some[1::2]:
        here.insert(data)  # Loose ones are here as well.
    known = len(here)
    report = here.remotes.pull()
    assert (report.objects, report.known) == (len(objects) - known, known)
    assert_holds(again(here), objects)
    assert again(here).validate().is_good
    assert again(here).remotes.pull().objects == 0


def test_pulled_objects_keep_their_stored_form(here: Container, there: Container) -> None:
    objects = [text(3000, 1), text(3 * FRAME_SIZE), noise(2000)]
    keys = there.insert_many(objects, compress=CompressMode.YES)
    assert here.remotes.pull().copied == len(objects)
    for key in keys:
        ours, theirs = again(here).meta(key), there.meta(key)
        assert (ours.codec, ours.length) == (theirs.codec, theirs.length)


def test_bytes_that_are_not_those_of_the_key_are_never_brought(here: Container, on_disk: Container) -> None:
    """As a broken or malicious remote could have them: their checksums are right, their hash is not."""
    for size in (3000, FRAME_SIZE + 3000):
        (key,) = on_disk.insert_many([noise(size)], compress=CompressMode.NO)
        store = again(on_disk).engine.packed
        assert isinstance(store, PackedStore)
        record = store.index.find(bytes.fromhex(key))
        assert record
        flip(on_disk.path / "packed" / f"{record.pack_id:010d}.pack", record.offset + 100)
        report = again(here).remotes.pull(keys=[key])
        assert [found for found, _ in report.damaged] == [key]
        assert not again(here).has(key)


def test_keys_and_prefixes_select_objects_and_no_names(here: Container, there: Container) -> None:
    keys = there.insert_many([noise(100, seed) for seed in range(100)])
    save(there.engine, "flowers", {"a": b"a"})
    assert here.remotes.pull(keys=keys[:2]).objects == 2
    prefix = keys[5][:1]
    here.remotes.pull(prefix=prefix)
    assert set(again(here)) == {key for key in keys if key.startswith(prefix)} | set(keys[:2])
    assert not refs_of(here).names()
    with pytest.raises(ObjectNotFound):
        here.remotes.pull(keys=[ABSENT])


def test_names_come_with_all_that_they_lead_to(here: Container, there: Container) -> None:
    files = {"a.txt": b"a", "dir/b.bin": noise(2 * FRAME_SIZE)}
    save(there.engine, "flowers", files)
    assert [str(name) for name in here.remotes.pull().names] == ["flowers@1"]
    save(there.engine, "flowers", files | {"c": b"c"})
    report = here.remotes.pull()
    assert [str(name) for name in report.names] == ["flowers@2"]
    assert report.objects == 1  # The others, and their pages, are here.
    assert refs_of(here).find("flowers") == refs_of(there).find("flowers")
    assert (again(here).snapshots["flowers"] / "dir/b.bin").read_bytes() == files["dir/b.bin"]
    assert again(here).validate().is_good


def test_a_name_that_means_something_else_here_is_refused_before_anything_comes(
    here: Container, there: Container
) -> None:
    there.insert_many([b"plain"])
    save(here.engine, "flowers", {"a": b"ours"})
    save(there.engine, "flowers", {"a": b"theirs"})
    with pytest.raises(RefExists, match="flowers"):
        here.remotes.pull()
    assert not again(here).has(key_of(b"plain"))


def test_an_object_that_is_deleted_here_while_it_counts_as_known_is_brought_after_all(
    here: Container, there: Container
) -> None:
    keys = there.insert_many([b"known", b"new"])
    here.insert_many([b"known"])
    with connected(here.engine) as connection:
        plan = pull.plan(here.engine, connection, RemoteOptions())
        again(here).delete([keys[0]])
        pull.execute(here.engine, connection, plan)
    assert set(again(here)) == set(keys)


def test_a_dry_run_of_a_pull_counts(here: Container, on_disk: Container) -> None:
    on_disk.insert_many([noise(1000, seed) for seed in range(10)], compress=CompressMode.NO)
    with connected(here.engine) as connection:
        plan = pull.plan(here.engine, connection, RemoteOptions())
        estimate = pull.estimate(connection, plan)
    assert (estimate.objects, estimate.length, estimate.packs) == (10, 10_000, 1)
    assert estimate.requests.received == 10_000
    assert len(again(here)) == 0


def test_fetch_notes_the_newest_state_and_brings_nothing(here: Container, there: Container) -> None:
    report = here.remotes.fetch()
    assert (report.seen, report.number, report.objects) == (0, 1, 0)
    there.insert_many([b"one"])
    newest = again(there).engine.packed.head()
    report = here.remotes.fetch()
    assert (report.seen, report.number, report.objects) == (1, newest.number, 1)
    assert find_remote(here.engine).seen == Seen(there.container_id, newest.number, newest.commit)
    assert len(again(here)) == 0


def test_compare_counts_what_is_on_one_side_only(here: Container, there: Container) -> None:
    here.insert_many([b"both", b"only here", b"only here, too"])
    here.insert(b"loose")
    there.insert_many([b"both", b"only there"])
    save(here.engine, "flowers", {"a": b"a", "b": b"b"})
    save(there.engine, "trees", {"a": b"a"})
    report = here.remotes.compare()
    assert (report.here, report.there) == (4, 2)
    assert (report.held_here, report.held_there) == (2, 1)
    assert (report.only_here.objects, report.only_here.size) == (3, 28)
    assert (report.only_there.objects, report.only_there.size) == (1, 10)
    assert list(map(str, report.names_here)) == ["flowers@1"]
    assert list(map(str, report.names_there)) == ["trees@1"]
    assert not report.is_same
    here.remotes.push()
    again(here).remotes.pull()
    assert again(here).remotes.compare().is_same


def test_a_clone_has_everything_and_a_remote(on_disk: Container, tmp_path: Path) -> None:
    objects = objects_of_all_sizes()
    on_disk.insert_many(objects.values())
    save(on_disk.engine, "flowers", {"a": b"a"})
    report = Container.clone(on_disk.path, tmp_path / "clone")
    assert report.objects == len(objects) + 1
    clone = Container(tmp_path / "clone")
    assert_holds_with(clone, objects)
    assert refs_of(clone).names() == refs_of(on_disk).names()
    assert clone.container_id != on_disk.container_id
    assert [(remote.name, remote.url) for remote in clone.remotes.list()] == [("origin", str(on_disk.path))]
    assert clone.validate().is_good
    # It pushes back.
    clone.insert_many([b"new"])
    assert clone.remotes.push().objects == 1
    assert again(on_disk).extract(key_of(b"new")) == b"new"


def assert_holds_with(container: Container, objects: dict[str, bytes]) -> None:
    assert dict(container.extract_many(objects)) == objects


def test_a_clone_that_was_broken_off_is_continued(
    on_disk: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_disk.insert_many([b"one", b"two"])
    for name in ("add_remote", "connected"):

        def fail(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(clone, name, fail)
            with pytest.raises(KeyboardInterrupt):
                Container.clone(on_disk.path, tmp_path / "clone")
    assert Container.clone(on_disk.path, tmp_path / "clone").objects == 2
    # Again, it is a pull.
    assert Container.clone(on_disk.path, tmp_path / "clone").objects == 0


def test_a_clone_never_goes_into_something_else(on_disk: Container, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "x").write_text("x")
    with pytest.raises(ContainerExists):
        Container.clone(on_disk.path, tmp_path / "files")
    other = Container.create(tmp_path / "other")
    other.insert(b"mine")
    with pytest.raises(ContainerExists, match="no clone"):
        Container.clone(on_disk.path, other.path)
    assert other.remotes.list() == []
    with pytest.raises(InvalidOption, match="itself"):
        Container.clone(on_disk.path, on_disk.path)
    with pytest.raises(NotAContainer):
        Container.clone(tmp_path / "nothing", tmp_path / "clone")
    assert not (tmp_path / "clone").exists()


def test_a_clone_compresses_like_the_other(tmp_path: Path) -> None:
    Container.create(tmp_path / "there", compression="zlib+3")
    Container.clone(tmp_path / "there", tmp_path / "clone")
    assert Container(tmp_path / "clone").config.compression == "zlib+3"


def test_what_a_clone_would_copy_is_counted_and_nothing_is_made(
    here: Container, there: Container, tmp_path: Path
) -> None:
    objects = [noise(3000, seed) for seed in range(30)]
    there.insert_many(objects, compress=CompressMode.NO)
    url = here.remotes.list()[0].url
    before = sorted(tmp_path.iterdir())
    counted = clone.estimate(clone.CloneOptions(url, str(tmp_path / "copy")))
    assert (counted.objects, counted.size, counted.known) == (30, 90_000, 0)
    assert counted.packs == 1 and counted.requests.received >= 90_000
    assert sorted(tmp_path.iterdir()) == before

    clone.begin_clone(here.remotes.list()[0], str(tmp_path / "copy")).close()
    Container(tmp_path / "copy").insert_many(objects[:10])
    counted = clone.estimate(clone.CloneOptions(url, str(tmp_path / "copy")))
    assert (counted.objects, counted.known) == (20, 10)
    Container.create(tmp_path / "other").insert(b"other")
    for taken in (tmp_path / "other", tmp_path):
        with pytest.raises(ContainerExists):
            clone.estimate(clone.CloneOptions(url, str(taken)))
