"""What an operation is to the rig, whichever store it is of. Imports no store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.data import key_of, noise, text

Ack = Callable[[str], None]
"""Is told the key of an object that the store has acknowledged."""

LARGE = 1 << 20
"""Our frames are of this size."""

BASE = {
    key_of(data): data
    for data in (b"", b"packed 1", text(3000, 1), noise(9000, 2), text(LARGE + 10, 3), b"loose 1", text(5000, 4))
}
NEW = {key_of(data): data for data in (b"new", text(4000, 5), noise(6000, 6), text(LARGE + 99, 7), b"newer")}

OLD = {key_of(data): data for data in (b"packed 1", b"loose 1")}
"""Of the base: inserted again by the operations that insert."""


@dataclass(frozen=True)
class Operation:
    """``before`` is there beforehand and has to stay; ``wanted`` is there when ``run`` has returned."""

    prepare: Callable[[Path], None]
    run: Callable[[Path, Ack], None]
    before: Mapping[str, bytes] = field(default_factory=lambda: BASE)
    wanted: Mapping[str, bytes] = field(default_factory=lambda: BASE | NEW)
    gone: Mapping[str, bytes] = field(default_factory=dict)
    """Is deleted: may be there or not before ``run`` has returned, and is not there after it."""
    least: int = 10
    """Calls that it makes at least: fewer, and the interception is blind."""
    writes: int = 2
    """The same of writes."""
    rewrites: bool = False
    """Moves what is wanted to another pack. The old one may stay until the next maintenance."""
    source: str = ""
    """The container below the path that ``before`` is in."""
    target: str = ""
    """The one that ``wanted`` is in, and what is acknowledged."""
    resumes: bool = False
    """What it has done when it fails stays, for the next attempt to go on from."""
    relaxed: bool = False
    """Stores with relaxed durability: after a loss of power what it has not acknowledged may be damaged (ADR 11)."""
    check: Callable[[Path], None] = lambda path: None
    """Asserts what else has to hold at every moment."""
    settle: Callable[[Path], None] | None = None
    """Asserts that nothing is left of what was broken off; what the store says of it where that is None."""
    programs: tuple[str, ...] = ()
    """What it runs, and cannot be tried without."""
    ways: frozenset[str] | None = None
    """In which it can be broken off; None: in all."""
