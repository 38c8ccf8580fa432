"""What a checkout decides for one directory: by itself, without a disk."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from hashlib import sha256
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from rsdos.trees.entry import EntryKind, Listing
from rsdos.worktree.checkout_rules import (
    Action,
    DirectoryPlan,
    Fate,
    Obstacles,
    Rules,
    Unknown,
    plan_directory,
)
from rsdos.worktree.present import Present
from rsdos.worktree.rows import NO_ROW, ROW, ROW_BYTES, SETTLED


class Thing(NamedTuple):
    """What has a name: a kind (4: a FIFO), and a content, of which only the size and the hash count."""

    kind: int
    content: bytes = b""

    @property
    def key(self) -> bytes:
        return sha256(self.content).digest() if self.kind <= EntryKind.EXECUTABLE else b""


FIFO = 4
_MODES: dict[int, int] = {
    EntryKind.FILE: stat.S_IFREG | 0o644,
    EntryKind.EXECUTABLE: stat.S_IFREG | 0o755,
    EntryKind.LINK: stat.S_IFLNK | 0o777,
    EntryKind.DIRECTORY: stat.S_IFDIR | 0o755,
    FIFO: stat.S_IFIFO | 0o644,
}


def listing(things: Mapping[bytes, Thing]) -> Listing:
    """A directory of a tree."""
    names = sorted(things)
    of = [things[name] for name in names]
    return Listing(
        b"",
        names,
        bytes(thing.kind for thing in of),
        [0 if thing.kind == EntryKind.DIRECTORY else len(thing.content) for thing in of],
        [thing.key for thing in of],
        [thing.content if thing.kind == EntryKind.LINK else b"" for thing in of],
    )


def row(thing: Thing, time: int) -> bytes:
    """What ``lstat`` says of it."""
    return ROW.pack(len(thing.content), time, time, 7, _MODES[thing.kind], SETTLED)


class Disk:
    """A directory on a disk: things, each with the time of its last change."""

    def __init__(self, things: Mapping[bytes, tuple[Thing, int]]) -> None:
        self.things = things
        self.names = sorted(things)
        self.read: list[bytes] = []

    def present(self) -> Present:
        of = [self.things[name] for name in self.names]
        return Present(
            self.names,
            [_MODES[thing.kind] for thing, _ in of],
            b"".join(row(thing, time) for thing, time in of),
        )

    # FoundContents.

    def key(self, at: int) -> bytes:
        self.read.append(self.names[at])
        return self.things[self.names[at]][0].key

    def target(self, at: int) -> bytes:
        return self.things[self.names[at]][0].content

    def settled(self, at: int) -> bytes:
        thing, time = self.things[self.names[at]]
        return row(thing, time)


def decide(
    wanted: Mapping[bytes, Thing],
    known: Mapping[bytes, tuple[Thing, int]],
    disk: Disk,
    obstacles: Obstacles = Obstacles.REFUSE,
    unknown: Unknown = Unknown.KEEP,
    fate: Fate = Fate.STAYS,
) -> DirectoryPlan:
    """Plan a directory; ``known`` with the times at which they were recorded, 0 for those that were not there."""
    rows = b"".join(row(*known[name]) if known[name][1] else NO_ROW for name in sorted(known))
    recorded = listing({name: thing for name, (thing, _) in known.items()})
    rules = Rules(obstacles, unknown, "flowers@1", lambda path, is_directory: True)
    return plan_directory(listing(wanted), recorded, rows, disk.present(), disk, rules, fate)


_FILE = Thing(EntryKind.FILE, b"one")
_OTHER = Thing(EntryKind.FILE, b"two")
_LONGER = Thing(EntryKind.FILE, b"three")
_TREE = Thing(EntryKind.DIRECTORY)


def test_what_was_recorded_is_kept_without_reading_it() -> None:
    disk = Disk({b"a": (_FILE, 5), b"d": (_TREE, 5)})
    plan = decide({b"a": _FILE, b"d": _TREE}, {b"a": (_FILE, 5), b"d": (_TREE, 5)}, disk)
    assert list(plan.actions) == [Action.KEEP, Action.KEEP]
    assert not disk.read


def test_what_has_other_times_is_read_and_adopted_if_it_is_equal() -> None:
    disk = Disk({b"a": (_FILE, 6)})
    plan = decide({b"a": _FILE}, {b"a": (_FILE, 5)}, disk)
    assert list(plan.actions) == [Action.ADOPT]
    assert disk.read == [b"a"]
    assert plan.rows == row(_FILE, 6)


def test_an_equal_file_that_nothing_knows_is_adopted() -> None:
    assert list(decide({b"a": _FILE}, {}, Disk({b"a": (_FILE, 6)})).actions) == [Action.ADOPT]


def test_a_file_as_recorded_is_replaced() -> None:
    assert list(decide({b"a": _OTHER}, {b"a": (_FILE, 5)}, Disk({b"a": (_FILE, 5)})).actions) == [Action.REPLACE]


def test_a_file_that_was_only_touched_is_replaced() -> None:
    assert list(decide({b"a": _OTHER}, {b"a": (_FILE, 5)}, Disk({b"a": (_FILE, 6)})).actions) == [Action.REPLACE]


def test_a_modified_file_is_a_conflict_even_if_its_size_is_the_same() -> None:
    third = Thing(EntryKind.FILE, b"who")
    plan = decide({b"a": _OTHER}, {b"a": (_FILE, 5)}, Disk({b"a": (third, 6)}))
    assert plan.conflicts == [(b"a", "modified since flowers@1")]


def test_a_modified_file_of_another_size_is_a_conflict_without_reading_it() -> None:
    disk = Disk({b"a": (_LONGER, 6)})
    plan = decide({b"a": _OTHER}, {b"a": (_FILE, 5)}, disk)
    assert [name for name, _ in plan.conflicts] == [b"a"]
    assert not disk.read


def test_a_modified_file_that_the_tree_does_not_have_is_a_conflict() -> None:
    plan = decide({}, {b"a": (_FILE, 5)}, Disk({b"a": (_LONGER, 6)}))
    assert [name for name, _ in plan.conflicts] == [b"a"]
    assert not plan.removals


def test_an_unknown_file_in_the_way_is_a_conflict() -> None:
    plan = decide({b"a": _OTHER}, {}, Disk({b"a": (_FILE, 5)}))
    assert plan.conflicts == [(b"a", "no snapshot knows it")]


def test_unknown_files_that_are_not_in_the_way_stay() -> None:
    plan = decide({b"b": _OTHER}, {}, Disk({b"a": (_FILE, 5)}))
    assert (plan.removals, plan.conflicts) == ([], [])


def test_unknown_files_are_deleted_only_if_the_user_says_so() -> None:
    assert decide({}, {}, Disk({b"a": (_FILE, 5)}), unknown=Unknown.DELETE).removals == [b"a"]


def test_deleting_what_is_unknown_does_not_overwrite_what_was_modified() -> None:
    plan = decide({}, {b"a": (_FILE, 5)}, Disk({b"a": (_LONGER, 6)}), unknown=Unknown.DELETE)
    assert (plan.removals, [name for name, _ in plan.conflicts]) == ([], [b"a"])


def test_a_directory_in_the_place_of_a_file_goes_only_if_it_is_known() -> None:
    plan = decide({b"a": _FILE}, {b"a": (_TREE, 5)}, Disk({b"a": (_TREE, 5)}))
    assert (list(plan.actions), plan.leaving) == ([Action.CLEAR], [(b"a", Fate.VANISHES)])
    plan = decide({b"a": _FILE}, {}, Disk({b"a": (_TREE, 5)}), Obstacles.OVERWRITE)
    assert list(plan.actions) == [Action.CONFLICT]
    plan = decide({b"a": _FILE}, {}, Disk({b"a": (_TREE, 5)}), Obstacles.OVERWRITE, Unknown.DELETE)
    assert list(plan.actions) == [Action.CLEAR]


def test_what_is_unknown_in_a_directory_that_has_to_vanish_is_a_conflict() -> None:
    plan = decide({}, {}, Disk({b"a": (_FILE, 5), b"d": (_TREE, 5)}), fate=Fate.VANISHES)
    assert [name for name, _ in plan.conflicts] == [b"a", b"d"]


def test_the_same_content_without_the_executable_bit_is_written_again() -> None:
    plan = decide({b"a": Thing(EntryKind.EXECUTABLE, b"one")}, {}, Disk({b"a": (_FILE, 5)}))
    assert list(plan.actions) == [Action.REPLACE]


def test_temporary_names_of_a_killed_checkout_go_and_nothing_else_of_that_name() -> None:
    disk = Disk({b".rsdos-tmp-1": (_FILE, 5), b".rsdos-tmp-2": (_TREE, 5)})
    assert decide({}, {}, disk).leftovers == [b".rsdos-tmp-1"]
    assert not decide({}, {}, disk, unknown=Unknown.DELETE).leaving


def test_a_row_that_could_not_be_trusted_is_not_trusted_because_it_is_the_same() -> None:
    disk = Disk({b"a": (_OTHER, 5)})
    unsettled = row(_FILE, 5)[: ROW_BYTES - 4] + bytes(4)
    rules = Rules(Obstacles.REFUSE, Unknown.KEEP, "flowers@1", lambda path, is_directory: True)
    files = listing({b"a": _FILE})
    plan = plan_directory(files, files, unsettled, disk.present(), disk, rules)
    assert disk.read
    assert list(plan.actions) == [Action.CONFLICT]


# Any directory at all.

_names = st.sampled_from([b"a", b"b", b"c", b"\xff", b"A", b".rsdos-tmp-x"])
_tree_names = _names.filter(lambda name: not name.startswith(b".rsdos"))
_things = st.builds(Thing, st.sampled_from([0, 0, 0, 1, 2]), st.sampled_from([b"one", b"two", b"three"])) | st.just(
    _TREE
)
_on_disk = _things | st.just(Thing(FIFO))
_times = st.integers(1, 3)
_known = st.dictionaries(_tree_names, st.tuples(_things, st.integers(0, 3)), max_size=4)


@given(
    st.dictionaries(_tree_names, _things, max_size=4),
    _known,
    st.dictionaries(_names, st.tuples(_on_disk, _times), max_size=5),
    st.data(),
)
def test_nothing_is_lost_and_the_rest_becomes_the_tree(
    wanted: dict[bytes, Thing],
    known: dict[bytes, tuple[Thing, int]],
    things: dict[bytes, tuple[Thing, int]],
    data: st.DataObject,
) -> None:
    # A time stands for one content: what has the recorded row is what was recorded.
    things = {
        name: (thing, time if known.get(name, (None, 0)) in ((thing, time), (None, 0)) else time + 10)
        for name, (thing, time) in things.items()
    }
    # Some of it is as it was recorded.
    for name in data.draw(st.sets(st.sampled_from(sorted(known))) if known else st.just(set())):
        if known[name][1]:
            things[name] = known[name]
    plan = decide(wanted, known, Disk(things))
    after, lost = _applied(plan, wanted, things)
    # What was there and is not any more: what was recorded, what has the content that it gets, and our own leftovers.
    for name, thing in lost.items():
        was = known.get(name, (None, 0))[0]
        assert thing == was or thing.content == wanted[name].content, name
    in_the_way = {name for name, _ in plan.conflicts}
    assert all(things[name][0] != wanted.get(name) for name in in_the_way)
    # Where nothing is in the way, it is the tree, and what nobody knows.
    for name in after.keys() | wanted.keys() | things.keys():
        if name in in_the_way or name.startswith(b".rsdos-tmp-"):
            continue
        if name in wanted:
            assert after[name][0] == wanted[name]
        elif name in known:
            assert name not in after or after[name][0].kind == EntryKind.DIRECTORY
        else:
            assert after[name] == things[name]


def _applied(
    plan: DirectoryPlan, wanted: Mapping[bytes, Thing], things: Mapping[bytes, tuple[Thing, int]]
) -> tuple[dict[bytes, tuple[Thing, int]], dict[bytes, Thing]]:
    """What is there after a plan, and what is not any more."""
    after, lost = dict(things), {}
    for name in plan.leftovers:
        del after[name]
    for name in (*plan.removals, *(name for name, _ in plan.leaving)):
        lost[name] = after.pop(name)[0]
    for name, action in zip(sorted(wanted), plan.actions, strict=True):
        if action in (Action.WRITE, Action.REPLACE, Action.CLEAR):
            assert (name in things) is (action != Action.WRITE)
            if name in after:
                lost[name] = after[name][0]
            after[name] = wanted[name], 99
    return after, lost
