"""What a checkout does with one directory: a function of the tree, the recorded entries, and the entries on the disk.

It reads nothing itself. If names and times do not suffice, it asks for the content of a file (`FoundContents`).
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Protocol

from rsdos.trees.entry import EntryKind, Listing
from rsdos.worktree.present import Present
from rsdos.worktree.rows import NO_ROW, ROW_BYTES, modes_of, mtimes_of, sizes_of
from rsdos.worktree.temporary import is_temporary


class Obstacles(Enum):
    """What a checkout does with modified files, and with unknown ones, that are in its way."""

    REFUSE = "refuse"
    """Report them as conflicts: all are named, and nothing is written."""
    OVERWRITE = "overwrite"
    """Replace them."""


class Unknown(Enum):
    """What a checkout does with entries that no tree knows, and that are not in its way."""

    KEEP = "keep"
    DELETE = "delete"


class Action(IntEnum):
    """What is done about one entry of the tree."""

    WRITE = 0
    """Nothing has its name."""
    REPLACE = 1
    """Something has its name, and may be replaced. (If the entry is a directory, what is there is removed first.)"""
    KEEP = 2
    """It is there, as recorded."""
    ADOPT = 3
    """It is there: its content was read and compared."""
    CLEAR = 4
    """A directory has its name. It is removed, with its known content, before the entry is written."""
    CONFLICT = 5


class Fate(Enum):
    """What a checkout does with a directory on the disk."""

    STAYS = "stays"
    """The tree has it, or has something below it."""
    GOES = "goes"
    """The tree does not have it: it is removed if nothing is left in it."""
    VANISHES = "vanishes"
    """The tree has something else in its place: anything left in it is in the way."""
    THROUGH = "through"
    """The patterns do not cover it, but may cover something below it. Then it is made."""
    BLOCKED = "blocked"
    """It cannot be made or entered, which is reported: nothing is done in it."""
    SHUT = "shut"
    """A directory above it is blocked, and not covered by the patterns: reported if they cover something in it."""


class FoundContents(Protocol):
    """The contents of the entries in a directory."""

    def key(self, at: int) -> bytes:
        """Return the digest of a file, by its position in `Present`; b"" if it cannot be read or has just changed."""

    def target(self, at: int) -> bytes:
        """Return the target of a link; b"" if it cannot be read."""

    def settled(self, at: int) -> bytes:
        """Return the row of an entry that was read, with the flag only if it may be trusted from now on."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How a checkout decides."""

    obstacles: Obstacles
    unknown: Unknown
    recorded: str
    """The name of the snapshot that was recorded, for messages."""
    covers: Callable[[bytes, bool], bool]
    """Whether the patterns of the checkout cover an unknown path; the second argument: whether it is a directory."""


@dataclass(slots=True)
class DirectoryPlan:
    """What a checkout does in one directory."""

    actions: bytearray
    """An `Action` for each entry of the tree."""
    rows: bytearray
    """The row of each entry that is there already, and `NO_ROW` of the others."""
    removals: list[bytes] = field(default_factory=list)
    """Names of files and links to remove."""
    leftovers: list[bytes] = field(default_factory=list)
    """Temporary names of a checkout that was killed."""
    leaving: list[tuple[bytes, Fate]] = field(default_factory=list)
    """Names of directories to remove, after their entries."""
    conflicts: list[tuple[bytes, str]] = field(default_factory=list)
    """Names, and the reasons."""


UNKNOWN_FILE = "no snapshot knows it"
UNKNOWN_DIRECTORY = "a directory is in the place of a file"


def plan_directory(
    wanted: Listing,
    known: Listing,
    known_rows: bytes,
    present: Present,
    contents: FoundContents,
    rules: Rules,
    fate: Fate = Fate.STAYS,
    through: Collection[bytes] = (),
) -> DirectoryPlan:
    """Return what a checkout does in one directory.

    ``wanted`` are its entries in the tree, ``known`` the entries of the recorded tree there, with their rows.
    ``through`` are names of directories that are not covered but hold covered entries.
    """
    count = len(wanted.names)
    if not present.names:
        return DirectoryPlan(bytearray(count), bytearray(NO_ROW * count))
    if present.rows == known_rows and present.names == list(known.names) and _same(wanted, known, present):
        return DirectoryPlan(bytearray([Action.KEEP]) * count, bytearray(present.rows))
    return _Decision(wanted, known, known_rows, present, contents, rules, fate).decide(through)


