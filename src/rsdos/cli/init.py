"""``rsdos init``."""

from __future__ import annotations

import click

from rsdos.cli.session import Session, pass_session
from rsdos.cli.sizes import Size


@click.command()
@click.option(
    "--pack-size", type=Size(), default="4GiB", show_default=True, help="Target of a pack; a bare number is MiB."
)
@click.option(
    "--compression", default="zstd", show_default=True, help="Of packed objects: none, zstd, zstd:+3, zlib+1, ..."
)
@click.option("--loose-compression", default="none", show_default=True, help="Of loose objects.")
@click.option(
    "--loose-prefix-len", type=int, default=2, show_default=True, help="Key characters in a loose directory's name."
)
@pass_session
def command(session: Session, pack_size: int, compression: str, loose_compression: str, loose_prefix_len: int) -> None:
    """Make a container, in a directory that is not there or is empty.

    `rsdos --durability relaxed init` makes a container that syncs nothing.
    """
    session.container().init_container(
        pack_size_target=pack_size,
        loose_prefix_len=loose_prefix_len,
        compression_algorithm=compression,
        loose_compression=loose_compression,
        durability=session.durability or "full",
    )
    click.echo(f"[info] Container initialized at {session.path}")
