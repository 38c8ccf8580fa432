"""From one container version to the other: in place and into a new directory, whole, damaged, killed at any call."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rsdos import CompressMode, Container, ContainerExists, ContainerReplaced, InvalidOption, ObjectNotFound
from rsdos.maintenance import transfer
from rsdos.maintenance.migrate import migrate
from rsdos.maintenance.migrate.migrate import MigrateOptions, MigrateReport
from rsdos.model import FRAME_SIZE, Codec, Place
from tests.data import key_of, noise, text
from tests.helpers import child_environment, tree

MIXED = noise(FRAME_SIZE, 9) + text(50_000, 10)
OBJECTS = [
    b"",
    *(noise(3000, seed) for seed in range(4)),
    MIXED,
    *(noise(3000, seed) for seed in range(4, 20)),
    *(text(3000 + seed, seed) for seed in range(20)),
    noise(2 * FRAME_SIZE + 9, 7),
    text(2 * FRAME_SIZE + 9, 8),
]
LOOSE = [b"loose", text(5000, 99), noise(FRAME_SIZE + 1, 98)]
ALL = {key_of(data): data for data in OBJECTS + LOOSE}


def make(path: Path, version: int, **options: object) -> Container:
    """Several packs, raw and compressed, and loose objects."""
    container = Container.create(path, container_version=version, pack_size_target=50_000, **options)  # type: ignore[arg-type]
    for at in range(0, len(OBJECTS), 5):
        container.insert_many(OBJECTS[at : at + 5], compress=CompressMode.AUTO if at % 2 else CompressMode.NO)
    container.insert_many(LOOSE, to=Place.LOOSE)
    return container


def run(
    container: Container, to: int, destination: Path | None = None, compression: str | None = None
) -> MigrateReport:
    engine = container.engine
    options = MigrateOptions(to, None if destination is None else str(destination), compression)
    return migrate.execute(engine, migrate.plan(engine, options))


def assert_whole(path: Path, version: int, objects: dict[str, bytes] = ALL) -> None:
    with Container(path) as container:
        assert container.config.version == version
        assert set(container) == set(objects)
        assert dict(container.extract_many(objects)) == objects


SETTINGS: list[dict[str, object]] = [{}, {"compression": "zlib+1"}, {"compression": "none", "loose_prefix_len": 0}]


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize(
    ("version", "options"),
    [
        (1, {}),
        (1, {"loose_prefix_len": 0}),
        *((2, options) for options in SETTINGS),
        (2, {"loose_compression": "zstd"}),
    ],
)
def test_there_and_back(tmp_path: Path, version: int, options: dict[str, object], in_place: bool) -> None:
    container = make(tmp_path / "a", version, **options)
    identity = container.container_id
    other = 3 - version
    report = run(container, other, None if in_place else tmp_path / "b")
    path = tmp_path / ("a" if in_place else "b")
    assert_whole(path, other)
    if not in_place:
        assert_whole(tmp_path / "a", version)
    assert Path(report.path) == path and not report.damaged
    beside = ("-wal", "-shm")
    assert report.after == sum(length for name, length in tree(path).items() if not name.endswith(beside))
    run(Container(path), version, None if in_place else tmp_path / "c")
    assert_whole(tmp_path / ("a" if in_place else "c"), version)
    assert Container(path).container_id == identity
    if in_place:
        assert not [name for name in tree(path) if "migration" in name or name.endswith(".new")]


def test_stored_bytes_go_over_as_they_are(tmp_path: Path) -> None:
    container = make(tmp_path / "a", 1)
    small = [data for data in OBJECTS if len(data) <= FRAME_SIZE]
    before = {key: container.meta(key) for key in map(key_of, small)}
    report = run(container, 2)
    assert report.copied == len(small)
    after = Container(tmp_path / "a")
    for key, meta in before.items():
        assert (after.meta(key).codec, after.meta(key).length) == (meta.codec, meta.length)


def test_objects_recompressed_for_version_1_do_not_count_as_copied(tmp_path: Path) -> None:
    container = Container.create(tmp_path / "a", pack_size_target=12_000)
    container.insert_many([noise(3000, seed) for seed in range(4)], compress=CompressMode.NO)
    # One pack with raw ones and compressed ones: all of it is written anew.
    container.insert_many([text(1000, seed) for seed in range(2)], compress=CompressMode.NO)
    container.insert_many([text(9000, seed) for seed in range(3)], compress=CompressMode.YES)
    report = run(container, 1)
    assert (report.objects, report.copied) == (9, 4)


def test_recompressed_when_asked(tmp_path: Path) -> None:
    run(make(tmp_path / "a", 1), 2, compression="zstd:3")
    with Container(tmp_path / "a") as container:
        assert container.config.compression == "zstd:3"
        metas = [container.meta(key_of(data)) for data in OBJECTS]
        assert {meta.codec for meta in metas} == {Codec.ZSTD}
    assert_whole(tmp_path / "a", 2)


def test_the_source_stays_whole_to_the_last_step(tmp_path: Path) -> None:
    """After every moved pack the rows lead, gap by gap, to bytes that any zlib decodes."""
    container = make(tmp_path / "a", 1)
    seen = 0

    class Look:
        def start(self, description: str, total: int | None, unit: str) -> None: ...

        def advance(self, amount: int) -> None:
            nonlocal seen
            seen += 1
            with Container(tmp_path / "a") as other:
                assert other.config.version == 1
                assert dict(other.extract_many(ALL)) == ALL

        def finish(self) -> None: ...

    engine = container.engine
    migrate.execute(engine, migrate.plan(engine, MigrateOptions(2)), Look())
    assert seen >= 3
    assert_whole(tmp_path / "a", 2)


def spoil(container: Container, data: bytes) -> str:
    """Damage the packed copy of an object."""
    key = key_of(data)
    extent = container.meta(key).extent
    assert extent is not None
    container.close()
    with open(container.engine.layout.pack(extent.pack_id), "r+b") as file:
        file.seek(extent.offset + 5)
        file.write(b"\xff\x00\xff\x00")
    return key


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("in_place", [True, False])
def test_damaged_objects_are_copied_to_quarantine_and_rescued_if_possible(
    tmp_path: Path, version: int, in_place: bool
) -> None:
    container = make(tmp_path / "a", version, compression="zlib+1")
    lost, saved, large = spoil(container, OBJECTS[3]), spoil(container, OBJECTS[30]), spoil(container, OBJECTS[-1])
    loose = tmp_path / "a" / "loose" / saved[:2]
    loose.mkdir(exist_ok=True)
    (loose / saved[2:]).write_bytes(OBJECTS[30])
    report = run(container, 3 - version, None if in_place else tmp_path / "b")
    path = tmp_path / ("a" if in_place else "b")
    assert {key for key, _ in report.damaged} == {lost, large} and report.rescued == (saved,)
    assert_whole(path, 3 - version, {key: data for key, data in ALL.items() if key not in (lost, large)})
    described = json.loads((path / "quarantine" / f"{lost}.json").read_text())
    assert described["key"] == lost and described["reason"] and described["copies"][0]["size"] == 3000
    stored = (path / "quarantine" / f"{lost}.0").read_bytes()
    assert len(stored) == described["copies"][0]["length"] and b"\xff\x00\xff\x00" in stored


def test_what_cannot_be(tmp_path: Path) -> None:
    sha1 = Container.create(tmp_path / "sha1", container_version=1, hash_type="sha1")
    with pytest.raises(InvalidOption, match="sha1"):
        run(sha1, 2)
    native = make(tmp_path / "a", 2)
    with pytest.raises(InvalidOption, match="zlib"):
        run(native, 1, compression="zstd")
    with pytest.raises(InvalidOption):
        run(native, 3)
    Container.create(tmp_path / "other")
    with pytest.raises(ContainerExists):
        run(native, 1, tmp_path / "other")
    run(native, 2, tmp_path / "copy")
    with pytest.raises(ContainerExists, match="copy of this container in version 2, not 1"):
        run(native, 1, tmp_path / "copy")
    assert_whole(tmp_path / "a", 2)


KILLED = """
import os, sys
from rsdos.maintenance.migrate import migrate
from rsdos.engine.engine import Engine
allowed = int(sys.argv[3])
CHANGES = {"open", "mkdir", "remove", "rename", "link", "unlink", "rmdir", "os.rename", "os.remove", "os.mkdir",
           "os.link", "os.rmdir", "os.truncate", "os.unlink", "sqlite3.connect"}
