"""``rsdos status``."""

from __future__ import annotations

import click

from rsdos.cli.exit_codes import DIFFERENT, DONE, FAILED
from rsdos.cli.options import pass_session
from rsdos.cli.render import echo_error
from rsdos.cli.session import Session
from rsdos.cli.types import Share

_OF_A_DIRECTORY = ("ref", "rehash", "keep_going", "exit_code")
_OF_THE_CONTAINER = ("as_format", "check", "max_loose", "max_dead", "remote")


@click.command()
@click.argument("directory", metavar="[DIR]", required=False, type=click.Path())
@click.argument("ref", metavar="[REF]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with sizes in bytes: one document, or one a line.")
@click.option(
    "--format",
    "as_format",
    type=click.Choice(["text", "json", "prometheus"]),
    help="json is --json; prometheus prints metrics for node_exporter's textfile collector.",
)
@click.option("--check", is_flag=True, help="For monitoring: exit with 1 if something needs attention.")
@click.option(
    "--max-loose",
    type=click.IntRange(min=0),
    default=100_000,
    show_default=True,
    help="With --check: more loose objects than this need `optimize`.",
)
@click.option(
    "--max-dead",
    type=Share(),
    default="50%",
    show_default=True,
    help="With --check: a larger share of dead bytes in the packs needs `optimize`.",
)
@click.option(
    "--remote",
    is_flag=False,
    flag_value="",
    metavar="[NAME]",
    help="Compare with the remote NAME (default: origin): what is here, there, only here, only there.",
)
@click.option("--rehash", is_flag=True, help="With DIR: read every file, also those that seem unchanged.")
@click.option("--keep-going", is_flag=True, help="With DIR: pass over what cannot be read; the exit code is 1.")
@click.option("--exit-code", is_flag=True, help="With DIR or --remote: exit with 3 if there are differences.")
@pass_session
@click.pass_context
def command(  # noqa: PLR0913, PLR0917  one for each option
    ctx: click.Context,
    session: Session,
    directory: str | None,
    ref: str | None,
    as_json: bool,
    as_format: str | None,
    check: bool,
    max_loose: int,
    max_dead: float,
    remote: str | None,
    rehash: bool,
    keep_going: bool,
    exit_code: bool,
) -> int:
    """Count objects and bytes; or, with DIR, list what in a directory differs from a snapshot.

    "Packs" is about packed objects and their raw size, "Pack Files" about the files and their size on disk. No object
    is read: see validate. With --check everything that needs attention is named on standard error: damage that status
    sees, damage that the last validation or backup has found, and maintenance that is due beyond the limits.

    With DIR: M is modified, A added, D removed, T another kind; behind the path is what differs, unless it is only the
    content: executable, mode, time. The snapshot is REF, or the one that DIR was saved as or checked out from. Only
    files whose size or times have changed since then are read.

    With --remote no object is read either, and with --exit-code the code is 3 if one has what the other lacks.

    \b
    Example: rsdos status --check --max-loose 10000 || mail -s "look after the container" me < /dev/null
    Example: rsdos status --format prometheus > rsdos.prom.new && mv rsdos.prom.new rsdos.prom
    Example: rsdos status ./flowers
    """
    _refuse_usage(ctx, directory is not None, remote is not None)
    if directory is not None:
        from rsdos.cli.directory_status import show_directory

        number, failed = show_directory(session, directory, ref or "", rehash, keep_going, as_json)
        return FAILED if failed else DIFFERENT if exit_code and number else DONE
    if remote is not None:
        from rsdos.cli.remote_status import show_remote

        is_same = show_remote(session, remote, as_json)
        return DIFFERENT if exit_code and not is_same else DONE
    if as_format == "prometheus":
        from rsdos.cli import show_prometheus

        reasons = show_prometheus.show_metrics(session, max_loose, max_dead)
    else:
        from rsdos.cli.show_status import attention, show

        reasons = attention(show(session, as_json or as_format == "json"), max_loose, max_dead)
    found = reasons if check else []
    for reason in found:
        echo_error(f"rsdos: error: {reason}")
    return FAILED if found else DONE


def _refuse_usage(ctx: click.Context, has_directory: bool, has_remote: bool) -> None:
    """Raise `click.UsageError` for an option of the other status."""
    from click.core import ParameterSource

    if ctx.params["as_format"] is not None and (has_remote or ctx.params["as_json"]):
        raise click.UsageError("--format is about the container, and takes the place of --json")

    for name in _OF_THE_CONTAINER if has_directory else _OF_A_DIRECTORY:
        if has_remote and name == "exit_code":
            continue
        if ctx.params[name] is not None and ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = "--format" if name == "as_format" else f"--{name.replace('_', '-')}"
            raise click.UsageError(
                f"{option} is about the container: give no DIR" if has_directory else f"{option} needs a DIR"
            )
