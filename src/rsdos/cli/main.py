"""``rsdos``: the group of commands, and the messages of their errors.

A command's module is imported when the command is used: `--help` imports click and nothing else.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import NoReturn

import click

from rsdos import __version__
from rsdos.cli.exit_codes import DONE, FAILED, INTERRUPTED, USAGE
from rsdos.cli.group import CommandGroup
from rsdos.cli.options import CommandWanted, want_command
from rsdos.cli.process import guarded, prepare_streams, say
from rsdos.cli.render import echo, echo_error
from rsdos.cli.session import COMPLETE, DEFAULT_PATH, PATH_VARIABLE, Session
from rsdos.cli.url_options import given_options, url_options

_COMMANDS = {
    "add-files": ("add_files", "Store files and directories."),
    "backup": ("backup", "Copy the container beside its earlier backups, here or to another machine."),
    "cat-file": ("cat_file", "Write an object, or a range of it, to stdout or a file."),
    "collect": ("collect", "Remove dead objects from object storage."),
    "completion": ("completion", "Print the completion script of a shell."),
    "delete": ("delete", "Delete objects, or all except those of a list."),
    "doctor": ("doctor", "Check the surroundings of the container: file system, space, clock, index."),
    "extract": ("extract", "Write many objects, or all, to files in a directory."),
    "init": ("init", "Make a container."),
    "inspect": ("inspect", "Show the inside: loose objects, packs, one pack, one object."),
    "list": ("list_objects", "List the keys of all objects."),
    "migrate": ("migrate", "Convert a container to another version, in place or as a new one."),
    "optimize": ("optimize", "Do maintenance: pack, clean, repack, or everything that is due."),
    "repair": ("repair", "Repair what validate has found: the index, or damaged objects."),
    "restore": ("restore", "Make a container from a backup."),
    "status": ("status", "Count objects and bytes, or compare a directory with its snapshot."),
    "transfer": ("transfer", "Copy objects and snapshots from one container to another, of any version."),
    "validate": ("validate", "Check all stored objects, quickly or in full."),
}

_REMOTES = {
    "remote": ("remote", "Name other containers, on object storage or on a disk."),
    "push": ("push", "Send what a remote lacks."),
    "pull": ("pull", "Bring what a remote has and this container lacks."),
    "fetch": ("fetch", "Learn the newest state of a remote."),
    "clone": ("clone", "Make a container with all that another one has."),
}
"""The commands of other containers with a name. `status --remote` is one more."""

_SNAPSHOTS = {
    "save": ("save", "Save a directory, with all names, as the next version of a name."),
    "checkout": ("checkout", "Write a snapshot to a directory."),
    "log": ("log", "List names and versions, or what was done to them."),
    "show": ("show", "Show a snapshot: its record, its totals, its names."),
    "ls": ("ls", "List a directory of a snapshot."),
    "diff": ("diff", "List what differs between two snapshots, or a snapshot and a directory."),
    "tag": ("tag", "Give a snapshot a name that does not move."),
    "branch": ("branch", "Begin another branch with a snapshot."),
    "forget": ("forget", "Take versions out of the names."),
    "undo": ("undo", "Undo the last change of the names, such as a save or a forget."),
    "gc": ("gc", "Delete objects that were held for snapshots and are not needed any more."),
    "import": ("import_archive", "Save what a tar or zip archive holds."),
    "export": ("export", "Write a snapshot as a tar archive or a list."),
    "mount": ("mount", "Mount snapshots as a read-only file system."),
}
"""The commands of directories and their versions. `status DIR` is one more."""

_SECTIONS = {"Commands": _COMMANDS, "Remotes": _REMOTES, "Snapshots": _SNAPSHOTS}


class _Commands(CommandGroup):
    """Imports a command when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for section in _SECTIONS.values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = next((section[cmd_name] for section in _SECTIONS.values() if cmd_name in section), None)
        if found is None:
            return None
        command = importlib.import_module(f"rsdos.cli.{found[0]}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, section in _SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, text) for name, (_, text) in section.items()])


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        echo(f"rsdos {__version__}")
        ctx.exit()


@click.group(
    cls=_Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""Exit codes: 0 success; 1 failure, also of a part; 2 wrong usage; 3 differences, with --exit-code; 130
    interrupted. A reader that closes the pipe early (head) is no failure. Each error is one line on stderr. A KEY may
    be the first 6 characters or more of a key; lists in files must have whole keys. A branch or tag whose name is also
    the beginning of a key comes first.

    \b
    Example: rsdos init && rsdos save flowers ./flowers && rsdos log
    Example: rsdos add-files -r data && rsdos optimize && rsdos status
    """,
)
@click.option(
    "-p",
    "--path",
    envvar=PATH_VARIABLE,
    default=DEFAULT_PATH,
    show_default=True,
    type=click.Path(),
    help="The container's directory, or its URL (s3://bucket/prefix); also $RSDOS_PATH.",
)
@url_options
@click.option(
    "--cache",
    metavar="DIR|none",
    help="Where to keep what is read from a URL; none: keep nothing. Default: $XDG_CACHE_HOME/rsdos.",
)
@click.option(
    "--durability", type=click.Choice(["full", "relaxed"]), help="Use this durability instead of the container's own."
)
@click.option(
    "--verify",
    type=click.Choice(["checksum", "hash"]),
    help="What a read of a packed object verifies. Default: checksum; hash if another user owns the container.",
)
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
@click.pass_context
def rsdos(
    ctx: click.Context,
    path: str,
    option: tuple[tuple[str, str], ...],
    endpoint: str | None,
    cache: str | None,
    durability: str | None,
    verify: str | None,
) -> None:
    """A content-addressed object store in one directory."""
    ctx.obj = Session(path, durability, verify, given_options(option, endpoint), cache)
    want_command(ctx)


def main() -> NoReturn:
    """Run the command line, and exit with its code."""
    sys.exit(_run(sys.argv[1:]) if prepare_streams() else FAILED)


def _run(arguments: list[str]) -> int:
    def work() -> int:
        try:
            if COMPLETE in os.environ:
                rsdos.main(arguments, prog_name="rsdos", complete_var=COMPLETE)
            # Not click's main(), which handles Ctrl-C and a closed pipe in its own way.
            with rsdos.make_context("rsdos", arguments) as context:
                code = rsdos.invoke(context)
        except click.exceptions.Exit as error:
            return error.exit_code
        except SystemExit as error:  # Completion ends like this.
            return error.code if isinstance(error.code, int) else DONE
        return code if isinstance(code, int) else 0

    return guarded(work, debug="--debug" in arguments, explain=_explain)


def _explain(error: BaseException) -> int | None:
    """Print what is wrong with a command line. Return the exit code, or None for any other error."""
    match error:
        case click.Abort():
            say("interrupted")
            return INTERRUPTED
        case CommandWanted():
            echo_error(error.help)
            return USAGE
        case click.UsageError():
            help_of = error.ctx.command_path if error.ctx else "rsdos"
            say(f"{_misplaced(error) or ' '.join(error.format_message().split())} (see '{help_of} --help')")
            return USAGE
        case click.ClickException():
            say(error.format_message())
            return FAILED
    return None


def _misplaced(error: click.UsageError) -> str:
    """Return the message for an option that belongs in front of the command, and was given behind it; "" for others."""
    if not isinstance(error, click.NoSuchOption) or not any(error.option_name in one.opts for one in rsdos.params):
        return ""
    return f"{error.option_name} goes in front of the command, as in: rsdos {error.option_name} …"
