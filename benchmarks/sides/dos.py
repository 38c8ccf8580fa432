"""disk-objectstore 1.5.0."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.data import files_below
from benchmarks.sides.side import Side

_COMMAND = str(Path(sys.prefix, "bin", "dostore"))


class DiskObjectstore(Side):
    """The peer that AiiDA uses, through its own Python API."""

    title = "disk-objectstore 1.5.0"
    syncs = "loose objects always (of the directory above theirs), packs never on Linux, whatever is asked"
    peers = True

    def create(self, pack_size: int | None = None) -> None:
        self._attach()
        self.container.init_container(**({} if pack_size is None else {"pack_size_target": pack_size}))

    def _attach(self) -> None:
        self._dos: Any = importlib.import_module("disk_objectstore")
        self.container: Any = self._dos.Container(self.path)

    def open(self) -> None:
        self._attach()
        self.container.has_objects(["0" * 64])

    def close(self) -> None:
        self.container.close()

    def insert_packed(self, payloads: Sequence[bytes], compress: bool) -> list[str]:
        keys: list[str] = self.container.add_objects_to_pack(payloads, compress=compress)
        return keys

    def insert_loose(self, payload: bytes) -> str:
        key: str = self.container.add_object(payload)
        return key

    def insert_files(self, places: Sequence[Path], jobs: int, compress: bool) -> None:
        lazy = importlib.import_module("disk_objectstore.utils").LazyOpener
        streams = [lazy(Path(path)) for path in files_below(list(places))]
        self.container.add_streamed_objects_to_pack(streams, compress=compress, open_streams=True)

    def insert_stream(self, source: Path, compress: bool) -> str:
        with source.open("rb") as stream:
            keys: list[str] = self.container.add_streamed_objects_to_pack([stream], compress=compress)
        return keys[0]

    def extract(self, key: str) -> bytes:
        data: bytes = self.container.get_object_content(key)
        return data

    def extract_many(self, keys: Sequence[str]) -> Iterator[bytes]:
        yield from self.container.get_objects_content(keys).values()

    def extract_stream(self, key: str) -> int:
        size = 0
        with self.container.get_object_stream(key) as stream:
            while part := stream.read(1 << 20):
                size += len(part)
        return size

    def visit(self, key: str) -> bytes:
        with self._dos.Container(self.path) as container:
            assert container.has_objects([key])[0]
        with self._dos.Container(self.path) as container, container.get_object_stream(key) as stream:
            data: bytes = stream.read()
        return data

    def has_many(self, keys: Sequence[str]) -> int:
        return sum(self.container.has_objects(keys))

    def list_keys(self) -> int:
        return sum(1 for _ in self.container.list_all_objects())

    def pack(self) -> None:
        self.container.pack_all_loose()

    def pack_and_clean(self) -> None:
        self.container.pack_all_loose()
        self.container.clean_storage()

    def show_version(self) -> None:
        subprocess.run((_COMMAND, "--version"), check=True, stdout=subprocess.DEVNULL)

    def show_status(self) -> None:
        subprocess.run((_COMMAND, "-p", self.path, "status"), check=True, stdout=subprocess.DEVNULL)
