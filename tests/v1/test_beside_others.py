"""Version 1 beside others that repack, commit, migrate, or hold its index: one is held while another runs whole."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from rsdos import (
    Busy,
    CompressMode,
    Container,
    ContainerReplaced,
    DamagedContainer,
    Durability,
    Place,
    ReadOnlyContainer,
)
from rsdos.layout import V1Layout
from rsdos.maintenance.migrate import migrate
from rsdos.model import FRAME_SIZE, Trust
from rsdos.storage import posix
from rsdos.stores.v1 import connection
from rsdos.stores.v1.sqlite_error import translated
from rsdos.stores.v1.store import V1PackStore
from tests.data import key_of, noise
from tests.helpers import assert_holds

SMALL = [noise(3000, seed) for seed in range(5)]
LARGE = noise(FRAME_SIZE + 5, 9)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return Container.create(tmp_path / "container", container_version=1).path


def packs(container: Container) -> V1PackStore:
    assert isinstance(container.engine.packed, V1PackStore)
    return container.engine.packed


def at_call(there: Any, name: str, number: int, run: Callable[[], object]) -> list[int]:
    """Run something whole before the call of this number; returns the numbers of the calls that were made."""
    made: list[int] = []
    real = getattr(there, name)

    def hooked(*args: Any, **settings: Any) -> Any:
        made.append(len(made))
        if made[-1] == number:
            run()
        return real(*args, **settings)

    setattr(there, name, hooked)
    return made


@pytest.mark.parametrize("to", Place)
@pytest.mark.parametrize("data", [SMALL[1], LARGE], ids=["small", "large"])
def test_a_pack_that_is_repacked_before_an_insert_syncs_it_is_looked_up_again(
    path: Path, to: Place, data: bytes
) -> None:
    owner = Container(path)
    owner.insert_many([*SMALL, LARGE], compress=CompressMode.NO)
    owner.delete([key_of(SMALL[0])])
    writer = Container(path)
    made = at_call(packs(writer), "_make_durable", 0, lambda: Container(path).repack(min_dead=0))
    assert writer.insert_many([data], to=to) == [key_of(data)]
    assert made
    assert_holds(Container(path), {key_of(one): one for one in (*SMALL[1:], LARGE)})
    assert Container(path).validate("full").is_good


@pytest.mark.parametrize("to", Place)
def test_an_object_in_a_missing_pack_is_stored_again(path: Path, to: Place) -> None:
    Container(path).insert_many(SMALL)
    (path / "packs" / "0").unlink()
    writer = Container(path)
    assert writer.insert_many([SMALL[0]], to=to, trust=Trust.INDEX) == [key_of(SMALL[0])]
    assert Container(path).extract(key_of(SMALL[0])) == SMALL[0]


@pytest.mark.parametrize("data", [SMALL[1], LARGE], ids=["small", "large"])
def test_a_full_insert_does_not_rely_on_a_row_just_committed_relaxed(path: Path, data: bytes) -> None:
    relaxed = Container(path, durability=Durability.RELAXED)
    writer = Container(path)
    made = at_call(packs(writer).database, "writing", 0, lambda: relaxed.insert_many([data]))
    assert writer.insert_many([data]) == [key_of(data)]
    assert made
    # What a power loss takes.
    (path / "packs" / "1").write_bytes(b"")
    assert_holds(Container(path), {key_of(data): data})


@pytest.mark.parametrize("to", Place)
def test_a_full_insert_syncs_the_row_of_a_relaxed_one_that_it_relies_on(
    path: Path, to: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Container(path)
    writer.insert_many([SMALL[0]])
    synced: list[str] = []
    real = posix.sync_path

    def sync_path(file: str) -> None:
        synced.append(file)
        real(file)

    monkeypatch.setattr(posix, "sync_path", sync_path)
    log = f"{path}/packs.idx-wal"
    Container(path, durability=Durability.RELAXED).insert_many([SMALL[1]])
    assert log not in synced
    assert writer.insert_many([SMALL[1]], to=to) == [key_of(SMALL[1])]
    assert synced.count(log) == 1
    assert writer.insert_many([SMALL[0]], to=to) == [key_of(SMALL[0])]
    assert synced.count(log) == 1


def test_a_directory_with_a_number_for_its_name_is_no_pack(path: Path) -> None:
    (path / "packs" / "0").mkdir()
    container = Container(path)
    keys = container.insert_many(SMALL)
    container.delete(keys[:1])
    container.clean_storage()
    container.repack(min_dead=0)
    container.pack_all_loose()
    assert (path / "packs" / "0").is_dir()
    assert_holds(Container(path), {key_of(data): data for data in SMALL[1:]})


@pytest.mark.parametrize("name", ["can_write", "connect"])
def test_a_migration_that_ends_while_the_index_is_opened_is_reported_and_no_index_is_made(
    path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    key = Container(path).insert(SMALL[0], to=Place.PACKED)
    late = Container(path)
    packs(late)
    there: Any = connection if name == "can_write" else sqlite3
    real = getattr(there, name)
    migrated: list[bool] = []

    def opening(*args: Any, **settings: Any) -> Any:
        answer = real(*args, **settings)
        if not migrated:
            migrated.append(True)
            engine = Container(path).engine
            migrate.execute(engine, migrate.plan(engine, migrate.MigrateOptions(2)))
        return answer

    monkeypatch.setattr(there, name, opening)
    with pytest.raises(ContainerReplaced, match="migrated to version 2"):
        late.has(key)
    assert migrated
    assert not (path / "packs.idx").exists()
    assert Container(path).extract(key) == SMALL[0]


SAYS = {
    "SQLITE_BUSY": Busy,
    "SQLITE_BUSY_RECOVERY": Busy,
    "SQLITE_LOCKED": Busy,
    "SQLITE_PROTOCOL": Busy,
    "SQLITE_SCHEMA": Busy,
    "SQLITE_IOERR_LOCK": Busy,
    "SQLITE_IOERR_SHMLOCK": Busy,
    "SQLITE_MISUSE": Busy,
    "SQLITE_RANGE": Busy,
    "SQLITE_ABORT": Busy,
    "SQLITE_ABORT_ROLLBACK": Busy,
    "SQLITE_NOMEM": MemoryError,
    "SQLITE_IOERR_NOMEM": MemoryError,
    "SQLITE_READONLY": ReadOnlyContainer,
    "SQLITE_PERM": ReadOnlyContainer,
    "SQLITE_AUTH": ReadOnlyContainer,
    "SQLITE_FULL": OSError,
    "SQLITE_NOLFS": OSError,
    "SQLITE_CORRUPT": DamagedContainer,
    "SQLITE_NOTADB": DamagedContainer,
    "SQLITE_IOERR_SHORT_READ": DamagedContainer,
    "SQLITE_INTERRUPT": DamagedContainer,
    "SQLITE_TOOBIG": DamagedContainer,
    "SQLITE_ERROR": DamagedContainer,
}


@pytest.mark.parametrize(("name", "told"), SAYS.items(), ids=SAYS)
def test_only_damage_is_reported_as_damage(path: Path, name: str, told: type[Exception]) -> None:
    """Most of these no test can bring about: a lock of SQLite's that is never free for ten seconds is one of them."""
    error = sqlite3.OperationalError("locking protocol")
    error.sqlite_errorcode = getattr(sqlite3, name)
    assert type(translated(error, V1Layout(str(path)))) is told


@pytest.mark.parametrize("call", ["find_many", "sync_log"])
@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("to", Place)
@pytest.mark.parametrize("data", [SMALL[1], LARGE], ids=["small", "large"])
def test_a_duplicate_in_an_index_that_was_just_cleared_is_not_acknowledged(
    path: Path, data: bytes, to: Place, number: int, call: str
) -> None:
    Container(path).insert_many([*SMALL, LARGE], compress=CompressMode.NO)
    writer = Container(path)
    made = at_call(
        packs(writer).database, call, number, lambda: Container(path).init_container(clear=True, container_version=1)
    )
    with suppress(ContainerReplaced):
        writer.insert_many([data], to=to)
        assert len(made) <= number, "acknowledged, and not there"
