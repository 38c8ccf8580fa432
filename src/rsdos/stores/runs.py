"""Decoding neighbours in a pack together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from rsdos.codecs import decode_many
from rsdos.index import Run
from rsdos.model import Codec


def decoded(run: Run, stored: list[bytes]) -> Sequence[bytes | None]:
    """The raw bytes of a run; None for each of a codec of which one does not decode."""
    if not any(run.codec) and run.size == run.length:
        return stored
    codecs = set(run.codec)
    if len(codecs) == 1:
        with suppress(ValueError):
            return decode_many(stored, Codec(run.codec[0]), run.size)
    decoded: list[bytes | None] = [None] * len(stored)
    for codec in codecs:
        at = [i for i, own in enumerate(run.codec) if own == codec]
        with suppress(ValueError):
            raws = decode_many([stored[i] for i in at], Codec(codec), [run.size[i] for i in at])
            for i, raw in zip(at, raws, strict=True):
                decoded[i] = raw
    return decoded
