"""The same orders to disk-objectstore and to the drop-in, each on a container of its own: the same answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rsdos import Container as OurContainer
from tests.compat.conftest import Failed, Side
from tests.data import key_of, noise, text
from tests.helpers import ABSENT, tree

CONTENTS = [b"", b"one", text(3000, 1), noise(3000, 2), text(200_000, 3), noise(1_200_000, 4)]
KEYS = list(map(key_of, CONTENTS))
HEX = [content.hex() for content in CONTENTS]


class Both:
    """Two sides, each with a container of its own."""

    def __init__(self, real: Side, ours: Side, place: Path) -> None:
        self.sides = ((real, str(place / "real")), (ours, str(place / "ours")))

    def outcomes(self, order: str, **options: Any) -> list[Any]:
        return [side.outcome(order, path=path, **options) for side, path in self.sides]

    def count(self) -> tuple[int, int]:
        """Packed and loose objects. How many packs, the order of packing decides, which is random in the real one."""
        theirs, mine = self.outcomes("counts")
        assert (mine["packed"], mine["loose"]) == (theirs["packed"], theirs["loose"])
        return mine["packed"], mine["loose"]

    def agree(self, order: str, **options: Any) -> Any:
        """What both answer, or the name of what both raise."""
        theirs, mine = self.outcomes(order, **options)
        assert mine == theirs, (order, options)
        return mine


@pytest.fixture
def both(real: Side, ours: Side, tmp_path: Path) -> Both:
    return Both(real, ours, tmp_path)


@pytest.fixture
def filled(both: Both) -> Both:
    """Both have each object once: packed, compressed and loose ones."""
    both.agree("init", pack_size_target=100_000)
    both.agree("add_to_pack", data=HEX[:3], compress=False)
    both.agree("add_to_pack", data=HEX[3:5], compress=True, streamed=True)
    assert both.agree("add", data=HEX[5]) == KEYS[5]
    assert both.agree("add", data=HEX[4][:100], streamed=True)
    return both


@pytest.mark.parametrize(
    "options",
    [
        {"pack_size_target": 0},
        {"pack_size_target": -5},
        {"loose_prefix_len": -1},
        {"hash_type": "md5"},
        {"compression_algorithm": "zlib"},
        {"compression_algorithm": "zlib+0"},
        {"compression_algorithm": "zlib+10"},
        {"compression_algorithm": "zstd+1"},
        {"compression_algorithm": "nothing"},
    ],
    ids=str,
)
def test_settings_that_make_no_sense(both: Both, options: dict[str, Any]) -> None:
    theirs, mine = (side.outcome("init", path=path, **options) for side, path in both.sides)
    assert theirs == "ValueError" and mine == "InvalidOption"  # Ours is a ValueError: see the next test.


def test_the_errors_are_those_that_callers_catch(both: Both) -> None:
    for order, options in (
        ("init", {"hash_type": "md5"}),
        ("add", {"data": "00"}),
        ("settings", {}),
        ("get", {"key": ABSENT}),
        ("counts", {}),
        ("add_to_pack", {"data": ["00"]}),
    ):
        kinds = []
        for side, path in both.sides:
            side.send(order, path=path, **options)
            with pytest.raises(Exception) as caught:
                side.answer()
            kinds.append(caught.value.kinds)  # type: ignore[attr-defined]
        assert kinds[0][0] in kinds[1], (order, kinds)


def test_settings(both: Both) -> None:
    both.agree("init", pack_size_target=1234, loose_prefix_len=3, hash_type="sha1", compression_algorithm="zlib+6")
    assert both.agree("settings") == [True, 3, 1234, "sha1", "zlib+6"]
    theirs, mine = both.outcomes("init")
    assert theirs == "FileExistsError" and mine == "ContainerExists"
    both.agree("init", clear=True)
    assert both.agree("settings") == [True, 2, 4 * 1024**3, "sha256", "zlib+1"]


def test_reading(filled: Both) -> None:
    some = [*KEYS, ABSENT, KEYS[0], "nope"]
    filled.agree("has", keys=some)
    filled.agree("has", keys=[])
    # The path of no key is a directory that is there: disk-objectstore says that it has it.
    assert filled.outcomes("has", keys=["", "../config.json"])[1] == [False, False]
    filled.agree("listed")
    for skip in (True, False):
        assert filled.agree("metas", keys=some, skip=skip)["sorted"]
        filled.agree("streams", keys=some, skip=skip)
        filled.agree("get_many", keys=some, skip=skip)
    for key in some:
        filled.agree("get", key=key)
    assert filled.agree("get", key=ABSENT) == "NotExistent"
    filled.agree("close")
    assert filled.agree("get", key=KEYS[3]) == HEX[3]


def test_counting(filled: Both) -> None:
    assert filled.count() == (5, 2)
    theirs, mine = filled.outcomes("sizes")
    # They compress with zlib and we with isal, in the same format; and SQLite's pages fill up as they come.
    same = ("total_size_packed", "total_size_loose")
    assert {name: mine[name] for name in same} == {name: theirs[name] for name in same}
    assert set(mine) == set(theirs)


@pytest.mark.parametrize("at", [2, 3, 4, 5])
def test_seeking(filled: Both, at: int) -> None:
    size = len(CONTENTS[at])
    # Not beyond the end, where disk-objectstore raises and a file does not.
    moves = [["read", 2], ["tell"], ["seek", 0], ["read", 1], ["seek", size // 2], ["read", 5], ["tell"]]
    moves += [["seek", 1, 1], ["tell"], ["read", 7], ["seek", 0], ["tell"], ["read"], ["read"], ["seek", size]]
    moves += [["tell"], ["read", 4]]
    filled.agree("read", key=KEYS[at], moves=moves)


def test_adding_twice(filled: Both) -> None:
    assert filled.agree("add", data=HEX[5]) == KEYS[5]
    filled.agree("add_to_pack", data=[HEX[0], HEX[1], HEX[1]], no_holes=True)
    filled.agree("add_to_pack", data=[HEX[5]])  # loose, and packed now
    filled.count()
    filled.agree("listed")


@pytest.mark.parametrize("mode", ["NO", "YES", "AUTO", "KEEP"])
def test_a_life(filled: Both, mode: str) -> None:
    steps = filled.agree("pack", mode=mode)
    assert steps == [["Packing loose objects", len(CONTENTS[5]) + 50, len(CONTENTS[5]) + 50, True]]
    packed, loose = filled.count()
    assert loose == 2
    assert filled.agree("validate")["valid"]
    filled.agree("clean", vacuum=True)
    assert filled.count() == (packed, 0)
    assert filled.agree("delete", keys=[KEYS[2], ABSENT, "nope", KEYS[5]]) == sorted([KEYS[2], KEYS[5]])
    filled.agree("listed")
    filled.agree("metas", keys=KEYS, skip=False)
    theirs, mine = filled.outcomes("repack", mode=mode)
    assert {step[0] for step in mine} == {step[0] for step in theirs}
    assert sum(step[1] for step in mine) == sum(step[1] for step in theirs)
    filled.agree("streams", keys=KEYS, skip=False)
    assert filled.agree("validate")["valid"]
    assert filled.agree("loosen", key=KEYS[4]) == HEX[4]
    theirs, mine = filled.outcomes("sizes")
    assert mine["total_size_packfiles_on_disk"] <= 1.1 * theirs["total_size_packfiles_on_disk"]


def test_packing_with_cleaning(filled: Both) -> None:
    filled.agree("pack", clean_loose_per_pack=True, compress=True)
    assert filled.count()[1] == 0
    assert filled.agree("pack") == [["Packing loose objects", 0, 0, True]]


@pytest.mark.parametrize("hash_type", ["sha256", "sha1"])
def test_importing(filled: Both, tmp_path: Path, hash_type: str) -> None:
    answers = []
    for side, path in filled.sides:
        target = f"{path}-{hash_type}"
        side.do("init", path=target, hash_type=hash_type)
        side.do("add", path=target, data=HEX[1])
        answers.append(side.do("imported", path=target, source=path, keys=[*KEYS, KEYS[0]], compress=True))
        answers[-1] = [answers[-1], side.do("listed", path=target), side.do("validate", path=target)]
    assert answers[0] == answers[1]


def test_each_reads_what_the_other_wrote(filled: Both, tmp_path: Path) -> None:
    (real, theirs), (ours, mine) = filled.sides
    for side, path in ((ours, theirs), (real, mine)):
        assert side.do("listed", path=path) == sorted([*KEYS, key_of(CONTENTS[4][:50])])
        assert side.do("validate", path=path)["valid"]
        assert side.do("hash_all", path=path) == []
        assert side.do("get_many", path=path, keys=KEYS) == dict(zip(KEYS, HEX, strict=True))


WRITES: list[tuple[str, dict[str, Any]]] = [
    ("add", {"data": HEX[2]}),
    ("pack", {}),
    ("loosen", {"key": KEYS[2]}),
    ("settings", {}),
    ("listed", {}),
    ("add_to_pack", {"data": HEX[:3]}),
    ("delete", {"keys": KEYS}),
    ("clean", {}),
    ("repack", {}),
    ("init", {}),
]


@pytest.mark.parametrize(("order", "options"), WRITES, ids=[order for order, _ in WRITES])
def test_disk_objectstore_changes_nothing_in_a_container_of_version_2(
    order: str, options: dict[str, Any], real: Side, tmp_path: Path
) -> None:
    """With the words that docs/drop-in.md repeats; of some calls it says instead which of its files is missing."""
    with OurContainer.create(tmp_path / "new") as container:
        container.insert(CONTENTS[1])
        container.insert_many(CONTENTS[2:4])
    before = tree(tmp_path / "new")
    with pytest.raises(Failed) as caught:
        real.do(order, path=str(tmp_path / "new"), **options)
    if (order, options) in WRITES[:5]:
        assert str(caught.value).endswith("The container is not initialised yet - use .init_container() first")
    assert tree(tmp_path / "new") == before
    with OurContainer(tmp_path / "new") as container:
        assert dict(container.extract_many(KEYS[1:4])) == dict(zip(KEYS[1:4], CONTENTS[1:4], strict=True))
