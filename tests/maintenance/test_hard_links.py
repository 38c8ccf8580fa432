"""Containers that share files, as hard links, with others: what is done to one is never seen in another."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from rsdos import Busy, Container, Place, ReadOnlyContainer
from rsdos.maintenance.backup import backup
from rsdos.maintenance.backup.backup import BackupOptions
from rsdos.maintenance.repair import index as repair_index
from rsdos.maintenance.repair.index import RepairIndexReport
from rsdos.stores.v1.connection import parked
from tests.data import key_of, noise, text
from tests.helpers import assert_holds, assert_no_leftovers, manifest_of, run_python, tree
from tests.maintenance.test_validate import run as validated

PACKED = {key_of(data): data for data in (b"", text(3000), *(noise(400, seed) for seed in range(12)))}
LOOSE = {key_of(data): data for data in (b"loose", noise(2000, 70))}
OBJECTS = PACKED | LOOSE
FIRST, SECOND = list(PACKED)[:2]

Objects = dict[str, bytes]


def made(path: Path, version: int) -> Container:
    container = Container.create(path, container_version=version)
    container.insert_many(PACKED.values())
    container.insert_many(LOOSE.values(), to=Place.LOOSE)
    if version == 2:
        container.delete([container.insert_many([b"dead bytes"])[0]])
    return container


def let_go(path: Path) -> None:
    """Close the connection to an index of version 1 that is kept for the next opening, as the end of a process does."""
    connection = parked.take(str(path / "packs.idx"))
    if connection:
        connection.close()


def holds(path: Path, objects: Objects) -> None:
    with Container(path) as container:
        assert_holds(container, objects)


def linked(source: Path, target: Path) -> Path:
    """What ``cp -al`` makes, while nobody is at work."""
    let_go(source)
    for directory, _, names in os.walk(source):
        (target / Path(directory).relative_to(source)).mkdir()
        for name in names:
            os.link(Path(directory) / name, target / Path(directory).relative_to(source) / name)
    return target


def contents(root: Path) -> dict[str, bytes]:
    """Every file, without what SQLite has beside an index that is open."""
    files = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    return {name: data for name, data in files.items() if not name.endswith("-shm") and (data or name[-4:] != "-wal")}


def repaired(path: Path) -> RepairIndexReport:
    with Container(path) as container:
        return repair_index.execute(container.engine, repair_index.plan(container.engine))


def insert(container: Container, new: bytes) -> None:
    container.insert_many([new])


def insert_twice(container: Container, new: bytes) -> None:
    container.insert_many([new[:3]])
    container.insert_many([new])
    container.delete([key_of(new[:3])])


def pack(container: Container, new: bytes) -> None:
    container.insert(new)
    container.pack_all_loose()


def repack(container: Container, new: bytes) -> None:
    container.insert_many([new])
    container.repack(min_dead=0)


def clean(container: Container, new: bytes) -> None:
    container.insert(new)
    container.pack_all_loose()
    container.clean_storage()
    container.validate()


def delete(container: Container, new: bytes) -> None:
    container.insert(new)
    container.delete([FIRST])
    container.insert_many([OBJECTS[FIRST]])


def repair(container: Container, new: bytes) -> None:
    container.close()
    repaired(container.path)
    container.insert(new)


CHANGES = [insert, insert_twice, pack, repack, clean, delete, repair]


def written(path: Path, change: Callable[[Container, bytes], None], new: bytes) -> None:
    with Container(path) as container:
        change(container, new)


def assert_apart(one: Path, other: Path, change: Callable[[Container, bytes], None]) -> None:
    """Change both, twice and in turns: each has what was inserted there, and nothing of the other's."""
    held: dict[Path, Objects] = {one: dict(OBJECTS), other: dict(OBJECTS)}
    for number in range(2):
        for path, another in ((one, other), (other, one)):
            new = text(500 + number, seed=len(held[one]) + 100 * (path == one))
            before = contents(another)
            written(path, change, new)
            held[path][key_of(new)] = new
            assert contents(another) == before
    for path, objects in held.items():
        holds(path, objects)
        report = validated(Container(path))
        assert (report.damaged, report.files) == ((), ())


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("change", CHANGES)
def test_two_backups_are_written(tmp_path: Path, version: int, change: Callable[[Container, bytes], None]) -> None:
    with made(tmp_path / "store", version) as container:
        one, other = (
            Path(backup.execute(container.engine, backup.plan(container.engine, options)).generation)
            for options in [BackupOptions(str(tmp_path / "backups"))] * 2
        )
    assert any(path.stat().st_nlink == 2 for path in (one / ("packs" if version == 1 else "packed")).iterdir())
    assert_apart(one, other, change)


@pytest.mark.parametrize("change", CHANGES)
def test_a_linked_copy_and_its_original_are_written(tmp_path: Path, change: Callable[[Container, bytes], None]) -> None:
    made(tmp_path / "store", 2).close()
    assert_apart(tmp_path / "store", linked(tmp_path / "store", tmp_path / "copy"), change)


def test_a_copy_of_a_copy_is_written(tmp_path: Path) -> None:
    made(tmp_path / "store", 2).close()
    first = linked(tmp_path / "store", tmp_path / "first")
    written(first, insert, b"in the first copy")
    second = linked(first, tmp_path / "second")
    before = contents(tmp_path / "store"), contents(first)
    written(second, insert, b"in the second copy")
    assert (contents(tmp_path / "store"), contents(first)) == before
    assert [pack.id for pack in manifest_of(second).packs] == [1, 2, 3]


