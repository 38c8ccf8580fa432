"""``rsdos cat-file``."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import ExitStack

import click

from rsdos.cli.bar import Bar
from rsdos.cli.parameter import Parameter
from rsdos.cli.passing import pass_session
from rsdos.cli.render import echo_bytes
from rsdos.cli.session import Session
from rsdos.model import BytesLike

_PART = 1 << 20
_RANGE = re.compile(r"(\d*):(\d*)")


class _Range(Parameter):
    """``START:END``, raw bytes, half-open; either may be left out."""

    name = "start:end"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int | None]:
        if isinstance(value, tuple):
            return value
        match = _RANGE.fullmatch(str(value))
        if match is None:
            self.fail(f"{value!r} is not a range such as 0:100, 100: or :100", param, ctx)
        start, end = int(match[1] or 0), int(match[2]) if match[2] else None
        if end is not None and end < start:
            self.fail(f"{value!r} ends before it starts", param, ctx)
        return start, end


@click.command()
@click.argument("key")
@click.option("-o", "--output", type=click.Path(), help="Write to this file, which appears whole or not at all.")
@click.option(
    "--range",
    "part",
    type=_Range(),
    metavar="START:END",
    help="Only these raw bytes; half-open; what is beyond the end is left out.",
)
@pass_session
def command(session: Session, key: str, output: str | None, part: tuple[int, int | None] | None) -> None:
    """Write an object, or a range of it, to stdout or a file.

    KEY is a key, or the first 6 characters or more of one that are no other's.
    """
    from rsdos.stores import write_out

    container = session.container()
    # Only a prefix needs a search of the index, and numpy for it.
    key = key if container.config.hash.is_key(key) else container.find(key)
    size = container.meta(key).size
    start, end, _ = slice(*part or (0, None)).indices(size)
    with ExitStack() as stack:
        if part is None:
            parts = container.engine.objects.parts(key)
        else:
            parts = _slice(stack.enter_context(container.open(key)), start, end)
        bar = stack.enter_context(Bar(prints=output is None))
        bar.start("Reading", max(end - start, 0), "bytes")
        if output is None:
            _to_stdout(_counted(parts, bar))
        else:
            write_out(_counted(parts, bar), output)


def _counted(parts: Iterator[BytesLike], bar: Bar) -> Iterator[BytesLike]:
    for part in parts:
        yield part
        bar.advance(len(part))


def _slice(stream: io.BufferedReader, start: int, end: int) -> Iterator[bytes]:
    at = stream.seek(start)
    while at < end and (data := stream.read(min(_PART, end - at))):
        at += len(data)
        yield data


def _to_stdout(parts: Iterator[BytesLike]) -> None:
    for part in parts:
        echo_bytes(part)
