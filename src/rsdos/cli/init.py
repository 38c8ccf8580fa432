"""``rsdos init``."""

from __future__ import annotations

import click

from rsdos.cli.options import is_path_given, pass_session
from rsdos.cli.render import echo
from rsdos.cli.session import Session
from rsdos.cli.types import Size
from rsdos.cli.url_options import given_options, url_options
from rsdos.model import ReadableBy, Sharing


@click.command()
@click.argument("path", required=False, type=click.Path())
@click.option(
    "--pack-size",
    type=Size(),
    show_default="4GiB, at a URL 32MiB",
    help="Size at which a pack is full. A bare number is MiB.",
)
@click.option(
    "--format",
    "version",
    type=click.IntRange(1, 3),
    show_default="2, at a URL 3",
    help="Container version. 1 is that of disk-objectstore, 3 that of URLs.",
)
@click.option(
    "--compression",
    default="",
    help="Compression of packed objects: none, zstd, zstd:+3, zlib+1, ...  [default: zstd, with --format 1 zlib+1]",
)
@click.option(
    "--readers",
    type=click.Choice([readers.value for readers in ReadableBy]),
    default="all",
    show_default=True,
    help="With --format 1: programs that must be able to read the container. rsdos allows zstd.",
)
@click.option(
    "--hash", "hash_type", default="sha256", show_default=True, help="Hash of the keys. With --format 1 also sha1."
)
@click.option("--loose-compression", default="none", show_default=True, help="Compression of loose objects.")
@click.option(
    "--loose-prefix-len",
    type=int,
    default=2,
    show_default=True,
    help="Characters of a key in the name of a loose directory.",
)
@click.option(
    "--shared",
    is_flag=True,
    help="Let the directory's group read and write everything in the container, now and later.",
)
@url_options
@pass_session
@click.pass_context
def command(  # noqa: PLR0913, PLR0917  an argument for each option
    ctx: click.Context,
    session: Session,
    path: str | None,
    pack_size: int | None,
    version: int | None,
    compression: str,
    readers: str,
    hash_type: str,
    loose_compression: str,
    loose_prefix_len: int,
    shared: bool,
    option: tuple[tuple[str, str], ...],
    endpoint: str | None,
) -> None:
    """Make a container in the directory PATH (default: that of -p), which must be missing or empty, or at a URL.

    `rsdos --durability relaxed init` makes a container that does not sync its commits.

    \b
    Example: rsdos init --pack-size 1GiB /data/store
    Example: rsdos init s3://lab/data --endpoint https://rgw.example.org
    """
    if path is not None:
        if is_path_given(ctx):
            raise click.UsageError("name the container either with -p, or after init")
        session = session._replace(path=path)
    session = session._replace(options=session.options + given_options(option, endpoint))
    session.container().init_container(
        pack_size_target=pack_size,
        loose_prefix_len=loose_prefix_len,
        compression_algorithm=compression,
        loose_compression=loose_compression,
        durability=session.durability or "full",
        hash_type=hash_type,
        container_version=version,
        readers=readers,
        sharing=Sharing.GROUP if shared else Sharing.UMASK,
    )
    echo(f"[info] Container initialized at {session.path}")
