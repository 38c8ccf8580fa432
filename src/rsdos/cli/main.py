"""``rsdos``: the group of commands, and what becomes of their errors.

A command's module is imported when the command is used: `--version` and `--help` cost click and nothing else.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import NoReturn

import click

from rsdos.cli.session import DEFAULT_PATH, Session
from rsdos.errors import AmbiguousKey, InvalidKey, InvalidOption, RsdosError

_COMMANDS = {
    "add-files": ("add_files", "Store files and directories."),
    "cat-file": ("cat_file", "Write an object, or a range of it, to stdout or a file."),
    "completion": ("completion", "Print the completion script of a shell."),
    "init": ("init", "Make a container."),
    "inspect": ("inspect", "Look inside: loose objects, packs, one pack, one object."),
    "list": ("list_objects", "List the keys of all objects."),
    "optimize": ("optimize", "Maintenance: move loose objects into packs."),
    "status": ("status", "Count objects and bytes."),
}
_INTERRUPTED = 130


class _Commands(click.Group):
    """Imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = importlib.import_module(f"rsdos.cli.{_COMMANDS[cmd_name][0]}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"rsdos {version('rsdos')}")
        ctx.exit()


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 it worked, 1 it failed, 2 it was called wrongly. "
    "A reader that closes the pipe early (head) is no failure.",
)
@click.option(
    "-p",
    "--path",
    envvar="RSDOS_PATH",
    default=DEFAULT_PATH,
    show_default=True,
    type=click.Path(),
    help="The container's directory; also $RSDOS_PATH.",
)
@click.option("--durability", type=click.Choice(["full", "relaxed"]), help="Override the container's own for this use.")
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
@click.pass_context
def rsdos(ctx: click.Context, path: str, durability: str | None) -> None:
    """A content-addressed object store in one directory."""
    ctx.obj = Session(path, durability)


def main() -> NoReturn:
    """Run the command line, and exit with its code."""
    sys.stdout.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
    sys.stderr.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.exit(_run())


def _run() -> int:
    try:
        code = _dispatch()
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as done:
        return done.exit_code
    except BrokenPipeError:
        _drop_stdout()
        return 0
    except (click.Abort, KeyboardInterrupt):
        _say("interrupted")
        return _INTERRUPTED
    except click.UsageError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        _say(error.format_message())
        return error.exit_code
    except (InvalidOption, InvalidKey, AmbiguousKey) as error:
        _say(str(error))
        return 2
    except RsdosError as error:
        _say(str(error))
    except OSError as error:
        _say(f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error))
        if error.filename is None:
            _drop_stdout()
    return 1


def _dispatch() -> object:
    if "_RSDOS_COMPLETE" in os.environ:
        return rsdos.main(prog_name="rsdos")
    # Not `rsdos.main`: it makes an exit code of 1 of a reader that has gone away.
    with rsdos.make_context("rsdos", sys.argv[1:]) as context:
        return rsdos.invoke(context)


def _say(message: str) -> None:
    click.echo(f"rsdos: error: {message}", err=True)


def _drop_stdout() -> None:
    """What is still buffered for a stdout that nobody reads must not raise again at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
