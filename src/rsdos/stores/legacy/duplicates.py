"""What stands in ``duplicates/``: further copies of loose objects, which disk-objectstore makes on Windows.

It does so where it cannot replace a loose file that somebody has open. Nobody reads them; the first may be damaged.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from functools import partial

from rsdos import fsio
from rsdos.errors import DecodeError
from rsdos.hashing import HashType
from rsdos.layout import LegacyLayout
from rsdos.model import Codec, RecordFlag, Stored
from rsdos.sharing import make_directory
from rsdos.streams.plain import plain_parts


def of_keys(layout: LegacyLayout, keys: Collection[str]) -> Iterator[str]:
    """The files of some objects."""
    for name in _names(layout):
        if name.partition(".")[0] in keys:
            yield os.path.join(layout.duplicates, name)


def settle_duplicates(layout: LegacyLayout, hash_type: HashType, has_good_copy: Callable[[bytes], bool]) -> int:
    """Remove what the container has a good copy of; put the first good one in its place where it has none.

    Returns how many files were removed. Damaged ones without a good copy elsewhere stay. Killed, the next call goes on.
    """
    files = defaultdict(list)
    for name in _names(layout):
        key = name.partition(".")[0]
        if hash_type.is_key(key):
            files[key].append(os.path.join(layout.duplicates, name))
    removed = 0
    for key, paths in files.items():
        digest = bytes.fromhex(key)
        if not has_good_copy(digest):
            good = next((path for path in paths if _is_good(path, digest, hash_type)), None)
            if good is None:
                continue
            _publish(layout, key, good)
            paths.remove(good)
        removed += sum(map(layout.remove, paths))
    return removed


def _names(layout: LegacyLayout) -> list[str]:
    with suppress(FileNotFoundError):
        return [name for name in os.listdir(layout.duplicates) if "." in name and not name.startswith(".")]
    return []


def _is_good(path: str, digest: bytes, hash_type: HashType) -> bool:
    with fsio.open_for_reading(path) as fd:
        size = os.fstat(fd).st_size
        stored = Stored(Codec.RAW, RecordFlag.NONE, size, size)
        try:
            for _ in plain_parts(partial(fsio.read_at, fd), stored, digest, hash_type):
                pass
        except DecodeError:
            return False
    return True


def _publish(layout: LegacyLayout, key: str, path: str) -> None:
    fsio.sync_path(path)
    directory = layout.loose_directory(key)
    layout.make(layout.loose)
    if directory != layout.loose:
        with suppress(FileExistsError):
            make_directory(directory)
        layout.check_loose(directory)
    os.rename(path, layout.loose_file(key))
    fsio.sync_directory(directory)
    fsio.sync_directory(layout.loose)