root = os.path.abspath(sys.argv[1])
def hook(event, arguments):
    global allowed
    if event not in CHANGES:
        return
    writes = os.O_CREAT | os.O_RDWR | os.O_WRONLY
    if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & writes):
        return
    if not any(isinstance(a, str) and a.startswith(root) for a in arguments):
        return
    allowed -= 1
    if allowed < 0:
        os.kill(os.getpid(), 9)
sys.addaudithook(hook)
engine = Engine(sys.argv[1])
migrate.execute(engine, migrate.plan(engine, migrate.MigrateOptions(int(sys.argv[2]))))
print("done")
"""


@pytest.mark.parametrize("version", [1, 2])
def test_killed_at_any_call_the_next_run_continues(tmp_path: Path, version: int) -> None:
    """At every change of the directory tree: whole before and after, and one more run finishes."""
    original = make(tmp_path / "original", version, loose_prefix_len=1)
    original.close()
    # Every fifth point here; `EVERY=1` for all of them.
    step = int(os.environ.get("EVERY", "5"))
    points = 0
    for allowed in range(0, 10_000, step):
        path = tmp_path / f"copy{allowed}"
        subprocess.run(["cp", "-a", original.path, path], check=True)
        command = [sys.executable, "-c", KILLED, str(path), str(3 - version), str(allowed)]
        child = subprocess.run(command, env=child_environment(), capture_output=True, text=True)
        if child.stdout == "done\n":
            break
        assert child.returncode == -9, child.stderr
        points += 1
        with Container(path) as container:
            assert dict(container.extract_many(ALL)) == ALL
            run(container, 3 - version)
        assert_whole(path, 3 - version)
        assert not (path / "migration.json").exists()
        subprocess.run(["rm", "-rf", path], check=True)
    assert points >= 5


def test_turned_round_half_way(tmp_path: Path) -> None:
    """A migration that was killed and never gone on with is in nobody's way."""
    for version in (1, 2):
        make(tmp_path / str(version), version).close()
        command = [sys.executable, "-c", KILLED, str(tmp_path / str(version)), str(3 - version), "25"]
        assert subprocess.run(command, env=child_environment(), capture_output=True).returncode == -9
        container = Container(tmp_path / str(version))
        assert container.config.version == version
        container.insert_many([b"goes on"])
        container.pack_all_loose()
        everything = ALL | {key_of(b"goes on"): b"goes on"}
        assert dict(container.extract_many(everything)) == everything
        run(container, 3 - version)
        assert_whole(tmp_path / str(version), 3 - version, everything)


