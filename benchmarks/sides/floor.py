"""The floor of each operation: the same system calls and library primitives in a bare loop, without a store around.

It keeps what a store has to find out in a dictionary that it never writes.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from isal.isal_zlib import crc32
from zstandard import ZstdCompressor, ZstdDecompressor

from benchmarks.data import files_below
from benchmarks.sides.side import Side

_PART = 1 << 18
"""Bytes that are hashed and then written at once.

Longer calls are slower where the machine's memory is not warm (`rsdos.storage.posix.WRITE_LENGTH` says why): 1 MiB at
a time went at half the rate.
"""
_clear_vectors = hashlib.sha512().digest
"""After isal's CRC-32, for the SHA-256 instructions: `rsdos.cpu` says why."""
_FRAME = 1 << 20
"""Bytes that are compressed, or read and checked, at once: 13,000 MiB/s in 1 MiB, 9,500 in 256 KiB."""
_WINDOW = 4 << 20
_BUFFERS = 1024
_GROUP = 128
_THREADS = 32
_SMALL = 1 << 14


class Floor(Side):
    """One file of bytes, a dictionary of where they are, and files named by their hash."""

    title = "floor"
    syncs = "as asked: the same files and directories as rsdos"

    def create(self, pack_size: int | None = None) -> None:
        for number in range(256):
            (self.path / "loose" / f"{number:02x}").mkdir(parents=True)
        self._places: dict[str, tuple[int, int, int, bool]] = {}
        self._pack = os.open(self.path / "pack", os.O_RDWR | os.O_CREAT)

    def open(self) -> None:
        self._pack = os.open(self.path / "pack", os.O_RDWR)
        places = self.path / "places"
        self._places = pickle.loads(places.read_bytes()) if places.exists() else {}

    def settle(self) -> None:
        (self.path / "places").write_bytes(pickle.dumps(self._places))

    # Inserting: hash, compress, write, sync.

    def insert_packed(self, payloads: Sequence[bytes], compress: bool) -> list[str]:
        keys: list[str] = []
        if compress:
            # The compressor and the hash alone: what is written is a third of it, and shows less.
            keys += (hashlib.sha256(payload).hexdigest() for payload in payloads)
            list(map(ZstdCompressor(level=1).compress, payloads))
            return keys
        offset = 0
        for group in _groups(payloads):
            keys += [hashlib.sha256(payload).hexdigest() for payload in group]
            offset += os.pwritev(self._pack, group, offset)
        if self.durable:
            os.fdatasync(self._pack)
        return keys

    def fill(self, payloads: Sequence[bytes], compress: bool) -> list[str]:
        keys = self.insert_packed(payloads, compress=False)
        stored = list(map(ZstdCompressor(level=1).compress, payloads)) if compress else payloads
        os.ftruncate(self._pack, 0)
        offset = 0
        for group in _groups(stored):
            offset += os.pwritev(self._pack, group, offset)
        offset = 0
        for key, data in zip(keys, stored, strict=True):
            self._places[key] = offset, len(data), crc32(data), compress
            offset += len(data)
        return keys

    def _loose(self, key: str) -> str:
        return f"{self.path}/loose/{key[:2]}/{key[2:]}"

    def _write_loose(self, payload: bytes) -> tuple[str, int]:
        key = hashlib.sha256(payload).hexdigest()
        fd = os.open(f"{self.path}/{key}", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        os.write(fd, payload)
        return key, fd

    def insert_loose(self, payload: bytes) -> str:
        key, fd = self._write_loose(payload)
        if self.durable:
            os.fdatasync(fd)
        os.close(fd)
        os.rename(f"{self.path}/{key}", self._loose(key))
        if self.durable:
            _sync_directory(os.path.dirname(self._loose(key)))
        return key

    def insert_many_loose(self, payloads: Sequence[bytes]) -> list[str]:
        keys: list[str] = []
        with ThreadPoolExecutor(_THREADS) as pool:
            for at in range(0, len(payloads), _GROUP):
                files = list(map(self._write_loose, payloads[at : at + _GROUP]))
                if self.durable:
                    for _, fd in files:
                        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                    list(pool.map(os.fdatasync, [fd for _, fd in files]))
                for key, fd in files:
                    os.close(fd)
                    os.rename(f"{self.path}/{key}", self._loose(key))
                keys += (key for key, _ in files)
            if self.durable:
                list(pool.map(_sync_directory, {os.path.dirname(self._loose(key)) for key in keys}))
        return keys

    def insert_files(self, places: Sequence[Path], jobs: int, compress: bool) -> None:
        # Open, read, hash, and compress where that is asked for; nothing is written.
        encode = ZstdCompressor(level=1).compress if compress else None
        for path in files_below(list(places)):
            fd = os.open(path, os.O_RDONLY)
            hasher = hashlib.sha256()
            while data := os.read(fd, _PART):
                hasher.update(data)
                if encode:
                    encode(data)
            os.close(fd)
            hasher.hexdigest()

    def insert_stream(self, source: Path, compress: bool) -> str:
        hasher = hashlib.sha256()
        buffer = memoryview(bytearray(_FRAME if compress else _PART))
        compressor = ZstdCompressor(level=1)
        offset = crc = 0
        with source.open("rb", buffering=0) as stream:
            while length := stream.readinto(buffer):
                part = buffer[:length]
                _clear_vectors()
                hasher.update(part)
                stored = compressor.compress(part) if compress else part
                offset += os.pwrite(self._pack, stored, offset)
                crc = crc32(stored, crc)
        if self.durable:
            os.fdatasync(self._pack)
        key = hasher.hexdigest()
        self._places[key] = 0, offset, crc, compress
        return key

    # Reading: find, read, check.

    def extract(self, key: str) -> bytes:
        place = self._places.get(key)
        if place is None:
            fd = os.open(self._loose(key), os.O_RDONLY)
            data = os.read(fd, _SMALL)
            os.close(fd)
            assert hashlib.sha256(data).hexdigest() == key
            return data
        offset, length, crc, compressed = place
        data = os.pread(self._pack, length, offset)
        assert crc32(data) == crc
        return ZstdDecompressor().decompress(data) if compressed else data

    def extract_many(self, keys: Sequence[str]) -> Iterator[bytes]:
        places = sorted(map(self._places.__getitem__, keys))
        window, start = b"", 0
        decompress = ZstdDecompressor().decompress
        for offset, length, crc, compressed in places:
            if offset + length > start + len(window):
                window, start = os.pread(self._pack, _WINDOW, offset), offset
            data = window[offset - start : offset - start + length]
            assert crc32(data) == crc
            yield decompress(data) if compressed else data

    def extract_stream(self, key: str) -> int:
        offset, length, expected, compressed = self._places[key]
        if compressed:
            raise NotImplementedError
        crc = 0
        for at in range(offset, offset + length, _FRAME):
            crc = crc32(os.pread(self._pack, min(_FRAME, offset + length - at), at), crc)
        assert crc == expected
        return length

    def has_many(self, keys: Sequence[str]) -> int:
        return sum(map(self._places.__contains__, keys))

    def list_keys(self) -> int:
        return sum(1 for _ in self._places)

    # Maintenance.

    def pack(self) -> None:
        offset = 0
        for directory in os.scandir(self.path / "loose"):
            payloads = []
            for entry in os.scandir(directory.path):
                fd = os.open(entry.path, os.O_RDONLY)
                payloads.append(os.read(fd, _SMALL))
                os.close(fd)
                hashlib.sha256(payloads[-1]).digest()
            for at in range(0, len(payloads), _BUFFERS):
                offset += os.pwritev(self._pack, payloads[at : at + _BUFFERS], offset)
        os.fdatasync(self._pack)

    def repack(self) -> None:
        subprocess.run(("cp", "--reflink=never", self.path / "pack", self.path / "copy"), check=True)
        subprocess.run(("sync", self.path / "copy"), check=True)

    # The command line: an interpreter that imports what such a command has to.

    def show_version(self) -> None:
        subprocess.run((sys.executable, "-c", "import argparse, json, sqlite3"), check=True)

    def show_status(self) -> None:
        self.show_version()


def _groups(payloads: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """About `_PART` bytes at a time."""
    step = max(1, min(_BUFFERS, _PART * len(payloads) // sum(map(len, payloads))))
    return (payloads[at : at + step] for at in range(0, len(payloads), step))


def _sync_directory(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
