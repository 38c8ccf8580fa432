"""A snapshot that others forget and collect while it is checked out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rsdos import Container
from rsdos.errors import ObjectNotFound, RefNotFound
from rsdos.worktree.checkout import CheckoutOptions, execute_checkout, plan_checkout
from rsdos.worktree.named_tree import FORGOTTEN
from tests.helpers import child_environment
from tests.snapshots.test_damage import drop
from tests.worktree.saving import File, Things, read_back, save, with_parents
from tests.worktree.test_checkout import out

SHARED: Things = {b"d%d/%d" % (number % 3, number): b"%d" % number for number in range(20)}
ALL: Things = {**SHARED, **{b"own/%d" % number: b"own %d" % number for number in range(20)}}


def collect(path: Path) -> None:
    with Container(path) as container:
        container.snapshots.forget("flowers")
        container.snapshots.gc()
        container.repack()


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_version_that_is_collected_before_its_files_are_written(
    container: Container, tmp_path: Path, jobs: int
) -> None:
    """The files that another version has as well may be written; the others are when the version is there again."""
    save(container, "other", SHARED)
    save(container, "flowers", ALL)
    plan = plan_checkout(container.engine, CheckoutOptions("flowers", str(tmp_path / "new"), jobs=jobs))
    collect(container.path)
    container.engine.objects.refresh()  # As after a second. Until then this process reads the old packs.
    with pytest.raises(RefNotFound) as caught:
        execute_checkout(container.engine, plan)
    assert str(caught.value) == f"flowers@1: {FORGOTTEN}"
    found = {path: thing for path, thing in read_back(tmp_path / "new").items() if isinstance(thing, File)}
    assert found.items() <= with_parents(ALL).items(), "what is there is whole, and nothing else is there"
    save(container, "flowers", ALL)
    report = out(container, tmp_path / "new", "flowers", jobs=jobs)
    assert report.adopted == len(found)
    assert read_back(tmp_path / "new") == with_parents(ALL)


def test_a_missing_object_of_a_version_that_has_its_name_is_told_as_what_it_is(
    container: Container, tmp_path: Path
) -> None:
    """It is a damage of the container."""
    save(container, "flowers", ALL)
    plan = plan_checkout(container.engine, CheckoutOptions("flowers", str(tmp_path / "new")))
    key = (container.snapshots["flowers"] / "own/7").key
    drop(container, key)
    container.engine.objects.refresh()
    with pytest.raises(ObjectNotFound):
        execute_checkout(container.engine, plan)


COMMAND = """
import sys
from pathlib import Path
from rsdos.cli.main import main
from rsdos.worktree import {module} as module
from tests.worktree.test_forgotten import collect
real = module.{function}
def after_collecting(*arguments, **named):
    module.{function} = real
    collect(Path(sys.argv[2]))
    return real(*arguments, **named)
module.{function} = after_collecting
main()
"""
"""The command line, where others collect just before a function is called."""


@pytest.mark.parametrize(
    ("module", "function"),
    [("checkout", "visit_all"), ("checkout", "execute_checkout"), ("checkout_team", "WritingTeam")],
)
def test_the_command_line_names_the_version(container: Container, tmp_path: Path, module: str, function: str) -> None:
    save(container, "flowers", ALL)
    code = COMMAND.format(module=module, function=function)
    call = [sys.executable, "-c", code, "-p", str(container.path), "checkout", "flowers", str(tmp_path / "new"), "-j2"]
    environment = child_environment() | {"OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(call, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, f"rsdos: error: flowers@1: {FORGOTTEN}\n")
    assert not list(tmp_path.rglob(".rsdos-tmp-*"))


FORGETTING = """
import sys
from rsdos import Container
from rsdos.cli.main import main
from rsdos.worktree import checkout
real = checkout.execute_checkout
def then_forget(*arguments):
    report = real(*arguments)
    Container(sys.argv[2]).snapshots.forget("flowers")
    return report
checkout.execute_checkout = then_forget
main()
"""
"""The command line, where others forget the snapshot as soon as it is written."""


def test_what_was_written_is_told_by_its_name_whatever_becomes_of_that(container: Container, tmp_path: Path) -> None:
    save(container, "flowers", ALL)
    call = [sys.executable, "-c", FORGETTING, "-p", str(container.path), "checkout", "flowers", str(tmp_path / "new")]
    done = subprocess.run(call, env=child_environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, "error" in done.stderr) == (0, False)
    assert "Wrote 40 files" in done.stdout and "(flowers@1)" in done.stdout
