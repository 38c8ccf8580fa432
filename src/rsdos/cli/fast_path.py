"""Command lines that are read without click, whose import would be half of the time of `rsdos status`.

This module knows a part of what `rsdos.cli.main` declares, with the same meaning; tests/cli/test_plain.py compares
both. Every other command line goes to click: help, errors, and other ways to write an option.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Mapping
from importlib import import_module
from typing import NamedTuple

from rsdos.cli.exit_codes import DONE, FAILED
from rsdos.cli.process import guarded, prepare_streams
from rsdos.cli.session import COMPLETE, DEFAULT_PATH, PATH_VARIABLE, Session


class Plain(NamedTuple):
    """A command: the module whose ``show`` takes the session and the flags, and the names of the flags."""

    module: str
    flags: Mapping[str, str]


class Call(NamedTuple):
    """A parsed command line."""

    command: str
    session: Session
    flags: Mapping[str, bool]


OPTIONS = {"-p": "path", "--path": "path", "--durability": "durability"}
COMMANDS = {"status": Plain("show_status", {"--json": "as_json"})}
_DURABILITIES = ("full", "relaxed")


def answer(arguments: list[str]) -> int | None:
    """Run a plain command line and return its exit code. Return None if click has to read it."""
    call = parse(arguments)
    if call is None:
        return None
    gc.disable()  # It takes a twentieth of the time, and the command ends before there is garbage.
    show = import_module(f"rsdos.cli.{COMMANDS[call.command].module}").show

    def work() -> int:
        show(call.session, **call.flags)
        return DONE

    return guarded(work) if prepare_streams() else FAILED


def parse(arguments: list[str]) -> Call | None:
    """Parse a plain command line. Return None if click has to read it."""
    options: dict[str, str] = {}
    rest = iter(arguments)
    for argument in rest:
        name = OPTIONS.get(argument)
        if name is None:
            return _call(argument, list(rest), options)
        value = next(rest, "")
        if not value or value.startswith("-") or name in options:
            return None
        options[name] = value
    return None


def _call(command: str, flags: list[str], options: Mapping[str, str]) -> Call | None:
    plain = COMMANDS.get(command)
    if plain is None or COMPLETE in os.environ or not plain.flags.keys() >= set(flags):
        return None
    path = options.get("path") or os.environ.get(PATH_VARIABLE) or DEFAULT_PATH
    durability = options.get("durability")
    if durability not in (None, *_DURABILITIES):
        return None
    if "://" in path or (os.path.exists(path) and not os.access(path, os.R_OK)):
        return None  # A URL has more options; what cannot be read click reports as a wrong argument.
    given = {name: flag in flags for flag, name in plain.flags.items()}
    return Call(command, Session(path, durability), given)
