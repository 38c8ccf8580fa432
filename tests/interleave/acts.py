"""The operations that are played beside one another, and what each says of what it was told.

What is said, a line each: a verb, the container, names of objects. ``store`` and ``stored``, ``remove`` and
``removed`` are the beginning and the end of a promise about objects; ``copy`` and ``copied`` of one that all objects
are in another container; ``mend`` and ``mended`` of one that damage is gone; ``name`` and ``named``, ``unname`` and
``unnamed`` of names of snapshots; ``look``, and ``saw`` or ``missed``, are of a reader. `tests.interleave.oracle`
judges.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

from rsdos import CompressMode, Container, ContainerExists, InvalidOption, NotAContainer, ObjectNotFound, Place
from rsdos.config import Config, read_config
from rsdos.engine.engine import Engine
from rsdos.engine.publish import read_refs
from rsdos.errors import RefMoved, RefNotFound
from rsdos.maintenance import forget, gc, merge, optimize, retain, tag, transfer, undo
from rsdos.maintenance.backup import backup, restore
from rsdos.maintenance.check import validate
from rsdos.maintenance.migrate import migrate
from rsdos.maintenance.repair import index as repair_index
from rsdos.maintenance.repair import objects as repair_objects
from tests.crash import shim
from tests.crash.operations import large_batches, merging_beside
from tests.dictionaries import training_on_few, using
from tests.interleave.world import (
    BACKUPS,
    DATA,
    KEPT,
    KEYS,
    MAIN,
    NEW,
    OTHER,
    OUT,
    OWN,
    REFS,
    RESTORED,
    SHARED,
    SPARE,
    TAUGHT,
    Say,
    names_of,
    opened,
)
from tests.snapshots.saving import save

_REMOVED = ("packed", "both", "loose", "large", "damaged", "new")


@dataclass(frozen=True)
class Act:
    """One actor's doing. ``ends`` a container: whoever has it open may be told so by an error."""

    run: Callable[[Path, Say], None]
    versions: tuple[int, ...] = (1, 2)
    ends: bool = False
    clears: bool = False


def line(verb: str, names: Sequence[str] = (), where: str = MAIN) -> str:
    return " ".join([verb, where, *(name.replace(" ", "-") for name in names)])


def _insert_each(*names: str) -> Callable[[Path, Say], None]:
    def run(path: Path, say: Say) -> None:
        with opened(path) as container:
            for name in names:
                say(line("store", [name]))
                container.insert(DATA[name])
                say(line("stored", [name]))

    return run


def _insert_many(*names: str, to: Place = Place.PACKED) -> Callable[[Path, Say], None]:
    def run(path: Path, say: Say) -> None:
        with opened(path) as container:
            say(line("store", names))
            container.insert_many([DATA[name] for name in names], to=to)
            say(line("stored", names))

    return run


@contextmanager
def large_packs() -> Iterator[None]:
    """This program seals packs at a mebibyte: what it writes goes into one, and others append to that in between."""
    with patch.object(Config, "pack_size_target", property(lambda config: 1 << 20, lambda config, target: None)):
        yield


@large_packs()
def _repack_training(path: Path, say: Say) -> None:
    """Compress objects one by one, and let a repack of theirs train a dictionary, if others have not moved them."""
    with opened(path) as container:
        say(line("store", TAUGHT))
        with using(None):
            container.insert_many([DATA[name] for name in TAUGHT], compress=CompressMode.YES)
        say(line("stored", TAUGHT))
        with suppress(ObjectNotFound, InvalidOption), training_on_few():
            extent = container.meta(KEYS[TAUGHT[0]]).extent
            if extent is not None:
                container.repack(pack_id=extent.pack_id)


def _insert_streams(path: Path, say: Say) -> None:
    with opened(path) as container:
        for name in ("large", "new large"):
            say(line("store", [name]))
            container.insert(io.BytesIO(DATA[name]), to=Place.PACKED)
            say(line("stored", [name]))


def _delete(path: Path, say: Say) -> None:
    with opened(path, when_busy="wait") as container:
        say(line("remove", _REMOVED))
        container.delete([KEYS[name] for name in _REMOVED])
        say(line("removed", _REMOVED))


