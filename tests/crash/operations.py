"""The operations that are broken off at every call: what they start from, what they do, what must be there then.

Each is there for container version 2 and, named "v1: …", for version 1 where it makes sense. A new operation gets a
line in `_of_version` or in `OPERATIONS`, and every sweep takes it in.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from rsdos import CompressMode, Container, DamagedObject, Durability, Place
from rsdos.index import compact, segment_files
from rsdos.index import merge as index_merge
from rsdos.maintenance import merge, optimize, retain, transfer
from rsdos.maintenance.migrate import migrate
from rsdos.maintenance.repair import index as repair_index
from rsdos.maintenance.repair import objects as repair_objects
from rsdos.model import FRAME_SIZE, PackKind
from rsdos.pack.reader import kind_of
from rsdos.storage import posix
from rsdos.stores.packed.delete import write_tombstones
from rsdos.stores.v1.connection import parked
from tests.crash import backing_up, checking_out, saving, with_dictionaries, with_snapshots, with_tables
from tests.crash.operation import BASE, NEW, OLD, Ack, Operation
from tests.data import key_of, noise, text
from tests.helpers import flip, manifest_of, native

Prepare = Callable[[Path], None]

STREAMS = {
    key_of(data): data
    for data in (
        noise(3 * FRAME_SIZE + 5, 8),
        text(2 * FRAME_SIZE + 7, 9),
        noise(FRAME_SIZE, 10) + text(FRAME_SIZE + 3, 11),
    )
}


def base(path: Path, version: int = 2, **settings: object) -> None:
    """A container with objects in both stores."""
    with Container.create(path, container_version=version, **settings) as container:  # type: ignore[arg-type]
        objects = list(BASE.values())
        container.insert_many(objects[:5])
        container.insert_many(objects[5:], to=Place.LOOSE)


def _many_segments(path: Path) -> None:
    """As many live segments as there may be: the next commit merges."""
    base(path)
    with Container(path) as container:
        while len(native(container.engine).index.view.segments) < 16:
            container.insert_many([b"another %d" % len(container)])


def _with_new_loose(path: Path, version: int) -> None:
    base(path, version)
    with Container(path) as container:
        container.insert_many(NEW.values(), to=Place.LOOSE)


def _empty(path: Path, version: int) -> None:
    Container.create(path, container_version=version).close()


def _nothing(path: Path) -> None:
    path.mkdir()


def _insert_packed(path: Path, ack: Ack) -> None:
    with Container(path) as container:
        for key in container.insert_many([*NEW.values(), *OLD.values()]):
            ack(key)


def _insert_loose(path: Path, ack: Ack) -> None:
    with Container(path) as container:
        for data in [*NEW.values(), *OLD.values()]:
            ack(container.insert(data))


def _insert_many_loose(path: Path, ack: Ack) -> None:
    with Container(path) as container:
        for key in container.insert_many(NEW.values(), to=Place.LOOSE):
            ack(key)


def _insert_streams(path: Path, ack: Ack, place: Place) -> None:
    with Container(path) as container:
        for data in STREAMS.values():
            ack(container.insert(io.BytesIO(data), to=place))


def _pack(path: Path, ack: Ack) -> None:
    with Container(path) as container:
        container.pack_all_loose()


def _pack_and_keep(path: Path, ack: Ack) -> None:
    with Container(path) as container:
        container.pack_all_loose(CompressMode.YES, clean=False)


def _dead_and_alive(path: Path, version: int) -> None:
    """What is to be deleted stands in both stores."""
    base(path, version)
    with Container(path) as container:
        container.insert_many(list(NEW.values())[:3])
        container.insert_many(list(NEW.values())[3:], to=Place.LOOSE)


def _dead_and_many_segments(path: Path) -> None:
    _many_segments(path)
    with Container(path) as container:
        container.insert_many(NEW.values())
        container.delete([key for key in container if key not in BASE | NEW])


def _delete(path: Path, ack: Ack) -> None:
    with Container(path) as container:
        container.delete(NEW)
        assert not any(container.has_many(NEW))


def _collect(path: Path, ack: Ack) -> None:
    with Container(path) as container:
        retain.execute(container.engine, retain.plan(container.engine, retain.RetainOptions(BASE)))
        assert not any(container.has_many(NEW))


def _with_dead(path: Path, version: int) -> None:
    """Dead and alive side by side in two packs, and one that holds tombstones of another."""
    base(path, version)
    with Container(path) as container:
        container.insert_many(NEW.values())
        container.delete(NEW)


def _with_dead_in_one_pack(path: Path, version: int) -> None:
    """Repacked, it leaves nothing: the pack goes and no other comes."""
    with Container.create(path, container_version=version) as container:
        container.insert_many(NEW.values())
        container.delete(NEW)
        container.insert_many(BASE.values(), to=Place.LOOSE)


def _with_both_lives(path: Path) -> None:
    """The same objects are in a plain pack, in a held one and, some, in one of trees, beside dead ones of each."""
    base(path)
    with Container(path) as container:
        for kind in PackKind:
            _insert_kind(container, kind, [*NEW.values(), b"dead %d" % kind])
        _collect_kinds(container, [key_of(b"dead 1"), key_of(b"dead 2")])
        container.delete([key_of(b"dead 0")])


def _with_held(path: Path) -> None:
    """Objects that are held for snapshots, and some of them loose as well."""
    base(path)
    with Container(path) as container:
        _insert_kind(container, PackKind.HELD, [*NEW.values(), b"dead"])
        _collect_kinds(container, [key_of(b"dead")])
        container.insert_many(list(NEW.values())[3:], to=Place.LOOSE)


def _insert_kind(container: Container, kind: PackKind, contents: Iterable[bytes]) -> list[str]:
    return container.engine.objects.insert_many(contents, kind=kind)


def _collect_kinds(container: Container, keys: Iterable[str]) -> None:
    """Delete the copies of objects that are not plain, as a collection does that finds no snapshot."""
    packed = native(container.engine)
    view = packed.index.refresh().of_kinds((PackKind.HELD, PackKind.TREES))
    if len(copies := view.live_copies(list(map(bytes.fromhex, keys)))):
        write_tombstones(packed.context, Durability.FULL, copies)


def _insert_held(path: Path, ack: Ack) -> None:
    """Some of the objects are plain already: these are duplicates."""
    with Container(path) as container:
        for key in _insert_kind(container, PackKind.HELD, [*NEW.values(), *OLD.values()]):
            ack(key)


def _insert_trees(path: Path, ack: Ack) -> None:
    with Container(path) as container:
        for key in _insert_kind(container, PackKind.TREES, [*NEW.values(), *OLD.values()]):
            ack(key)


def _insert_beside_held(path: Path, ack: Ack) -> None:
    """Insert by key what snapshots hold, which then goes: what was acknowledged stays."""
    with Container(path) as container:
        for key in container.insert_many(NEW.values()):
            ack(key)
        _collect_kinds(container, NEW)


def _clean_beside_held(path: Path, ack: Ack) -> None:
    """Clean, and collect what snapshots held of the loose objects: these stay."""
    with Container(path) as container:
        container.clean_storage()
        _collect_kinds(container, list(NEW)[3:])


def _repack_kinds(path: Path, ack: Ack) -> None:
    """Write every pack anew, and collect what snapshots hold: what was inserted by key stays."""
    with Container(path) as container:
        container.repack("none")
        assert {entry.kind for entry in manifest_of(path).packs if entry.live.objects} >= {PackKind.PLAIN}
        _collect_kinds(container, NEW)


def _kinds_are_told_apart(path: Path) -> None:
    """Each pack is of the kind that its header says, and counts what is there."""
    with Container(path) as container:
        packed = native(container.engine)
        for entry in packed.index.refresh().manifest.packs:
            assert kind_of(packed.context.open_pack(entry.id)) is entry.kind


def _damaged_kinds(path: Path) -> None:
    """Without a manifest, only the headers know the kinds of packs."""
    _with_both_lives(path)
    for manifest in (path / "index").glob("manifest-*"):
        flip(manifest, 100)


def _repair_kinds(path: Path, ack: Ack) -> None:
    _repair_index(path, ack)
    with Container(path) as container:
        kinds = [entry.kind for entry in native(container.engine).index.refresh().manifest.packs]
        assert sorted(kinds) == sorted(PackKind)
        _collect_kinds(container, NEW)


def _repack(path: Path, ack: Ack) -> None:
    with Container(path) as container:
        container.repack(min_dead=0)
        assert container.status().dead_objects == 0


def _recompress(path: Path, ack: Ack) -> None:
    with Container(path) as container:
        container.repack("zlib")


def _packed_and_loose(path: Path, version: int) -> None:
    base(path, version)
    with Container(path) as container:
        container.insert_many(NEW.values(), to=Place.LOOSE)
        container.pack_all_loose(clean=False)


def _clean(path: Path, ack: Ack) -> None:
    with Container(path) as container:
        container.clean_storage()
        assert len(list(container.engine.loose)) == 0


def _merge(path: Path, ack: Ack) -> None:
    with Container(path) as container:
        merge.execute(container.engine, merge.plan(container.engine))


def _mostly_overhead(path: Path) -> None:
    """A pack with a batch for each of its objects, most of them of a few bytes."""
    base(path)
    with Container(path) as container:
        for number in range(80):
            container.insert(b"single %d" % number, to=Place.PACKED)
        assert container.status().repack


def _optimize(path: Path, ack: Ack) -> None:
    with Container(path) as container:
        plan = optimize.plan(container.engine, optimize.OptimizeOptions())
        optimize.execute(container.engine, plan)


def _give_overhead_back(path: Path, ack: Ack) -> None:
    with Container(path) as container:
        container.optimize()
        assert not container.status().repack
        assert container.has_many([key_of(b"single %d" % number) for number in range(80)]) == [True] * 80


def _damaged_index(path: Path) -> None:
    """The newest manifest and the merged segment are damaged."""
    _many_segments(path)
    with Container(path) as container:
        container.insert_many([b"and one more"])
        container.delete([key for key in container if key not in BASE])
    flip(max((path / "index").glob("manifest-*")), 100)
    for segment in (path / "index").glob("*.seg"):
        flip(segment, 80)


def _damaged_pack(path: Path) -> None:
    """A pack of which a footer is damaged, with tombstones for another."""
    with Container.create(path, pack_size_target=8000) as container:
        container.insert_many([*list(BASE.values())[:4], *NEW.values(), *list(BASE.values())[4:5]])
        container.insert_many(list(BASE.values())[5:], to=Place.LOOSE)
        container.delete(NEW)
        scan = container.engine.packed.inspection.scan(1)
    flip(path / "packed" / "0000000001.pack", scan.batches[-1].footer_offset + 20)


def _repair_index(path: Path, ack: Ack) -> None:
    with Container(path) as container:
        engine = container.engine
        report = repair_index.execute(engine, repair_index.plan(engine))
        assert report.is_good
        assert not repair_index.plan(engine).faults


def _damaged_copies(path: Path) -> None:
    """Objects that are both packed and loose: of some the one copy is damaged, of some the other."""
    _packed_and_loose(path, 2)
    with Container(path) as container:
        for number, (key, data) in enumerate(NEW.items()):
            extent = container.meta(key).extent
            assert extent is not None
            if number % 2:
                flip(Path(container.engine.layout.loose_file(key)), len(data) // 2)
            else:
                flip(Path(container.engine.layout.pack(extent.pack_id)), extent.offset)


def _repair_objects(path: Path, ack: Ack) -> None:
    with Container(path) as container:
        engine = container.engine
        options = repair_objects.RepairObjectsOptions()
        report = repair_objects.execute(engine, repair_objects.plan(engine, options))
        for remedy in report.beyond_help:
            # Reported, as `rsdos` does with an exit code: a copy that cannot be synced is none to mend others from.
            raise DamagedObject(remedy.key, remedy.reason)
        assert not repair_objects.plan(engine, options).remedies


def _init(path: Path, ack: Ack, version: int) -> None:
    if not (path / "config.json").exists():
        Container.create(path, durability="full", container_version=version).close()


def _migrate(path: Path, ack: Ack, to: int) -> None:
    with Container(path) as container:
        migrate.execute(container.engine, migrate.plan(container.engine, migrate.MigrateOptions(to)))


def _migrated_back(path: Path) -> None:
    """It was of version 2 before, for more commits than the next life of it begins with."""
    base(path)
    with Container(path) as container:
        for number in range(6):
            container.delete(container.insert_many([b"deleted %d" % number]))
    _migrate(path, lambda key: None, to=1)


def _beside(path: Path, prepare: Prepare) -> None:
    path.mkdir()
    prepare(path / "source")


def _migrate_to(path: Path, ack: Ack, to: int) -> None:
    with Container(path / "source") as container:
        options = migrate.MigrateOptions(to, str(path / "target"))
        migrate.execute(container.engine, migrate.plan(container.engine, options))


def _two(path: Path, source: int, target: int) -> None:
    path.mkdir()
    base(path / "source", source)
    _empty(path / "target", target)


def _transfer(path: Path, ack: Ack) -> None:
    with Container(path / "source") as source, Container(path / "target") as target:

        def tell(theirs: object, ours: object) -> None:
            assert isinstance(ours, list)
            for key in ours:
                ack(key)

        plan = transfer.plan(target.engine, source.engine, transfer.TransferOptions())
        transfer.execute(target.engine, plan, tell=tell)


_LINKED = ("packed", "locks")


def _beside_its_bytes(path: Path) -> None:
    """A container, and what has to be in the links that a copy of it consists of."""
    _beside(path, base)
    for name in _LINKED:
        shutil.copytree(path / "source" / name, path / "was" / name)


def _insert_linked(path: Path, ack: Ack) -> None:
    """Insert when every file that could be written in place is in a copy by ``cp -al`` as well."""
    for file in sorted(path.glob("was/*/*")):
        name = file.relative_to(path / "was")
        (path / "copy" / name.parent).mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.link(path / "source" / name, path / "copy" / name)
    for directory in (*(path / "copy").iterdir(), path / "copy", path):
        posix.sync_directory(str(directory))
    _insert_packed(path / "source", ack)


def _copy_is_as_it_was(path: Path) -> None:
    for file in path.glob("copy/*/*"):
        name = file.relative_to(path / "copy")
        assert file.read_bytes() == (path / "was" / name).read_bytes(), f"{name} has changed in the copy"


def _beside_its_index(path: Path) -> None:
    """A container of version 1, and what has to be in the link that a copy of it has as its index."""
    _beside(path, partial(base, version=1))
    # What is in its log is not in the file yet.
    if connection := parked.take(str(path / "source" / "packs.idx")):
        connection.close()
    (path / "was" / "copy").mkdir(parents=True)
    shutil.copy(path / "source" / "packs.idx", path / "was" / "copy")


def _repair_linked_index(path: Path, ack: Ack) -> None:
    """Give a container an index of its own when a copy by ``cp -al`` has the same."""
    (path / "copy" / "copy").mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.link(path / "source" / "packs.idx", path / "copy" / "copy" / "packs.idx")
    for directory in (path / "copy" / "copy", path / "copy", path):
        posix.sync_directory(str(directory))
    _repair_index(path / "source", ack)


def _of_version(version: int) -> dict[str, Operation]:
    """The operations that both versions have."""
    start = partial(base, version=version)

    def on(prepare: Callable[[Path, int], None]) -> Prepare:
        return partial(prepare, version=version)  # type: ignore[call-arg]

    tiny = partial(base, version=version, pack_size_target=2000)
    streamed = {**BASE, **STREAMS}
    return {
        "init": Operation(_nothing, partial(_init, version=version), {}, {}, least=8),
        "insert packed": Operation(start, _insert_packed),
        "insert packed, first pack": Operation(on(_empty), _insert_packed, {}, NEW | OLD),
        "insert packed, tiny packs": Operation(tiny, _insert_packed, least=40),
        "insert loose": Operation(start, _insert_loose, least=20),
        "insert many loose": Operation(start, _insert_many_loose, least=20),
        "insert streams packed": Operation(start, partial(_insert_streams, place=Place.PACKED), wanted=streamed),
        "insert streams loose": Operation(start, partial(_insert_streams, place=Place.LOOSE), wanted=streamed),
        "pack": Operation(on(_with_new_loose), _pack, BASE | NEW),
        "pack and keep": Operation(on(_with_new_loose), _pack_and_keep, BASE | NEW),
        "delete": Operation(on(_dead_and_alive), _delete, wanted=BASE, gone=NEW),
        "collect": Operation(on(_dead_and_alive), _collect, wanted=BASE, gone=NEW),
        "repack": Operation(on(_with_dead), _repack, wanted=BASE, gone=NEW, least=15),
        "repack, nothing is left": Operation(on(_with_dead_in_one_pack), _repack, wanted=BASE, gone=NEW),
        "recompress": Operation(on(_with_dead), _recompress, wanted=BASE, gone=NEW, least=15),
        "clean": Operation(on(_packed_and_loose), _clean, BASE | NEW, writes=1),
        "optimize": Operation(on(_with_dead), _optimize, wanted=BASE, gone=NEW, least=30),
    }


def _of_kinds() -> dict[str, Operation]:
    """Operations on packs of several kinds."""
    told = partial(Operation, check=_kinds_are_told_apart)
    both = BASE | NEW
    return {
        "insert held": told(base, _insert_held),
        # Pages are not listed, as the rig would have it at the end.
        "insert trees": told(base, _insert_trees, settle=_kinds_are_told_apart),
        "insert held, beside both lives": told(_with_both_lives, _insert_held, both),
        "insert packed, beside held": told(_with_held, _insert_beside_held, BASE),
        "clean beside held": told(_with_held, _clean_beside_held, BASE, BASE | dict(list(NEW.items())[3:]), least=5),
        "repack of packs of all kinds": told(_with_both_lives, _repack_kinds, both, both, least=40, rewrites=True),
        "repack of held": told(_with_held, _repack, both, both, least=15, rewrites=True),
        "repair of the index of packs of all kinds": Operation(_damaged_kinds, _repair_kinds, both, both),
    }


def _moves(source: int, target: int) -> dict[str, Operation]:
    """From a container of one version to one of the other."""
    make, to = partial(base, version=source), f"{source} to {target}"
    return {
        f"migrate {to}, in place": Operation(make, partial(_migrate, to=target), wanted=BASE, least=30, resumes=True),
        f"migrate {to}, into a new container": Operation(
            partial(_beside, prepare=make),
            partial(_migrate_to, to=target),
            wanted=BASE,
            least=20,
            source="source",
            target="target",
            resumes=True,
        ),
        f"transfer {to}": Operation(
            partial(_two, source=source, target=target),
            _transfer,
            wanted=BASE,
            source="source",
            target="target",
            resumes=True,
        ),
    }


@contextmanager
def large_batches() -> Iterator[None]:
    """Every batch of two entries or more counts as a large one: a compact table, and a segment file of its own."""
    before, compact.COMPACT_FROM = compact.COMPACT_FROM, 2
    try:
        yield
    finally:
        compact.COMPACT_FROM = before


@contextmanager
def merging_beside() -> Iterator[None]:
    """Every commit that leaves two tables or more is followed by a merge beside the commits of others."""
    before = index_merge.MOST_SEGMENTS, segment_files.MOST_MERGED
    index_merge.MOST_SEGMENTS, segment_files.MOST_MERGED = 1, 0
    try:
        yield
    finally:
        index_merge.MOST_SEGMENTS, segment_files.MOST_MERGED = before


def _in_large_batches(operation: Operation) -> Operation:
    return replace(operation, prepare=large_batches()(operation.prepare), run=large_batches()(operation.run))


def _large_ones() -> dict[str, Operation]:
    """The operations that write batches, and read the tables in packs."""
    of_two = _of_version(2)
    names = ("insert packed", "insert packed, first pack", "pack", "delete", "repack", "recompress", "optimize")
    operations = {name: of_two[name] for name in names} | {
        "insert packed, merging": Operation(_many_segments, merging_beside()(_insert_packed), least=15),
        "delete, merging": Operation(_dead_and_many_segments, merging_beside()(_delete), wanted=BASE, gone=NEW),
        "repair index": Operation(_damaged_index, _repair_index, wanted=BASE, least=8),
        "repair index, emptying a pack": Operation(_damaged_pack, _repair_index, wanted=BASE, gone=NEW, least=20),
    }
    return {f"{name}, large batches": _in_large_batches(operation) for name, operation in operations.items()}


OPERATIONS = {
    **_of_version(2),
    **_large_ones(),
    **_of_kinds(),
    "insert packed, merging": Operation(_many_segments, _insert_packed, least=15),
    "insert packed, linked": Operation(
        _beside_its_bytes, _insert_linked, source="source", target="source", check=_copy_is_as_it_was, least=30
    ),
    "insert loose, compressed": Operation(lambda path: base(path, loose_compression="zstd"), _insert_loose, least=20),
    "delete, merging": Operation(_dead_and_many_segments, _delete, wanted=BASE, gone=NEW),
    "merge": Operation(_many_segments, _merge, wanted=BASE, least=5),
    "optimize, mostly overhead": Operation(_mostly_overhead, _give_overhead_back, wanted=BASE, least=20, rewrites=True),
    "repair index": Operation(_damaged_index, _repair_index, wanted=BASE, least=8),
    "repair index, emptying a pack": Operation(_damaged_pack, _repair_index, wanted=BASE, gone=NEW, least=20),
    "repair objects": Operation(_damaged_copies, _repair_objects, BASE | NEW, least=20),
    **{f"v1: {name}": operation for name, operation in _of_version(1).items()},
    "v1: repair index, linked": Operation(
        _beside_its_index,
        _repair_linked_index,
        wanted=BASE,
        source="source",
        target="source",
        check=_copy_is_as_it_was,
    ),
    **_moves(1, 2),
    "migrate 1 to 2, in place, once more": Operation(
        _migrated_back, partial(_migrate, to=2), wanted=BASE, least=30, resumes=True
    ),
    **_moves(2, 1),
    **with_dictionaries.OPERATIONS,
    **with_tables.OPERATIONS,
    **with_snapshots.OPERATIONS,
    **backing_up.OPERATIONS,
    **checking_out.OPERATIONS,
    **saving.OPERATIONS,
}
