"""``rsdos import``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

import click

from rsdos.cli.options import CommonOptions, outcome_options, pass_session_to_write
from rsdos.cli.save import show_saved
from rsdos.cli.session import Session
from rsdos.cli.snapshot_options import described, description_options, kept_options
from rsdos.standard import standard_input

_ENDINGS = {".zip": "zip", ".json": "list", ".jsonl": "list"}


@click.command("import")
@click.argument("name")
@click.argument("file", type=click.Path())
@click.option(
    "--format",
    "form",
    type=click.Choice(["tar", "zip", "list"]),
    help="Default: by the ending of FILE, tar for all others. list: what `add-files --json` has printed.",
)
@description_options
@kept_options
@outcome_options
@pass_session_to_write
def command(  # noqa: PLR0913, PLR0917  one for each option
    session: Session,
    name: str,
    file: str,
    form: str | None,
    message: str,
    metadata: tuple[tuple[str, Any], ...],
    derived_from: tuple[str, ...],
    author: str | None,
    moment: float | None,
    times: bool,
    modes: bool,
    run: CommonOptions,
) -> int:
    """Save what an archive holds as the next version of NAME, without unpacking it to files. FILE "-" is stdin.

    A tar may be compressed as Python's tarfile reads it (gz, bz2, xz). A zip must be a file. A name that leads out of
    the archive's own directory is refused, and nothing is saved.

    \b
    Example: curl -s https://example.org/flowers.tar.gz | rsdos import flowers -
    """
    from rsdos.trees.entry import Attributes
    from rsdos.worktree.archive_import import ImportFormat, ImportOptions, import_archive

    ending = next((kind for end, kind in _ENDINGS.items() if file.endswith(end)), "tar")
    attributes = (Attributes.TIMES if times else Attributes.NONE) | (Attributes.MODES if modes else Attributes.NONE)
    description = described(session, name, message, metadata, derived_from, author, moment)
    options = ImportOptions(description, ImportFormat(form or ending), attributes)
    with _source(file) as source, run.bar() as bar:
        report = import_archive(session.container().engine, options, source, bar)
    return show_saved(report, run)


@contextmanager
def _source(path: str) -> Iterator[BinaryIO]:
    if path == "-":
        yield cast(BinaryIO, standard_input())
        return
    with open(path, "rb") as file:
        yield file
