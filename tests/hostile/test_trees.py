"""A share of the fuzzer of hostile trees, snapshots and refs; `make hostile` does more. And what it has found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rsdos import Container
from rsdos.errors import DamagedTree, InvalidOption
from tests.hostile.forging import Forge
from tests.hostile.hostile_documents import REFS, SNAPSHOTS
from tests.hostile.hostile_trees import Make
from tests.hostile.limits import fuzz, rsdos

CASES = 10
TWISTED = 3
WAYS = 4
SHARES = 4


@pytest.mark.parametrize("share", range(SHARES))
def test_no_command_on_hostile_snapshots_leaves_its_place_or_needs_more_than_its_limits(share: int) -> None:
    said = fuzz("fuzz_trees", "--cases", CASES, "--twisted", TWISTED, "--ways", WAYS, "--seed", share, "--small")
    assert said.startswith(f"{CASES + TWISTED} cases")


@pytest.fixture
def container(tmp_path: Path) -> Container:
    """A container with a version of one branch."""
    directory = tmp_path / "directory"
    directory.mkdir()
    (directory / "a").write_bytes(b"a")
    made = Container.create(tmp_path / "container")
    made.snapshots.save("good", directory)
    return made


def forged(container: Container, make: Make) -> Container:
    """The container with what is forged, as another process opens it."""
    maker = Forge(container)
    make(maker)
    maker.publish()
    return Container(container.path)


def test_halves_of_characters_are_printed_as_escapes(container: Container) -> None:
    forged(container, SNAPSHOTS["half characters"])
    for command in (["show", "bad"], ["log"], ["log", "bad"]):
        done = rsdos("-p", container.path, *command)
        assert (done.code, done.err) == (0, "")
        assert "\\ud800 and" in done.out


def test_metadata_that_is_nested_too_deep_is_damage_from_the_same_depth_on_for_every_caller(
    container: Container,
) -> None:
    opened = forged(container, SNAPSHOTS["metadata nested 99 deep"])
    done = rsdos("-p", container.path, "show", "bad", "--json")
    assert (done.code, done.err) == (0, "")
    assert re.search(r"\[\s*" * 98 + r"\[\]" + r"\s*\]" * 98, done.out)
    opened = forged(container, SNAPSHOTS["metadata nested 100 deep"])
    with pytest.raises(DamagedTree, match="nested more than 100 deep"):
        opened.snapshots["bad"]
    done = rsdos("-p", container.path, "show", "bad", "--json")
    assert done.code == 1 and "nested more than 100 deep" in done.err


def test_documents_that_follow_one_another_in_a_circle_are_damage(container: Container) -> None:
    opened = forged(container, REFS["a circle"])
    with pytest.raises(DamagedTree, match="is before the one of the number"):
        list(opened.snapshots.operations())


def test_the_operations_after_one_without_a_time_are_listed(container: Container) -> None:
    opened = forged(container, REFS["a document before with an odd time"])
    found = opened.snapshots.operations()
    assert next(iter(found)).number == 3
    with pytest.raises(DamagedTree, match="the time of its operation is 'x'"):
        list(opened.snapshots.operations())


@pytest.mark.parametrize("name", ["the next version is 18446744073709551615", "the number 18446744073709551615"])
def test_no_names_are_published_that_nobody_could_read(name: str, container: Container, tmp_path: Path) -> None:
    opened = forged(container, REFS[name])
    (tmp_path / "directory" / "b").write_bytes(b"b")
    with pytest.raises(InvalidOption, match="there is no next one"):
        opened.snapshots.save("bad", tmp_path / "directory", force=True)
    assert Container(container.path).snapshots["good"].path("a").read_bytes() == b"a"


def test_a_branch_of_many_versions_is_transferred(container: Container, tmp_path: Path) -> None:
    """It took time with the square of their number: 200,000 took minutes. This is one of 20 s of processor time."""
    forged(container, REFS["200,000 versions"])
    Container.create(tmp_path / "target")
    done = rsdos("transfer", container.path, tmp_path / "target", "bad", "--json")
    assert (done.code, done.err) == (0, "")
    with Container(tmp_path / "target") as target:
        assert len(target.snapshots.branches()["bad"]) == 200_000