def _replace(path: Path, say: Say) -> None:
    """Delete and insert anew: to the same place, and loose what was packed as well."""
    names = ("packed", "loose", "both")
    with opened(path, when_busy="wait") as container:
        say(line("remove", names))
        container.delete([KEYS[name] for name in names])
        say(line("removed", names))
        for name, to in zip(names, (Place.PACKED, Place.LOOSE, Place.LOOSE), strict=True):
            say(line("store", [name]))
            container.insert(DATA[name], to=to)
            say(line("stored", [name]))


def _look_and_insert(path: Path, say: Say) -> None:
    """As a program does that asks before it inserts: what it is told is missing it stores."""
    with opened(path) as container:
        for name in ("packed", "both", "loose"):
            say(line("look", [name]))
            if container.has(KEYS[name]):
                say(line("saw", [name]))
                continue
            say(line("missed", [name]))
            say(line("store", [name]))
            container.insert(DATA[name])
            say(line("stored", [name]))


def _retain(path: Path, say: Say) -> None:
    with opened(path, when_busy="wait") as container:
        gone = [name for name in DATA if name not in KEPT]
        say(line("plan", gone))
        plan = retain.plan(container.engine, retain.RetainOptions([KEYS[name] for name in KEPT]))
        say(line("remove", gone))
        retain.execute(container.engine, plan)
        say(line("removed", gone))


def _maintain(do: Callable[[Container], object]) -> Callable[[Path, Say], None]:
    def run(path: Path, say: Say) -> None:
        with opened(path) as container:
            do(container)

    return run


def _optimize(container: Container) -> None:
    optimize.execute(container.engine, optimize.plan(container.engine, optimize.OptimizeOptions()))


@large_packs()
def _optimize_overhead(container: Container) -> None:
    """All packs but one are mostly overhead. Each is rewritten by itself, to the end of the same new pack."""
    with patch("rsdos.stores.stats._LEAST_GAIN", 0):
        _optimize(container)


def _merge(container: Container) -> None:
    merge.execute(container.engine, merge.plan(container.engine))


def _repair_index(container: Container) -> None:
    report = repair_index.execute(container.engine, repair_index.plan(container.engine))
    assert report.is_good, f"repair index: {report}"


def _repair_objects(path: Path, say: Say) -> None:
    """What is damaged is replaced by the copy of another container."""
    with opened(path) as container, opened(path, SPARE) as source:
        say(line("mend", ["damaged"]))
        options = repair_objects.RepairObjectsOptions([source.engine])
        report = repair_objects.execute(container.engine, repair_objects.plan(container.engine, options))
        assert report.is_good, f"repair objects: {report}"
        say(line("mended", names_of(action.key for action in report.repaired)))


def _quarantine(path: Path, say: Say) -> None:
    """What is damaged has no good copy, but for one that is inserted just then: it is moved away."""
    with opened(path) as container:
        options = repair_objects.RepairObjectsOptions(beyond_help=repair_objects.Unrepairable.QUARANTINE)
        report = repair_objects.execute(container.engine, repair_objects.plan(container.engine, options))
        wrong = [*report.files, *(action for action in report.beyond_help if action.key != KEYS["damaged"])]
        assert not wrong and not report.unlisted, f"repair objects: {report}"


def _validate(path: Path, say: Say) -> None:
    with opened(path) as container:
        options = validate.ValidateOptions(validate.Depth.FULL)
        report = validate.execute(container.engine, validate.plan(container.engine, options))
        wrong = [f"{finding}" for finding in (*report.files, *report.damaged) if finding.key != KEYS["damaged"]]
        assert not wrong, f"validate finds {wrong[0]:.300}"


def _transfer_in(path: Path, say: Say) -> None:
    with opened(path) as container, opened(path, OTHER) as source:

        def tell(theirs: Sequence[str], ours: Sequence[str]) -> None:
            say(line("stored", names_of(ours)))

        plan = transfer.plan(container.engine, source.engine, transfer.TransferOptions())
        say(line("store", ["packed", "both", "loose", "large", "new", "newer"]))
        transfer.execute(container.engine, plan, tell=tell)


def _transfer_out(path: Path, say: Say) -> None:
    with opened(path, OUT) as container, opened(path) as source:
        say(line("copy", where=OUT))
        plan = transfer.plan(container.engine, source.engine, transfer.TransferOptions())
        report = transfer.execute(container.engine, plan)
        say(line("copied", names_of(key for key, _ in report.damaged), OUT))


