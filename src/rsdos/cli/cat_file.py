"""``rsdos cat-file``."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from rsdos.cli.batch import answer_all, size_alone, size_and_bytes
from rsdos.cli.object_names import object_key
from rsdos.cli.options import pass_session
from rsdos.cli.parameter import Parameter
from rsdos.cli.progress_bar import Bar
from rsdos.cli.render import echo_bytes
from rsdos.cli.session import Session
from rsdos.model import BytesLike
from rsdos.progress import step

if TYPE_CHECKING:
    from rsdos.container import Container

_PART = 1 << 20
_RANGE = re.compile(r"(\d*):(\d*)")


class _Range(Parameter):
    """``START:END``, in raw bytes, half-open. Either may be left out."""

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
@click.argument("key", metavar="[KEY|REF:PATH]", required=False)
@click.option("-o", "--output", type=click.Path(), help="Write to this file. It appears whole or not at all.")
@click.option(
    "--range",
    "part",
    type=_Range(),
    metavar="START:END",
    help="Write only these raw bytes, START included and END not. Bytes beyond the end are ignored.",
)
@click.option(
    "--batch",
    "batch",
    flag_value="bytes",
    help="Write each object whose key comes on standard input: '<key> blob <size>', then the bytes.",
)
@click.option("--batch-check", "batch", flag_value="size", help="Do the same, without the bytes.")
@pass_session
def command(
    session: Session, key: str | None, output: str | None, part: tuple[int, int | None] | None, batch: str | None
) -> None:
    """Write an object, or a range of it, to stdout or a file.

    KEY is a key, or its first 6 characters or more if no other key begins with them; or REF:PATH, a file of a snapshot;
    or REF, the snapshot's own record (see `rsdos show --help`). If a REF and the beginning of a key are the same text,
    it is the REF: write more characters of the key.

    With --batch each line of standard input is a KEY, and is answered before the next line is read: '<key> blob
    <size>', a newline, the bytes, a newline; or '<KEY> missing', or '<KEY> ambiguous', as by git cat-file --batch.

    \b
    Example: rsdos list | rsdos cat-file --batch-check
    """
    container = session.container()
    if batch is not None:
        if key is not None or output is not None or part is not None:
            raise click.UsageError(
                "--batch reads keys from standard input and writes to standard output: give no KEY, -o or --range"
            )
        answer_all(container, size_and_bytes if batch == "bytes" else size_alone)
        return
    if key is None:
        raise click.UsageError("name a KEY, or give --batch")
    _write(session, container, key, output, part)


def _write(
    session: Session, container: Container, key: str, output: str | None, part: tuple[int, int | None] | None
) -> None:
    from rsdos.stores.base import write_out

    key = object_key(container, key)
    if output is not None:
        session.refuse_own(output)
    size = container.meta(key).size
    start, end, _ = slice(*part or (0, None)).indices(size)
    with ExitStack() as stack:
        if part is None:
            parts = container.engine.objects.parts(key)
        else:
            parts = _slice(stack.enter_context(container.open(key)), start, end)
        bar = stack.enter_context(Bar(quiet=output is None and sys.stdout.isatty()))
        stack.enter_context(step(bar, "Reading", max(end - start, 0), "bytes"))
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
