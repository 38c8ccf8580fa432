"""The objects that trees reach: garbage collection marks them, a transfer copies them, a validation looks them up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from rsdos.errors import DamagedContainer, DamagedObject, DamagedTree, DecodeError, ObjectNotFound
from rsdos.model import DIGEST_BYTES
from rsdos.trees.page import PageKeys, page_keys
from rsdos.trees.reader import TOGETHER, PagesTooLarge, ReadPages


class Reached(NamedTuple):
    """Some of what trees reach: digests, one after another."""

    pages: bytes
    files: bytes
    """Those of files may come again: in other pages, and in one."""


def keys_of(roots: Iterable[bytes], read_pages: ReadPages) -> Iterator[bytes]:
    """Yield the digests of all pages and files of some trees, many together. Raises as `keys_by_kind`."""
    for pages, files in keys_by_kind(roots, read_pages):
        yield pages + files


def keys_by_kind(roots: Iterable[bytes], read_pages: ReadPages) -> Iterator[Reached]:
    """Yield what some trees reach, given the digests of their root pages. A page that several have comes once.

    Takes the memory of the digests of all pages, 100 B each. Raise `DamagedTree` for a page that is missing or damaged:
    what is below it is not known.
    """
    seen: set[bytes] = set()
    waiting = list(dict.fromkeys(roots))
    seen.update(waiting)
    while waiting:
        some, waiting = waiting[-TOGETHER:], waiting[:-TOGETHER]
        files = []
        for level, joined in _page_keys(some, read_pages):
            if level == 0:
                files.append(joined)
                continue
            for at in range(0, len(joined), DIGEST_BYTES):
                key = joined[at : at + DIGEST_BYTES]
                if key not in seen:
                    seen.add(key)
                    waiting.append(key)
        yield Reached(b"".join(some), b"".join(files))


def _page_keys(keys: list[bytes], read_pages: ReadPages) -> list[PageKeys]:
    try:
        found = read_pages(keys)
    except PagesTooLarge:
        return [page for key in keys for page in _page_keys([key], read_pages)]
    except (ObjectNotFound, DamagedObject, DamagedContainer) as error:
        raise DamagedTree(keys[0].hex(), f"one of {len(keys)} pages cannot be read: {error}") from error
    pages = []
    for key, data in zip(keys, found, strict=True):
        try:
            pages.append(page_keys(data))
        except DecodeError as error:
            raise DamagedTree(key.hex(), str(error)) from None
    return pages
