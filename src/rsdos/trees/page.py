"""The bytes of a page, as in docs/format.md. A page that decodes has only entries that a tree may have.

What a page alone cannot show, its place and that directories have entries, is checked by `reader` and `parents`.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain
from operator import ge
from struct import Struct
from typing import NamedTuple, TypeAlias

from rsdos.errors import DecodeError
from rsdos.model import DIGEST_BYTES
from rsdos.trees.cut import INNER_CHILDREN, LEVELS
from rsdos.trees.entry import LEAF_ENTRIES, Attributes, EntryKind, Listing, order_key
from rsdos.trees.limits import MOST_PARTS, directories_fault, names_fault, path_fault, targets_fault

MAGIC = b"RSTR"
VERSION = 1

_HEAD = Struct("<4sBBBBII")
_SWAPPED = sys.byteorder == "big"

_LINK = bytes([EntryKind.LINK])
_DIRECTORY = bytes([EntryKind.DIRECTORY])


class Child(NamedTuple):
    """What an inner page says of a page below it."""

    level: int
    directory: bytes
    """That of the last entry below."""
    name: bytes
    last: bytes
    """The `order_key` of the last entry below."""
    after: bytes
    """The `order_key` of the last entry of the page before; ``b""`` where that is not known or there is none."""
    entries: int
    size: int
    """Bytes of all files below."""
    key: bytes


class Leaf(NamedTuple):
    """A page of entries."""

    attributes: Attributes
    runs: list[Listing]
    """One for each directory."""
    entries: int
    size: int
    first: bytes
    """The `order_key` of the first entry; ``b""`` in the page of an empty tree."""
    last: bytes
    level: int = 0


class Inner(NamedTuple):
    """A page of pages."""

    attributes: Attributes
    level: int
    children: list[Child]
    lasts: list[bytes]
    """The `Child.last` of each."""
    entries: int
    size: int

    @property
    def last(self) -> bytes:
        return self.lasts[-1]


Page: TypeAlias = Leaf | Inner


def column(code: str, values: Sequence[int]) -> bytes:
    """Return numbers as a column of a page. Raise OverflowError for a number that it cannot hold."""
    numbers = values if isinstance(values, array) and values.typecode == code else array(code, values)
    if _SWAPPED:
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def encode_leaf(segments: Sequence[Listing], attributes: Attributes) -> bytes:
    """Return the page of entries that are in order and were checked. Neighbours of one directory become one run."""
    directories: list[bytes] = []
    counts: list[int] = []
    for segment in segments:
        if directories and directories[-1] == segment.directory:
            counts[-1] += len(segment.names)
        else:
            directories.append(segment.directory)
            counts.append(len(segment.names))
    names = _together(segment.names for segment in segments)
    kinds = b"".join([segment.kinds for segment in segments])
    parts = [
        _HEAD.pack(MAGIC, VERSION, 0, attributes, 0, len(names), len(counts)),
        column("I", counts),
        column("H", [len(directory) for directory in directories]),
        *directories,
        kinds,
        bytes(map(len, names)),
        *names,
        *[column("Q", segment.sizes) for segment in segments],
        *chain.from_iterable(segment.keys for segment in segments),
    ]
    if _LINK in kinds:
        targets = [target for segment in segments for target in segment.targets if target]
        parts += [column("H", [len(target) for target in targets]), *targets]
    if attributes & Attributes.TIMES:
        parts += [column("q", segment.mtimes or ()) for segment in segments]
    if attributes & Attributes.MODES:
        parts += [column("H", segment.modes or ()) for segment in segments]
    return b"".join(parts)


def _together(columns: Iterable[Sequence[bytes]]) -> Sequence[bytes]:
    return list(chain.from_iterable(columns))


def encode_inner(level: int, children: Sequence[Child], attributes: Attributes) -> bytes:
    """Return the page of pages of the level below, which are in order."""
    return b"".join(
        [
            _HEAD.pack(MAGIC, VERSION, level, attributes, 0, len(children), 0),
            column("H", [len(child.directory) for child in children]),
            bytes([len(child.name) for child in children]),
            *[child.directory for child in children],
            *[child.name for child in children],
            column("Q", [child.entries for child in children]),
            column("Q", [child.size for child in children]),
            *[child.key for child in children],
        ]
    )


class _Columns:
    """Takes one column after another; no count is believed before the bytes for it were seen."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = _HEAD.size

    def take(self, length: int) -> bytes:
        start = self._at
        end = start + length
        if end > len(self._data):
            raise DecodeError("it ends before its columns do")
        self._at = end
        return self._data[start:end]

    def skip(self, length: int) -> None:
        self._at += length

    def numbers(self, code: str, count: int) -> array[int]:
        found = array(code)
        found.frombytes(self.take(count * found.itemsize))
        if _SWAPPED:
            found.byteswap()
        return found

    def texts(self, lengths: Iterable[int], total: int) -> list[bytes]:
        return _split(self.take(total), lengths)

    def end(self) -> None:
        if self._at != len(self._data):
            raise DecodeError("its length is not that of its columns")