KILLED_BEHIND_THE_LAST_STEP = """
import os, sys
from rsdos.engine.engine import Engine
from rsdos.maintenance.migrate import migrate
engine = Engine(sys.argv[1])
plan = migrate.plan(engine, migrate.MigrateOptions(int(sys.argv[2])))
migrate.Engine = lambda root: os.kill(os.getpid(), 9)
migrate.execute(engine, plan)
"""


@pytest.mark.parametrize("version", [1, 2])
def test_a_container_open_during_the_last_step_does_not_use_the_old_index(tmp_path: Path, version: int) -> None:
    """What is committed there goes with it: nobody may take it for stored, or deleted."""
    with make(tmp_path / "a", version) as late:
        late.insert_many([b"in time"])

        def sources() -> Iterator[bytes]:
            yield b"late"
            command = [sys.executable, "-c", KILLED_BEHIND_THE_LAST_STEP, str(late.path), str(3 - version)]
            assert subprocess.run(command, env=child_environment()).returncode == -9

        with pytest.raises(ContainerReplaced, match=f"migrated to version {3 - version}"):
            late.insert_many(sources())
        with pytest.raises(ContainerReplaced, match=f"migrated to version {3 - version}"):
            late.insert_many([b"later"])
        with pytest.raises(ContainerReplaced, match=f"migrated to version {3 - version}"):
            late.delete([key_of(b"in time")])
        assert late.extract(key_of(b"in time")) == b"in time"
    with Container(tmp_path / "a") as container:
        assert container.config.version == 3 - version
        container.insert_many([b"goes on"])
        container.pack_all_loose()
    assert_whole(tmp_path / "a", 3 - version, ALL | {key_of(data): data for data in (b"in time", b"goes on")})


