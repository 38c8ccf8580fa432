"""What stands at the path is not what was opened: restored over, replaced, cleared, migrated, or without its locks."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from rsdos import Busy, Container, ContainerReplaced, DamagedContainer, Durability, NotAContainer, Place
from rsdos.engine import create
from rsdos.engine.engine import Engine
from rsdos.index.commits import CommitLog
from rsdos.layout import Layout
from rsdos.maintenance.check import validate
from rsdos.maintenance.migrate import migrate
from rsdos.storage import locks
from rsdos.storage.directory import Directory
from rsdos.storage.opened import HeldLock
from rsdos.stores.packed import stats
from tests.crash.calls import intercepted
from tests.data import key_of, noise, text
from tests.helpers import ABSENT, assert_holds, native


def put_in_place(copy: Path, path: Path) -> None:
    """What a restore does: the directory stays, and all in it is another's from now on."""
    for child in path.iterdir():
        shutil.rmtree(child) if child.is_dir() else child.unlink()
    shutil.copytree(copy, path, dirs_exist_ok=True)


def assert_whole(container: Container) -> None:
    report = container.validate("full")
    assert report.is_good, (report.damaged, report.files)


# An older state of the same container (A7).


@pytest.mark.parametrize("version", [1, 2])
def test_after_a_restore_in_place_nothing_counts_that_was_there_before(tmp_path: Path, version: int) -> None:
    path = tmp_path / "container"
    first, gone, fresh = (key_of(data) for data in (b"first", b"gone", b"fresh"))
    with Container.create(path, container_version=version) as container:
        container.insert(b"first", to=Place.PACKED)
    shutil.copytree(path, tmp_path / "backup")
    with Container(path) as late:
        late.insert(b"gone", to=Place.PACKED)
        assert late.has_many([first, gone]) == [True, True]
        put_in_place(tmp_path / "backup", path)
        # The number of the newest manifest comes again, and the places in the pack.
        with Container(path) as other:
            assert other.insert(b"fresh", to=Place.PACKED) == fresh
        assert late.has(fresh)
        assert late.extract(fresh) == b"fresh"
        assert not late.has(gone)
        assert late.insert_many([b"gone", b"first"]) == [gone, first]
        for data in (b"gone again", b"fresh"):
            late.insert(data)
    contents = {key_of(data): data for data in (b"first", b"fresh", b"gone", b"gone again")}
    with Container(path) as container:
        assert_holds(container, contents)
        assert_whole(container)


def test_an_open_descriptor_of_a_replaced_pack_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "container"
    with Container.create(path) as container:
        container.insert(b"first", to=Place.PACKED)
    shutil.copytree(path, tmp_path / "backup")
    with Container(path) as late:
        gone = late.insert(noise(5000, 1), to=Place.PACKED)
        assert late.extract(gone) == noise(5000, 1)
        put_in_place(tmp_path / "backup", path)
        with Container(path) as other:
            keys = [other.insert(noise(5000, seed), to=Place.PACKED) for seed in (2, 3)]
        # Of another table at the same place in the pack of the same id.
        assert late.has_many([*keys, gone]) == [True, True, False]
        assert [late.extract(key) for key in keys] == [noise(5000, 2), noise(5000, 3)]


def test_an_index_that_was_replaced_by_an_older_one_is_missed_and_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "container"
    with Container.create(path) as container:
        first = container.insert(b"first", to=Place.PACKED)
    shutil.copytree(path / "index", tmp_path / "index")
    with Container(path) as late:
        later = late.insert(b"later", to=Place.PACKED)
        shutil.rmtree(path / "index")
        shutil.copytree(tmp_path / "index", path / "index")
        assert late.has_many([first, later, ABSENT]) == [True, True, False]
        with pytest.raises(DamagedContainer, match="was committed last, and is missing"):
            late.insert(b"more", to=Place.PACKED)
        assert late.extract(later) == b"later"


# Another container.