def _other_version(engine: Engine) -> int:
    return 3 - engine.config.version


@contextmanager
def _refused_for(container: Container) -> Iterator[None]:
    """Version 1 has no snapshots: where one has been saved a migration to it is refused."""
    try:
        yield
    except InvalidOption:
        if not read_refs(container.engine)[0].names():
            raise


def _migrate_to(path: Path, say: Say) -> None:
    with opened(path) as container, _refused_for(container):
        say(line("copy", where=NEW))
        # A migration in place may have come between this one and its first run, which was killed.
        to = _other_version(container.engine)
        with suppress(NotAContainer):
            to = read_config(str(path / NEW / "config.json")).version
        options = migrate.MigrateOptions(to, str(path / NEW))
        report = migrate.execute(container.engine, migrate.plan(container.engine, options))
        say(line("copied", names_of(key for key, _ in report.damaged), NEW))


def _migrate(path: Path, say: Say) -> None:
    with opened(path) as container, _refused_for(container):
        options = migrate.MigrateOptions(_other_version(container.engine))
        migrate.execute(container.engine, migrate.plan(container.engine, options))


def _backup(path: Path, say: Say) -> None:
    with opened(path) as container:
        say(line("copy", where=BACKUPS))
        options = backup.BackupOptions(str(path / BACKUPS))
        report = backup.execute(container.engine, backup.plan(container.engine, options))
        assert report.is_good, f"backup: {report.unreadable}"
        say(line("copied", where=BACKUPS))


def _restore(path: Path, say: Say) -> None:
    """Back up, and restore that, or a backup that another has made since."""
    say(line("copy", where=RESTORED))
    _backup(path, say)
    with suppress(ContainerExists):  # It was killed when all was done; or another restores there.
        plan = restore.plan(restore.RestoreOptions(str(path / BACKUPS), str(path / RESTORED)))
        report = restore.execute(plan)
        assert report.is_good, f"restore: {report.unreadable}"
        say(line("copied", where=RESTORED))


def _read(path: Path, say: Say) -> None:
    with opened(path) as container:
        say(line("look"))
        say(line("listed", names_of(container)))
        say(line("look"))
        say(f"counted {MAIN} {len(container)}")
        asked = list(DATA)
        say(line("look", asked))
        answers = container.has_many([KEYS[name] for name in asked])
        _saw(say, dict(zip(asked, answers, strict=True)))
        asked.remove("damaged")
        say(line("look", asked))
        found = dict(container.extract_many([KEYS[name] for name in asked], missing="none"))
        assert all(found[KEYS[name]] in (None, DATA[name]) for name in asked), "wrong bytes"
        _saw(say, {name: found[KEYS[name]] is not None for name in asked})
        for name in ("packed", "both", "loose", "large", "kept 1"):
            _read_one(container, name, say)


def _saw(say: Say, answers: dict[str, bool]) -> None:
    say(line("saw", [name for name, there in answers.items() if there]))
    say(line("missed", [name for name, there in answers.items() if not there]))


def _read_one(container: Container, name: str, say: Say) -> None:
    say(line("look", [name]))
    try:
        data = container.extract(KEYS[name])
    except ObjectNotFound:
        say(line("missed", [name]))
    else:
        assert data == DATA[name], "wrong bytes"
        say(line("saw", [name]))


def _clear(path: Path, say: Say) -> None:
    with Container(path / MAIN) as container:
        try:
            version = container.config.version
        except NotAContainer:  # It was killed half-way before.
            version = Container(path / OTHER).config.version
        say(line("remove", list(DATA)))
        say(line("unname", REFS))
        container.init_container(clear=True, pack_size_target=800, container_version=version)
        say(line("removed", list(DATA)))


def _tidy_locks(path: Path, say: Say) -> None:
    with suppress(FileNotFoundError):
        for name in sorted(os.listdir(path / MAIN / "locks")):
            with suppress(FileNotFoundError):
                os.unlink(path / MAIN / "locks" / name)


