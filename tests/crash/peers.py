"""disk-objectstore 1.5.0 and rsdos 0.1.1 under the same rig. Runs in their own virtual environment.

Their operations have our names where they are the same. What they do not have is not held against them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.crash.operation import BASE, NEW, OLD, Ack, Operation
from tests.crash.subject import Wrong
from tests.data import key_of, noise, text

_MISSING = ("NotExistent", "ValueError", "FileNotFoundError")
"""How they say that there is no such object."""


_KEY = 64


class _Reader:
    def __init__(self, container: Any) -> None:
        self._container = container

    def read(self, key: str) -> bytes | None:
        try:
            data = self._container.get_object_content(key)
        except Exception as error:
            if type(error).__name__ in _MISSING and "damaged" not in str(error):
                return None
            raise
        return data if data is None else bytes(data)

    def read_many(self, keys: list[str]) -> dict[str, bytes]:
        found = {key: self.read(key) for key in keys}
        return {key: data for key, data in found.items() if data is not None}

    def keys(self) -> list[str]:
        # rsdos 0.1.1 lists loose objects with their directories in front.
        return sorted({key.rpartition("/")[2] for key in self._container.list_all_objects() if len(key) == _KEY})

    def ways(self, key: str) -> Iterator[tuple[str, Callable[[], bytes | None]]]:
        yield "get_object_content", lambda: self.read(key)


class Peer:
    """One of them; ``package`` is what is imported."""

    errors: tuple[type[BaseException], ...] = (Exception,)

    def __init__(self, package: str) -> None:
        self._package = package
        self._is_dos = package == "disk_objectstore"
        self.operations = self._of_both() | (self._of_dos() if self._is_dos else {})

    def _open(self, path: Path) -> Any:
        container = import_module(self._package).Container(path)
        return closing(container) if self._is_dos else nullcontext(container)

    @contextmanager
    def look(self, path: Path) -> Iterator[_Reader]:
        with self._open(path) as container:
            yield _Reader(container)

    def is_whole(self, path: Path) -> bool:
        with self._open(path) as container:
            return bool(container.is_initialised)

    def settle(self, operation: Operation, path: Path) -> None:
        """What they leave behind is not looked at."""

    def space(self, path: Path) -> dict[str, int]:
        return {}

    def boot(self) -> None:
        """Neither of them looks."""

    def assert_space_came_back(self, operation: Operation, path: Path, before: dict[str, int]) -> None:
        """Nor is this."""

    def is_root(self, name: str) -> bool:
        return name.startswith("packs.idx")

    # Operations.

    def _make(self, path: Path, loose: Mapping[str, bytes], packed: Mapping[str, bytes]) -> None:
        path.mkdir(parents=True, exist_ok=True)
        with self._open(path) as container:
            container.init_container()
            container.add_objects_to_pack(list(packed.values()), False)
            for data in loose.values():
                container.add_object(data)

    def _base(self, path: Path) -> None:
        objects = list(BASE.items())
        self._make(path, dict(objects[5:]), dict(objects[:5]))

    def _with_new(self, path: Path) -> None:
        objects = list(BASE.items())
        self._make(path, dict(objects[5:]) | NEW, dict(objects[:5]))

    def _with_dead(self, path: Path) -> None:
        self._make(path, {}, BASE | NEW)
        with self._open(path) as container:
            container.delete_objects(list(NEW))

    def _packed_and_loose(self, path: Path) -> None:
        self._with_new(path)
        with self._open(path) as container:
            container.pack_all_loose()

    def _init(self, path: Path, ack: Ack) -> None:
        with self._open(path) as container:
            if not container.is_initialised:
                container.init_container()

    def _insert_loose(self, path: Path, ack: Ack) -> None:
        with self._open(path) as container:
            for data in [*NEW.values(), *OLD.values()]:
                ack(container.add_object(data))

    def _insert_packed(self, path: Path, ack: Ack) -> None:
        with self._open(path) as container:
            for key in container.add_objects_to_pack([*NEW.values(), *OLD.values()], False):
                ack(key)

    def _pack(self, path: Path, ack: Ack) -> None:
        with self._open(path) as container:
            container.pack_all_loose()

    def _pack_and_clean(self, path: Path, ack: Ack) -> None:
        with self._open(path) as container:
            container.pack_all_loose(clean_loose_per_pack=True)
            container.clean_storage()

    def _clean(self, path: Path, ack: Ack) -> None:
        with self._open(path) as container:
            container.clean_storage()

    def _delete(self, path: Path, ack: Ack) -> None:
        with self._open(path) as container:
            container.delete_objects(list(NEW))

    def _repack(self, path: Path, ack: Ack) -> None:
        with self._open(path) as container:
            container.repack()

    def _of_both(self) -> dict[str, Operation]:
        return {
            "init": Operation(Path.mkdir, self._init, {}, {}),
            "insert loose": Operation(self._base, self._insert_loose),
            "insert packed": Operation(self._base, self._insert_packed),
            "pack and keep": Operation(self._with_new, self._pack, BASE | NEW),
        }

    def _of_dos(self) -> dict[str, Operation]:
        return {
            "pack": Operation(self._with_new, self._pack_and_clean, BASE | NEW),
            "clean": Operation(self._packed_and_loose, self._clean, BASE | NEW),
            "delete": Operation(self._with_new, self._delete, wanted=BASE, gone=NEW),
            "repack": Operation(self._with_dead, self._repack, wanted=BASE, gone=NEW),
        }

    # Damage.

    def begin_damage(self, path: Path) -> Mapping[str, bytes]:
        objects = [
            noise(40, 1),
            text(900, 2),
            noise(300, 3),
            text(700, 4),
            b"",
            noise(60, 5),
            text(500, 6),
            noise(90, 7),
        ]
        keyed = {key_of(data): data for data in objects}
        items = list(keyed.items())
        self._make(path, dict(items[5:]), dict(items[:3]))
        with self._open(path) as container:
            container.add_objects_to_pack([data for _, data in items[3:5]], True)
        import_module("sqlite3").connect(path / "packs.idx").execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for name in ("packs.idx-wal", "packs.idx-shm"):
            (path / name).unlink(missing_ok=True)
        shutil.rmtree(path / "sandbox", ignore_errors=True)
        (path / "sandbox").mkdir()
        return keyed

    def insert(self, path: Path, data: bytes) -> None:
        with self._open(path) as container:
            keys = [container.add_object(data + b"loose"), *container.add_objects_to_pack([data + b"packed"], False)]
            for key, end in zip(keys, (b"loose", b"packed"), strict=True):
                if container.get_object_content(key) != data + end:
                    raise Wrong(key)


DOS = Peer("disk_objectstore")
RSDOS = Peer("rsdos")