def calls(container: Container, key: str) -> dict[str, Callable[[], Any]]:
    """Every call of a container, by name; ``key`` is of an object that was there when it was opened."""
    return {
        "has": lambda: container.has(key),
        "has absent": lambda: container.has(ABSENT),
        "in": lambda: key in container,
        "has_many": lambda: container.has_many([key, ABSENT]),
        "extract": lambda: container.extract(key),
        "extract absent": lambda: container.extract(ABSENT),
        "extract_many": lambda: dict(container.extract_many([key, ABSENT], missing="skip")),
        "open": lambda: container.open(key).read(),
        "extract_to": lambda: container.extract_to(key, container.path.parent / "out"),
        "meta": lambda: container.meta(key),
        "find": lambda: container.find(key[:10]),
        "list": lambda: list(container),
        "len": lambda: len(container),
        "status": container.status,
        "insert": lambda: container.insert(b"loose now"),
        "insert packed": lambda: container.insert(b"packed now", to=Place.PACKED),
        "insert a duplicate": lambda: container.insert(b"packed", to=Place.PACKED),
        "insert many": lambda: container.insert_many([b"one", text(9000, 1)]),
        "insert many loose": lambda: container.insert_many([b"three", b"four"], to=Place.LOOSE),
        "delete": lambda: container.delete([key]),
        "pack": container.pack_all_loose,
        "clean": container.clean_storage,
        "repack": lambda: container.repack(min_dead=0),
        "validate": lambda: assert_whole(container),
        "backup": lambda: container.backup(container.path.parent / "backups"),
    }


NAMES = list(calls(Container("nowhere"), ABSENT))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("version", [1, 2])
def test_a_container_open_during_a_migration_raises_or_answers_right(tmp_path: Path, version: int, name: str) -> None:
    """Before, eleven calls of 26 sent people to a repair: the index is missing, no table db_object, damaged."""
    path = tmp_path / "container"
    objects = {key_of(data): data for data in (b"packed", text(70_000, 2), b"loose")}
    with Container.create(path, container_version=version) as late:
        late.insert_many([b"packed", text(70_000, 2)])
        late.insert(b"loose")
        key = key_of(b"packed")
        assert late.extract(key) == b"packed"
        with Container(path) as other:
            engine = other.engine
            migrate.execute(engine, migrate.plan(engine, migrate.MigrateOptions(3 - version)))
        try:
            answer = calls(late, key)[name]()
        except ContainerReplaced as error:
            assert f"migrated to version {3 - version}" in str(error)
            answer = None
        except KeyError:
            assert name == "extract absent"
            answer = None
        check_answer(name, answer, key, objects)
        # Behind that, and `close`, it is opened anew.
        with suppress(ContainerReplaced):
            late.has(key_of(b"migrated"))
        late.close()
        assert name == "delete" or late.extract(key) == b"packed"
    with Container(path) as container:
        assert container.config.version == 3 - version
        present = set(container)
        if isinstance(answer, str) and name.startswith("insert"):
            assert answer in present
        if isinstance(answer, list) and name.startswith("insert"):
            assert present >= set(answer)
        assert present >= set(objects) - ({key} if name == "delete" and answer else set())
        assert_whole(container)


def check_answer(name: str, answer: Any, key: str, objects: dict[str, bytes]) -> None:
    """Where a call gave one."""
    right = {
        "has": True,
        "has absent": False,
        "in": True,
        "has_many": [True, False],
        "extract": b"packed",
        "extract_many": {key: b"packed"},
        "open": b"packed",
        "extract_to": 6,
        "find": key,
        "len": 3,
    }
    if answer is not None:
        assert right.get(name, answer) == answer
        assert name != "list" or set(answer) == set(objects)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("version", [1, 2])
def test_a_container_open_while_it_is_replaced_raises_an_error(tmp_path: Path, version: int, name: str) -> None:
    path = tmp_path / "container"
    with Container.create(tmp_path / "copy", container_version=version, loose_prefix_len=3) as other:
        other.insert_many([b"other"])
    with Container.create(path, container_version=version) as late:
        key = late.insert(b"packed", to=Place.PACKED)
        put_in_place(tmp_path / "copy", path)
        answer = None
        try:
            answer = calls(late, key)[name]()
        except ContainerReplaced as error:
            assert "replaced by another container" in str(error)
        except KeyError:
            assert name == "extract absent"
    # Of what it has open a reader may give what was there; nothing is taken for stored that is not.
    assert not (answer and name in ("has absent", "delete"))
    with Container(path) as container:
        if name.startswith("insert"):
            answers = [answer] if isinstance(answer, str) else answer or []
            assert set(container) >= set(answers)
        assert container.has(key_of(b"other"))
        assert_whole(container)


