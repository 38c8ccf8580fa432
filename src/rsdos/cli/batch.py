"""``rsdos cat-file --batch``: keys on standard input, objects on standard output, with the framing of git."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rsdos.cli.render import echo_bytes
from rsdos.errors import AmbiguousKey, InvalidKey, ObjectNotFound
from rsdos.model import FRAME_SIZE
from rsdos.standard import standard_input

if TYPE_CHECKING:
    from rsdos.container import Container

Answer = Callable[["Container", str], None]
"""Prints one object, or its size. Raises `ObjectNotFound`."""


def answer_all(container: Container, answer: Answer) -> None:
    """Answer each line of standard input, a key or its beginning, before reading the next line."""
    is_key = container.config.hash.is_key
    for line in standard_input():
        asked = line.strip()
        text = asked.decode("ascii", "replace")
        try:
            answer(container, text if is_key(text) else container.find(text))
        except (ObjectNotFound, InvalidKey):
            echo_bytes(asked + b" missing\n")
        except AmbiguousKey:
            echo_bytes(asked + b" ambiguous\n")


def size_alone(container: Container, key: str) -> None:
    """Print ``<key> blob <size>``, as ``git cat-file --batch-check`` does."""
    echo_bytes(f"{key} blob {container.meta(key).size}\n".encode())


def size_and_bytes(container: Container, key: str) -> None:
    """Print the line of `size_alone`, then the bytes and a newline, as ``git cat-file --batch`` does.

    A damaged object ends the output. Part of it may be written already, if it is larger than a frame.
    """
    size = container.meta(key).size
    head = f"{key} blob {size}\n".encode()
    if size <= FRAME_SIZE:
        echo_bytes(b"".join((head, container.extract(key), b"\n")))
        return
    parts = container.engine.objects.parts(key)
    for at, part in enumerate(parts):
        if at == 0:
            echo_bytes(head)
        echo_bytes(part)
    echo_bytes(b"\n")
