"""Containers of version 1: what is particular to them. Their verbs are in the conformance suite."""

from __future__ import annotations

import errno
import json
import logging
import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import sha1, sha256
from pathlib import Path
from typing import Any

import pytest
import zstandard

from rsdos import (
    CompressMode,
    Container,
    DamagedContainer,
    DamagedObject,
    InvalidOption,
    ObjectNotFound,
    Place,
    ReadOnlyContainer,
    UnsupportedContainer,
)
from rsdos.config import Config, read_config
from rsdos.model import FRAME_SIZE
from rsdos.storage import posix
from rsdos.stores.v1.connection import parked
from rsdos.stores.v1.store import V1PackStore
from tests.data import key_of, noise, text
from tests.helpers import NOBODY, child_environment, let_others_pass, run_python, tree, writable_as_nobody
from tests.patience import HANG

SMALL = [noise(3000, seed) for seed in range(5)] + [text(3000, seed) for seed in range(5)]
LARGE = [noise(3 * FRAME_SIZE + 7, 1), text(3 * FRAME_SIZE + 7, 2)]


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    with Container.create(tmp_path / "container", container_version=1) as made:
        yield made


def rows(container: Container) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(container.path / "packs.idx")) as database:
        return database.execute("SELECT * FROM db_object ORDER BY id").fetchall()


def change(container: Container, statement: str, *values: object) -> None:
    """What a stranger does to the index."""
    with closing(sqlite3.connect(container.path / "packs.idx")) as database, database:
        database.execute(statement, values)


def test_what_it_is_made_of(container: Container) -> None:
    assert {child.name for child in container.path.iterdir()} == {
        "config.json", "duplicates", "loose", "packs", "packs.idx", "sandbox",
    }  # fmt: skip
    assert json.loads((container.path / "config.json").read_text()) == {
        "container_version": 1,
        "loose_prefix_len": 2,
        "pack_size_target": 4 * 1024**3,
        "hash_type": "sha256",
        "container_id": container.container_id,
        "compression_algorithm": "zlib+1",
    }
    with closing(sqlite3.connect(container.path / "packs.idx")) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize("mode", list(CompressMode))
def test_a_pack_is_what_any_program_reads(container: Container, mode: CompressMode) -> None:
    """Bare bytes, or one zlib stream, at the offset that the row says: the recovery that its documents promise."""
    objects = SMALL + LARGE + [b""]
    container.insert_many(objects, compress=mode)
    found = {}
    for _, key, compressed, size, offset, length, pack_id in rows(container):
        stored = (container.path / "packs" / str(pack_id)).read_bytes()[offset : offset + length]
        raw = zlib.decompress(stored) if compressed else stored
        assert len(raw) == size
        found[key] = raw
    assert found == {key_of(data): data for data in objects}


def test_a_large_object_is_read_from_anywhere(container: Container) -> None:
    for mode in (CompressMode.NO, CompressMode.YES):
        data = text(5 * FRAME_SIZE + 99, seed=mode is CompressMode.NO)
        (key,) = container.insert_many([data], compress=mode)
        with container.open(key) as stream:
            for offset in (4 * FRAME_SIZE, 17, len(data) - 5, 2 * FRAME_SIZE - 1):
                assert stream.seek(offset) == offset
                assert stream.read(4096) == data[offset : offset + 4096]
            assert stream.seek(0, os.SEEK_END) == len(data) and stream.read() == b""
            stream.seek(0)
            assert stream.read() == data
        assert not list((container.path / "loose").iterdir()), "reading must not write"


def test_sha1_and_other_settings_of_the_peer(tmp_path: Path) -> None:
    with Container.create(
        tmp_path, container_version=1, hash_type="sha1", loose_prefix_len=5, pack_size_target=10_000
    ) as container:
        keys = container.insert_many(SMALL, compress=CompressMode.NO)
        assert keys == [sha1(data).hexdigest() for data in SMALL]
        assert container.insert(b"loose") == sha1(b"loose").hexdigest()
        assert (tmp_path / "loose" / sha1(b"loose").hexdigest()[:5]).is_dir()
        assert dict(container.extract_many(keys)) == dict(zip(keys, SMALL, strict=True))
        assert container.find(keys[3][:8]) == keys[3]
        assert container.status().packs == 3


