"""The operations on refs, and those that delete beside them: what the newest refs lead to is there at every moment."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from rsdos import Container
from rsdos.engine.publish import newest_refs
from rsdos.engine.snapshots import StoredPages, read_record
from rsdos.errors import DamagedContainer, DamagedTree, RefNotFound
from rsdos.maintenance import delete, forget, gc, tag, undo
from rsdos.maintenance.check.validate import check_all
from rsdos.maintenance.repair import index as repair_index
from rsdos.maintenance.repair import objects as repair_objects
from rsdos.model import PackKind
from rsdos.stores.findings import Depth
from rsdos.trees.tree import Tree
from tests.crash.operation import Ack, Operation
from tests.data import key_of, noise, text
from tests.helpers import flip, native
from tests.snapshots.saving import save

FIRST = {
    "a.txt": b"first",
    "sub/b.txt": text(3000, 1),
    "sub/deep/c.bin": noise(4000, 2),
    "large": noise(1 << 20, 3) + b"x",
}
SECOND = FIRST | {"a.txt": b"second", "sub/new.txt": text(4000, 4)}
OTHER = {"o.txt": b"other", "sub/b.txt": text(3000, 1)}


def _by_key(*several: Mapping[str, bytes]) -> dict[str, bytes]:
    return {key_of(data): data for files in several for data in files.values()}


def assert_refs_are_whole(path: Path) -> None:
    """Read all that the newest refs lead to."""
    with Container(path) as container:
        engine = container.engine
        refs, _ = newest_refs(engine)
        for snapshot in refs.snapshots():
            tree = Tree(bytes.fromhex(read_record(engine, snapshot).tree), StoredPages(engine))
            for listing in tree.walk():
                keys = [key.hex() for key in listing.keys if key]
                for key, data in engine.packed.extract_many(dict.fromkeys(keys)):
                    assert key_of(data) == key


def _versions(path: Path) -> list[str]:
    with Container(path) as container:
        refs, _ = newest_refs(container.engine)
        return sorted(name for snapshot in refs.snapshots() for name in refs.names_of(snapshot))


def _plain(path: Path, **settings: object) -> None:
    """Some of what will be saved is there already, inserted by key."""
    with Container.create(path, **settings) as container:  # type: ignore[arg-type]
        container.insert_many([FIRST["a.txt"], FIRST["sub/b.txt"], b"plain"])


PLAIN = _by_key({"a": FIRST["a.txt"], "b": FIRST["sub/b.txt"], "c": b"plain"})


def _saved(path: Path) -> None:
    _plain(path)
    with Container(path) as container:
        save(container.engine, "flowers", FIRST)


def _save(path: Path, ack: Ack, name: str, files: Mapping[str, bytes]) -> None:
    with Container(path) as container:
        before = set(_versions(path))
        save(container.engine, name, files)
        assert len(set(_versions(path)) - before) == 1
        assert before <= set(_versions(path))
        for data in files.values():
            ack(key_of(data))


_first: Callable[[Path, Ack], None] = partial(_save, name="flowers", files=FIRST)
_second: Callable[[Path, Ack], None] = partial(_save, name="flowers", files=SECOND)

_ALL = {**PLAIN, **_by_key(FIRST, SECOND)}


def _again_and_again(path: Path) -> None:
    """Two versions and a branch; some of the files are there by key as well."""
    _saved(path)
    with Container(path) as container:
        save(container.engine, "flowers", SECOND)
        save(container.engine, "trees", OTHER)


def _tag(path: Path, ack: Ack) -> None:
    with Container(path) as container:
        tag.tag(container.engine, "v1", "flowers@1", tag.Existing.MOVE)
    assert "v1" in _versions(path)


def _forget(path: Path, ack: Ack) -> None:
    with Container(path) as container:
        for name in ("flowers@1", "trees"):
            # What was broken off may have published it.
            with suppress(RefNotFound):
                options = forget.ForgetOptions([name])
                forget.execute(container.engine, forget.plan(container.engine, options))
    assert _versions(path) == ["flowers@2"]


def _undo(path: Path, ack: Ack) -> None:
    """Either way: undone twice, it is done again."""
    with Container(path) as container:
        undo.execute(container.engine, undo.plan(container.engine))
    assert _versions(path) in (["flowers@1", "flowers@2"], ["flowers@1", "flowers@2", "trees@1"])


def _with_garbage(path: Path) -> None:
    _again_and_again(path)
    _forget(path, lambda key: None)


def _gc(path: Path, ack: Ack) -> None:
    with Container(path) as container:
        gc.execute(container.engine, gc.plan(container.engine))
    assert _versions(path) == ["flowers@2"]


def _delete(path: Path, ack: Ack) -> None:
    """What snapshots need stays, all of it, and nothing of it is inserted by key any more."""
    with Container(path) as container:
        plan = delete.plan(container.engine, delete.DeleteOptions(list(PLAIN)))
        delete.execute(container.engine, plan)
        manifest = native(container.engine).index.refresh().manifest
        assert not any(pack.live.objects for pack in manifest.packs if pack.kind is PackKind.PLAIN)


_HELD = _by_key(FIRST, SECOND)
_GONE = {key_of(data): data for data in (b"other",)}


def _damaged(path: Path) -> None:
    """The newest manifest is damaged: the one before it names other refs."""
    _again_and_again(path)
    flip(max((path / "index").glob("manifest-*")), 100)


def _repair(path: Path, ack: Ack) -> None:
    with Container(path) as container:
        report = repair_index.execute(container.engine, repair_index.plan(container.engine))
        assert report.is_good
        assert not report.doubtful
    assert _versions(path) == ["flowers@1", "flowers@2", "trees@1"]


def _whole_if_known(path: Path) -> None:
    with suppress(DamagedContainer):
        assert_refs_are_whole(path)


def _lost(path: Path) -> None:
    """Names, snapshots and pages are lost, and so are the files that only snapshots need. There is a backup."""
    _again_and_again(path / "container")
    shutil.copytree(path / "container", path / "backup")
    with Container(path / "container") as container:
        for pack in native(container.engine).index.refresh().manifest.packs:
            if pack.kind is not PackKind.PLAIN:
                Path(container.engine.layout.pack(pack.id)).unlink()
    with Container(path / "container") as container:
        assert container.repair_index().lost_names


def _bring_back(path: Path, ack: Ack) -> None:
    """Round by round: the list of names, the snapshots, their pages, the files."""
    with Container(path / "container") as container, Container(path / "backup") as backup:
        options = repair_objects.RepairObjectsOptions([backup.engine])
        assert repair_objects.execute(container.engine, repair_objects.plan(container.engine, options)).is_good
    for data in {**FIRST, **SECOND, **OTHER}.values():
        ack(key_of(data))
    _is_back(path)


def _is_back(path: Path) -> None:
    assert _versions(path / "container") == ["flowers@1", "flowers@2", "trees@1"]
    assert_refs_are_whole(path / "container")
    with Container(path / "container") as container:
        assert check_all(container.engine, Depth.FULL).is_good


def _gc_takes_nothing(path: Path) -> None:
    """As long as something of a snapshot is missing, a gc refuses; then it has nothing to take."""
    with Container(path / "container") as container, suppress(DamagedTree):
        assert not gc.execute(container.engine, gc.plan(container.engine)).objects


def _checked(prepare: Callable[[Path], None], run: Callable[[Path, Ack], None], **members: object) -> Operation:
    return Operation(prepare, run, check=assert_refs_are_whole, **members)  # type: ignore[arg-type]


OPERATIONS = {
    "save, the first": _checked(_plain, _first, before=PLAIN, wanted=PLAIN | _by_key(FIRST), least=30),
    "save, relaxed": _checked(
        partial(_plain, durability="relaxed"),
        _first,
        before=PLAIN,
        wanted=PLAIN | _by_key(FIRST),
        least=30,
        relaxed=True,
    ),
    "save, the next version": _checked(_saved, _second, before=PLAIN | _by_key(FIRST), wanted=_ALL, least=20),
    "tag": _checked(_again_and_again, _tag, before=_ALL, wanted=_ALL),
    "forget": _checked(_again_and_again, _forget, before=_ALL, wanted=_ALL, least=20),
    "undo": _checked(_again_and_again, _undo, before=_ALL, wanted=_ALL),
    "gc": _checked(_with_garbage, _gc, before=PLAIN | _by_key(SECOND), wanted=PLAIN | _by_key(SECOND), gone=_GONE),
    "repair index, snapshots": Operation(_damaged, _repair, before=_ALL, wanted=_ALL, check=_whole_if_known, least=8),
    "repair objects, all that snapshots need": Operation(
        _lost,
        _bring_back,
        before=PLAIN,
        wanted=_ALL | _by_key(OTHER),
        source="container",
        target="container",
        check=_gc_takes_nothing,
        settle=_is_back,
        least=40,
    ),
    "delete, what snapshots need": _checked(
        _again_and_again, _delete, before=_HELD, wanted=_HELD, gone={key_of(b"plain"): b"plain"}, least=20
    ),
}
