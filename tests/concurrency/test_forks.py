"""A fork at every call into a user's code, in every operation that has one.

A child is made at each of them, and leaves by an exception, by ``sys.exit``, at once, or goes on
with the container by itself. Its parent goes on and commits: all is there, and nobody holds anything.
"""

from __future__ import annotations

import gc
import io
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import pytest

from rsdos import Container, Place
from rsdos.maintenance import delete, merge, optimize, repack, retain, transfer
from rsdos.maintenance.backup import backup, remote, restore
from rsdos.maintenance.check import validate
from rsdos.maintenance.migrate import migrate
from rsdos.maintenance.repair import index as repair_index
from rsdos.maintenance.repair import objects as repair_objects
from rsdos.model import FRAME_SIZE
from tests.data import key_of, noise
from tests.helpers import descriptors, flip


class Forked(Exception):
    """What a child leaves by."""


MOST = 8
"""Children of one operation: a migration goes on for as long as others insert."""


@dataclass
class Forks:
    """Forks at every call; as a ``Progress`` as well."""

    path: Path
    children: int = 0
    is_child: bool = False
    expected: dict[str, bytes] = field(default_factory=dict)

    def __call__(self, *_: object) -> None:
        if self.is_child or self.children == MOST:
            return  # The frames of a child unwind: what they call makes no new child.
        number, self.children = self.children, self.children + 1
        data = b"of child %d" % number
        child = os.fork()
        if child:
            if number % 4 == 3:
                self.expected |= {key_of(data): data, key_of(data + b", packed"): data + b", packed"}
            assert os.waitpid(child, 0)[1] == 0, f"child {number}"
            return
        self.is_child = True
        (self.raise_it, sys.exit, lambda: os._exit(0), lambda: self.go_on(data))[number % 4]()

    def raise_it(self) -> None:
        raise Forked

    def go_on(self, data: bytes) -> None:
        """Use the container, in the middle of what the parent does."""
        with Container(self.path) as container:
            container.insert(data)
            container.insert_many([data + b", packed"])
            assert container.extract(key_of(data)) == data
        os._exit(0)

    def start(self, description: str, total: int | None, unit: str) -> None:
        self()

    def advance(self, amount: int) -> None:
        self()

    def finish(self) -> None:
        self()

    def each(self, items: Iterable[object]) -> Iterator[object]:
        for item in items:
            self()
            yield item


class Stream(io.BytesIO):
    """Forks whenever it is read."""

    def __init__(self, data: bytes, forks: Forks) -> None:
        super().__init__(data)
        self._forks = forks

    def read(self, size: int | None = -1) -> bytes:
        self._forks()
        return super().read(size)


class Keys(list[str]):
    """Keys that fork whenever they are gone through."""

    forks: Forks

    def __iter__(self) -> Iterator[str]:
        for key in super().__iter__():
            self.forks()
            yield key


@dataclass
class World:
    """A container, what is in it, and places beside it."""

    path: Path
    container: Container
    contents: dict[str, bytes]
    forks: Forks

    @property
    def beside(self) -> Path:
        return self.path.parent

    def keys(self, keys: Iterable[str]) -> Keys:
        made = Keys(keys)
        made.forks = self.forks
        return made


SMALL = [noise(300, seed) for seed in range(200, 206)]
LARGE = noise(3 * FRAME_SIZE + 5, 300)


def insert(world: World, sources: Iterable[object], to: Place) -> None:
    keys = world.container.insert_many(sources, to=to)  # type: ignore[arg-type]
    world.contents |= {key_of(data): data for data in (*SMALL, LARGE) if key_of(data) in keys}
    assert all(world.container.has_many(keys))


def write(world: World) -> None:
    """Beyond what a writer keeps in memory; between two writes there is a rest in its buffers."""
    parts = [noise(9_000_000, 1), b"a little ", b"more ", b"and more"]
    with world.container.writer(to=Place.PACKED) as file:
        for part in parts:
            file.write(part)
            world.forks()
    data = b"".join(parts)
    assert file.key == key_of(data)
    world.contents[file.key] = data