def _split(joined: bytes, lengths: Iterable[int]) -> list[bytes]:
    ends = list(accumulate(lengths))
    return [joined[start:end] for start, end in zip([0, *ends], ends, strict=False)]


class _Head(NamedTuple):
    level: int
    attributes: Attributes
    total: int
    """Entries of a leaf, children of an inner page."""
    runs: int


_ATTRIBUTES = (Attributes.NONE, Attributes.TIMES, Attributes.MODES, Attributes.TIMES | Attributes.MODES)


def _head(data: bytes) -> _Head:
    if len(data) < _HEAD.size:
        raise DecodeError("it is shorter than the head of a page")
    magic, version, level, attributes, zero, count, runs = _HEAD.unpack_from(data)
    if magic != MAGIC:
        raise DecodeError("it is no page of a tree")
    if version != VERSION:
        raise DecodeError(f"version {version} of a page is not known to this release")
    if zero or attributes >= len(_ATTRIBUTES) or level >= LEVELS:
        raise DecodeError("the head of a page has values that do not exist")
    if level == 0 and (count > LEAF_ENTRIES or runs > count or bool(runs) != bool(count)):
        raise DecodeError(f"a leaf of {count} entries in {runs} directories")
    if level and (not 0 < count <= INNER_CHILDREN or runs):
        raise DecodeError(f"an inner page of {count} children")
    return _Head(level, _ATTRIBUTES[attributes], count, runs)


def is_page(data: bytes) -> bool:
    """Return whether an object begins as a page does."""
    return data[:4] == MAGIC


def decode_page(data: bytes) -> Page:
    """Return the page of these bytes. Raise `DecodeError` for any that no page can have."""
    head = _head(data)
    return _inner(data, head) if head.level else _leaf(data, head)


def _leaf(data: bytes, head: _Head) -> Leaf:
    columns = _Columns(data)
    count = head.total
    counts = columns.numbers("I", head.runs)
    lengths = columns.numbers("H", head.runs)
    if sum(counts) != count or 0 in counts:
        raise DecodeError("the runs of a leaf are not as long as the leaf")
    directories = columns.texts(lengths, sum(lengths))
    kinds = columns.take(count)
    name_lengths = columns.take(count)
    joined_names = columns.take(sum(name_lengths))
    sizes = columns.numbers("Q", count)
    plain = kinds.count(0) + kinds.count(1)
    links = kinds.count(_LINK)
    if plain + links + kinds.count(_DIRECTORY) != count:
        raise DecodeError("an entry of a kind that does not exist")
    joined = columns.take(plain * DIGEST_BYTES)
    target_lengths = columns.numbers("H", links)
    targets = columns.texts(target_lengths, sum(target_lengths))
    mtimes = columns.numbers("q", count) if head.attributes & Attributes.TIMES else None
    modes = columns.numbers("H", count) if head.attributes & Attributes.MODES else None
    columns.end()
    names = _split(joined_names, name_lengths)
    keys = [joined[at : at + DIGEST_BYTES] for at in range(0, len(joined), DIGEST_BYTES)]
    fault = directories_fault(directories) or names_fault(names, name_lengths, joined_names)
    fault = fault or targets_fault(targets) or ("a mode of more than 9 bits" if modes and max(modes) > 0o777 else "")
    if fault:
        raise DecodeError(fault)
    size = sum(sizes)
    if plain == count:
        targets = [b""] * count
    else:
        keys, targets = _spread(kinds, keys, targets)
        size -= _checked_others(kinds, sizes, targets)
    if len(directories) == 1:
        runs = [Listing(directories[0], names, kinds, sizes, keys, targets, mtimes, modes)]
    else:
        runs = _runs(directories, counts, Listing(b"", names, kinds, sizes, keys, targets, mtimes, modes))
    for run in runs:
        _check_run(run)
    first = order_key(directories[0], names[0]) if count else b""
    last = order_key(directories[-1], names[-1]) if count else b""
    return Leaf(head.attributes, runs, count, size, first, last)


