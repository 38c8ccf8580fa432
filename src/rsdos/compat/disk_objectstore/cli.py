"""The command line of disk-objectstore, ``dostore``."""

from __future__ import annotations

import json
import logging
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from rsdos import standard
from rsdos.compat import disk_objectstore
from rsdos.compat.disk_objectstore import backup_utils
from rsdos.compat.disk_objectstore.callbacks import Callback
from rsdos.compat.disk_objectstore.container import Container


class ContainerContext:
    """The container of a command, opened on request."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    @property
    def path(self) -> Path:
        """The path of the container, which may not exist yet."""
        return self._path

    @property
    def container(self) -> Container:
        """The container. Raises ClickException when there is none."""
        if not self.path.exists():
            raise click.ClickException(f"Container does not exist (run create command): {self.path}")
        return Container(str(self.path))


pass_dostore = click.make_pass_decorator(ContainerContext)


class _Commands(click.Group):
    """Commands that print all of their output, or end with an error."""

    def main(self, *arguments: Any, **more: Any) -> Any:
        if more.get("standalone_mode", True):
            standard.make_whole()
        try:
            return super().main(*arguments, **more)
        except standard.OutputFailed as error:
            standard.drop()
            click.echo(f"Error: {error.filename}: {error.strerror}", err=True)
            sys.exit(1)


@click.group(cls=_Commands, context_settings={"help_option_names": ["--help"]})
@click.version_option(disk_objectstore.__version__)
@click.option(
    "-p",
    "--path",
    default=lambda: os.environ.get("DOSTORE_PATH", str(Path.cwd() / "dostore")),
    show_default="$DOSTORE_PATH or ./dostore",
    help="Path to the container (or set env DOSTORE_PATH)",
)
@click.pass_context
def main(ctx: click.Context, path: str) -> None:
    """Manage a disk objectstore"""
    ctx.obj = ContainerContext(path)


@main.command("create")
@click.option("-a", "--algorithm", default="zlib+1", help="Compression algorithm to use")
@pass_dostore
def create(dostore: ContainerContext, algorithm: str) -> None:
    """Create a container"""
    if dostore.path.exists():
        raise click.ClickException(f"Container already exists: {dostore.path}")
    container = Container(str(dostore.path))
    container.init_container(compression_algorithm=algorithm)
    click.echo(f"Created container: {container.get_folder()}")


@main.command("status")
@pass_dostore
def status(dostore: ContainerContext) -> None:
    """Print details about the container"""
    with dostore.container as container:
        data = {
            "path": str(container.get_folder()),
            "id": container.container_id,
            "compression": container.compression_algorithm,
            "count": asdict(container.count_objects()),
            "size": asdict(container.get_total_size()),
        }
    click.echo(json.dumps(data, indent=2))


@main.command("validate")
@click.option("-v", "--verbose", is_flag=True, help="Print the full list of errors with respective hashkeys")
@pass_dostore
def validate(dostore: ContainerContext, verbose: bool) -> None:
    """Validate the container"""
    with dostore.container as container:
        results = asdict(container.validate(_bar()))
    errors = {key: keys for key, keys in results.items() if keys}
    for key, keys in errors.items():
        click.echo(f"Error! {len(keys)} objects with error '{key}'")
    if not errors:
        click.echo("No errors found, the container is valid.")
        return
    if verbose:
        click.echo(json.dumps(results, indent=2))
    sys.exit(1)


def _bar() -> Callback:
    """Return a callback that draws a bar on stderr."""
    bars: list[Any] = []

    def callback(action: str, value: Any) -> None:
        if action == "init":
            bar = click.progressbar(length=value["total"], label=value["description"], file=sys.stderr)
            bars.append(bar.__enter__())
        elif action == "update" and bars:
            bars[-1].update(value)
        elif action == "close" and bars:
            bars.pop().__exit__(None, None, None)

    return callback


@main.command("add-files")
@click.argument("files", nargs=-1, type=click.Path(exists=True))
@pass_dostore
def add_files(dostore: ContainerContext, files: list[str]) -> None:
    """Add file(s) to the container"""
    with dostore.container as container:
        click.echo(f"Adding {len(files)} file(s) to container: {container.get_folder()}")
        for path in files:
            with open(path, "rb") as file:
                click.echo(f"{container.add_streamed_object(file)}: {path}")


@main.command("optimize")
@click.option("-n", "--non-interactive", is_flag=True, help="Do not confirm optimize")
@click.option("--compress/--no-compress", default=True, show_default=True, help="Compress objects before storing")
@click.option("--vacuum/--no-vacuum", default=True, show_default=True, help="Vacuum the database")
@pass_dostore
def optimize(dostore: ContainerContext, non_interactive: bool, compress: bool, vacuum: bool) -> None:
    """Optimize the container's memory use"""
    if not non_interactive:
        click.confirm("Is this the only process accessing the container?", abort=True)
    click.echo(f"Initial container size: {_megabytes(dostore.path)} MB")
    with dostore.container as container:
        container.pack_all_loose(compress=compress)
        container.clean_storage(vacuum=vacuum)
    click.echo(f"Final container size: {_megabytes(dostore.path)} MB")


def _megabytes(path: Path) -> float:
    return round(sum(file.stat().st_size for file in path.glob("**/*") if file.is_file()) / 1000**2, 2)


@main.command("backup")
@click.argument("dest", nargs=1, type=click.Path())
@click.option("--keep", default=1, show_default=True, help="Number of previous backups to keep in the destination.")
@click.option("--rsync-exe", default="rsync", help="The 'rsync' executable, if not in PATH.")
@click.option(
    "--verbosity",
    default="info",
    type=click.Choice(("silent", "info", "debug")),
    help="Set verbosity of the logger.",
)
@pass_dostore
def backup(dostore: ContainerContext, dest: str, keep: int, rsync_exe: str, verbosity: str) -> None:
    """Create a backup of the container.

    It is made in a subfolder backup_<timestamp>_<randstr> of DEST, and `last-backup` is linked to it. DEST is a local
    path, or [<remote_user>@]<remote_host>:<path>, reached through ssh. This is safe while the container is in use.
    """
    logging.basicConfig(format="%(levelname)s:%(message)s")
    level = {"silent": logging.ERROR, "info": logging.INFO, "debug": logging.DEBUG}[verbosity]
    disk_objectstore.LOGGER.setLevel(level)
    with dostore.container as container:
        try:
            manager = backup_utils.BackupManager(dest, keep=keep, rsync_exe=rsync_exe)
            manager.backup_auto_folders(
                lambda path, prev: backup_utils.backup_container(manager, container, path, prev)
            )
        except (ValueError, backup_utils.BackupError) as error:
            click.echo(f"Error: {error}")
            sys.exit(1)