@pytest.mark.parametrize("version", [1, 2])
def test_a_container_open_after_the_last_step_raises_an_error(tmp_path: Path, version: int) -> None:
    with make(tmp_path / "a", version) as late:
        run(Container(tmp_path / "a"), 3 - version)
        with pytest.raises(ContainerReplaced, match=f"migrated to version {3 - version}"):
            late.insert_many([b"late"])
        with pytest.raises(ContainerReplaced, match=f"migrated to version {3 - version}"):
            late.insert(b"loose")
        late.close()  # And what is opened anew, by the same object, is of the new version.
        late.insert(b"loose")
    assert_whole(tmp_path / "a", 3 - version, ALL | {key_of(b"loose"): b"loose"})


# Transfer.


def copy(source: Container, target: Container, **options: object) -> tuple[transfer.TransferReport, dict[str, str]]:
    keys: dict[str, str] = {}
    plan = transfer.plan(target.engine, source.engine, transfer.TransferOptions(**options))  # type: ignore[arg-type]
    report = transfer.execute(
        target.engine, plan, tell=lambda theirs, ours: keys.update(zip(theirs, ours, strict=True))
    )
    return report, keys


KINDS: dict[str, Callable[[Path], Container]] = {
    "1": lambda path: Container.create(path, container_version=1),
    "1, sha1": lambda path: Container.create(path, container_version=1, hash_type="sha1"),
    "2": Container.create,
    "2, zlib": lambda path: Container.create(path, compression="zlib:6"),
}


@pytest.mark.parametrize("there", KINDS)
@pytest.mark.parametrize("here", KINDS)
def test_between_any_two(tmp_path: Path, there: str, here: str) -> None:
    source, target = KINDS[there](tmp_path / "source"), KINDS[here](tmp_path / "target")
    keys = source.insert_many(OBJECTS) + source.insert_many(LOOSE, to=Place.LOOSE)
    contents = dict(zip(keys, OBJECTS + LOOSE, strict=True))
    target.insert(OBJECTS[4])
    report, renamed = copy(source, target)
    assert set(renamed) == set(keys) and not report.damaged
    assert {renamed[key]: data for key, data in contents.items()} == dict(target.extract_many(renamed.values()))
    again, renamed_again = copy(source, target)
    assert renamed_again == renamed
    if source.config.hash is target.config.hash:
        assert (again.objects, again.known) == (0, len(contents))
    assert len(target) == len(contents)
    some, _ = copy(source, Container.create(tmp_path / "some"), keys=keys[:3])
    assert some.objects == 3
    with pytest.raises(ObjectNotFound):
        copy(source, target, keys=["0" * len(keys[0])])
    with pytest.raises(InvalidOption):
        copy(source, source)


@pytest.mark.parametrize("compression", [None, "zstd:19", "none"])
def test_a_transfer_copies_the_stored_bytes_of_large_objects(tmp_path: Path, compression: str | None) -> None:
    source, target = Container.create(tmp_path / "a"), Container.create(tmp_path / "b", compression="none")
    large = [MIXED, text(2 * FRAME_SIZE + 9, 8), noise(2 * FRAME_SIZE + 9, 7)]
    keys = source.insert_many(large)
    before = [(source.meta(key).codec, source.meta(key).length) for key in keys]
    assert [codec for codec, _ in before] == [Codec.MIXED, Codec.ZSTD, Codec.RAW]
    report, _ = copy(source, target, compression=compression)
    assert report.objects == len(large)
    after = [(target.meta(key).codec, target.meta(key).length) for key in keys]
    if compression is None:
        assert report.copied == len(large)
        assert after == before
    else:
        assert report.copied == 0
        assert {codec for codec, _ in after} == {Codec.RAW if compression == "none" else Codec.ZSTD}
    assert [target.extract(key) for key in keys] == large