def copied(world: World, container: Container) -> None:
    """Another container has all of this one."""
    with closing(container):
        assert dict(container.extract_many(world.contents)) == world.contents
        assert container.validate("full").is_good


def delete_some(world: World) -> None:
    gone = list(world.contents)[::2]
    plan = delete.plan(world.container.engine, delete.DeleteOptions(world.keys(gone)))
    delete.execute(world.container.engine, plan, world.forks, lambda there, missing: world.forks())
    for key in gone:
        del world.contents[key]


def retain_some(world: World) -> None:
    kept = list(world.contents)[::2]
    engine = world.container.engine
    plan = retain.plan(engine, retain.RetainOptions(world.keys(kept)))
    retain.execute(engine, plan, world.forks)
    world.contents = {key: world.contents[key] for key in kept}


def back_up(world: World) -> None:
    for number in range(2):
        options = backup.BackupOptions(str(world.beside / "backups"), verify=True)
        engine = world.container.engine
        report = backup.execute(engine, backup.plan(engine, options), world.forks)
        assert report.is_good
        copied(world, Container(report.generation))
        if not number:
            world.container.pack_all_loose()


def back_up_elsewhere(world: World) -> None:
    if shutil.which("rsync") is None:
        pytest.skip("rsync is not installed")
    shell = world.beside / "shell"
    shell.write_text('#!/bin/sh\n[ "$1" = -l ] && shift 2\nshift\nexec sh -c "$*"\n')
    shell.chmod(0o755)
    ways = remote.RemotePrograms(shell=str(shell))
    engine = world.container.engine
    options = backup.BackupOptions(f"me@elsewhere:{world.beside / 'backups'}", verify=True)
    report = remote.execute(engine, remote.plan(engine, options, ways), ways, world.forks)
    assert report.is_good
    copied(world, Container(report.generation.removeprefix("me@elsewhere:")))


def restored(world: World) -> None:
    report = world.container.backup(world.beside / "backups")
    options = restore.RestoreOptions(report.generation, str(world.beside / "restored"), verify=True)
    restore.execute(restore.plan(options), world.forks)
    copied(world, Container(world.beside / "restored"))


def transferred(world: World, hash_type: str) -> None:
    target = Container(world.beside / "target")
    target.init_container(container_version=1, hash_type=hash_type)
    keys = world.keys(world.contents)
    heard: list[str] = []

    def tell(theirs: object, ours: Iterable[str]) -> None:
        heard.extend(ours)
        world.forks()

    with closing(target):
        plan = transfer.plan(target.engine, world.container.engine, transfer.TransferOptions(keys))
        transfer.execute(target.engine, plan, world.forks, tell)
        assert {*map(target.extract, target)} == {*world.contents.values()}
        assert target.validate("full").is_good


def migrated(world: World) -> None:
    engine = world.container.engine
    options = migrate.MigrateOptions(3 - engine.config.version, str(world.beside / "migrated"))
    migrate.execute(engine, migrate.plan(engine, options), world.forks)
    copied(world, Container(world.beside / "migrated"))


def migrated_in_place(world: World) -> None:
    engine = world.container.engine
    options = migrate.MigrateOptions(3 - engine.config.version, compression=None)
    migrate.execute(engine, migrate.plan(engine, options), world.forks)
    world.container.close()
    world.container = Container(world.path)


def mend_index(world: World) -> None:
    engine = world.container.engine
    if engine.config.version == 2:
        (newest,) = sorted((world.path / "index").glob("manifest-*"))[-1:]
        flip(newest, 40)
    world.container.close()
    engine = world.container.engine
    assert repair_index.execute(engine, repair_index.plan(engine), world.forks).is_good


def mend_objects(world: World) -> None:
    report = world.container.backup(world.beside / "backups", keep=0)
    engine = world.container.engine
    key = next(key for key in world.contents if world.container.meta(key).extent is not None)
    extent = world.container.meta(key).extent
    assert extent is not None
    flip(Path(engine.layout.pack(extent.pack_id)), extent.offset + 3)
    with closing(Container(report.generation)) as source:
        options = repair_objects.RepairObjectsOptions([source.engine])
        plan = repair_objects.plan(engine, options, world.forks)
        assert plan.remedies
        repair_objects.execute(engine, plan, world.forks)