def _hold(path: Path, say: Say) -> None:
    """A program that has the container open for long. What one call raises does not end it."""
    with opened(path) as container:
        names = ["new", "packed", "newer", "loose"]
        for name, to in zip(names, [Place.LOOSE, Place.PACKED] * 2, strict=True):
            with _Told(say):
                _read_one(container, "kept 1", say)
            with _Told(say):
                say(line("store", [name]))
                container.insert(DATA[name], to=to)
                say(line("stored", [name]))
            with _Told(say):
                say(line("look"))
                say(line("listed", names_of(container)))


class _Told(suppress):
    """Says what is raised, and goes on."""

    def __init__(self, say: Say) -> None:
        super().__init__(Exception)
        self._say = say

    def __exit__(self, kind, error, trace):  # type: ignore[no-untyped-def]
        if error is not None:
            kinds = ",".join(each.__name__ for each in kind.__mro__[:-3])
            self._say(f"failed {kinds}: {error}"[:2000])
        return super().__exit__(kind, error, trace)


def _repack_and_merge(container: Container) -> None:
    container.repack(min_dead=0)
    _merge(container)


_FILES = {"one": DATA["shared 1"], "sub/two": DATA["shared 2"], "own": OWN}


def _save(path: Path, say: Say) -> None:
    with opened(path) as container, suppress(RefMoved):
        say(line("name", ["flowers"]))
        save(container.engine, "flowers", _FILES)
        say(line("named", ["flowers"]))


def _tag(path: Path, say: Say) -> None:
    """The tag alone holds the snapshot at the end."""
    with opened(path) as container, suppress(RefMoved, RefNotFound):
        say(line("name", ["pinned"]))
        snapshot = save(container.engine, "weeds", _FILES)
        tag.tag(container.engine, "pinned", snapshot, tag.Existing.MOVE)
        say(line("named", ["pinned"]))
        _forget(container, "weeds")


def _save_garbage(path: Path, say: Say) -> None:
    """What the last save finds is garbage of a version that was forgotten: gc may take it at any moment."""
    with opened(path, when_busy="wait") as container, suppress(RefMoved, RefNotFound):
        save(container.engine, "trees", _FILES)
        _forget(container, "trees")
        save(container.engine, "trees", _FILES)


def _forget(container: Container, name: str) -> None:
    plan = forget.plan(container.engine, forget.ForgetOptions([name]))
    forget.execute(container.engine, plan)


def _forget_and_gc(path: Path, say: Say) -> None:
    with opened(path, when_busy="wait") as container:
        for name in ("flowers", "trees"):
            say(line("unname", [name]))
            with suppress(RefNotFound):
                _forget(container, name)
            say(line("unnamed", [name]))
        gc.execute(container.engine, gc.plan(container.engine))


def _gc(path: Path, say: Say) -> None:
    with opened(path, when_busy="wait") as container:
        gc.execute(container.engine, gc.plan(container.engine))


def _undo(path: Path, say: Say) -> None:
    with opened(path) as container, suppress(RefMoved, RefNotFound, InvalidOption):
        say(line("unname", REFS))
        undo.execute(container.engine, undo.plan(container.engine))


def _delete_shared(path: Path, say: Say) -> None:
    """By key. It says of no end: what snapshots need is there nevertheless."""
    with opened(path, when_busy="wait") as container:
        say(line("remove", SHARED))
        container.delete([KEYS[name] for name in SHARED])