def test_a_large_object_whose_stored_bytes_are_damaged_is_not_copied(tmp_path: Path) -> None:
    source, target = Container.create(tmp_path / "a"), Container.create(tmp_path / "b")
    bad, good = source.insert_many([MIXED, text(2 * FRAME_SIZE + 9, 8)])
    extent = source.meta(bad).extent
    assert extent is not None
    for offset in (10, FRAME_SIZE + 50, extent.length - 20):
        with (tmp_path / "a" / "packed" / "0000000001.pack").open("r+b") as pack:
            pack.seek(extent.offset + offset)
            byte = pack.read(1)[0]
            pack.seek(extent.offset + offset)
            pack.write(bytes([byte ^ 1]))
            pack.flush()
            report, _ = copy(Container(tmp_path / "a"), target)
            assert [key for key, _ in report.damaged] == [bad]
            pack.seek(extent.offset + offset)
            pack.write(bytes([byte]))
    assert set(target) == {good}
    assert copy(Container(tmp_path / "a"), target)[0].copied == 1
    assert target.extract(bad) == MIXED


def test_a_compression_is_for_all_objects_or_for_those_that_become_smaller(tmp_path: Path) -> None:
    source = Container.create(tmp_path / "a")
    keys = source.insert_many([b"tiny", noise(3000), text(5000), MIXED])
    forced, chosen = Container.create(tmp_path / "b"), Container.create(tmp_path / "c")
    copy(source, forced, compression="zstd:3")
    assert [forced.meta(key).codec for key in keys] == [Codec.ZSTD] * 4
    copy(source, chosen, compression="zstd:3", compress=CompressMode.AUTO)
    assert [chosen.meta(key).codec for key in keys] == [Codec.RAW, Codec.RAW, Codec.ZSTD, Codec.MIXED]
    for path, in_place in ((tmp_path / "d", False), (tmp_path / "b", True)):
        run(Container(tmp_path / "b"), 1, None if in_place else path, "zlib:1")
        with Container(path) as migrated:
            assert [migrated.meta(key).codec for key in keys] == [Codec.ZLIB] * 4


def test_a_transfer_continues_after_a_damaged_object(tmp_path: Path) -> None:
    source = make(tmp_path / "a", 1)
    lost = spoil(source, OBJECTS[3])
    for hash_type in ("sha256", "sha1"):
        target = Container.create(tmp_path / hash_type, container_version=1, hash_type=hash_type)
        report, keys = copy(source, target)
        assert [key for key, _ in report.damaged] == [lost]
        assert set(keys) == set(ALL) - {lost} and len(target) == len(ALL) - 1


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["insert", "loose", "pack", "migrate"]),
            st.lists(st.binary(max_size=3000) | st.integers(0, 5).map(lambda seed: text(9000, seed)), max_size=6),
        ),
        max_size=12,
    ),
    version=st.integers(1, 2),
)
def test_any_history(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, list[bytes]]], version: int
) -> None:
    path = tmp_path_factory.mktemp("any") / "container"
    container = Container.create(path, container_version=version, pack_size_target=5000)
    model: dict[str, bytes] = {}
    for step, objects in steps:
        if step == "migrate":
            run(container, 3 - container.config.version)
            container = Container(path)
        elif step == "pack":
            container.pack_all_loose()
        else:
            container.insert_many(objects, to=Place.LOOSE if step == "loose" else Place.PACKED)
            model |= {key_of(data): data for data in objects}
        assert dict(container.extract_many(model)) == model and set(container) == set(model)
    container.close()


def test_in_version_1_a_framed_zlib_object_is_one_stream(tmp_path: Path) -> None:
    data = text(3 * FRAME_SIZE + 1, 3)
    container = Container.create(tmp_path, compression="zlib:1")
    container.insert_many([data], compress=CompressMode.YES)
    run(container, 1)
    meta = Container(tmp_path).meta(key_of(data))
    assert meta.extent is not None
    pack = (tmp_path / "packs" / str(meta.extent.pack_id)).read_bytes()
    assert zlib.decompress(pack[meta.extent.offset :][: meta.extent.length]) == data
