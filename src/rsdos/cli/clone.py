"""``rsdos clone``."""

from __future__ import annotations

import click

from rsdos.cli.exit_codes import DONE
from rsdos.cli.options import CommonOptions, report_options
from rsdos.cli.remote import options_of
from rsdos.cli.remote_options import limit_option, show_estimate, show_report, telling_what_is_done
from rsdos.figures import count


@click.command()
@click.argument("url")
@click.argument("directory", metavar="DIR", type=click.Path())
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="An option of the URL, such as endpoint.")
@click.option("--endpoint", help="The same as --option endpoint=URL.")
@click.option("--name", default="origin", show_default=True, help="The name of the remote.")
@click.option("--lazy", is_flag=True, help="Copy no objects: each is read from URL when it is needed, and then kept.")
@limit_option
@report_options
def command(
    url: str,
    directory: str,
    options: tuple[str, ...],
    endpoint: str | None,
    name: str,
    lazy: bool,
    limit: int | None,
    run: CommonOptions,
) -> int:
    """Make a container in DIR with everything that the container at URL has. URL becomes its remote origin.

    URL may also be the path of a container of version 2. After an interruption the same command continues. --dry-run
    counts packs, requests and bytes, and makes nothing.

    \b
    Example: rsdos clone s3://lab/data ./data --endpoint https://rgw.example.org
    Example: rsdos clone --lazy s3://lab/data ./data
    """
    from rsdos.maintenance.remotes.clone import CloneOptions, clone, estimate

    if lazy and run.dry_run:
        raise click.UsageError("--lazy copies no objects that --dry-run could count")
    given = CloneOptions(url, directory, options_of(options, endpoint), name, limit)
    if run.dry_run:
        show_estimate(run, estimate(given), "clone")
        return DONE
    if lazy:
        from rsdos.maintenance.remotes.lazy import clone_lazily

        begun = clone_lazily(given)
        run.show(begun, f"Cloned {begun.remote}: {count(begun.objects, 'object')}, to be read when they are needed")
        return DONE
    with telling_what_is_done(), run.bar() as bar:
        report = clone(given, bar)
    return show_report(run, report, "Cloned")
