"""This rsdos."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest.mock import patch

from benchmarks.sides.side import Side
from rsdos import CompressMode, Container, Place, set_threads
from rsdos.codecs.dictionary import Dictionary, KnownDictionaries
from rsdos.config import DEFAULT_PACK_SIZE
from rsdos.maintenance import merge, repack
from rsdos.stores.packed.context import PackedContext

_PART = 1 << 20
_NOBODY = "0" * 64
_SCRIPT = Path(sys.executable).with_name("rsdos")
_COMMAND = (str(_SCRIPT),) if _SCRIPT.exists() else (sys.executable, "-m", "rsdos")


class Ours(Side):
    """The store of this project, container version 2, settings as they are but for what a case names."""

    title = "rsdos"
    syncs = "as asked: full syncs once a batch, relaxed never"
    version = 2
    _trained: tuple[float, float] | None = None

    @property
    def _durability(self) -> str:
        return "full" if self.durable else "relaxed"

    def create(self, pack_size: int | None = None) -> None:
        self.container = Container.create(
            self.path,
            durability=self._durability,
            container_version=self.version,
            pack_size_target=pack_size or DEFAULT_PACK_SIZE,
        )

    def open(self) -> None:
        self.container = Container(self.path, durability=self._durability)
        # Both of what is imported at the first bulk call: numpy, and what appends.
        self.container.has_many([_NOBODY, _NOBODY])
        importlib.import_module("rsdos.stores.packed.writer")

    def limit_threads(self, most: int) -> None:
        set_threads(most)

    def close(self) -> None:
        self.container.close()

    def settle(self) -> None:
        engine = self.container.engine
        merge.execute(engine, merge.plan(engine))

    def insert_packed(self, payloads: Sequence[bytes], compress: bool) -> list[str]:
        return self.container.insert_many(payloads, compress=CompressMode.YES if compress else CompressMode.NO)

    def store(self, payloads: Sequence[bytes]) -> list[str]:
        # Imported here: the memory of other cases is measured above that of the imports.
        from benchmarks.sides.training import timed_training

        with timed_training() as trained:
            keys = self.container.insert_many(payloads, compress=CompressMode.AUTO)
        self._trained = (trained.training, trained.choosing)
        return keys

    def training_seconds(self) -> tuple[float, float] | None:
        return self._trained

    def shrink(self) -> None:
        self.container.optimize()

    def stored_bytes(self) -> int:
        return self.container.inspect_packed().live.length

    def insert_loose(self, payload: bytes) -> str:
        return self.container.insert(payload)

    def insert_many_loose(self, payloads: Sequence[bytes]) -> list[str]:
        return self.container.insert_many(payloads, to=Place.LOOSE)

    def insert_files(self, places: Sequence[Path], jobs: int, compress: bool) -> None:
        more = ("--jobs", str(jobs)) if jobs else ()
        what = ("add-files", "-r", "--compress", "auto" if compress else "no", *more, *places)
        command = (*_COMMAND, "-p", self.path, "--durability", self._durability, *what)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def insert_stream(self, source: Path, compress: bool) -> str:
        mode = CompressMode.YES if compress else CompressMode.NO
        return self.container.insert_many([source], compress=mode)[0]

    def extract(self, key: str) -> bytes:
        return self.container.extract(key)

    def extract_many(self, keys: Sequence[str]) -> Iterator[bytes]:
        for _, data in self.container.extract_many(keys):
            assert data is not None
            yield data

    def extract_stream(self, key: str) -> int:
        size = 0
        with self.container.open(key) as stream:
            while part := stream.read(_PART):
                size += len(part)
        return size

    def extract_range(self, key: str, offset: int, length: int) -> bytes:
        with self.container.open(key) as stream:
            stream.seek(offset)
            return stream.read(length)

    def visit(self, key: str) -> bytes:
        with Container(self.path) as container:
            assert container.has(key)
        with Container(self.path) as container, container.open(key) as stream:
            return stream.read()

    def has_many(self, keys: Sequence[str]) -> int:
        return sum(self.container.has_many(keys))

    def list_keys(self) -> int:
        return sum(1 for _ in self.container)

    def pack(self) -> None:
        self.container.pack_all_loose(CompressMode.NO, clean=False)

    def pack_and_clean(self) -> None:
        self.container.pack_all_loose(CompressMode.NO)

    def repack(self) -> None:
        engine = self.container.engine
        for pack in engine.packed.maintenance.stats().packs:
            # Named, since nothing is dead in it.
            repack.execute(engine, repack.plan(engine, repack.RepackOptions(pack_id=pack.id)))

    def show_version(self) -> None:
        subprocess.run((*_COMMAND, "--version"), check=True, stdout=subprocess.DEVNULL)

    def show_status(self) -> None:
        subprocess.run((*_COMMAND, "-p", self.path, "status"), check=True, stdout=subprocess.DEVNULL)


class OursVersion1(Ours):
    """The store of this project on a container that disk-objectstore reads and writes as well."""

    title = "rsdos, version 1"
    version = 1


class OursPlain(Ours):
    """The store of this project, every object compressed by itself, also those that AUTO leaves raw without one."""

    title = "rsdos, no dictionaries"

    def store(self, payloads: Sequence[bytes]) -> list[str]:
        with patch.object(PackedContext, "new_chooser", staticmethod(_NoDictionaries)):
            return self.container.insert_many(payloads, compress=CompressMode.YES)


class _NoDictionaries:
    def choose(self, payloads: Sequence[bytes], level: int, known: KnownDictionaries) -> Dictionary | None:
        return None