ACTS = {
    "insert loose, new": Act(_insert_each("new")),
    "insert loose, duplicates": Act(_insert_each("packed", "both", "loose")),
    "insert loose, over damage": Act(_insert_each("damaged")),
    "insert loose, large": Act(_insert_each("large", "new large")),
    "insert packed": Act(_insert_many("new", "packed", "both", "loose")),
    "insert packed, in large batches": Act(
        merging_beside()(large_batches()(_insert_many("new", "packed", "both", "loose"))), (2,)
    ),
    # None of the others brings a dictionary into a pack, or reads those of other packs to weigh them.
    "insert packed, training": Act(
        training_on_few()(large_packs()(_insert_many(*TAUGHT, "new", "packed", "both", "loose"))), (2,)
    ),
    "insert packed, damaged": Act(_insert_many("damaged")),
    "insert packed, large": Act(_insert_streams),
    "insert many loose": Act(_insert_many("new", "packed", "both", "loose", to=Place.LOOSE)),
    "look and insert": Act(_look_and_insert),
    "delete": Act(_delete),
    "delete and insert anew": Act(_replace),
    "retain": Act(_retain),
    "pack": Act(_maintain(Container.pack_all_loose)),
    "clean": Act(_maintain(Container.clean_storage)),
    "repack": Act(_maintain(lambda container: container.repack(min_dead=0))),
    # That above has two objects of a dictionary, which it carries. This reads a sample of objects by their keys first.
    "repack, training anew": Act(_repack_training, (2,)),
    "optimize": Act(_maintain(_optimize)),
    # Those above write a new pack for each old one, and no other can write to it.
    "optimize, mostly overhead": Act(_maintain(_optimize_overhead), (2,)),
    "optimize, in large batches": Act(large_batches()(_maintain(_repack_and_merge)), (2,)),
    "merge": Act(_maintain(_merge)),
    "repair index": Act(_maintain(_repair_index)),
    "repair objects": Act(_repair_objects),
    "repair objects, to quarantine": Act(_quarantine),
    "transfer in": Act(_transfer_in),
    "transfer out": Act(_transfer_out),
    "migrate to a new directory": Act(_migrate_to),
    "migrate in place": Act(_migrate, ends=True),
    "backup": Act(_backup),
    "backup and restore": Act(_restore),
    "validate": Act(_validate),
    "read": Act(_read),
    "hold": Act(_hold),
    "clear": Act(_clear, ends=True, clears=True),
    "tidy locks": Act(_tidy_locks),
    # Those of snapshots. More of them are in `SNAPSHOTS`, and are played among themselves.
    "save": Act(_save, (2,)),
    "tag": Act(_tag, (2,)),
    "forget and gc": Act(_forget_and_gc, (2,)),
}


def without_locks(act: Act) -> Act:
    """The same where ``flock`` locks nothing: the control."""

    def run(path: Path, say: Say) -> None:
        shim.ignore_locks()
        act.run(path, say)

    return replace(act, run=run)


def _insert_relaxed(path: Path, say: Say, to: Place) -> None:
    """Of what is acknowledged so a power loss may take the latest."""
    with opened(path, durability="relaxed") as container:
        names = ("new", "packed")
        say(line("store", names))
        container.insert_many([DATA[name] for name in names], to=to)
        say(line("relaxed", names))


def _delete_one(path: Path, say: Say) -> None:
    with opened(path, when_busy="wait") as container:
        say(line("remove", ["kept 2"]))
        container.delete([KEYS["kept 2"]])
        say(line("removed", ["kept 2"]))


MIXED = {
    "insert packed, relaxed": Act(partial(_insert_relaxed, to=Place.PACKED)),
    "insert packed, relaxed, in large batches": Act(large_batches()(partial(_insert_relaxed, to=Place.PACKED)), (2,)),
    "insert loose, relaxed": Act(partial(_insert_relaxed, to=Place.LOOSE)),
    "insert new": Act(_insert_many("new")),
    "delete one": Act(_delete_one),
    **{
        name: ACTS[name]
        for name in ("insert loose, new", "insert packed", "insert many loose", "pack", "repack", "optimize", "merge")
    },
}
"""Those behind which power is lost: relaxed and full ones together."""

SNAPSHOTS = {
    "save garbage": Act(_save_garbage, (2,)),
    "gc": Act(_gc, (2,)),
    "undo": Act(_undo, (2,)),
    "insert shared": Act(_insert_many(*SHARED), (2,)),
    "insert shared loose": Act(_insert_each(*SHARED), (2,)),
    "delete shared": Act(_delete_shared, (2,)),
    **{
        name: ACTS[name]
        for name in (
            "save",
            "tag",
            "forget and gc",
            "pack",
            "clean",
            "repack",
            "optimize",
            "retain",
            "repair index",
            "backup",
            "validate",
        )
    },
}
"""Those on refs, and others beside them. At the end a full validation reads all that the refs lead to."""

WITHOUT_LOCKS = " without locks"
"""What ends the names of controls."""


def act_of(name: str) -> Act:
    """The act of that name."""
    if name.endswith(WITHOUT_LOCKS):
        return without_locks((ACTS | MIXED | SNAPSHOTS)[name.removesuffix(WITHOUT_LOCKS)])
    return (ACTS | MIXED | SNAPSHOTS)[name]
