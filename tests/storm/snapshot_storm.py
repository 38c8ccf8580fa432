"""The storm over the operations on snapshots: a container of version 2 in which objects have both lives."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from rsdos import Container, InvalidOption
from rsdos.engine.publish import read_refs
from rsdos.engine.save_lock import running_saves
from rsdos.errors import RefNotFound
from rsdos.facade.remotes import RemoteContainers
from rsdos.maintenance import forget, gc, tag, undo
from tests.data import key_of
from tests.snapshots.saving import save
from tests.storm.storm import Storm

_NAMES = ("flowers", "trees")


class SnapshotStorm(Storm):
    """What was saved and not forgotten, by the key of its snapshot, has to be whole at the end."""

    def __init__(self, path: Path, seed: int) -> None:
        super().__init__(path, 2, seed)
        self.saved: dict[str, dict[str, bytes]] = {}

    def save(self) -> None:
        """Some files are there by key, some are new, and some were perhaps saved and forgotten."""
        some = self.random.sample(list(self.kept.values()), min(5, len(self.kept)))
        files = {f"by key/{number}": data for number, data in enumerate(some)}
        files |= {f"new/{number}": self.data(600) for number in range(5)}
        files |= {f"again/{number}": b"%d" % number for number in range(self.random.randrange(20))}
        self.saved[save(self.container.engine, self.random.choice(_NAMES), files)] = files

    def forget(self) -> None:
        name = self.random.choice(_NAMES)
        engine = self.container.engine
        with suppress(RefNotFound):
            plan = forget.plan(engine, forget.ForgetOptions([f"{name}@{self.random.randrange(1, 30)}"]))
            for version in plan.forgotten:
                self.saved.pop(version.snapshot, None)  # Whether it is forgotten is not known if this is interrupted.
            forget.execute(engine, plan)

    def undo(self) -> None:
        """Of a save or a tag, it forgets."""
        engine = self.container.engine
        with suppress(RefNotFound, InvalidOption):
            plan = undo.plan(engine)
            for version in plan.forgotten:
                self.saved.pop(version.snapshot, None)
            undo.execute(engine, plan)

    def tag(self) -> None:
        with suppress(RefNotFound):
            tag.tag(self.container.engine, "newest", self.random.choice(_NAMES), tag.Existing.MOVE)

    def collect(self) -> None:
        gc.execute(self.container.engine, gc.plan(self.container.engine))

    def checkout(self) -> None:
        """To a new directory, and another version over it."""
        target = self.beside("checked out")
        for snapshot in (self.one_saved(), self.one_saved()):
            self.container.snapshots.checkout(snapshot, target, delete=True)
            assert {
                str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()
            } == self.saved[snapshot]

    def export_and_import(self) -> None:
        snapshot, archive = self.one_saved(), io.BytesIO()
        self.container.snapshots.export(snapshot, archive)
        archive.seek(0)
        saved = self.container.snapshots.import_archive("imported", archive)
        self.saved[saved.snapshot] = self.saved[snapshot]

    def clone(self) -> None:
        Container.clone(self.path, self.beside("clone"))
        self.has_all(self.beside("clone"), self.kept)

    def push(self) -> None:
        self.remote().push("there")
        self.has_all(self.beside("remote"), self.kept)

    def pull(self) -> None:
        remotes, some = self.remote(), self.data(400)
        with Container(self.beside("remote")) as there:
            there.insert_many([some, self.data(400)])
        remotes.pull("there")
        self.kept[key_of(some)] = some

    def one_saved(self) -> str:
        """A snapshot that is whole."""
        if not self.saved:
            self.save()
        return self.random.choice(list(self.saved))

    def remote(self) -> RemoteContainers:
        """A new one in the place of the last."""
        Container.create(self.beside("remote")).close()
        remotes = self.container.remotes
        if remotes.list():
            remotes.remove("there")
        remotes.add("there", self.beside("remote"))
        return remotes

    def operations(self) -> list[Callable[[], None]]:
        by_key = [self.loose, self.packed, self.delete, self.retain, self.pack, self.clean]
        others = [self.repack, self.optimize, self.merge, self.repair_index, self.validate, self.back_up]
        with_files = [self.checkout, self.export_and_import, self.clone, self.push, self.pull]
        names = [self.forget, self.undo, self.tag]
        return [*by_key, *others, *with_files, *[self.save] * 4, *names, *[self.collect] * 2]

    def finish(self) -> None:
        super().finish()
        refs, _ = read_refs(self.container.engine)
        live = refs.snapshots()
        for snapshot, files in self.saved.items():
            assert snapshot in live
            wanted = {key_of(data): data for data in files.values()}
            assert dict(self.container.engine.packed.extract_many(wanted)) == wanted
        assert running_saves(self.container.engine) == []
        self.container.close()
