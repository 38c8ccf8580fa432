"""The operations that are broken off at every call: what they start from, what they do, what must be there then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rsdos import CompressMode, Container, Place
from rsdos.maintenance import collect, optimize, repair_index, repair_objects
from rsdos.model import FRAME_SIZE
from tests.helpers import flip, key_of, native, noise, text

Ack = Callable[[str], None]

BASE = {
    key_of(data): data
    for data in (b"", b"packed 1", text(3000, 1), noise(9000, 2), text(FRAME_SIZE + 10, 3), b"loose 1", text(5000, 4))
}
NEW = {key_of(data): data for data in (b"new", text(4000, 5), noise(6000, 6), text(FRAME_SIZE + 99, 7), b"newer")}

OLD = {key_of(data): data for data in (b"packed 1", b"loose 1")}
"""Of the base: inserted again by the operations that insert."""


def _base(path: Path, **settings: object) -> None:
    with Container.create(path, **settings) as container:  # type: ignore[arg-type]
        objects = list(BASE.values())
        container.insert_many(objects[:5])
        container.insert_many(objects[5:], to=Place.LOOSE)


def _many_segments(path: Path) -> None:
    """As many live segments as there may be: the next commit merges."""
    _base(path)
    with Container(path) as container:
        while len(native(container.engine).index.snapshot.segments) < 16:
            container.insert_many([b"another %d" % len(container)])


def _with_new_loose(path: Path) -> None:
    _base(path)
    with Container(path) as container:
        container.insert_many(NEW.values(), to=Place.LOOSE)


def _empty(path: Path) -> None:
    Container.create(path).close()


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


def _pack(path: Path, ack: Ack) -> None:
    with Container(path) as container:
        container.pack_all_loose()


def _pack_and_keep(path: Path, ack: Ack) -> None:
    with Container(path) as container:
        container.pack_all_loose(CompressMode.YES, clean=False)


def _dead_and_alive(path: Path) -> None:
    """What is to be deleted stands in both stores."""
    _base(path)
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
        collect.execute(container.engine, collect.plan(container.engine, collect.CollectOptions(BASE)))
        assert not any(container.has_many(NEW))


def _with_dead(path: Path) -> None:
    """Dead and alive side by side in two packs, and one that holds tombstones of another."""
    _base(path)
    with Container(path) as container:
        container.insert_many(NEW.values())
        container.delete(NEW)


def _with_dead_in_one_pack(path: Path) -> None:
    """Repacked, it leaves nothing: the pack goes and no other comes."""
    with Container.create(path) as container:
        container.insert_many(NEW.values())
        container.delete(NEW)
        container.insert_many(BASE.values(), to=Place.LOOSE)


def _repack(path: Path, ack: Ack) -> None:
    with Container(path) as container:
        container.repack(min_dead=0)
        assert container.status().dead_objects == 0


def _recompress(path: Path, ack: Ack) -> None:
    with Container(path) as container:
        container.repack("zlib")


def _packed_and_loose(path: Path) -> None:
    _base(path)
    with Container(path) as container:
        container.insert_many(NEW.values(), to=Place.LOOSE)
        container.pack_all_loose(clean=False)


def _clean(path: Path, ack: Ack) -> None:
    with Container(path) as container:
        container.clean_storage()
        assert len(list(container.engine.loose)) == 0


def _optimize(path: Path, ack: Ack) -> None:
    with Container(path) as container:
        plan = optimize.plan(container.engine, optimize.OptimizeOptions())
        optimize.execute(container.engine, plan)


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
        scan = container.engine.packed.scan(1)
    flip(path / "packed" / "0000000001.pack", scan.batches[-1].footer_offset + 20)


def _repair_index(path: Path, ack: Ack) -> None:
    with Container(path) as container:
        engine = container.engine
        options = repair_index.RepairIndexOptions()
        report = repair_index.execute(engine, repair_index.plan(engine, options))
        assert report.is_good
        assert not repair_index.plan(engine, options).faults


def _damaged_copies(path: Path) -> None:
    """Objects that are both packed and loose: of some the one copy is damaged, of some the other."""
    _packed_and_loose(path)
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
        assert repair_objects.execute(engine, repair_objects.plan(engine, options)).is_good
        assert not repair_objects.plan(engine, options).remedies


def _init(path: Path, ack: Ack) -> None:
    if not (path / "config.json").exists():
        Container.create(path, durability="full").close()


@dataclass(frozen=True)
class Operation:
    """``before`` is there beforehand and has to stay; ``wanted`` is there when ``run`` has returned."""

    prepare: Callable[[Path], None]
    run: Callable[[Path, Ack], None]
    before: Mapping[str, bytes] = field(default_factory=lambda: BASE)
    wanted: Mapping[str, bytes] = field(default_factory=lambda: BASE | NEW)
    gone: Mapping[str, bytes] = field(default_factory=dict)
    """Is deleted: may be there or not before ``run`` has returned, and is not there after it."""
    writes: int = 2
    """The same of writes."""
    least: int = 10
    """Calls that it makes at least: fewer, and the interception is blind."""


OPERATIONS = {
    "insert packed": Operation(_base, _insert_packed),
    "insert packed, first pack": Operation(_empty, _insert_packed, {}, NEW | OLD),
    "insert packed, tiny packs": Operation(lambda path: _base(path, pack_size_target=2000), _insert_packed, least=40),
    "insert packed, merging": Operation(_many_segments, _insert_packed, least=15),
    "insert loose": Operation(_base, _insert_loose, least=20),
    "insert loose, compressed": Operation(lambda path: _base(path, loose_compression="zstd"), _insert_loose, least=20),
    "insert many loose": Operation(_base, _insert_many_loose, least=20),
    "pack": Operation(_with_new_loose, _pack, BASE | NEW),
    "pack and keep": Operation(_with_new_loose, _pack_and_keep, BASE | NEW),
    "delete": Operation(_dead_and_alive, _delete, wanted=BASE, gone=NEW),
    "delete, merging": Operation(_dead_and_many_segments, _delete, wanted=BASE, gone=NEW),
    "collect": Operation(_dead_and_alive, _collect, wanted=BASE, gone=NEW),
    "repack": Operation(_with_dead, _repack, wanted=BASE, gone=NEW, least=25),
    "repack, nothing is left": Operation(_with_dead_in_one_pack, _repack, wanted=BASE, gone=NEW),
    "recompress": Operation(_with_dead, _recompress, wanted=BASE, gone=NEW, least=25),
    "clean": Operation(_packed_and_loose, _clean, BASE | NEW, writes=1),
    "optimize": Operation(_with_dead, _optimize, wanted=BASE, gone=NEW, least=40),
    "repair index": Operation(_damaged_index, _repair_index, wanted=BASE, least=8),
    "repair index, emptying a pack": Operation(_damaged_pack, _repair_index, wanted=BASE, gone=NEW, least=20),
    "repair objects": Operation(_damaged_copies, _repair_objects, BASE | NEW, least=20),
    "init": Operation(_nothing, _init, {}, {}),
}
