"""Checking the loose objects: directory by directory, file by file."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rsdos.errors import DecodeError
from rsdos.hashing import HashType
from rsdos.layout import Layout
from rsdos.model import FRAME_SIZE, Codec
from rsdos.storage.base import says_nothing
from rsdos.stores.findings import Checked, Depth, Finding, Part, Sample, Shares, Steps
from rsdos.stores.loose.file import LooseFile
from rsdos.stores.loose.paths import SUFFIXES


@dataclass(frozen=True, slots=True)
class LoosePart(Part):
    """A directory of loose objects: its name, or "" for the directory of all."""

    name: str


class LooseCheck:
    """A check of all loose objects. One thread; it writes nothing. A file that is removed during it is no finding."""

    def __init__(self, layout: Layout, hash_type: HashType, codecs: Sequence[Codec], depth: Depth, sample: Sample):
        """``codecs``: the codecs that loose files of this container may have."""
        self._layout = layout
        self._hash = hash_type
        self._suffixes = {SUFFIXES[codec]: codec for codec in codecs if codec is not Codec.RAW}
        self._depth = depth
        self._sample = sample
        self._empty = hash_type.digest_of(b"")

    def run(self, after: str) -> Steps:
        """Check the directories whose names come after ``after``, in order."""
        cut = self._layout.loose_prefix_len
        root = self._layout.loose
        if not cut:
            yield LoosePart("")
            return
        for name in _listing(root):
            path = os.path.join(root, name)
            if len(name) == cut and os.path.islink(path):
                reason = "a symbolic link in the place of a directory, which is not followed"
                yield Checked(findings=(Finding(self._layout.relative(path), reason),), position=name)
            elif len(name) != cut or not os.path.isdir(path):
                yield Checked(findings=(self._foreign(path),), position=name) if name > after else Checked()
            elif name > after:
                yield LoosePart(name)

    def part(self, part: Part) -> Iterator[Checked]:
        """Check one directory."""
        assert isinstance(part, LoosePart)
        return self._directory(os.path.join(self._layout.loose, part.name), part.name)

    def _foreign(self, path: str) -> Finding:
        return Finding(self._layout.relative(path), "not a file of this store", is_damage=False)

    def _directory(self, directory: str, prefix: str) -> Iterator[Checked]:
        objects = length = told = 0
        findings = []
        for name in _listing(directory):
            path = os.path.join(directory, name)
            stem, codec = self._split(name)
            if not self._hash.is_key(prefix + stem):
                findings.append(self._foreign(path))
                continue
            digest = bytes.fromhex(prefix + stem)
            if not self._sample.has(digest):
                continue
            try:
                with LooseFile(path, digest, codec, self._hash) as file:
                    own = os.fstat(file.fd).st_size
                    shares = Shares(own, file.stored.size)
                    try:
                        yield from self._file(file, digest, shares)
                    finally:
                        told += shares.told
                length += own
                objects += 1
            except (DecodeError, OSError) as error:
                if isinstance(error, OSError) and error.errno == errno.ENOENT:
                    continue  # Packed or deleted since.
                if says_nothing(error):
                    raise
                objects += 1
                reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
                findings.append(Finding(self._layout.relative(path), reason, digest.hex()))
        yield Checked(objects, length - told, tuple(findings), prefix)

    def _split(self, name: str) -> tuple[str, Codec]:
        for suffix, codec in self._suffixes.items():
            if name.endswith(suffix):
                return name.removesuffix(suffix), codec
        return name, Codec.RAW

    def _file(self, file: LooseFile, digest: bytes, shares: Shares) -> Iterator[Checked]:
        """Check one file. Yield a step for each frame of a large file. Raise `DecodeError`, OSError."""
        if not file.stored.size and digest != self._empty:
            raise DecodeError("the file is empty")
        if self._depth is Depth.FULL:
            for part in file.frames():
                if file.stored.size > FRAME_SIZE:
                    yield shares.step(part)


def _listing(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