def test_new_codecs_are_refused_unless_asked_for(tmp_path: Path) -> None:
    for settings in (
        {"compression_algorithm": "zstd"},
        {"compression_algorithm": "none"},
        {"loose_compression": "zlib+1"},
        {"durability": "relaxed"},
    ):
        with pytest.raises(InvalidOption):
            Container(tmp_path).init_container(container_version=1, **settings)  # type: ignore[arg-type]
        assert not list(tmp_path.iterdir())
    container = Container(tmp_path)
    container.init_container(container_version=1, compression_algorithm="zstd:+3", readers="rsdos")
    keys = container.insert_many(SMALL + LARGE, compress=CompressMode.YES)
    assert [container.extract(key) for key in keys] == SMALL + LARGE
    stored = (container.path / "packs" / "0").read_bytes()
    assert stored.startswith(b"\x28\xb5\x2f\xfd")


def test_a_config_with_keys_that_nobody_knows(container: Container) -> None:
    path = container.path / "config.json"
    fields = json.loads(path.read_text()) | {"future": [1], "durability": "who knows"}
    path.write_text(json.dumps(fields))
    with Container(container.path) as again:
        assert again.extract(again.insert(b"x")) == b"x"
        assert dict(again.config.unknown) == {"future": [1], "durability": "who knows"}
    path.write_text(json.dumps(fields | {"container_version": 4}))
    with pytest.raises(UnsupportedContainer):
        Container(container.path).insert(b"x")
    del fields["hash_type"]
    path.write_text(json.dumps(fields))
    with pytest.raises(DamagedContainer, match="hash_type"):
        read_config(str(path))


def test_the_spellings_and_ids_of_rsdos_0_1(tmp_path: Path) -> None:
    identity = "78d67f27-0ce0-4bf5-b28a-b3d00a2d5390"
    for spelling in ("zlib+1", "zlib:+1", "zstd:-1"):
        assert Config(version=1, container_id=identity, compression=spelling).codec.level in (1, -1)
    with pytest.raises(InvalidOption):
        Config(container_id=identity)


# What disk-objectstore and rsdos 0.1 leave behind.


def put(container: Container, *objects: tuple[bytes, bytes, int], pack: str = "0") -> None:
    """Write (raw, stored, compressed) as a packer would."""
    path = container.path / "packs" / pack
    for raw, stored, compressed in objects:
        offset = path.stat().st_size if path.exists() else 0
        with path.open("ab") as file:
            file.write(stored)
        change(
            container,
            'INSERT INTO db_object (hashkey, compressed, size, "offset", length, pack_id) VALUES (?, ?, ?, ?, ?, ?)',
            key_of(raw), compressed, len(raw), offset, len(stored), int(pack),
        )  # fmt: skip


def unterminated(raw: bytes) -> bytes:
    """zstd as rsdos 0.1 writes it: flushed and never ended."""
    context = zstandard.ZstdCompressor(level=1).compressobj()
    return context.compress(raw) + context.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)


def test_zstd_without_an_end_is_read(container: Container) -> None:
    objects = SMALL + LARGE
    put(container, *((raw, unterminated(raw), 1) for raw in objects), (b"", b"", 1))
    assert [container.extract(key_of(raw)) for raw in [*objects, b""]] == [*objects, b""]
    assert dict(container.extract_many(map(key_of, objects))) == {key_of(raw): raw for raw in objects}
    with container.open(key_of(LARGE[1])) as stream:
        assert stream.read() == LARGE[1]
    with pytest.raises(zstandard.ZstdError):
        zstandard.ZstdDecompressor().decompress(unterminated(SMALL[0]))


