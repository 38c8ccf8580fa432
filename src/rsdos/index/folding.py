"""Folding: the rows of packs move from a manifest to tables, so that each commit writes few rows (ADR 31).

A fold is planned from the packs of a manifest, and is a change of the newest one like any other. Tables have no id in
common, and are in the order of their ids: the rows go into the tables in whose ranges they are, which are written anew,
and those behind all others into the last table until that is full.
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
"""A table that is no more than this part full is joined with one beside it that is written anew."""

_DICTIONARY = f"V{DICTIONARY.size}"

_Column: TypeAlias = "np.ndarray[Any, Any]"

_Columns = tuple[_Column, _Column, _Column, _Column]
"""The ids, the columns of 8 bytes and those of one, as the rows of a matrix each, and the dictionaries of all packs."""


class Fold(NamedTuple):
    """Tables to take the place of some rows, see `plan_fold`: the packs of ``tables``, and ``folded`` ones beside them.

    ``pieces`` are the tables that are to be, in order: one that stays, or the bytes of a new one.
    """

    tables: PackTables
    folded: Mapping[int, PackEntry]
    pieces: Sequence[PackTable | bytes]

    @property
    def files(self) -> list[bytes]:
        """The contents of the new tables, in order."""
        return [piece for piece in self.pieces if isinstance(piece, bytes)]

    def onto(self, newest: Packs, names: Sequence[tuple[int, str]]) -> Packs | None:
        """Return the same packs as ``newest``, with these tables; None where another fold was committed since.

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
    """Return what to fold so that ``most`` rows and ids are left; None where there are no more, or none can be.

    Packs that may change soon stay, if these are few: those that are written to, or not synced.
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
    """Return the tables with some rows added, and without those that are dropped, which may be added ones of before."""
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
    """Return which table a pack goes to; their number for a new one behind them."""
    at = tables.of(pack_id)
    is_last = at == len(tables.tables) > 0
    return at - 1 if is_last and tables.tables[-1].entry.count < pack_table.MOST_ROWS else at


def _is_small(table: PackTable) -> bool:
    return table.entry.count * _SMALL < pack_table.MOST_ROWS


def _written(run: Sequence[_Columns], dropped: frozenset[int]) -> Iterator[bytes]:
    """Yield tables of the rows of neighbours. Those that are dropped are left out where no row is added for them."""
    if not run:
        return
    ids, wide, narrow, dictionaries = (np.concatenate(columns, axis=-1) for columns in zip(*run, strict=True))
    # Of two rows of an id the added one counts, which is behind: those of tables come first in each part of the run.
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
    # Within bounds, whatever was counted before: a manifest that contradicts itself is read, and a table is not.
    dead = pack.dead.within(pack.total)
    suffix = int(pack.suffix or "0", 16)
    return (suffix, pack.synced, pack.length - pack.synced, *(pack.total - dead), *dead)