def read(world: World) -> None:
    found = {}
    for key, data in world.container.extract_many(world.keys(world.contents)):
        found[key] = data
        world.forks()
    assert found == world.contents
    assert all(world.container.has_many(world.keys(world.contents)))
    with world.container.open(key_of(LOOSE[0])) as stream:
        assert stream.read(100) == LOOSE[0][:100]
        world.forks()
        assert stream.read() == LOOSE[0][100:]


def of_engine(module: object, *options: object) -> Callable[[World], None]:
    def run(world: World) -> None:
        engine = world.container.engine
        plan = module.plan(engine, *options)  # type: ignore[attr-defined]
        module.execute(engine, plan, world.forks)  # type: ignore[attr-defined]

    return run


def pack(world: World) -> None:
    world.container.pack_all_loose(progress=world.forks)


def clean(world: World) -> None:
    world.container.pack_all_loose(clean=False)
    world.container.clean_storage(progress=world.forks)


def saved(world: World) -> Path:
    """Save a directory of some files, twice; one changes."""
    directory = world.beside / "directory"
    (directory / "sub").mkdir(parents=True)
    for number, data in enumerate([*SMALL, LARGE]):
        (directory / "sub" / str(number)).write_bytes(data)
    for more in (b"", b"more"):
        (directory / "more").write_bytes(more)
        world.container.snapshots.save("flowers", directory, progress=world.forks)
    world.contents |= {key_of(data): data for data in (*SMALL, LARGE, b"", b"more")}
    return directory


def assert_saved(container: Container, name: str = "flowers") -> None:
    wanted = {f"sub/{number}": data for number, data in enumerate([*SMALL, LARGE])}
    assert dict(container.snapshots[name].extract_many(wanted)) == wanted


def save(world: World) -> None:
    saved(world)
    assert_saved(world.container)


def checked_out(world: World) -> None:
    directory = saved(world)
    world.forks.children = 0
    target = world.beside / "checked out"
    world.container.snapshots.checkout("flowers@1", target, progress=world.forks)
    world.container.snapshots.checkout("flowers", target, progress=world.forks)
    assert {path.name: path.read_bytes() for path in (target / "sub").iterdir()} == {
        path.name: path.read_bytes() for path in (directory / "sub").iterdir()
    }


def exported_and_imported(world: World) -> None:
    """Each write of the archive and each read of it calls the user's stream."""
    saved(world)
    world.forks.children = 0
    archive = Stream(b"", world.forks)
    world.container.snapshots.export("flowers", archive, progress=world.forks)
    archive.seek(0)
    world.forks.children = MOST // 2
    world.container.snapshots.import_archive("again", archive, progress=world.forks)
    assert_saved(world.container, "again")


def collected(world: World) -> None:
    saved(world)
    world.container.snapshots.forget("flowers@1")
    world.forks.children = 0
    world.container.snapshots.gc(progress=world.forks)
    del world.contents[key_of(b"")]
    assert_saved(world.container)


def cloned(world: World) -> None:
    saved(world)
    world.forks.children = 0
    Container.clone(world.path, world.beside / "clone", progress=world.forks)
    container = Container(world.beside / "clone")
    assert_saved(container)
    copied(world, container)


def pushed(world: World) -> None:
    saved(world)
    Container.create(world.beside / "there").close()
    world.container.remotes.add("there", world.beside / "there")
    world.forks.children = 0
    world.container.remotes.push("there", progress=world.forks)
    container = Container(world.beside / "there")
    assert_saved(container)
    copied(world, container)


def pulled(world: World) -> None:
    new = noise(4000, 400)
    with Container.create(world.beside / "there") as there:
        key = there.insert_many([new, noise(500, 401)])[0]
        there.insert(noise(500, 402))
        there.snapshots.save("theirs", Path(__file__).parent, exclude=["__pycache__"])
        world.contents |= {other: there.extract(other) for other in there}
    world.container.remotes.add("there", world.beside / "there")
    world.container.remotes.pull("there", progress=world.forks)
    assert world.container.extract(key) == new
    assert "theirs" in world.container.snapshots