def test_a_pack_is_gone_on_with_when_nobody_else_has_it(tmp_path: Path) -> None:
    made(tmp_path / "store", 2).close()
    copy = linked(tmp_path / "store", tmp_path / "copy")
    for path in sorted(copy.rglob("*.pack")):
        path.unlink()
    written(tmp_path / "store", insert, b"a new one")
    assert [pack.id for pack in manifest_of(tmp_path / "store").packs] == [1]


def test_the_tail_of_a_shared_pack_is_not_cut(tmp_path: Path) -> None:
    """It may be what the other container, which was copied while it was written, has committed since."""
    container = made(tmp_path / "store", 2)
    copy = linked(tmp_path / "store", tmp_path / "copy")
    (pack,) = copy.glob("packed/*.pack")
    length = pack.stat().st_size
    with pack.open("ab") as file:
        file.write(b"tail")
    with container:
        container.clean_storage()
        container.insert_many([b"a new one"])
    assert pack.stat().st_size == length + 4
    (tmp_path / "store" / "packed" / pack.name).unlink()
    with Container(copy) as alone:
        alone.clean_storage()
    assert pack.stat().st_size == length
    assert_no_leftovers(copy)


def test_a_pack_that_only_the_other_knows_is_not_written_over(tmp_path: Path) -> None:
    """The copy was made between the first bytes of a pack and its commit."""
    with made(tmp_path / "store", 2) as container:
        manifests = {path: path.read_bytes() for path in (tmp_path / "store" / "index").iterdir()}
        number = (tmp_path / "store" / "locks" / "commit").read_bytes()
        first = tmp_path / "store" / "packed" / "0000000001.pack"
        os.link(first, tmp_path / "another name")
        container.insert_many([b"in the second pack"])
        held = {**OBJECTS, key_of(b"in the second pack"): b"in the second pack"}
    copy = linked(tmp_path / "store", tmp_path / "copy")
    # The copy as it was before the commit, with the file of the pack.
    for path in (copy / "index").iterdir():
        path.unlink()
    for path, data in manifests.items():
        (copy / "index" / path.name).write_bytes(data)
    (copy / "locks" / "commit").unlink()
    (copy / "locks" / "commit").write_bytes(number)
    before = contents(tmp_path / "store")
    written(copy, insert, b"in another second pack")
    assert contents(tmp_path / "store") == before
    holds(tmp_path / "store", held)
    new = b"in another second pack"
    holds(copy, OBJECTS | {key_of(new): new})


@pytest.fixture
def shared_index(tmp_path: Path) -> tuple[Path, Path]:
    made(tmp_path / "store", 1).close()
    return tmp_path / "store", linked(tmp_path / "store", tmp_path / "copy")


@pytest.mark.parametrize("change", [insert, insert_twice, pack, repack, clean, delete])
def test_an_index_of_version_1_that_is_shared_is_not_written(
    shared_index: tuple[Path, Path], change: Callable[[Container, bytes], None]
) -> None:
    for path, another in (shared_index, shared_index[::-1]):
        before = contents(another)
        with pytest.raises(ReadOnlyContainer, match="repair index"):
            written(path, change, b"a new one")
        assert contents(another) == before
        assert dict(Container(path).extract_many(OBJECTS)) == OBJECTS
        assert validated(Container(path)).is_good


@pytest.mark.parametrize("change", CHANGES)
def test_a_repair_gives_each_its_own_index_of_version_1(
    shared_index: tuple[Path, Path], change: Callable[[Container, bytes], None]
) -> None:
    store, copy = shared_index
    before = contents(copy)
    report = repaired(store)
    assert (report.is_changed, report.is_good, report.moved) == (True, True, ())
    assert contents(copy) == before
    assert not repaired(store).is_changed
    assert_apart(store, copy, change)


def test_a_repair_takes_the_log_along(tmp_path: Path) -> None:
    made(tmp_path / "store", 1).close()
    let_go(tmp_path / "store")
    code = (
        "import os, sys\nfrom rsdos import Container\ncontainer = Container(sys.argv[1])\n"
        "container.insert_many([b'in the log'])\nos._exit(0)"
    )
    run_python(code, tmp_path / "store")
    copy = linked(tmp_path / "store", tmp_path / "copy")
    assert (copy / "packs.idx-wal").stat().st_size
    new = {key_of(b"in the log"): b"in the log"}
    assert repaired(copy).is_good
    holds(copy, OBJECTS | new)
    assert not any(path.stat().st_nlink > 1 for path in copy.glob("packs.idx*"))
    holds(tmp_path / "store", OBJECTS | new)


def test_an_index_is_not_taken_from_a_process_that_has_it_open(shared_index: tuple[Path, Path]) -> None:
    store, copy = shared_index
    with closing(sqlite3.connect(store / "packs.idx")) as other:
        assert other.execute("SELECT COUNT(*) FROM db_object").fetchone() == (len(PACKED),)
        for path in shared_index:
            with pytest.raises(Busy):
                repaired(path)
    before = tree(store)
    assert repaired(copy).is_good
    assert {name: before[name] for name in tree(store)} == tree(store)


def test_a_killed_repair_can_be_continued(shared_index: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    rename, left = os.rename, 0

    def renamed(*arguments: str) -> None:
        nonlocal left
        if not left:
            raise Killed
        left -= 1
        rename(*arguments)

    store, copy = shared_index
    for calls in range(2):
        left = calls
        monkeypatch.setattr(os, "rename", renamed)
        with pytest.raises(Killed):
            repaired(store)
        monkeypatch.undo()
        holds(store, OBJECTS)
    assert repaired(store).is_good
    assert (copy / "packs.idx").stat().st_nlink == 1
    assert_apart(store, copy, insert)
