"""Folding: the rows of packs move from a manifest to tables, so that each commit writes few rows (ADR 31).

A fold is planned from the packs of a manifest, and is a change of the newest manifest like any other. Tables have no id
in common, and are in the order of their ids. A row goes into the table whose range has its id, and that table is
written anew. Rows after all tables go into the last table until it is full.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from rsdos.index import pack_table
from rsdos.index.pack_entry import PackEntry
from rsdos.index.pack_table import (
    CHECKED,
    DICTIONARY,
    FORMAT,
    HEADER,
    LIMIT,
    MAGIC,
    WIDE,
    PackTable,
    checksum_of,
    entry_of,
)
from rsdos.index.packs import Packs, PackTables

_SMALL = 4
"""A table that is less than a fourth full is joined with a neighbour that is written anew."""

_DICTIONARY = f"V{DICTIONARY.size}"

_Column: TypeAlias = "np.ndarray[Any, Any]"

_Columns = tuple[_Column, _Column, _Column, _Column]
"""The ids, the columns of 8 bytes and those of 1 byte, each as the rows of a matrix, and all dictionaries."""


class Fold(NamedTuple):
    """Tables that will take the place of some rows, see `plan_fold`: of ``tables``, and of the rows ``folded``.

    ``pieces`` are the tables after the fold, in order: a table that stays, or the bytes of a new one.
    """

    tables: PackTables
    folded: Mapping[int, PackEntry]
    pieces: Sequence[PackTable | bytes]

    @property
    def files(self) -> list[bytes]:
        """The contents of the new tables, in order."""
        return [piece for piece in self.pieces if isinstance(piece, bytes)]

    def onto(self, newest: Packs, names: Sequence[tuple[int, str]]) -> Packs | None:
        """Return the packs of ``newest`` with these tables; None if another fold was committed since the plan.

        ``names`` are the numbers and suffixes of the new tables, which are stored by now.
        """
        if newest.tables is not self.tables and newest.tables.entries != self.tables.entries:
            return None
        fresh = iter(names)
        pieces = (
            piece if isinstance(piece, PackTable) else PackTable(piece, entry_of(piece, *next(fresh)))
            for piece in self.pieces
        )
        tables = PackTables(tuple(pieces))
        changed = {pack_id: pack for pack_id, pack in newest.changed.items() if self.folded.get(pack_id) != pack}
        gone = {*newest.gone, *(pack_id for pack_id in self.folded if pack_id not in newest.changed)}
        return Packs(tables, changed, frozenset(filter(tables.has, {*changed, *gone})))


def plan_fold(packs: Packs, most: int) -> Fold | None:
    """Return a fold after which at most ``most`` rows and ids are left. Return None if no more are there, or none fold.

    Packs that may change soon are not folded if they are few: those that are written to, or not synced.
    """
    if len(packs.changed) + len(packs.gone) <= most:
        return None
    able = {pack_id: pack for pack_id, pack in packs.changed.items() if max(*pack[1:3], *pack[4:10]) < LIMIT}
    settled = {pack_id: pack for pack_id, pack in able.items() if pack.is_settled}
    folded = settled if len(packs.changed) - len(settled) <= most // 2 else able
    if not folded and not packs.gone:
        return None
    pieces = _pieces(packs.tables, folded, packs.hidden - (packs.changed.keys() - folded.keys()))
    return Fold(packs.tables, folded, pieces)


def _pieces(tables: PackTables, folded: Mapping[int, PackEntry], dropped: frozenset[int]) -> list[PackTable | bytes]:
    """Return the tables with some rows added and without the ``dropped`` ones. A row that is replaced is in both."""
    rows: dict[int, list[PackEntry]] = {}
    for pack_id, pack in folded.items():
        rows.setdefault(_place_of(tables, pack_id), []).append(pack)
    touched = {*rows, *(tables.of(pack_id) for pack_id in dropped)}
    for at in list(touched):
        for beside in (at - 1, at + 1):
            if 0 <= beside < len(tables.tables) and _is_small(tables.tables[beside]):
                touched.add(beside)
    pieces: list[PackTable | bytes] = []
    run: list[_Columns] = []
    for at in range(len(tables.tables) + 1):
        if at in touched:
            table = tables.tables[at] if at < len(tables.tables) else None
            run += [_of_table(table) if table else _of_rows(()), _of_rows(rows.get(at, ()))]
            continue
        pieces += _written(run, dropped)
        run = []
        pieces += tables.tables[at : at + 1]
    return [*pieces, *_written(run, dropped)]


def _place_of(tables: PackTables, pack_id: int) -> int:
    """Return which table a pack goes to; the number of tables for a new one after them."""
    at = tables.of(pack_id)
    is_last = at == len(tables.tables) > 0
    return at - 1 if is_last and tables.tables[-1].entry.count < pack_table.MOST_ROWS else at


def _is_small(table: PackTable) -> bool:
    return table.entry.count * _SMALL < pack_table.MOST_ROWS


def _written(run: Sequence[_Columns], dropped: frozenset[int]) -> Iterator[bytes]:
    """Yield tables of the rows of neighbouring tables, with added rows, and without the old rows of dropped ids."""
    if not run:
        return
    ids, wide, narrow, dictionaries = (np.concatenate(columns, axis=-1) for columns in zip(*run, strict=True))
    # Of two rows of an id the added one counts. In the run, the rows of a table and added rows take turns.
    is_old = np.concatenate([np.full(len(part[0]), at % 2 == 0) for at, part in enumerate(run)])
    kept = np.flatnonzero(~(is_old & np.isin(ids, np.fromiter(dropped, ids.dtype, len(dropped)))))
    order = kept[np.argsort(ids[kept], kind="stable")]
    starts = np.cumsum(narrow[2], dtype=np.intp) - narrow[2]
    ids, wide, counts = ids[order], wide[:, order], narrow[2][order].astype(np.intp)
    narrow, starts, ends = narrow[:, order], starts[order], np.cumsum(counts)
    start = 0
    while start < len(ids):
        before = ends[start] - counts[start]
        most = int(np.searchsorted(ends, before + pack_table.MOST_DICTIONARIES, side="right"))
        part = slice(start, min(start + pack_table.MOST_ROWS, most))
        # Where the dictionaries of each row are, one after another.
        own = np.repeat(starts[part] - (ends[part] - counts[part]), counts[part])
        places = own + np.arange(before, before + counts[part].sum())
        yield _encoded(ids[part], wide[:, part], narrow[:, part], dictionaries[places])
        start = part.stop


def _encoded(ids: _Column, wide: _Column, narrow: _Column, dictionaries: _Column) -> bytes:
    head = HEADER.pack(MAGIC, FORMAT, 0, len(ids), len(dictionaries), 0)
    data = bytearray(head + wide.tobytes() + ids.tobytes() + narrow.tobytes() + dictionaries.tobytes())
    data[CHECKED : CHECKED + 4] = checksum_of(data).to_bytes(4, "little")
    return bytes(data)


def _of_table(table: PackTable) -> _Columns:
    count, at = table.entry.count, HEADER.size
    end = at + pack_table.ROW * count
    wide = np.frombuffer(table.data, "<u8", len(WIDE) * count, at).reshape(len(WIDE), count)
    ids = np.frombuffer(table.data, "<u4", count, at + wide.nbytes)
    narrow = np.frombuffer(table.data, "u1", 3 * count, at + wide.nbytes + ids.nbytes).reshape(3, count)
    return ids, wide, narrow, np.frombuffer(bytearray(table.data[end:]), _DICTIONARY)


def _of_rows(packs: Sequence[PackEntry]) -> _Columns:
    wide = np.array([_wide(pack) for pack in packs], "<u8").reshape(len(packs), len(WIDE)).T
    narrow = np.array([(pack.kind, pack.sealed, len(pack.dictionaries)) for pack in packs], "u1")
    rows = [DICTIONARY.pack(one.digest, one.length, *one.offsets) for pack in packs for one in pack.dictionaries]
    ids = np.array([pack.id for pack in packs], "<u4")
    return ids, wide, narrow.reshape(len(packs), 3).T, np.frombuffer(bytearray(b"".join(rows)), _DICTIONARY)


def _wide(pack: PackEntry) -> tuple[int, ...]:
    # Keep the counts within bounds: a manifest that contradicts itself can be read, but such a table cannot.
    dead = pack.dead.within(pack.total)
    suffix = int(pack.suffix or "0", 16)
    return (suffix, pack.synced, pack.length - pack.synced, *(pack.total - dead), *dead)
