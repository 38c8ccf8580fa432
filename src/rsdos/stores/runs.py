"""Neighbours in a pack, read and decoded together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from io import BytesIO
from operator import add

from rsdos.codecs import decode_many
from rsdos.index import Run
from rsdos.model import Codec
from rsdos.pack import PackFile


def read_run(file: PackFile, run: Run) -> tuple[list[bytes], bytes | None]:
    """The stored bytes of each of a run; and all of it, where nothing stands between them.

    Raises `DamagedContainer` where the pack is cut short, and OSError.
    """
    start = run.offset[0]
    ends = list(map(add, run.offset, run.length))
    data = file.read(start, max(ends) - start)
    if ends[:-1] == run.offset[1:]:
        # One behind another: they are read off, 0.09 us each, where a slice takes 0.14.
        return list(map(BytesIO(data).read, run.length)), data
    return [data[offset - start : end - start] for offset, end in zip(run.offset, ends, strict=True)], None


def decoded(run: Run, stored: list[bytes]) -> Sequence[bytes | None]:
    """The raw bytes of a run; None for each of a codec of which one does not decode."""
    if not any(run.codec) and run.size == run.length:
        return stored
    decoded: list[bytes | None] = [None] * len(stored)
    codecs = set(run.codec)
    if len(codecs) == 1:
        with suppress(ValueError):
            return decode_many(stored, Codec(run.codec[0]), run.size)
        return decoded
    for codec in codecs:
        at = [i for i, own in enumerate(run.codec) if own == codec]
        with suppress(ValueError):
            raws = decode_many([stored[i] for i in at], Codec(codec), [run.size[i] for i in at])
            for i, raw in zip(at, raws, strict=True):
                decoded[i] = raw
    return decoded
