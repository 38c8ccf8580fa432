"""Our own store under the rig."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from rsdos import CompressMode, Container, ObjectNotFound, Place, RsdosError
from rsdos.codecs import dictionary
from rsdos.config import VERSION, VERSION_1
from rsdos.index import last_commit
from rsdos.maintenance import merge
from rsdos.model import FRAME_SIZE, Codec, Compression, RecordFlag, Stored
from rsdos.streams.frames import FrameEncoder
from tests.crash.operation import Operation
from tests.crash.operations import OPERATIONS, large_batches
from tests.crash.subject import Wrong
from tests.crash.with_tables import folding
from tests.data import key_of, noise, text
from tests.dictionaries import records, trained, using
from tests.helpers import assert_no_leftovers, manifest_of, tree


class Reader:
    """Reads objects of an open container by their keys."""

    def __init__(self, container: Container) -> None:
        self.container = container

    def read(self, key: str) -> bytes | None:
        try:
            return self.container.extract(key)
        except ObjectNotFound:
            return None

    def read_many(self, keys: list[str]) -> dict[str, bytes]:
        found = self.container.extract_many(keys, missing="skip")
        return {key: data for key, data in found if data is not None}

    def ways(self, key: str) -> Iterator[tuple[str, Callable[[], bytes | None]]]:
        container = self.container
        yield "extract", partial(self.read, key)
        yield "extract_many", lambda: dict(container.extract_many([key], missing="none"))[key]
        yield "open", _none(lambda: _streamed(container, key))
        yield "extract_to", _none(lambda: _to_file(container, key))

    def keys(self) -> list[str]:
        keys = list(self.container)
        assert len(keys) == len(set(keys)), "a key is listed twice"
        assert len(keys) == len(self.container), f"{len(keys)} keys are listed and {len(self.container)} counted"
        return keys


def _streamed(container: Container, key: str) -> bytes:
    """By ranges: the second half first."""
    with container.open(key) as stream:
        size = container.meta(key).size
        stream.seek(size // 2)
        behind = stream.read()
        stream.seek(0)
        return stream.read(size // 2) + behind


def _to_file(container: Container, key: str) -> bytes:
    path = container.path.with_name("extracted")
    try:
        container.extract_to(key, path)
        return path.read_bytes()
    finally:
        path.unlink(missing_ok=True)


class Ours:
    """Both versions of container."""

    operations = OPERATIONS
    errors = (RsdosError, OSError)

    @contextmanager
    def look(self, path: Path) -> Iterator[Reader]:
        with Container(path) as container:
            yield Reader(container)

    def is_whole(self, path: Path) -> bool:
        return (path / "config.json").exists()

    def settle(self, operation: Operation, path: Path) -> None:
        """One more packing and commit, or for version 1 a repack, and no space is lost."""
        path = path / operation.target
        with Container(path) as container:
            container.pack_all_loose()
            (last,) = container.insert_many([b"one more commit"])
            is_legacy = container.config.version == VERSION_1
            if is_legacy:
                container.clean_storage()
                container.repack(min_dead=0)
        with Container(path) as container:
            wanted = {**operation.wanted, last: b"one more commit"}
            assert dict(container.extract_many(wanted)) == wanted
            assert set(container) >= set(wanted)
        (_assert_no_legacy_leftovers if is_legacy else assert_no_leftovers)(path)
        names = tree(path)
        assert not [name for name in names if name.startswith("migration") or name.endswith((".new", ".clearing"))]

    def boot(self) -> None:
        last_commit._boot_id = lambda: "0" * 36  # type: ignore[assignment]

    def space(self, path: Path) -> dict[str, int]:
        return {name: length for name, length in tree(path).items() if not name.startswith(("locks/", "packs.idx"))}

    def assert_space_came_back(self, operation: Operation, path: Path, before: dict[str, int]) -> None:
        """But for whole objects: what failed then is the last sync, behind their publication."""
        if operation.resumes or not self.is_whole(path):
            return  # The next attempt goes on, or takes it for an empty directory.
        after = self.space(path)
        fresh = {name for name in after.keys() - before.keys() if not name.startswith("loose/")}
        if any(name.startswith("index/manifest-") for name in fresh):
            if operation.gone or operation.rewrites:
                # A repack that has committed leaves the old pack to the next maintenance.
                Container(path).clean_storage()
            assert_no_leftovers(path)
            return
        fresh -= {"config.json"}
        if any(name.startswith("packs/") for name in fresh):
            # A pack of a commit that may or may not have reached the disk stays until somebody looks.
            with Container(path) as container:
                container.clean_storage()
                fresh -= {
                    f"packs/{pack.id}" for pack in container.engine.packed.maintenance.stats().packs if pack.objects
                }
            fresh &= self.space(path).keys()
        assert not fresh, f"left behind: {fresh}"
        assert not [name for name in after if name.startswith("sandbox/")]

    def begin_damage(self, path: Path) -> Mapping[str, bytes]:
        return _some_of_everything(path, 2)

    def insert(self, path: Path, data: bytes) -> None:
        with Container(path) as container:
            for place in Place:
                key = container.insert(data + place.value.encode(), to=place)
                with Container(path) as other:
                    if other.extract(key) != data + place.value.encode():
                        raise Wrong(key)

    def is_root(self, name: str) -> bool:
        return name.startswith("packs.idx")


class Legacy(Ours):
    """Version 1, where damage is to be told from that of version 2."""

    def begin_damage(self, path: Path) -> Mapping[str, bytes]:
        return _some_of_everything(path, 1)


class LargeBatches(Ours):
    """Version 2, with compact tables in the packs, and a segment file for each."""

    def begin_damage(self, path: Path) -> Mapping[str, bytes]:
        with large_batches():
            return _some_of_everything(path, 2)


class WithTables(Ours):
    """Version 2, with pack tables, rows beside them, and packs that are gone."""

    def begin_damage(self, path: Path) -> Mapping[str, bytes]:
        objects = [noise(30, seed) for seed in range(6)]
        with folding(), Container.create(path, pack_size_target=1) as container:
            for data in objects:
                container.insert_many([data])
            container.delete(container.insert_many([b"deleted"]))
            container.repack(min_dead=0)
            packs = manifest_of(path).packs
            assert packs.tables.count and packs.changed
        (path / "locks" / "reserve").unlink(missing_ok=True)
        return {key_of(data): data for data in objects}


class WithDictionaries(Ours):
    """Version 2, with two dictionaries in one pack, and one of them with another number in another."""

    @contextmanager
    def look(self, path: Path) -> Iterator[Reader]:
        dictionary._cached = {}  # It would hide that a copy is damaged.
        with super().look(path) as reader:
            yield reader

    def begin_damage(self, path: Path) -> Mapping[str, bytes]:
        one, two = trained(0, 256), trained(1, 256)
        objects = [*records(6), *records(6, 1), noise(300, 1), *records(6, 2)]
        with Container.create(path, pack_size_target=12_000) as container:
            for used, some in ((one, objects[:6]), (two, objects[6:12]), (None, objects[12:13]), (two, objects[13:])):
                with using(used):
                    container.insert_many(some)
            numbers = [len(pack.dictionaries) for pack in manifest_of(path).packs]
            assert sorted(numbers) == [1, 2], numbers
            loose = [noise(90, seed) for seed in range(2, 6)]
            container.insert_many(loose, to=Place.LOOSE)
        (path / "locks" / "reserve").unlink(missing_ok=True)
        return {key_of(data): data for data in [*objects, *loose]}


def _some_of_everything(path: Path, version: int) -> Mapping[str, bytes]:
    """Small objects: loose and packed, raw and compressed, in two packs and several batches; in version 2 merged ones.

    What they hold is not like anything that a format has, so that a byte of one is not taken for one of the other. In
    version 2 there is also one of mixed frames, whose stored bytes are as few.
    """
    settings = {"loose_compression": "zstd"} if version == VERSION else {}
    objects = [noise(40, 1), text(900, 2), noise(300, 3), text(700, 4), b"", noise(60, 5), text(500, 6), noise(90, 7)]
    with Container.create(path, container_version=version, pack_size_target=1200, **settings) as container:  # type: ignore[arg-type]
        container.insert_many(objects[:3], compress=CompressMode.AUTO)
        merge.execute(container.engine, merge.plan(container.engine))
        container.insert_many(objects[3:5], compress=CompressMode.NO)
        container.insert_many(objects[5:6], compress=CompressMode.NO)
        if version == VERSION:
            deleted = container.insert_many([b"deleted"])
            container.delete(deleted)
            objects.append(_insert_mixed(container))
        container.insert_many(objects[6:8], to=Place.LOOSE)
    if version == VERSION_1:
        # As the last to close leaves it: all in one file, which has no checksums.
        with closing(sqlite3.connect(path / "packs.idx")) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for name in ("packs.idx-wal", "packs.idx-shm"):
            (path / name).unlink(missing_ok=True)
    (path / "locks" / "reserve").unlink(missing_ok=True)
    return {key_of(data): data for data in objects}


def _insert_mixed(container: Container) -> bytes:
    """Insert an object of a short zstd frame and a short raw frame, which only the lower floors make. Return it."""
    frames = [b"mixed" * (FRAME_SIZE // 5) + b"!", noise(30, 10)]
    encoder = FrameEncoder(Compression(Codec.MIXED, 1))
    stored = b"".join([*(bytes(encoder.add(frame)) for frame in frames), encoder.finish()])
    data = b"".join(frames)
    form = Stored(encoder.codec, RecordFlag.FRAMED, len(stored), len(data))
    with container.engine.packed.writer() as writer:
        writer.add_stored(bytes.fromhex(key_of(data)), form, [stored])
        writer.commit()
    assert container.meta(key_of(data)).codec is Codec.MIXED
    return data


def _assert_no_legacy_leftovers(path: Path) -> None:
    with Container(path) as container:
        sums = container.engine.packed.maintenance.stats()
        stored = {str(pack.id): pack.stored for pack in sums.packs if pack.length}
    assert tree(path / "sandbox") == {} and tree(path / "duplicates") == {}
    there = tree(path / "packs")
    assert there == stored, f"in packs/ there are {there}, and rows lead to {stored}"
    assert not (path / "packed").exists() and not (path / "index").exists()


def _none(read: Callable[[], bytes | None]) -> Callable[[], bytes | None]:
    """The same, with None for what is missing."""

    def call() -> bytes | None:
        try:
            return read()
        except ObjectNotFound:
            return None

    return call


SUBJECT = Ours()
LEGACY_SUBJECT = Legacy()
LARGE_SUBJECT = LargeBatches()
DICTIONARY_SUBJECT = WithDictionaries()
TABLES_SUBJECT = WithTables()