def _same(one: Listing, other: Listing, present: Present) -> bool:
    return (
        list(one.names) == list(other.names)
        and one.kinds == other.kinds
        and list(one.keys) == list(other.keys)
        and list(one.targets) == list(other.targets)
        and (one.mtimes is None or _agree(one, list(one.mtimes), list(mtimes_of(present.rows)), _NO_TIME))
        and (one.modes is None or _agree(one, list(one.modes), modes_of(present.rows), _NO_MODE))
    )


def _agree(listing: Listing, wanted: list[int], there: list[int], passed_over: Collection[int]) -> bool:
    """Return whether all entries have the times, or the modes, of the tree, except those of some kinds."""
    return wanted == there or all(
        kind in passed_over or one == other for kind, one, other in zip(listing.kinds, wanted, there, strict=True)
    )


_NO_TIME = (EntryKind.DIRECTORY,)
"""Directories get their times and modes at the end: writing in them changes the times."""

_NO_MODE = (EntryKind.DIRECTORY, EntryKind.LINK)
"""Links have no modes on Linux."""

_FILES = (EntryKind.FILE, EntryKind.EXECUTABLE)


def _kind(mode: int) -> int:
    """Return the kind of an entry by its mode; -1 for a special file."""
    if stat.S_ISREG(mode):
        return EntryKind.EXECUTABLE if mode & stat.S_IXUSR else EntryKind.FILE
    if stat.S_ISDIR(mode):
        return EntryKind.DIRECTORY
    return EntryKind.LINK if stat.S_ISLNK(mode) else -1


