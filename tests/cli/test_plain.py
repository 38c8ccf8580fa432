"""Command lines that are read without click: the same as click reads them, and nothing that it would refuse."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import click
import pytest

from rsdos.cli.fast_path import COMMANDS, OPTIONS, parse
from rsdos.cli.main import rsdos
from rsdos.cli.session import Session
from tests.cli.conftest import Run

PIECES = (
    (),
    ("-p", "here"),
    ("--path", "here"),
    ("--path=here",),
    ("-phere",),
    ("-p", ""),
    ("-p",),
    ("-p", "--json"),
    ("--durability", "full"),
    ("--durability", "relaxed"),
    ("--durability", "FULL"),
    ("--durability",),
    ("--debug",),
    ("--version",),
    ("-h",),
    ("status",),
    ("stat",),
    ("--json",),
    ("--jso",),
    ("--help",),
    ("--",),
    ("list",),
)


def as_click_reads_it(arguments: list[str]) -> tuple[str, Session, dict[str, bool]] | None:
    """Command, session and flags; None where click has an answer of its own."""
    try:
        with rsdos.make_context("rsdos", list(arguments)) as context:
            protected = vars(context).get("_protected_args") or vars(context).get("protected_args", [])  # before 8.2
            name, command, rest = rsdos.resolve_command(context, [*protected, *context.args])
            if name is None or command is None or name not in COMMANDS:
                return None
            with command.make_context(name, rest, parent=context) as inner:
                session = Session(context.params["path"], context.params["durability"])
                flags = COMMANDS[name].flags.values()
                return name, session, {flag: inner.params[flag] for flag in flags}
    except (click.ClickException, click.exceptions.Exit):
        return None


def test_whatever_is_read_without_click_is_what_click_reads(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RSDOS_PATH", raising=False)
    read = 0
    for pieces in itertools.product(PIECES, repeat=3):
        arguments = [argument for piece in pieces for argument in piece]
        call = parse(arguments)
        if call is not None:
            read += 1
            assert (call.command, call.session, dict(call.flags)) == as_click_reads_it(arguments), arguments
    assert read > 30


@pytest.mark.parametrize("value", [None, "", "there"])
def test_the_environment_names_the_container(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv("RSDOS_PATH", raising=False)
    if value is not None:
        monkeypatch.setenv("RSDOS_PATH", value)
    call = parse(["status"])
    assert call is not None
    assert ("status", call.session, dict(call.flags)) == as_click_reads_it(["status"])


def test_completion_is_click_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_RSDOS_COMPLETE", "bash_complete")
    assert parse(["status"]) is None


def test_the_tables_name_what_click_knows() -> None:
    with click.Context(rsdos) as context:
        declared = {option: parameter.name for parameter in rsdos.params for option in parameter.opts}
        assert declared.items() >= OPTIONS.items()
        for name, plain in COMMANDS.items():
            command = rsdos.get_command(context, name)
            assert command is not None
            flags = {option: parameter for parameter in command.params for option in parameter.opts}
            for option, argument in plain.flags.items():
                flag = flags[option]
                assert isinstance(flag, click.Option) and flag.is_flag and flag.name == argument


def test_a_directory_that_may_not_be_read_is_a_wrong_argument(run: Run, tmp_path: Path) -> None:
    (tmp_path / "container").mkdir(mode=0)
    if os.access(tmp_path / "container", os.R_OK):
        pytest.skip("root may read everything")
    assert "not readable" in run("status", code=2).stderr


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_both_ways_say_the_same(run: Run, tmp_path: Path, flags: list[str]) -> None:
    def twice(code: int = 0) -> tuple[str, str]:
        # The joined form is click's.
        plain, by_click = (run(*path, "status", *flags, code=code) for path in (["-p", "here"], ["--path=here"]))
        assert (plain.stdout, plain.stderr) == (by_click.stdout, by_click.stderr)
        return plain.stdout, plain.stderr

    assert "here: not a container (there is no such directory); make one with" in twice(code=1)[1]
    run("-p", "here", "init")
    (tmp_path / "data").write_bytes(b"data")
    run("-p", "here", "add-files", "--to", "packed", "data")
    run("-p", "here", "validate")
    assert twice()[1] == ""
    for manifest in (tmp_path / "here" / "index").glob("manifest-*.json"):
        manifest.write_bytes(manifest.read_bytes()[:-20])
    assert "damaged" in twice()[1] or flags