# Cleared beside others (A16).


@pytest.mark.parametrize("version", [1, 2])
def test_clearing_does_not_go_on_beside_a_maintenance_run(tmp_path: Path, version: int) -> None:
    with Container.create(tmp_path, container_version=version) as container:
        key = container.insert(b"x", to=Place.PACKED)
        with container.engine.maintenance("a test"):
            with pytest.raises(Busy, match="a test"):
                Container(tmp_path).init_container(clear=True)
            assert container.extract(key) == b"x"
        Container(tmp_path).init_container(clear=True)
        assert list(Container(tmp_path)) == []


@pytest.mark.parametrize("again", [1, 2])
@pytest.mark.parametrize("version", [1, 2])
def test_a_writer_during_a_clearing_stores_nothing_into_the_new_container(
    tmp_path: Path, version: int, again: int
) -> None:
    """Before, manifests and packs of the old one went into the new one, which was damaged forever."""

    def sources() -> Iterator[bytes]:
        yield b"before"
        Container(tmp_path).init_container(clear=True, container_version=again)
        yield b"behind"

    with Container.create(tmp_path, container_version=version) as container:
        container.insert(b"x", to=Place.PACKED)
        with pytest.raises(ContainerReplaced, match="replaced by another container"):
            container.insert_many(sources())
    with Container(tmp_path) as container:
        assert list(container) == []
        assert_whole(container)
        container.insert(b"new", to=Place.PACKED)
        assert_holds(container, {key_of(b"new"): b"new"})