class _Decision:
    """The decision about one directory, entry by entry."""

    def __init__(
        self,
        wanted: Listing,
        known: Listing,
        known_rows: bytes,
        present: Present,
        contents: FoundContents,
        rules: Rules,
        fate: Fate,
    ) -> None:
        self._wanted = wanted
        self._known = known
        self._known_rows = known_rows
        self._present = present
        self._contents = contents
        self._rules = rules
        self._fate = fate
        self._sizes = sizes_of(present.rows)
        self._known_at = {name: at for at, name in enumerate(known.names)}
        count = len(wanted.names)
        self._plan = DirectoryPlan(bytearray(count), bytearray(NO_ROW * count))

    def decide(self, through: Collection[bytes]) -> DirectoryPlan:
        plan, present = self._plan, self._present
        rest = {name: at for at, name in enumerate(present.names)}
        for at, name in enumerate(self._wanted.names):
            there = rest.pop(name, -1)
            if there < 0:
                continue
            action = self._entry(at, there)
            plan.actions[at] = action
            if action is Action.KEEP:
                plan.rows[at * ROW_BYTES : (at + 1) * ROW_BYTES] = present.row(there)
            elif action is Action.ADOPT:
                plan.rows[at * ROW_BYTES : (at + 1) * ROW_BYTES] = self._contents.settled(there)
        for name in through:
            rest.pop(name, None)
        for name, there in rest.items():
            self._surplus(name, there)
        return plan

    # An entry of the tree whose name is taken.

    def _entry(self, at: int, there: int) -> Action:
        name = self._wanted.names[at]
        kind, kind_there = self._wanted.kinds[at], _kind(self._present.modes[there])
        if kind_there == EntryKind.DIRECTORY:
            return Action.KEEP if kind == EntryKind.DIRECTORY else self._clear(name)
        if kind == EntryKind.LINK and kind_there == EntryKind.LINK:
            if self._contents.target(there) == self._wanted.targets[at]:
                if self._has_other_columns(at, there):
                    return Action.REPLACE
                return Action.KEEP if self._is_recorded(name, there) else Action.ADOPT
        elif kind in _FILES and kind_there in _FILES:
            action = self._file(at, there, name)
            if action is not None:
                return action
        return self._may_replace(name, there)

    def _file(self, at: int, there: int, name: bytes) -> Action | None:
        """Decide about a file whose content may be the wanted one. Return None if it is not."""
        recorded = self._is_recorded(name, there)
        if recorded:
            key = self._known.keys[self._known_at[name]]
        elif self._sizes[there] == self._wanted.sizes[at]:
            key = self._contents.key(there)
        else:
            return None
        if key != self._wanted.keys[at]:
            return None
        if _kind(self._present.modes[there]) != self._wanted.kinds[at] or self._has_other_columns(at, there):
            return Action.REPLACE  # The new file has the same content: nothing is lost.
        return Action.KEEP if recorded else Action.ADOPT

    def _has_other_columns(self, at: int, there: int) -> bool:
        mtimes, modes, row = self._wanted.mtimes, self._wanted.modes, self._present.row(there)
        return (mtimes is not None and mtimes[at] != mtimes_of(row)[0]) or (
            modes is not None and self._wanted.kinds[at] != EntryKind.LINK and modes[at] != modes_of(row)[0]
        )

    def _clear(self, name: bytes) -> Action:
        known = self._known_at.get(name)
        rules = self._rules
        is_known = known is not None and self._known.kinds[known] == EntryKind.DIRECTORY
        if not is_known and (rules.obstacles, rules.unknown) != (Obstacles.OVERWRITE, Unknown.DELETE):
            return self._conflict(name, UNKNOWN_DIRECTORY)
        self._plan.leaving.append((name, Fate.VANISHES))
        return Action.CLEAR

    def _may_replace(self, name: bytes, there: int) -> Action:
        if self._rules.obstacles is Obstacles.OVERWRITE or self._is_unmodified(name, there):
            return Action.REPLACE
        return self._conflict(name, self._reason(name))

    # What is there.

    def _is_recorded(self, name: bytes, there: int) -> bool:
        """Return whether an entry has the recorded row, and that row may be trusted."""
        known = self._known_at.get(name)
        if known is None:
            return False
        return self._known_rows[known * ROW_BYTES : (known + 1) * ROW_BYTES] == self._present.row(there)

    def _is_unmodified(self, name: bytes, there: int) -> bool:
        """Return whether an entry is the one of the recorded tree: by its row, or else by its content."""
        known = self._known_at.get(name)
        if known is None:
            return False
        if self._is_recorded(name, there):
            return True
        kind = _kind(self._present.modes[there])
        if kind != self._known.kinds[known]:
            return False
        if kind == EntryKind.LINK:
            return self._contents.target(there) == self._known.targets[known]
        if kind not in _FILES or self._sizes[there] != self._known.sizes[known]:
            return False
        return self._contents.key(there) == self._known.keys[known]

    def _reason(self, name: bytes) -> str:
        known = self._known_at.get(name)
        if known is None:
            return UNKNOWN_FILE
        return f"modified since {self._rules.recorded}"

    def _conflict(self, name: bytes, reason: str) -> Action:
        self._plan.conflicts.append((name, reason))
        return Action.CONFLICT

    # What the tree does not have.

    def _surplus(self, name: bytes, there: int) -> None:
        plan, rules = self._plan, self._rules
        is_directory = self._present.is_directory(there)
        if is_temporary(name):
            if stat.S_ISREG(self._present.modes[there]) or stat.S_ISLNK(self._present.modes[there]):
                plan.leftovers.append(name)
            return
        known = self._known_at.get(name)
        if is_directory:
            is_known = known is not None and self._known.kinds[known] == EntryKind.DIRECTORY
            if is_known or self._may_delete(name, is_directory):
                plan.leaving.append((name, Fate.VANISHES if self._fate is Fate.VANISHES else Fate.GOES))
            elif self._fate is Fate.VANISHES:
                self._conflict(name, UNKNOWN_FILE)
        elif known is None:
            if self._may_delete(name, is_directory):
                plan.removals.append(name)
            elif self._fate is Fate.VANISHES:
                self._conflict(name, UNKNOWN_FILE)
        elif rules.obstacles is Obstacles.OVERWRITE or self._is_unmodified(name, there):
            plan.removals.append(name)
        else:
            self._conflict(name, self._reason(name))

    def _may_delete(self, name: bytes, is_directory: bool) -> bool:
        if self._rules.unknown is not Unknown.DELETE:
            return False
        path = self._wanted.directory + b"/" + name if self._wanted.directory else name
        return self._rules.covers(path, is_directory)
