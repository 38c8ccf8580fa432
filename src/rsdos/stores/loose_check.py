"""Checking the loose objects: directory by directory, file by file."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence

from rsdos.errors import DecodeError
from rsdos.hashing import HashType
from rsdos.layout import Layout
from rsdos.model import Codec
from rsdos.stores.checking import Checked, Depth, Finding, Sample
from rsdos.stores.loose_file import LooseFile
from rsdos.stores.loose_names import SUFFIXES


class LooseCheck:
    """A check of all loose objects. One thread; nothing is written; what others remove meanwhile is no finding."""

    def __init__(self, layout: Layout, hash_type: HashType, codecs: Sequence[Codec], depth: Depth, sample: Sample):
        """``codecs``: those that loose files of this container may be in."""
        self._layout = layout
        self._hash = hash_type
        self._suffixes = {SUFFIXES[codec]: codec for codec in codecs if codec is not Codec.RAW}
        self._depth = depth
        self._sample = sample
        self._empty = hash_type.digest_of(b"")

    def run(self, after: str) -> Iterator[Checked]:
        """Check the directories whose names come behind ``after``, in their order: a step for each."""
        cut = self._layout.loose_prefix_len
        root = self._layout.loose
        if not cut:
            yield self._directory(root, "")
            return
        for name in _listing(root):
            path = os.path.join(root, name)
            if len(name) == cut and os.path.islink(path):
                reason = "a symbolic link in the place of a directory, which is not followed"
                yield Checked(findings=(Finding(self._name(path), reason),), position=name)
            elif len(name) != cut or not os.path.isdir(path):
                yield Checked(findings=(self._foreign(path),), position=name) if name > after else Checked()
            elif name > after:
                yield self._directory(path, name)

    def _foreign(self, path: str) -> Finding:
        return Finding(self._name(path), "not a file of this store", is_damage=False)

    def _name(self, path: str) -> str:
        return os.path.relpath(path, self._layout.root)

    def _directory(self, directory: str, prefix: str) -> Checked:
        objects = length = 0
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
                length += self._file(path, digest, codec)
                objects += 1
            except (DecodeError, OSError) as error:
                if isinstance(error, OSError) and error.errno == errno.ENOENT:
                    continue  # Packed or deleted meanwhile.
                objects += 1
                reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
                findings.append(Finding(self._name(path), reason, digest.hex()))
        return Checked(objects, length, tuple(findings), prefix)

    def _split(self, name: str) -> tuple[str, Codec]:
        for suffix, codec in self._suffixes.items():
            if name.endswith(suffix):
                return name.removesuffix(suffix), codec
        return name, Codec.RAW

    def _file(self, path: str, digest: bytes, codec: Codec) -> int:
        """Check one file; returns its length. Raises `DecodeError`, OSError."""
        with LooseFile(path, digest, codec, self._hash) as file:
            length = os.fstat(file.fd).st_size
            if not file.stored.size and digest != self._empty:
                raise DecodeError("the file is empty")
            if self._depth is Depth.FULL:
                for _ in file.frames():
                    pass
            return length


def _listing(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
