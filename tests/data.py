"""Data that tests insert. Imports nothing of the store: the rig of `tests.crash` uses it beside other stores, too."""

from __future__ import annotations

import random
from hashlib import sha256


def key_of(data: bytes) -> str:
    """The key that ``data`` must have."""
    return sha256(data).hexdigest()


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that do not compress, the same for the same seed."""
    return random.Random(seed).randbytes(size)


def text(size: int, seed: int = 0) -> bytes:
    """Bytes that compress well, the same for the same seed."""
    lines = b"".join(b"%d: the quick brown fox jumps over %d\n" % (seed, at * at) for at in range(2000))
    return (lines * (size // len(lines) + 1))[:size]