def crashed_repack(container: Container, how: str) -> None:
    """The states in which disk-objectstore's repack leaves a container that is killed."""
    packs = container.path / "packs"
    if how == "copying":
        (packs / "-1").write_bytes(b"half of it")
        return
    os.link(packs / "0", packs / "-1")
    if how != "linked, rows moved back":
        change(container, "UPDATE db_object SET pack_id = -1")
    if how == "rows moved, old pack removed":
        (packs / "0").unlink()
    if how == "rows moved, old pack there":
        (packs / "0").unlink()
        (packs / "0").write_bytes(noise(100))


@pytest.mark.parametrize(
    "how",
    [
        "copying",
        "rows moved, old pack there",
        "rows moved, old pack removed",
        "linked again",
        "linked, rows moved back",
    ],
)
def test_a_repack_that_crashed_is_finished(container: Container, how: str) -> None:
    keys = container.insert_many(SMALL)
    container.close()
    crashed_repack(container, how)
    assert [container.extract(key) for key in keys] == SMALL, "readable before anything is put right"
    container.insert(b"loose")
    container.pack_all_loose()
    assert not (container.path / "packs" / "-1").exists()
    assert {row[6] for row in rows(container)} <= set(map(int, os.listdir(container.path / "packs")))
    assert min(row[6] for row in rows(container)) >= 0
    assert [container.extract(key) for key in keys] == SMALL


def test_a_lock_of_the_peer_is_respected_and_an_old_one_removed(container: Container) -> None:
    container.insert_many(SMALL[:1])
    lock = container.path / "packs" / "0.lock"
    lock.touch()
    container.insert_many(SMALL[1:2])
    assert {row[6] for row in rows(container)} == {0, 1}, "another pack is taken"
    assert lock.exists(), "a lock that was refused is not removed"
    for name in ("0.lock", "0"):
        os.utime(container.path / "packs" / name, (1, 1))
    container.insert(b"loose")
    container.pack_all_loose()
    assert not lock.exists()
    assert not [name for name in os.listdir(container.path / "packs") if name.endswith(".lock")]


def test_our_own_lock_is_taken_over_after_a_kill(container: Container) -> None:
    code = """
import itertools, os, sys
from rsdos import Container
def die():
    yield b"first"
    assert os.path.exists(sys.argv[1] + "/packs/0.lock")
    os.kill(os.getpid(), 9)
many = (b"x" * 2000 + b"%d" % number for number in range(9000))
Container(sys.argv[1]).insert_many(itertools.chain(many, die()))
"""
    child = subprocess.run([sys.executable, "-c", code, container.path], env=child_environment())
    assert child.returncode == -9
    assert (container.path / "packs" / "0.lock").exists()
    (key,) = container.insert_many([b"after"])
    assert rows(container)[-1][6] == 0
    assert not (container.path / "packs" / "0.lock").exists()
    assert container.extract(key) == b"after"


def test_two_packs_are_written_at_once(container: Container) -> None:
    def while_another_is_open() -> Iterator[bytes]:
        for number in range(40_000):  # More than are looked up together, so that a pack is open.
            yield b"outer %d" % number
        Container(container.path).insert_many([b"inner"])
        yield b"last"

    container.insert_many(while_another_is_open())
    assert container.extract(key_of(b"inner")) == b"inner" and container.extract(key_of(b"last")) == b"last"
    assert {row[6] for row in rows(container)} == {0, 1}


# Bad input.


