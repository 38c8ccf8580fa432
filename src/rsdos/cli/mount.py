"""``rsdos mount``."""

from __future__ import annotations

import click

from rsdos.cli.options import pass_session
from rsdos.cli.session import Session


@click.command()
@click.argument("mountpoint", metavar="MOUNTPOINT", type=click.Path())
@click.argument("ref", metavar="[REF]", required=False)
@click.option(
    "--foreground", is_flag=True, help="Serve until it is unmounted or interrupted, instead of in the background."
)
@pass_session
def command(session: Session, mountpoint: str, ref: str | None, foreground: bool) -> None:
    """Mount the snapshot REF, or all branches and tags, at the empty directory MOUNTPOINT, read-only.

    With REF the files are those of one version, for as long as it is mounted. Without it there is a directory for each
    name, which follows its branch; NAME@3 can be used there too. Every read is verified. fusermount3 -u MOUNTPOINT
    unmounts. Needs FUSE, and pip install 'rsdos[fuse]'.

    \b
    Example: rsdos mount /mnt/flowers flowers@3
    """
    try:
        from rsdos.integrations.fuse_mount import Serving, mount
    except ImportError as error:
        raise click.ClickException(str(error)) from None
    session.refuse_own(mountpoint)
    serving = Serving.FOREGROUND if foreground else Serving.BACKGROUND
    mount(session.container(), mountpoint, ref, serving=serving)
