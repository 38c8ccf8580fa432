"""``rsdos cat-file``."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator

import click

from rsdos.cli.session import Session, pass_session

_PART = 1 << 20
_RANGE = re.compile(r"(\d*):(\d*)")


class _Range(click.ParamType[tuple[int, int | None]]):
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
@click.option("--range", "part", type=_Range(), metavar="START:END", help="Only these raw bytes; half-open.")
@pass_session
def command(session: Session, key: str, output: str | None, part: tuple[int, int | None] | None) -> None:
    """Write an object, or a range of it, to stdout or a file.

    KEY is a key, or the first 6 characters or more of one that are no other's.
    """
    from rsdos.stores import write_out

    container = session.container()
    objects = container.engine.objects
    key = container.find(key)
    if part is not None:
        with container.open(key) as stream:
            parts = _slice(stream, *part)
            if output is None:
                _to_stdout(parts)
            else:
                write_out(parts, output)
    elif output is None:
        _to_stdout(objects.parts(key))
    else:
        container.extract_to(key, output)


def _slice(stream: io.BufferedReader, start: int, end: int | None) -> Iterator[bytes]:
    size = stream.seek(0, os.SEEK_END)
    at, end = stream.seek(min(start, size)), size if end is None else min(end, size)
    while at < end and (data := stream.read(min(_PART, end - at))):
        at += len(data)
        yield data


def _to_stdout(parts: Iterator[bytes | bytearray | memoryview]) -> None:
    # Not through sys.stdout.buffer: what it holds when the reader goes away would raise once more at exit.
    sys.stdout.flush()
    for part in parts:
        view = memoryview(part)
        while view:
            view = view[os.write(sys.stdout.fileno(), view) :]