def _spread(kinds: bytes, keys: list[bytes], targets: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Return a key and a target for each entry."""
    if not keys and not targets:
        return [b""] * len(kinds), [b""] * len(kinds)
    next_key, next_target = iter(keys).__next__, iter(targets).__next__
    all_keys = [next_key() if kind < EntryKind.LINK else b"" for kind in kinds]
    all_targets = (
        [next_target() if kind == EntryKind.LINK else b"" for kind in kinds] if targets else [b""] * len(kinds)
    )
    return all_keys, all_targets


def _checked_others(kinds: bytes, sizes: Sequence[int], targets: Sequence[bytes]) -> int:
    """Return the sum of the sizes of what is no file, each of which must be that of a target."""
    others = [(size, len(target)) for kind, size, target in zip(kinds, sizes, targets, strict=True) if kind > 1]
    if any(size != length for size, length in others):
        raise DecodeError("the size of a link is not that of its target, or a directory has one")
    return sum([size for size, _ in others])


def _runs(directories: Sequence[bytes], counts: Sequence[int], whole: Listing) -> list[Listing]:
    _, names, kinds, sizes, keys, targets, mtimes, modes = whole
    runs = []
    end = 0
    for directory, count in zip(directories, counts, strict=True):
        start, end = end, end + count
        runs.append(
            Listing(
                directory,
                names[start:end],
                kinds[start:end],
                sizes[start:end],
                keys[start:end],
                targets[start:end],
                None if mtimes is None else mtimes[start:end],
                None if modes is None else modes[start:end],
            )
        )
    return runs


def _check_run(run: Listing) -> None:
    names = run.names
    if len(names) > 1 and any(map(ge, names, names[1:])):
        raise DecodeError("names out of order")
    directory = run.directory
    # Short paths have few parts, too: 1,024 of them have 2,047 bytes.
    fault = path_fault(directory, max(map(len, names))) if len(directory) > _SHORT else ""
    if fault:
        raise DecodeError(fault)


_SHORT = MOST_PARTS
"""Bytes of a directory that surely has no path in it that is too long."""


def _inner(data: bytes, head: _Head) -> Inner:
    columns = _Columns(data)
    count = head.total
    lengths = columns.numbers("H", count)
    name_lengths = columns.take(count)
    directories = columns.texts(lengths, sum(lengths))
    names = columns.texts(name_lengths, sum(name_lengths))
    entries = columns.numbers("Q", count)
    sizes = columns.numbers("Q", count)
    joined = columns.take(count * DIGEST_BYTES)
    columns.end()
    fault = names_fault(names, name_lengths, b"".join(names)) or directories_fault(
        [directory for at, directory in enumerate(directories) if at == 0 or directory != directories[at - 1]]
    )
    for directory, name in zip(directories, names, strict=True):
        fault = fault or path_fault(directory, len(name))
    lasts = [order_key(directory, name) for directory, name in zip(directories, names, strict=True)]
    if not fault and any(map(ge, lasts, lasts[1:])):
        fault = "children out of order"
    if not fault and 0 in entries:
        fault = "a child without entries"
    if fault:
        raise DecodeError(fault)
    keys = [joined[at : at + DIGEST_BYTES] for at in range(0, len(joined), DIGEST_BYTES)]
    below = [head.level - 1] * count
    children = list(map(Child, below, directories, names, lasts, [b"", *lasts], entries, sizes, keys))
    return Inner(head.attributes, head.level, children, lasts, sum(entries), sum(sizes))


class PageKeys(NamedTuple):
    """The digests in a page: of the children of an inner page, of the files of a leaf."""

    level: int
    joined: bytes


def page_keys(data: bytes) -> PageKeys:
    """Return the digests in a page without decoding its entries. Raise `DecodeError`.

    Ten times as fast as `decode_page`: marking needs no names.
    """
    head = _head(data)
    columns = _Columns(data)
    count = head.total
    if head.level:
        lengths = columns.numbers("H", count)
        columns.skip(sum(columns.take(count)) + sum(lengths) + 16 * count)
        joined = columns.take(count * DIGEST_BYTES)
        columns.end()
        return PageKeys(head.level, joined)
    columns.skip(4 * head.runs)
    columns.skip(sum(columns.numbers("H", head.runs)))
    kinds = columns.take(count)
    columns.skip(sum(columns.take(count)) + 8 * count)
    links = kinds.count(_LINK)
    joined = columns.take((count - links - kinds.count(_DIRECTORY)) * DIGEST_BYTES)
    columns.skip(sum(columns.numbers("H", links)))
    columns.skip(count * (8 * bool(head.attributes & Attributes.TIMES) + 2 * bool(head.attributes & Attributes.MODES)))
    columns.end()
    return PageKeys(0, joined)