OF_BOTH: dict[str, Callable[[World], None]] = {
    "sources of packed objects": lambda world: insert(world, world.forks.each([*SMALL, LARGE]), Place.PACKED),
    "sources of loose objects": lambda world: insert(world, world.forks.each([*SMALL, LARGE]), Place.LOOSE),
    "a stream to a pack": lambda world: insert(world, [Stream(LARGE, world.forks)], Place.PACKED),
    "a stream to a loose file": lambda world: insert(world, [Stream(LARGE, world.forks)], Place.LOOSE),
    "a writer": write,
    "reading": read,
    "delete": delete_some,
    "retain": retain_some,
    "pack": pack,
    "clean": clean,
    "repack": of_engine(repack, repack.RepackOptions(min_dead=0)),
    "recompress": of_engine(repack, repack.RepackOptions("zlib+1", min_dead=0)),
    "merge": of_engine(merge),
    "optimize": of_engine(optimize, optimize.OptimizeOptions()),
    "validate": of_engine(validate, validate.ValidateOptions(validate.Depth.FULL)),
    "backup": back_up,
    "backup to another machine": back_up_elsewhere,
    "restore": restored,
    "transfer": lambda world: transferred(world, "sha256"),
    "transfer to other keys": lambda world: transferred(world, "sha1"),
    "migrate to a new directory": migrated,
    "migrate in place": migrated_in_place,
    "repair the index": mend_index,
    "repair objects": mend_objects,
}

OF_VERSION_2: dict[str, Callable[[World], None]] = {
    "save": save,
    "checkout": checked_out,
    "export and import": exported_and_imported,
    "gc": collected,
    "clone": cloned,
    "push": pushed,
    "pull": pulled,
}
OPERATIONS = OF_BOTH | OF_VERSION_2

LOOSE = [noise(1000, seed) for seed in range(4)]


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    path = tmp_path / "container"
    with closing(Container.create(path, container_version=request.param, pack_size_target=20_000)) as container:
        contents = {container.insert(data): data for data in LOOSE}
        for first in range(100, 112, 4):
            some = [noise(6000, seed) for seed in range(first, first + 4)]
            contents |= zip(container.insert_many(some), some, strict=True)
        container.delete(container.insert_many([noise(5000, 99)]))
        made = World(path, container, contents, Forks(path))
        yield made
        made.container.close()


@pytest.mark.parametrize(
    ("world", "operation"), [*product((2, 1), OF_BOTH), *product((2,), OF_VERSION_2)], indirect=["world"]
)
def test_a_fork_at_every_callback_leaves_all_to_the_parent(world: World, operation: str) -> None:
    world.container.close()
    gc.collect()
    before = descriptors()
    try:
        OPERATIONS[operation](world)
        if world.forks.is_child:
            os._exit(3)  # It went on with what its parent has begun.
    except BaseException as error:
        if world.forks.is_child:
            gc.collect()
            os._exit(0 if isinstance(error, (Forked, SystemExit)) else complain(error))
        raise
    assert world.forks.children >= 2
    contents = world.contents | world.forks.expected
    world.container.close()
    gc.collect()
    assert descriptors() == before
    child = os.fork()
    if child == 0:
        status = 1
        try:
            assert_sound(world.path, contents)
            status = 0
        except BaseException as error:  # noqa: BLE001  told below
            complain(error)
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


def complain(error: BaseException) -> int:
    import traceback

    traceback.print_exception(error)
    return 1


def assert_sound(path: Path, contents: dict[str, bytes]) -> None:
    """For another process everything is there, nothing else is, and nobody holds anything."""
    with Container(path) as container:
        assert set(container) == set(contents)
        assert dict(container.extract_many(contents)) == contents
        more = [b"packed, from another process", b"loose, from another process"]
        container.insert_many(more[:1])
        container.insert(more[1])
        container.pack_all_loose()
        container.repack(min_dead=0)
        container.clean_storage()
        report = container.validate("full")
        assert report.is_good, report
        container.delete(map(key_of, more))
        assert len(container) == len(contents)
    assert [name for _, _, names in os.walk(path / "sandbox") for name in names] == []
    left = [name for _, _, names in os.walk(path) for name in names if name.endswith(".new")]
    assert left == []
