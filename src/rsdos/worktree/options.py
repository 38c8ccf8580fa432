"""The options of saving and comparing working directories."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from rsdos.trees.entry import Attributes


class Unreadable(Enum):
    """What to do about a file or directory that cannot be read."""

    STOP = "stop"
    """Raise `UnreadableSource`: no snapshot is made."""
    LEAVE_OUT = "leave out"
    """Make a snapshot without it, and say so in its metadata."""


class Mounts(Enum):
    """What to do about a directory that another file system is mounted on."""

    CROSS = "cross"
    """Save its entries."""
    STAY = "stay"
    """Treat it as an empty directory."""


class NameRule(Enum):
    """Which names of files a save takes."""

    ANY = "any"
    """All."""
    PORTABLE = "portable"
    """Names that every system can have, and that differ in more than case and Unicode form. Others: `InvalidName`."""


class Rehash(Enum):
    """Which files are read."""

    CHANGED = "changed"
    """Files that are not known to be unchanged."""
    ALL = "all"
    """All."""


class WhenMoved(Enum):
    """What to do if a branch has newer versions than the one that the working directory was made from."""

    REFUSE = "refuse"
    """Raise `RefMoved`."""
    OVERRIDE = "override"
    """Make the directory the next version nevertheless."""


class PathReason(NamedTuple):
    """A path below the working directory, and the reason why it is reported."""

    path: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """Which entries of a directory a scan takes."""

    exclude: tuple[str, ...] = ()
    """Patterns of a .gitignore, relative to the directory."""
    unreadable: Unreadable = Unreadable.STOP
    mounts: Mounts = Mounts.CROSS
    names: NameRule = NameRule.ANY


@dataclass(frozen=True, slots=True)
class Description:
    """What a user says of a snapshot."""

    name: str
    """The branch that it becomes the next version of."""
    message: str = ""
    author: str = ""
    time: str = ""
    """RFC 3339, in UTC; "": now."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    derived_from: tuple[str, ...] = ()
    """Keys of snapshots, of this container or others."""


@dataclass(frozen=True, slots=True)
class SaveOptions:
    """What to save, and how. See the command line's ``rsdos save``."""

    description: Description
    directory: str | os.PathLike[str]
    at: str = ""
    """The directory of the tree to replace; ".": the whole tree; "": the directory that was checked out, or all."""
    attributes: Attributes = Attributes.NONE
    """What else the tree keeps: times, modes."""
    scan: ScanOptions = ScanOptions()
    rehash: Rehash = Rehash.CHANGED
    when_moved: WhenMoved = WhenMoved.REFUSE
    jobs: int | None = 1
    """Processes that read and store; None: as many as the machine has cores, 4 at most, for many files."""
    state_directory: str | None = None
    """Where the state is kept if the container cannot be written."""


@dataclass(frozen=True, slots=True)
class StatusOptions:
    """What to compare a directory with, and how."""

    directory: str | os.PathLike[str]
    reference: str = ""
    """A ref or the key of a snapshot; "": the one that the directory was saved to, or checked out from."""
    under: str = ""
    """The directory of the tree to compare with; "" without a reference: the one that was saved or checked out."""
    scan: ScanOptions = ScanOptions()
    rehash: Rehash = Rehash.CHANGED
    state_directory: str | None = None