@pytest.mark.parametrize(
    "statement",
    [
        'UPDATE db_object SET "offset" = -1',
        'UPDATE db_object SET "offset" = 4611686018427387904',
        "UPDATE db_object SET length = 4611686018427387000",
        "UPDATE db_object SET length = -5",
        "UPDATE db_object SET length = length - 1",
        "UPDATE db_object SET size = size - 1",
        "UPDATE db_object SET size = size + 1",
        "UPDATE db_object SET size = 4611686018427387000",
        "UPDATE db_object SET size = -1",
        "UPDATE db_object SET compressed = 1 - compressed",
        "UPDATE db_object SET compressed = 7",
        "UPDATE db_object SET pack_id = 99",
        "UPDATE db_object SET pack_id = -2",
        "UPDATE db_object SET pack_id = '../../etc/passwd'",
        "UPDATE db_object SET size = 'x'",
        'UPDATE db_object SET "offset" = 0.5',
        'UPDATE db_object SET "offset" = "offset" + 7',
    ],
)
@pytest.mark.parametrize("mode", [CompressMode.NO, CompressMode.YES])
def test_hostile_rows(container: Container, statement: str, mode: CompressMode) -> None:
    objects = [*SMALL[:2], LARGE[0]]
    keys = container.insert_many(objects, compress=mode)
    container.close()
    change(container, statement)
    # A zlib stream of many frames that lacks a byte of its checksum is still the object: its hash says so.
    forgiven = "length - 1" in statement and mode is CompressMode.YES
    for key in keys[: -1 if forgiven else None]:
        for use in (
            container.extract,
            lambda key: list(container.extract_many([key])),
            lambda key: container.extract_to(key, container.path / "out"),
        ):
            with pytest.raises(DamagedObject, match=key):
                use(key)
    assert not (container.path / "out").exists()
    for key, data in zip(keys, objects, strict=True):
        assert container.insert(data) == key  # A loose copy is written, and read.
        assert container.extract(key) == data


def test_keys_that_are_paths_are_passed_over(container: Container) -> None:
    container.insert_many(SMALL)
    for number, key in enumerate(["../../../etc/passwd", "a" * 63, "A" * 64, "", "x" * 64]):
        change(container, "UPDATE db_object SET hashkey = ? WHERE id = ?", key, number + 1)
    container.close()
    assert set(container) == {key_of(data) for data in SMALL[5:]}
    container.pack_all_loose()


def test_a_bomb_stops_at_the_size_that_the_row_says(container: Container) -> None:
    bomb = zlib.compress(bytes(1 << 28), 9)
    raw = noise(100)
    put(container, (raw, bomb, 1))
    put(container, (noise(99), zstandard.ZstdCompressor().compress(bytes(1 << 28)), 1))
    code = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (800 << 20, 800 << 20))
from rsdos import Container, DamagedObject
for key in sys.argv[2:]:
    try:
        Container(sys.argv[1]).extract(key)
    except DamagedObject as error:
        print("damaged")
