"""The operations on containers whose objects were compressed with dictionaries, which the packs have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from rsdos import CompressMode, Container, Place
from rsdos.maintenance import optimize
from rsdos.maintenance.migrate import migrate
from rsdos.maintenance.repair import index as repair_index
from rsdos.model import Durability
from tests.crash.operation import Ack, Operation
from tests.data import key_of
from tests.dictionaries import records, trained, training_soon, using
from tests.helpers import flip, manifest_of, native

_LENGTH = 512
"""Of a dictionary: what few objects gain by it is more than what two copies of it take."""

BASE = {key_of(data): data for data in records(60)}
NEW = {key_of(data): data for data in records(60, 1)}
OLD = dict(list(BASE.items())[:3])

TAUGHT = {key_of(data): data for data in records(420, 2)}
"""64 KiB and a little more, from which on a dictionary is trained."""
_LEFT_TAUGHT, _GONE_TAUGHT = dict(list(TAUGHT.items())[10:]), dict(list(TAUGHT.items())[:10])
_POOR = trained(0, 256)
"""The shortest that there is: with one that is trained for them the objects take less than half."""

_with_first, _with_second = partial(using, trained(0, _LENGTH)), partial(using, trained(1, _LENGTH))


def _assert_there(path: Path) -> None:
    """Each pack has a dictionary: else nothing was tried."""
    assert all(pack.dictionaries for pack in manifest_of(path).packs)


def base(path: Path, **settings: object) -> None:
    """Half of the objects in one batch, the others in the next, which finds the dictionary in its pack."""
    with Container.create(path, **settings) as container, _with_first():  # type: ignore[arg-type]
        objects = list(BASE.values())
        container.insert_many(objects[:30])
        container.insert_many(objects[30:])
    _assert_there(path)


def _insert(path: Path, ack: Ack) -> None:
    with Container(path) as container, _with_second():
        for key in container.insert_many([*NEW.values(), *OLD.values()]):
            ack(key)


@training_soon()
def _insert_training(path: Path, ack: Ack) -> None:
    """The pack has a dictionary, which is read and weighed; a better one is trained and brought in beside it."""
    with Container(path) as container:
        keys = container.insert_many([*TAUGHT.values(), *OLD.values()])
        for key in keys[::60]:
            ack(key)  # To lose power behind each of them all would be 1,600 points more, of the same files.
    _assert_trained(path)


def _assert_trained(path: Path) -> None:
    """Some pack has a dictionary that was not given: else nothing was tried."""
    brought = {place.digest for pack in manifest_of(path).packs for place in pack.dictionaries}
    assert brought - {_POOR.digest, trained(0, _LENGTH).digest}


def _with_poor(path: Path) -> None:
    """Some objects, which need a poor dictionary."""
    with Container.create(path) as container, using(_POOR):
        container.insert_many(BASE.values())
    _assert_there(path)


def _with_poor_and_dead(path: Path) -> None:
    """All objects were compressed with a dictionary that is not made for them, and some are dead."""
    with Container.create(path) as container, using(_POOR):
        container.insert_many(TAUGHT.values(), compress=CompressMode.YES)
        container.delete(_GONE_TAUGHT)
    _assert_there(path)


@training_soon()
def _repack_training(path: Path, ack: Ack) -> None:
    with Container(path) as container:
        container.repack(min_dead=0)
        assert container.status().dead_objects == 0
    _assert_trained(path)
    assert all(place.digest != _POOR.digest for pack in manifest_of(path).packs for place in pack.dictionaries)


def _with_loose(path: Path) -> None:
    base(path)
    with Container(path) as container:
        container.insert_many(NEW.values(), to=Place.LOOSE)


def _pack(path: Path, ack: Ack) -> None:
    with Container(path) as container, _with_second():
        container.pack_all_loose()


def _with_dead(path: Path) -> None:
    """Two packs, in which number 0 is not the same dictionary; there are dead objects in both."""
    base(path)
    with Container(path) as container:
        sealed = manifest_of(path).packs[0]._replace(sealed=True)
        native(container.engine).index.commit(lambda newest: newest.with_pack(sealed), Durability.FULL)
        with _with_second():
            container.insert_many(NEW.values())
        gone = container.insert_many([b"dead", *records(5, 2)])
        container.delete([*list(NEW)[:10], *gone])


def _repack(path: Path, ack: Ack, compression: str = "keep") -> None:
    with Container(path) as container, _with_second():
        for pack in manifest_of(path).packs:
            container.repack(compression, pack_id=pack.id)
        assert container.status().dead_objects == 0
    _assert_there(path)


def _optimize(path: Path, ack: Ack) -> None:
    with Container(path) as container, _with_second():
        plan = optimize.plan(container.engine, optimize.OptimizeOptions())
        optimize.execute(container.engine, plan)


def _bad_copy(path: Path) -> None:
    """The first copy of one dictionary is bad, and the second of another."""
    _with_dead(path)
    for number, pack in enumerate(manifest_of(path).packs):
        flip(path / "packed" / f"{pack.id:010d}.pack", pack.dictionaries[0].offsets[number] + _LENGTH // 2)


def _repair(path: Path, ack: Ack) -> None:
    with Container(path) as container:
        report = repair_index.execute(container.engine, repair_index.plan(container.engine))
        assert report.is_good and not report.lost
        assert not repair_index.plan(container.engine).faults
    _assert_there(path)


def _migrate(path: Path, ack: Ack) -> None:
    with Container(path) as container:
        migrate.execute(container.engine, migrate.plan(container.engine, migrate.MigrateOptions(1)))


def _two(path: Path) -> None:
    path.mkdir()
    base(path / "source")
    Container.create(path / "target").close()


def _transfer(path: Path, ack: Ack) -> None:
    with Container(path / "source") as source, Container(path / "target") as target:

        def tell(theirs: object, ours: Sequence[str]) -> None:
            for key in ours:
                ack(key)

        target.transfer_from(source, tell=tell)
    _assert_there(path / "target")


_LEFT = BASE | dict(list(NEW.items())[10:])
_GONE = dict(list(NEW.items())[:10])


def _named(operations: dict[str, Operation]) -> dict[str, Operation]:
    return {f"{name}, dictionaries": operation for name, operation in operations.items()}


_start: Callable[[Path], None] = base
OPERATIONS = _named(
    {
        "insert packed": Operation(_start, _insert, BASE, BASE | NEW),
        "insert packed, first pack": Operation(lambda path: Container.create(path).close(), _insert, {}, NEW | OLD),
        "insert packed, tiny packs": Operation(
            partial(base, pack_size_target=2400), _insert, BASE, BASE | NEW, least=40
        ),
        "insert packed, training": Operation(_with_poor, _insert_training, BASE, BASE | TAUGHT),
        "repack, training anew": Operation(
            _with_poor_and_dead, _repack_training, _LEFT_TAUGHT, _LEFT_TAUGHT, _GONE_TAUGHT, least=15
        ),
        "pack": Operation(_with_loose, _pack, BASE | NEW, BASE | NEW),
        "repack": Operation(_with_dead, _repack, _LEFT, _LEFT, _GONE, least=30),
        "recompress": Operation(_with_dead, partial(_repack, compression="zstd:3"), _LEFT, _LEFT, _GONE, least=30),
        "optimize": Operation(_with_dead, _optimize, _LEFT, _LEFT, _GONE),
        "repair index": Operation(_bad_copy, _repair, _LEFT, _LEFT, _GONE, least=30),
        "migrate 2 to 1, in place": Operation(base, _migrate, BASE, BASE, least=30, resumes=True),
        "transfer": Operation(_two, _transfer, BASE, BASE, source="source", target="target", resumes=True),
    }
)