@pytest.mark.parametrize("moment", range(6))
@pytest.mark.parametrize("version", [1, 2])
def test_a_loose_writer_beside_a_clearing_gets_an_error_or_is_cleared(
    tmp_path: Path, version: int, moment: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes no lock, and may put a file into a directory that was emptied a moment ago."""
    writer = Container.create(tmp_path, container_version=version)
    writer.insert(b"there")
    calls: list[str] = []
    real = Directory.remove_directory

    def remove_directory(self: Directory, name: str) -> bool:
        calls.append(name)
        if len(calls) == moment + 1:
            with suppress(NotAContainer, ContainerReplaced):
                writer.insert_many([b"there", b"one more"], to=Place.LOOSE)
        return real(self, name)

    with monkeypatch.context() as patched:
        patched.setattr(Directory, "remove_directory", remove_directory)
        Container(tmp_path).init_container(clear=True)
    assert len(calls) > moment
    with Container(tmp_path) as container:
        assert list(container) == []
        assert_whole(container)
    with pytest.raises((NotAContainer, ContainerReplaced)):
        writer.insert(b"behind")


def test_a_commit_that_waits_for_a_clearing_finds_no_container(tmp_path: Path) -> None:
    from rsdos.engine.create import clear_container

    with Container.create(tmp_path) as container:
        container.insert(b"x", to=Place.PACKED)

        def sources() -> Iterator[bytes]:
            yield b"y"
            clear_container(str(tmp_path))

        with pytest.raises((NotAContainer, ContainerReplaced)):
            container.insert_many(sources())
    assert not (tmp_path / "config.json").exists()


# Lock files that somebody tidies up (A10).


def packed(path: Path, data: bytes) -> str:
    with Container(path) as other:
        return other.insert(data, to=Place.PACKED)


@pytest.mark.parametrize("call", ["fdatasync", "link"])
def test_without_its_lock_file_two_commits_beside_each_other_are_both_kept(tmp_path: Path, call: str) -> None:
    """Before, both wrote `index/manifest.new`, and the first published what the second had written."""
    Container.create(tmp_path).close()
    packed(tmp_path, b"first")
    keys: list[str] = []

    def hook(name: str, do: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        path = os.readlink(f"/proc/self/fd/{arguments[0]}") if isinstance(arguments[0], int) else str(arguments[0])
        if name == call and "/index/manifest" in path and not keys:
            keys.append("")
            (tmp_path / "locks" / "commit").unlink()
            keys.append(packed(tmp_path, b"theirs"))
        return do(*arguments)

    with Container(tmp_path) as container, intercepted(hook):
        # In a pack of its own: that of the other is locked.
        keys.append(container.insert(b"ours", to=Place.PACKED))
    assert len(keys) == 3
    with Container(tmp_path) as container:
        assert_holds(container, {key_of(data): data for data in (b"first", b"theirs", b"ours")})
        assert_whole(container)


@pytest.mark.parametrize("is_new", [False, True])
def test_without_its_lock_file_a_pack_has_one_writer(tmp_path: Path, is_new: bool) -> None:
    """Before, the first cut off, or wrote over, what the second had committed to the same pack."""
    Container.create(tmp_path).close()
    stored = [noise(3000, 1), noise(5000, 2), noise(3000, 3), noise(2 << 20, 4)]
    if not is_new:
        stored.append(b"first")
        packed(tmp_path, b"first")

    def sources() -> Iterator[bytes]:
        yield noise(3000, 1)
        yield noise(2 << 20, 4)  # What came before it is written now.
        for lock in (tmp_path / "locks").iterdir():
            lock.unlink()
        if is_new:
            with pytest.raises(Busy, match="a writer whose lock file was removed"):
                packed(tmp_path, noise(5000, 2))
            stored.remove(noise(5000, 2))
        else:
            packed(tmp_path, noise(5000, 2))
        with Container(tmp_path) as other:
            other.clean_storage()
        yield noise(3000, 3)

    with Container(tmp_path) as container:
        container.insert_many(sources())
    packed(tmp_path, b"more")
    with Container(tmp_path) as container:
        assert_holds(container, {key_of(data): data for data in [*stored, b"more"]})
        assert_whole(container)


def test_a_pack_that_another_writer_has_made_is_not_removed(tmp_path: Path) -> None:
    """Before, its file was taken for that of a dead writer, and what was committed in it was gone."""
    Container.create(tmp_path).close()

    def sources() -> Iterator[bytes]:
        for lock in (tmp_path / "locks").iterdir():
            lock.unlink()
        packed(tmp_path, b"theirs")
        yield b"ours"

    with Container(tmp_path) as container, pytest.raises(Busy, match="a writer whose lock file was removed"):
        container.insert_many(sources())
    with Container(tmp_path) as container:
        assert_holds(container, {key_of(b"theirs"): b"theirs"})
        assert_whole(container)


@pytest.mark.parametrize("version", [1, 2])
def test_maintenance_commits_nothing_once_another_has_begun_since_its_lock_file_was_removed(
    tmp_path: Path, version: int
) -> None:
    """Before, a repair or a migration brought objects back whose delete was acknowledged."""
    with Container.create(tmp_path, container_version=version) as container:
        keys = [packed(tmp_path, data) for data in (b"one", b"two", b"three")]
        with container.engine.maintenance():
            for lock in (tmp_path / "locks").iterdir():
                lock.unlink()
            assert container.insert(b"four", to=Place.PACKED)  # Nobody else has begun.
            with Container(tmp_path) as other:
                assert other.delete(keys[:1]) == keys[:1]
            with pytest.raises(Busy, match="whose file was removed"):
                container.insert(b"five", to=Place.PACKED)
        container.insert(b"six", to=Place.PACKED)
        assert container.delete(keys[1:2]) == keys[1:2]
    with Container(tmp_path) as container:
        assert_holds(container, {key_of(data): data for data in (b"three", b"four", b"six")})
        assert_whole(container)


@pytest.mark.parametrize(("operation", "pack"), [("insert", 0), ("repack", 1)])
def test_version_1_takes_another_pack_when_a_lock_file_goes_as_it_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str, pack: int
) -> None:
    """Before, the lock file that was to get a second name was missing, and the call raised."""
    removed: list[str] = []
    acquire = locks.try_acquire

    def acquire_and_lose(path: str) -> locks.Lock | None:
        lock = acquire(path)
        if path.endswith(f"/pack-{pack}") and not removed:
            removed.append(path)
            os.unlink(path)
        return lock

    with Container.create(tmp_path, container_version=1) as container:
        packed(tmp_path, b"first")
        container.delete([packed(tmp_path, b"second")])
        monkeypatch.setattr(locks, "try_acquire", acquire_and_lose)
        if operation == "insert":
            key = container.insert(b"ours", to=Place.PACKED)
        else:
            key = key_of(b"first")
            assert container.repack(min_dead=0).objects == 1
        assert removed
    with Container(tmp_path) as container:
        assert {key, key_of(b"first")} == set(container)
        assert_whole(container)


def test_unfinished_manifests_of_dead_writers_go_with_the_next_commit(tmp_path: Path) -> None:
    Container.create(tmp_path).close()
    for name in ("manifest.new", f"manifest-{'0' * 16}.new"):
        (tmp_path / "index" / name).write_bytes(b"half")
    packed(tmp_path, b"x")
    assert not list((tmp_path / "index").glob("*.new"))
    assert native(Engine(str(tmp_path))).index.commits.newest().number == 2


def test_a_migration_is_seen_at_once_also_where_the_note_of_the_last_commit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "container"
    with Container.create(path) as container:
        container.insert(b"first", to=Place.PACKED)
    late = Container(path)
    native(late.engine).index.clock = lambda: 0.0
    assert not late.has(ABSENT)
    engine = Engine(str(path))
    commits = native(engine).index.commits
    assert isinstance(commits, CommitLog)
    pass_over, seen = commits.pass_over, []

    def insert_and_look(lock: HeldLock) -> None:
        pass_over(lock)
        # Its manifests are there yet.
        with Container(path) as of_version_1:
            seen.append(of_version_1.insert(b"of version 1", to=Place.PACKED))
        with pytest.raises(ContainerReplaced, match="migrated to version 1"):
            late.has(seen[0])

    commits.pass_over = insert_and_look  # type: ignore[method-assign]
    migrate.execute(engine, migrate.plan(engine, migrate.MigrateOptions(to=1)))
    assert Container(path).has(seen[0])


def test_a_commit_that_was_lost_is_asked_for_once_a_second(tmp_path: Path) -> None:
    path = tmp_path / "container"
    with Container.create(path) as container:
        container.insert(b"first", to=Place.PACKED)
    late, now = Container(path), [0.0]
    native(late.engine).index.clock = lambda: now[0]
    assert not late.has(ABSENT)
    key = Container(path).insert(b"second", to=Place.PACKED)
    max((path / "index").glob("manifest-*")).unlink()
    now[0] = 1.0
    assert late.has(key)


def test_a_validation_reports_a_migration_during_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Container.create(tmp_path / "store")
    store.insert_many([noise(300, 1)])
    plan = validate.plan(store.engine, validate.ValidateOptions())
    layout = store.engine.layout
    real = layout.segment_numbers

    def numbers() -> list[int]:
        engine = Engine(str(store.path))
        migrate.execute(engine, migrate.plan(engine, migrate.MigrateOptions(to=1)))
        return real()

    monkeypatch.setattr(layout, "segment_numbers", numbers)
    with pytest.raises(ContainerReplaced):
        validate.execute(store.engine, plan)


@pytest.mark.parametrize("version", [1, 2])
def test_a_list_of_packs_that_a_migration_has_taken_away_is_a_container_replaced(tmp_path: Path, version: int) -> None:
    """As it is for a backup that has begun when the last step of a migration in place comes."""
    path = tmp_path / "container"
    with Container.create(path, container_version=version) as late:
        late.insert(b"packed", to=Place.PACKED)
        layout = late.engine.layout
        with Container(path) as other:
            migrate.execute(other.engine, migrate.plan(other.engine, migrate.MigrateOptions(3 - version)))
        with pytest.raises(ContainerReplaced):
            layout.pack_ids()


@pytest.mark.parametrize("version", [1, 2])
def test_maintenance_beside_a_clearing_writes_nothing_into_what_is_cleared(tmp_path: Path, version: int) -> None:
    """The clearing has the locks, and has removed their files: the operation makes new ones, which keep nobody out."""
    path = tmp_path / "container"
    with Container.create(path, container_version=version) as late:
        late.insert(b"packed", to=Place.PACKED)
        plan = migrate.plan(late.engine, migrate.MigrateOptions(3 - version))
        (path / "config.json").rename(path / "config.json.clearing")
        before = {child.name for child in path.iterdir()}
        with pytest.raises(NotAContainer):
            migrate.execute(late.engine, plan)
        assert {child.name for child in path.iterdir()} - before <= {"locks"}


def test_a_manifest_of_another_container_where_this_one_was_is_not_damage(tmp_path: Path) -> None:
    """As a clearing leaves it for a moment: the first manifest is there, and the configuration is not yet."""
    path = tmp_path / "container"
    with Container.create(path) as late, Container.create(tmp_path / "other") as other:
        history = native(late.engine).index.commits
        shutil.rmtree(path / "index")
        shutil.copytree(other.path / "index", path / "index")
        (path / "config.json").unlink()
        with pytest.raises(NotAContainer):
            history.newest()


def merged_beside_another(path: Path, number: int) -> bool:
    """Merge; at a call in ``index/`` the lock files go, and another inserts and merges. Whether it came to that."""
    calls = count()
    ran = False

    def hook(name: str, do: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        nonlocal ran
        if not ran and "/index/" in str(arguments[0]) and next(calls) == number:
            ran = True
            (path / "locks" / "commit").unlink()
            (path / "locks" / "merge").unlink()
            packed(path, b"theirs")
            native(Engine(str(path))).index.merge(Durability.FULL)
        return do(*arguments)

    with intercepted(hook):
        native(Engine(str(path))).index.merge(Durability.FULL)
    return ran


def test_without_its_lock_file_two_merges_write_no_table_of_one_name(tmp_path: Path) -> None:
    """Before, the second wrote over the table that the first one's manifest names, or removed it."""
    objects = [noise(300, seed) for seed in range(4)]
    for number in count():
        path = tmp_path / str(number)
        Container.create(path).close()
        for data in objects:
            packed(path, data)
        if not merged_beside_another(path, number):
            assert number > 3
            return
        with Container(path) as container:
            assert_holds(container, {key_of(data): data for data in [*objects, b"theirs"]})
            assert_whole(container)
        for at in range(16):  # Then a commit drops what no manifest needs.
            packed(path, b"%d" % at)
        named = {entry.number for entry in native(Engine(str(path))).index.commits.newest().segments}
        assert len(list((path / "index").glob("*.seg"))) <= len(named) + 2, f"at call {number}"


def test_a_file_removed_by_a_clearing_is_reported_as_a_removed_container(tmp_path: Path) -> None:
    """Not as a file that is missing: in an operation that has begun, and in the plan of one."""
    with Container.create(tmp_path / "container") as late:
        late.insert(b"packed", to=Place.PACKED)
        engine = late.engine
        index = native(engine).index
        index.refresh()
        with pytest.raises(NotAContainer), engine.maintenance():
            shutil.rmtree(late.path)
            (late.path / "packed").mkdir(parents=True)
            os.stat(engine.layout.pack(1))
        with pytest.raises(NotAContainer):
            stats._length_of_files(engine.layout)


def test_a_clearing_that_comes_behind_a_migration_deletes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has read the configuration, and gets the locks when the migration has ended."""
    path = tmp_path / "container"
    Container.create(path).close()
    with Container(path) as container:
        key = container.insert(b"packed", to=Place.PACKED)

    def migrated(layout: Layout) -> locks.Lock:
        monkeypatch.undo()
        with Container(path) as other:
            migrate.execute(other.engine, migrate.plan(other.engine, migrate.MigrateOptions(1)))
        return create._maintenance(layout)

    monkeypatch.setattr(create, "_maintenance", migrated)
    with pytest.raises(ContainerReplaced):
        create.clear_container(str(path))
    with Container(path) as container:
        assert container.extract(key) == b"packed"


@pytest.mark.parametrize("data", [b"packed", noise((1 << 20) + 1, 1)], ids=["small", "of two frames"])
@pytest.mark.parametrize(
    "read",
    [
        lambda container, key: container.extract(key),
        lambda container, key: container.open(key).read(),
        lambda container, key: list(container.extract_many([key])),
        lambda container, key: list(container.engine.packed.frames(bytes.fromhex(key))),
    ],
    ids=["extract", "open", "extract_many", "frames"],
)
def test_a_read_in_the_middle_of_a_clearing_is_told_as_that_and_not_as_damage(
    tmp_path: Path, data: bytes, read: Callable[[Container, str], object]
) -> None:
    """A clearing removes the packs before the index."""
    with Container.create(tmp_path / "container") as container:
        (key,) = container.insert_many([data])
    with Container(tmp_path / "container") as container:
        assert key in container
        shutil.rmtree(tmp_path / "container" / "packed")
        (tmp_path / "container" / "config.json").unlink()
        with pytest.raises(NotAContainer):
            read(container, key)
