"""rsdos 0.1.1, the Rust original."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.sides.side import Side

_COMMAND = str(Path(sys.prefix, "bin", "rsdos"))


class Rsdos01(Side):
    """The peer of the same name, through its own Python API."""

    title = "rsdos 0.1.1"
    syncs = "never, whatever is asked"
    peers = True

    def create(self, pack_size: int | None = None) -> None:
        self.path.mkdir(parents=True)
        self._attach()
        self.container.init_container(**({} if pack_size is None else {"pack_size_target": pack_size}))

    def _attach(self) -> None:
        self._rsdos: Any = importlib.import_module("rsdos")
        self.container: Any = self._rsdos.Container(self.path)

    def open(self) -> None:
        self._attach()
        self.container.count_objects()

    def insert_packed(self, payloads: Sequence[bytes], compress: bool) -> list[str]:
        keys: list[str] = self.container.add_objects_to_pack(payloads, compress=compress)
        return keys

    def insert_loose(self, payload: bytes) -> str:
        key: str = self.container.add_object(payload)
        return key

    def insert_stream(self, source: Path, compress: bool) -> str:
        if compress:
            raise NotImplementedError
        with source.open("rb") as stream:
            key: str = self.container.add_streamed_object_to_packs(stream)
        return key

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

    def pack(self) -> None:
        self.container.pack_all_loose(compress=self._rsdos.CompressMode.NO)

    def show_version(self) -> None:
        subprocess.run((_COMMAND, "--version"), check=True, stdout=subprocess.DEVNULL)

    def show_status(self) -> None:
        subprocess.run((_COMMAND, "-p", self.path, "status"), check=True, stdout=subprocess.DEVNULL)
