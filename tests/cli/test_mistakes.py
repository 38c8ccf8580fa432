"""What the command line says of a mistake that is easily made: it names the mistake, and what may have been meant."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from pathlib import Path

import pytest

from rsdos import Container, NotAContainer
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
    ("typed", "reason"),
    [
        ("abc", "abc: no such branch or tag, and not a key (at least 6 lower-case hex digits)"),
        ("ABCDEF12", "ABCDEF12: no such branch or tag, and not a key (at least 6 lower-case hex digits)"),
        ("flowers@9", "flowers@9: there is no such version; the newest is flowers@1"),
        ("roses:a", "roses: no such branch or tag"),
    ],
)
def test_what_is_no_object_may_have_been_meant_as_a_key(run: Run, tmp_path: Path, typed: str, reason: str) -> None:
    (tmp_path / "flowers").mkdir()
    run("init")
    run("save", "flowers", "flowers")
    for command in (["cat-file"], ["inspect", "object"]):
        assert run(*command, typed, code=1).stderr.startswith(f"rsdos: error: {reason}")


def test_a_key_in_upper_case_is_no_name(run: Run, tmp_path: Path) -> None:
    (tmp_path / "flowers").mkdir()
    run("init")
    run("save", "flowers", "flowers")
    assert "64 hex digits are a key and not a name; keys are in lower case" in run("cat-file", "AB" * 32, code=2).stderr


@pytest.mark.parametrize(
    "typed", ["status -p x", "status --path=x", "init --durability relaxed", "status --cache none"]
)
def test_an_option_behind_its_command_is_said_to_go_in_front(run: Run, typed: str) -> None:
    message = run(*typed.split(), code=2).stderr
    option = typed.split()[1].partition("=")[0]
    assert f"{option} goes in front of the command" in message and "Did you mean" not in message


@pytest.fixture
def places(run: Run, tmp_path: Path) -> Path:
    """A directory with a container, a backup of it, and what else people name instead of a container."""
    run("-p", "lab/data", "init")
    run("-p", "lab/data", "backup", "backups")
    (tmp_path / "begun" / "live-backup").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    (tmp_path / "sp ace").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "notes.txt").write_text("text")
    (tmp_path / "config.json").write_text('{"theirs": 1}')
    (tmp_path / "a file").write_text("text")
    (tmp_path / "lost" / "packed").mkdir(parents=True)
    (tmp_path / "lost" / "index").mkdir()
    return tmp_path


NEXT = {
    "missing": "(there is no such directory); make one with `rsdos init {}/missing` (Container.create), or name ",
    "empty": "(the directory is empty); make one with `rsdos init {}/empty`",
    "sp ace": "; make one with `rsdos init '{}/sp ace'`",
    "foreign": "other files); make one with `rsdos init {}/foreign/container`",
    "a file": "(a file); name its directory with --path",
    "lab/data/packed": ", but inside one; name that: --path {}/lab/data\n",
    "lab/data/loose/ab": ", but inside one; name that: --path {}/lab/data\n",
    "lab": "; there is one in it: --path {}/lab/data\n",
    "backups": ", but a directory of backups; `rsdos restore {}/backups NEW`",
    "backups/last-backup/index": ", but inside a backup; `rsdos restore {}/backups/backup_",
    "begun": "; none is finished: run `rsdos backup {}/begun` again",
    "begun/live-backup": "; none is finished: run `rsdos backup {}/begun` again",
    "lost": "but index, packed); take config.json from a backup",
}


def test_a_path_without_a_container_is_answered_with_what_to_do(run: Run, places: Path) -> None:
    for path, advice in NEXT.items():
        message = run("-p", path, "list", code=1).stderr
        assert message.startswith(f"rsdos: error: {places / path}: not a container"), path
        assert advice.format(places) in message and message.count("\n") == 1, path
        with pytest.raises(NotAContainer) as raised:
            len(Container(places / path))
        assert f"rsdos: error: {raised.value}\n" == message


def test_the_advice_is_good(run: Run, places: Path) -> None:
    """Each command that a message names works as it is written there."""
    for path in ("missing", "empty", "sp ace", "foreign", "backups"):
        (command,) = re.findall("`rsdos (.*?)`", run("-p", path, "list", code=1).stderr)
        run(*shlex.split(command))
    (found,) = re.findall("--path (.*)", run("-p", "lab/data/packed", "list", code=1).stderr)
    run("--path", found, "list")
    (url,) = re.findall("`rsdos init (.*?)`", run("-p", f"file://{places}/bucket", "list", code=1).stderr)
    assert url == f"file://{places}/bucket"
    run("init", url)
    run("-p", url, "list")


def test_a_pipe_above_a_path_is_not_waited_for(run: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    assert "there is no such directory" in run("-p", "below", "list", code=1).stderr


def test_a_remote_where_nothing_is_yet_is_added_with_a_warning(run: Run, tmp_path: Path) -> None:
    run("init")
    added = run("remote", "add", "other", "nothing-here")
    (make,) = re.findall("`rsdos (.*?)`", added.stderr)
    assert added.stderr.startswith("rsdos: warning: ") and added.stdout.startswith("[info] Added other")
    assert run("push", "other", code=1).stderr.endswith(added.stderr.removeprefix("rsdos: warning: "))
    run(*shlex.split(make))
    assert "[info] Pushed" in run("push", "other").stdout
    assert run("remote", "add", "third", "nothing-here").stderr == ""


ANOTHER = {
    "nothing": "/nothing` (Container.create), or name another",
    "lab": "; there is one in it: {}/lab/data",
    "a file": "; name its directory",
}


@pytest.mark.parametrize("url", ["nothing", "file://{}/nothing", "lab", "lab/data/packed", "a file"])
def test_where_another_container_is_meant_its_name_is_no_path(run: Run, places: Path, url: str) -> None:
    """--path names the container of the command itself, and not a remote or what is copied from."""
    there = url.format(places)
    run("init")
    said = [run("remote", "add", "other", there).stderr, run("push", "other", code=1).stderr]
    said += [run(*command, code=1).stderr for command in (["clone", there, "new"], ["transfer", there, "./container"])]
    said.append(run("repair", "objects", "--from", there, code=1).stderr)
    for message in said if "://" not in url else said[1:]:
        assert message.count("not a container") == 1 and "--path" not in message, message
        if end := ANOTHER.get(url):
            assert message.endswith(f"{end.format(places)}\n")


def test_a_remote_that_was_there_before_is_to_be_mounted_and_not_made_again(run: Run, tmp_path: Path) -> None:
    run("init")
    run("init", "usb")
    run("remote", "add", "disk", "usb")
    run("push")
    (tmp_path / "usb").rename(tmp_path / "elsewhere")
    message = run("push", code=1).stderr
    assert "a container was there before: mount it" in message and "rsdos init" not in message


def test_a_write_into_a_backup_gets_a_warning_and_is_in_no_later_backup(run: Run, tmp_path: Path) -> None:
    (tmp_path / "top").mkdir()
    (tmp_path / "top" / "a").write_bytes(b"one")
    run("-p", "data", "init")
    assert run("-p", "data", "save", "flowers", "top").stderr == ""
    run("-p", "data", "backup", "backups")
    shutil.copytree(tmp_path / "backups" / "last-backup", tmp_path / "copied")
    warning = "rsdos: warning: backups/last-backup: is a backup: later backups will not have the changes made here; "
    for command in ("save flowers top", "tag delivery flowers", "add-files top/a", "gc -q"):
        said = run("-p", "backups/last-backup", *command.split()).stderr
        assert said.startswith(warning) and said.count("warning") == 1, command
    assert run("transfer", "data", "backups/last-backup", "-q").stderr.startswith(warning)
    for command in ("log", "list", "checkout flowers new", "validate"):
        assert "warning" not in run("-p", "backups/last-backup", *command.split()).stderr, command
    assert "warning" not in run("-p", "copied", "tag", "delivery", "flowers").stderr
    run("restore", "backups", "again")
    assert "warning" not in run("-p", "again", "tag", "other", "flowers").stderr
    run("-p", "data", "backup", "--verify", "backups")
    assert "delivery" not in run("-p", "backups/last-backup", "log").stdout


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