"""
    keys = [key_of(raw), key_of(noise(99))]
    command = [sys.executable, "-c", code, str(container.path), *keys]
    child = subprocess.run(command, env=child_environment(), capture_output=True, text=True, timeout=HANG)
    assert child.stdout.split() == ["damaged", "damaged"], child.stderr


def corrupt(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"SQLite format 3\0" + noise(5000))


def empty(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"")


def other_schema(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE db_object (id INTEGER, hashkey VARCHAR)")


def missing(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("spoil", [corrupt, empty, other_schema, missing])
def test_an_index_that_is_none(container: Container, spoil: Callable[[Path], None]) -> None:
    key = container.insert(b"loose")
    (packed,) = container.insert_many([b"packed"])
    container.close()
    for name in ("packs.idx-wal", "packs.idx-shm"):
        (container.path / name).unlink(missing_ok=True)
    spoil(container.path / "packs.idx")
    with Container(container.path) as again:
        for use in (
            lambda: again.extract(packed),
            lambda: again.has(packed),
            lambda: list(again),
            lambda: again.insert_many([b"more"]),
            again.status,
            again.pack_all_loose,
        ):
            with pytest.raises(DamagedContainer, match=r"packs\.idx"):
                use()
        assert again.extract(key) == b"loose", "a loose object is still read"


def test_an_index_that_another_program_keeps_locked_is_read(container: Container) -> None:
    keys = container.insert_many(SMALL)
    with closing(sqlite3.connect(container.path / "packs.idx", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert [container.extract(key) for key in keys] == SMALL
        other.execute("ROLLBACK")


def test_packs_with_strange_names_gaps_and_overlaps(container: Container) -> None:
    keys = container.insert_many(SMALL, compress=CompressMode.NO)
    for name in (".nfs0001", "README", "007", "1.bak", "-2", "99999999999999999999"):
        (container.path / "packs" / name).write_bytes(b"?")
    (container.path / "packs" / "5").mkdir()
    put(container, (noise(7), b"gap" + noise(7), 0))
    change(
        container,
        'UPDATE db_object SET "offset" = "offset" + 3, length = length - 3 WHERE hashkey = ?',
        key_of(noise(7)),
    )
    part = SMALL[0][100:200]
    change(
        container,
        'INSERT INTO db_object (hashkey, compressed, size, "offset", length, pack_id) VALUES (?, 0, 100, 100, 100, 0)',
        key_of(part),
    )
    container.close()
    assert container.extract(key_of(noise(7))) == noise(7) and container.extract(key_of(part)) == part
    assert [container.extract(key) for key in keys] == SMALL
    assert dict(container.extract_many([*keys, key_of(part)])) == {key_of(data): data for data in [*SMALL, part]}
    assert container.insert_many([b"goes on"]) == [key_of(b"goes on")]


def test_a_loose_file_whose_name_is_not_its_hash(container: Container) -> None:
    key = key_of(b"expected")
    (container.path / "loose" / key[:2]).mkdir()
    (container.path / "loose" / key[:2] / key[2:]).write_bytes(b"something else")
    with pytest.raises(DamagedObject):
        container.extract(key)
    assert container.pack_all_loose().damaged == (key,)
    assert container.insert(b"expected") == key and container.extract(key) == b"expected"


def test_damaged_packed_copies_are_replaced(container: Container) -> None:
    keys = container.insert_many(SMALL, compress=CompressMode.NO)
    container.close()
    with (container.path / "packs" / "0").open("r+b") as file:
        file.write(b"\0" * 100)
    with pytest.raises(DamagedObject):
        container.extract(keys[0])
    assert container.insert_many(SMALL) == keys
    assert [container.extract(key) for key in keys] == SMALL
    assert len(rows(container)) == len(SMALL)


# Without permission, and without shared memory.


READ = """
import sys
from rsdos import Container, ReadOnlyContainer
container = Container(sys.argv[1])
print(len(container), sum(len(data) for _, data in container.extract_many(list(container))))
for write in (lambda: container.insert(b"new"), lambda: container.insert_many([b"new"]), container.pack_all_loose):
    try:
        write()
    except ReadOnlyContainer:
        print("refused")
"""


@pytest.mark.skipif(not writable_as_nobody(), reason="only root can become somebody else")
@pytest.mark.parametrize("is_open", [False, True])
def test_a_user_who_may_not_write_reads(tmp_path: Path, is_open: bool) -> None:
    os.chmod(tmp_path, 0o755)
    for parent in tmp_path.parents:
        if parent.stat().st_uid == os.getuid() and str(parent).startswith("/tmp/"):
            os.chmod(parent, 0o755)
    container = Container.create(tmp_path / "container", container_version=1)
    container.insert_many(SMALL)
    container.insert(b"loose")
    if not is_open:
        # Another process did the writing: nothing of it is left open.
        checkpoint(container)
    before = tree(container.path)
    said = run_python(READ, container.path, user=NOBODY)
    assert said.splitlines() == [f"11 {sum(map(len, SMALL)) + 5}"] + ["refused"] * 3
    assert tree(container.path) == before


@pytest.mark.skipif(not writable_as_nobody(), reason="only root can become somebody else")
def test_a_log_that_a_user_may_not_add_to_the_index_keeps_the_container_closed(tmp_path: Path) -> None:
    """Reads are refused as well, so the message says "opened", and pickling keeps it."""
    let_others_pass(tmp_path)
    container = Container.create(tmp_path / "container", container_version=1)
    (key,) = container.insert_many([b"one"])
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-a", container.path, copy], check=True)
    (copy / "packs.idx-shm").unlink()
    code = """
import pickle, sys
from rsdos import Container, ReadOnlyContainer
try:
    Container(sys.argv[1]).extract(sys.argv[2])
except ReadOnlyContainer as error:
    print(pickle.loads(pickle.dumps(error)))
