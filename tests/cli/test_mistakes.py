"""What the command line says of a mistake that is easily made: it names the mistake, and what may have been meant."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.conftest import Run


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("optimise", "'optimize'"),
        ("stauts", "'status'"),
        ("snow", "'show'"),
        ("inspect paks", "'pack'"),
        ("repair objcts", "'objects'"),
        ("optimize clena", "'clean'"),
        ("remote rmove", "'remove'"),
        ("remote prob", "'probe'"),
    ],
)
def test_a_mistyped_command_is_answered_with_the_commands_like_it(run: Run, typed: str, meant: str) -> None:
    done = run(*typed.split(), code=2)
    assert f"No such command '{typed.rsplit(maxsplit=1)[-1]}'. Did you mean {meant}?" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("typed", ["pack", "nonsense"])
def test_a_command_like_no_other_gets_no_advice(run: Run, typed: str) -> None:
    assert f"No such command '{typed}'. (see 'rsdos --help')" in run(typed, code=2).stderr


@pytest.mark.parametrize("typed", ["status --jsno", "optimize --dry-rnu", "--pathh x status"])
def test_a_mistyped_option_is_answered_with_the_options_like_it(run: Run, typed: str) -> None:
    assert "did you mean" in run(*typed.split(), code=2).stderr.lower()


@pytest.mark.parametrize(
    "typed", ["status -p x", "status --path=x", "init --durability relaxed", "status --cache none"]
)
def test_an_option_behind_its_command_is_said_to_go_in_front(run: Run, typed: str) -> None:
    message = run(*typed.split(), code=2).stderr
    option = typed.split()[1].partition("=")[0]
    assert f"{option} goes in front of the command" in message and "Did you mean" not in message


def test_a_restore_says_that_the_backup_is_not_there(run: Run, tmp_path: Path) -> None:
    os.mkdir(tmp_path / "empty")
    advice = "; name a backup, or a directory of backups\n"
    assert run("restore", "./nowhere", "new", code=1).stderr == (
        f"rsdos: error: ./nowhere: there is no such directory{advice}"
    )
    assert run("restore", "empty", "new", code=1).stderr == (
        f"rsdos: error: empty: no finished backup is in this directory{advice}"
    )
    assert not (tmp_path / "new").exists()


def test_a_forget_of_all_versions_says_how_many_there_are(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    run("init")
    for number in range(2):
        (tmp_path / "data" / f"{number}.csv").write_text("1\n")
        run("save", "exp", "data")
        versions = ("the only version", "all 2 versions")[number]
        assert f"this forgets {versions} of exp: name some (exp@N)" in run("forget", "exp", code=2).stderr
