"""The manual page of ``rsdos``, and the completions of shells, from what the command line declares."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping

import click
from click.shell_completion import ShellComplete, get_completion_class

from rsdos.cli.main import rsdos as command_line
from rsdos.version import __version__

SHELLS = {
    "bash": "share/bash-completion/completions/rsdos",
    "zsh": "share/zsh/site-functions/_rsdos",
    "fish": "share/fish/vendor_completions.d/rsdos.fish",
}
"""Where each shell looks for completions, below the prefix of an installation."""

MANUAL = "share/man/man1/rsdos.1"

ENVIRONMENT = {
    "RSDOS_PATH": "The container, where no -p names one.",
    "RSDOS_FOLLOW_LINKS": "1: follow symbolic links in the place of the container's own directories.",
    "XDG_CACHE_HOME": "Where what is read of a URL is kept, in rsdos/. Default: ~/.cache.",
}


def shared_files() -> Mapping[str, str]:
    """Return the files that a wheel has besides the package, by their paths below the prefix."""
    return {MANUAL: manual_page(), **{place: completion(shell) for shell, place in SHELLS.items()}}


def completion(shell: str) -> str:
    """Return the completion script of a shell: what `rsdos completion` prints."""
    kind = get_completion_class(shell)
    assert kind is not None
    # Not bash's own `source`, which runs bash to ask for its version.
    return ShellComplete.source(kind(command_line, {}, "rsdos", "_RSDOS_COMPLETE")) + "\n"


def manual_page() -> str:
    """Return the manual page, in the language of man(7)."""
    context = click.Context(command_line, info_name="rsdos")
    lines = [
        f'.TH RSDOS 1 "" "rsdos {roff(__version__)}" "User Commands"',
        ".SH NAME",
        "rsdos \\- a content\\-addressed object store in one directory",
        ".SH SYNOPSIS",
        ".B rsdos",
        "[OPTIONS] COMMAND [ARGUMENTS]",
        ".SH OPTIONS",
        *_options(command_line, context),
        ".SH COMMANDS",
        *_commands(command_line, context),
        ".SH NOTES",
        *_text(command_line.epilog or ""),
        ".SH ENVIRONMENT",
    ]
    for name, text in ENVIRONMENT.items():
        lines += [".TP", f".B {name}", roff(text)]
    return "\n".join(lines) + "\n"


def _commands(group: click.Group, above: click.Context) -> Iterator[str]:
    for name in group.list_commands(above):
        command = group.get_command(above, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=above)
        arguments = " ".join(command.collect_usage_pieces(context))
        yield f'.SS "{roff(context.command_path)} {roff(arguments)}"'
        yield from _text(command.help or "")
        yield from _options(command, context)
        if isinstance(command, click.Group):
            yield from _commands(command, context)


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:
            yield from (".TP", f".B {roff(record[0])}", roff(" ".join(record[1].split())))


def _text(text: str) -> Iterator[str]:
    """Yield the paragraphs of a help. One that begins with a backspace character keeps its lines, as click has it."""
    for number, paragraph in enumerate(re.split(r"\n\s*\n", inspect.cleandoc(text))):
        if number:
            yield ".PP"
        lines = [roff(line.strip()) for line in paragraph.splitlines() if line.strip() not in ("", "\b")]
        yield from (".nf", *lines, ".fi") if "\b" in paragraph else (" ".join(lines),)


def roff(text: str) -> str:
    """Return a line of text with what roff would take for its own escaped."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped
