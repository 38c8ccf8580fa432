"""Reading runs of a pack and comparing what is stored with its CRC-32, for maintenance."""

from __future__ import annotations

from collections.abc import Sequence

from rsdos.codecs.checksum import crc32_of_each
from rsdos.index.runs import ReadRange
from rsdos.model import BytesLike
from rsdos.pack.reader import PackFile, read_best
from rsdos.storage.base import Storage
from rsdos.storage.opened import RandomAccess
from rsdos.stores.packed.reader import read_run


def read_checked_run(
    storage: Storage, file: PackFile | RandomAccess, run: ReadRange
) -> tuple[list[bytes], bytes | None, set[int]]:
    """Return what `read_run` does of a pack in a storage, and `unlike_crcs`. From a remote see `read_best`."""

    def read() -> tuple[list[bytes], bytes | None, set[int]]:
        stored, whole = read_run(file, run)
        return stored, whole, unlike_crcs(stored, run)

    return read_best(storage, read, lambda found: len(found[2]))


def unlike_crcs(stored: Sequence[BytesLike], run: ReadRange) -> set[int]:
    """Return the positions in a run of stored bytes that have another CRC-32 than when they were written."""
    crcs = crc32_of_each(stored)
    if crcs == run.crc:
        return set()
    return {at for at, (own, crc) in enumerate(zip(crcs, run.crc, strict=True)) if own != crc}