"""
    said = run_python(code, copy, key, user=NOBODY)
    assert said.startswith(f"{copy}: cannot be opened (its log has changes that only a user with write permission can")
    assert Container(copy).extract(key) == b"one"


def checkpoint(container: Container) -> None:
    container.close()
    copy = container.path.with_name("copy")
    subprocess.run(["cp", "-a", container.path, copy], check=True)
    with closing(sqlite3.connect(copy / "packs.idx")) as database:
        database.execute("SELECT COUNT(*) FROM db_object").fetchone()
    subprocess.run(["rm", "-rf", container.path], check=True)
    copy.rename(container.path)
    assert not (container.path / "packs.idx-wal").exists()


def test_without_shared_memory_the_log_is_given_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As on a network file system: where SQLite finds no ``-shm`` that it could map."""
    code = """
import sys
from rsdos import Container
with Container.create(sys.argv[1], container_version=1) as container:
    container.insert_many([b"first"])
"""
    subprocess.run([sys.executable, "-c", code, tmp_path / "container"], env=child_environment(), check=True)
    container = Container(tmp_path / "container")
    (container.path / "packs.idx-shm").mkdir()
    with caplog.at_level(logging.WARNING, "rsdos"):
        assert container.extract(key_of(b"first")) == b"first"
        assert container.insert_many([b"second"]) == [key_of(b"second")]
    assert "rollback journal" in caplog.text
    assert set(container) == {key_of(b"first"), key_of(b"second")}
    with closing(sqlite3.connect(container.path / "packs.idx")) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_a_migration_without_shared_memory(tmp_path: Path) -> None:
    """The journal was changed below the rows that the migration was reading."""
    with Container.create(tmp_path / "container", container_version=1) as container:
        container.insert_many([b"first", b"second"])
    parked.drop(str(container.path / "packs.idx"))
    (container.path / "packs.idx-shm").mkdir()
    Container(container.path).migrate()
    assert set(Container(container.path)) == {key_of(b"first"), key_of(b"second")}


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
def test_sqlite_writes_into_no_file_that_has_a_name_elsewhere(tmp_path: Path, suffix: str) -> None:
    with Container.create(tmp_path / "container", container_version=1) as container:
        container.insert_many([b"first"])
    parked.drop(str(container.path / "packs.idx"))
    (tmp_path / "mine").write_bytes(b"mine")
    (container.path / f"packs.idx{suffix}").hardlink_to(tmp_path / "mine")
    for call in (Container.status, lambda container: container.insert_many([b"second"]), Container.optimize, set):
        with pytest.raises(ReadOnlyContainer, match=r"cannot be opened \(its packs.idx.* has another name"):
            call(Container(container.path))
    assert (tmp_path / "mine").read_bytes() == b"mine"


def test_for_want_of_descriptors_the_log_is_not_given_up(tmp_path: Path) -> None:
    path = tmp_path / "container"
    with Container.create(path, container_version=1) as container:
        (key,) = container.insert_many([b"object"])
    code = """
import errno, os, resource, sys
from rsdos import Container
from rsdos.stores.v1.connection import parked
path, key = sys.argv[1:]
for free in range(8, -1, -1):
    with Container(path) as container:
        container.extract(key)
    parked._connections.clear()
    taken = [os.open("/dev/null", os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken[0] + free, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    try:
        with Container(path) as container:
            assert container.extract(key) == b"object"
    except OSError as error:
        assert error.errno == errno.EMFILE, error
        print("refused")
    resource.setrlimit(resource.RLIMIT_NOFILE, (1000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    parked._connections.clear()
    os.close(taken[0])
"""
    assert run_python(code, path, key).count("refused") > 2
    with closing(sqlite3.connect(path / "packs.idx")) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_closing_is_cheap_and_final_where_it_matters(container: Container) -> None:
    """A connection is kept for the next opening, and never for another file of that name."""
    container.insert_many([b"old"])
    container.close()
    other = Container.create(container.path.with_name("other"), container_version=1)
    other.insert_many([b"new"])
    other.close()
    subprocess.run(["rm", "-rf", container.path], check=True)
    other.path.rename(container.path)
    with Container(container.path) as again:
        assert set(again) == {key_of(b"new")}
        with pytest.raises(ObjectNotFound):
            again.extract(key_of(b"old"))


def test_new_files_have_no_more_rights_than_the_umask_gives(container: Container) -> None:
    container.insert_many(SMALL)
    container.insert(b"loose", to=Place.LOOSE)
    umask = os.umask(0)
    os.umask(umask)
    for name in tree(container.path):
        assert not stat.S_IMODE((container.path / name).stat().st_mode) & umask
    assert sha256(b"").hexdigest() not in container
    assert issubclass(ReadOnlyContainer, PermissionError)


def test_another_connection_takes_no_lock_away(tmp_path: Path) -> None:
    """A second container in the process, and then another process that came and went, and took the log along."""
    with Container.create(tmp_path / "store", container_version=1) as first:
        first.insert_many([b"first"])
        assert len(Container(tmp_path / "store")) == 1
        run_python("import sys; from rsdos import Container; assert len(Container(sys.argv[1])) == 1", first.path)
        (key,) = first.insert_many([b"second"])
    code = "import sys; from rsdos import Container; print(Container(sys.argv[1]).extract(sys.argv[2]).decode())"
    assert run_python(code, first.path, key) == "second\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_an_index_without_room_leaves_none_of_the_batch_in_the_pack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """On a full disk, or over a quota, these bytes are the room that a delete or a clean-up needs."""

    def refused(**_: object) -> None:
        raise OSError(number, os.strerror(number))

    with Container.create(tmp_path / "container", container_version=1) as container:
        kept = container.insert_many([b"kept"])
        pack = tmp_path / "container" / "packs" / "0"
        assert isinstance(container.engine.packed, V1PackStore)
        # SQLite has no room for another page: the error is that of a full disk, and as much undone.
        connection = container.engine.packed.database._connection()
        connection.execute("PRAGMA max_page_count=1")
        # Which of the two it is, is found out by writing a file.
        with monkeypatch.context() as patch, pytest.raises(OSError) as raised:
            patch.setattr(tempfile, "TemporaryFile", refused)
            container.insert_many(noise(100, seed) for seed in range(2000))
        assert raised.value.errno == number
        assert pack.read_bytes() == b"kept"
        connection.execute("PRAGMA max_page_count=1000000")
        assert container.insert_many([b"more"]) == [key_of(b"more")]
        assert dict(container.extract_many([*kept, key_of(b"more")])) == {kept[0]: b"kept", key_of(b"more"): b"more"}


FULL = """
import random, resource, signal, sys
from pathlib import Path
from rsdos import Container, Place
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
with Container.create(sys.argv[1], container_version=1) as container:
    container.insert_many([b"kept"])
    packs = Path(sys.argv[1], "packs")
    for sources in ([random.randbytes(100_000) for _ in range(12)], [Path(sys.argv[2])]):
        try:
            container.insert_many(sources, to=Place.PACKED)
        except OSError as error:
            print(error.strerror, [path.stat().st_size for path in packs.iterdir() if path.suffix != ".lock"])
"""


def test_a_write_that_comes_to_a_part_only_leaves_nothing_in_the_pack(tmp_path: Path) -> None:
    """As on a full disk: what fits of a batch is there, and is the room that a delete needs."""
    (tmp_path / "large").write_bytes(noise(2 * FRAME_SIZE, 1))
    told = run_python(FULL, tmp_path / "container", tmp_path / "large")
    assert told.splitlines() == ["File too large [4]"] * 2


def test_bytes_appended_by_another_program_are_not_truncated_after_a_failed_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """disk-objectstore deletes a lock that it was refused, and the next of its kind appends."""
    with Container.create(tmp_path / "container", container_version=1) as container:
        container.insert_many([b"kept"])

        def interfered(fd: int, offset: int, buffers: object) -> int:
            os.pwrite(fd, b"theirs", offset)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(posix, "write_many_at", interfered)
            with pytest.raises(OSError, match="No space left"):
                container.insert_many([b"ours, and longer than that"])
        assert (tmp_path / "container" / "packs" / "0").read_bytes() == b"kepttheirs"
