"""The live packs of a manifest: a collection that shares its unchanged parts with that of the manifest before.

In a container with many packs, most are rows of pack tables (`rsdos.index.pack_table`), files that never change. A
manifest also has rows of packs that are in no table yet or have changed since, and the ids of rows that no longer
count. A commit copies only these rows and ids. A container with few packs has no tables.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain, filterfalse
from typing import TYPE_CHECKING, overload

from rsdos.index.pack_entry import PackEntry, PackSums, sums_of
from rsdos.model import PackKind

if TYPE_CHECKING:
    from array import array

    from rsdos.index.dictionaries import PackDictionary
    from rsdos.index.pack_table import PackTable, TableEntry


class PackTables:
    """The tables of a manifest, ascending, no two of which have an id in common. Immutable; answers are kept."""

    def __init__(self, tables: tuple[PackTable, ...] = ()) -> None:
        self.tables = tables
        self.count = sum(table.entry.count for table in tables)
        self._lasts = [table.entry.last for table in tables]

    @cached_property
    def entries(self) -> tuple[TableEntry, ...]:
        """The entries of the tables in a manifest."""
        return tuple(table.entry for table in self.tables)

    def of(self, pack_id: int) -> int:
        """Return which table may have a pack: the first that ends with or after it. The number of tables for none."""
        return bisect_left(self._lasts, pack_id)

    def find(self, pack_id: int) -> PackEntry | None:
        """Return the row of a pack; None if no table has it."""
        at = bisect_left(self._lasts, pack_id)
        return self.tables[at].find(pack_id) if at < len(self._lasts) else None

    def has(self, pack_id: int) -> bool:
        """Return whether a table has a pack."""
        at = bisect_left(self._lasts, pack_id)
        return at < len(self._lasts) and self.tables[at].at(pack_id) is not None

    def rows(self) -> Iterator[PackEntry]:
        """Yield all rows, ascending."""
        return chain.from_iterable(table.rows() for table in self.tables)

    @cached_property
    def ids(self) -> array[int]:
        """The ids of all rows."""
        from array import array  # A short command does not need it.

        found = array("I")
        for table in self.tables:
            found.extend(table.ids)
        return found

    @cached_property
    def kinds(self) -> dict[int, PackKind]:
        """The kinds of the packs that are not plain."""
        return {pack_id: kind for table in self.tables for pack_id, kind in table.kinds().items()}

    @cached_property
    def behind(self) -> tuple[PackEntry, ...]:
        """The packs that may not be completely on stable storage."""
        return tuple(row for table in self.tables for row in table.behind())

    @cached_property
    def unsealed(self) -> tuple[PackEntry, ...]:
        """The packs that may be appended to."""
        return tuple(row for table in self.tables for row in table.unsealed())

    def with_dictionaries(self) -> Iterator[PackEntry]:
        """Yield the packs that have dictionaries, the newest first."""
        for table in reversed(self.tables):
            yield from table.with_dictionaries()

    def sums(self, kinds: Collection[PackKind]) -> PackSums:
        """Return what the packs of some kinds have together."""
        return sum((table.sums[kind] for table in self.tables for kind in kinds if kind in table.sums), PackSums())

    def others(self, kinds: Collection[PackKind]) -> frozenset[int]:
        """Return the ids of the packs of other kinds."""
        # Most packs are plain, and `kinds` does not have these.
        others = {pack_id for pack_id, kind in self.kinds.items() if kind not in kinds}
        if PackKind.PLAIN not in kinds:
            others.update(filterfalse(self.kinds.__contains__, self.ids))
        return frozenset(others)


_NO_TABLES = PackTables()


class _LiveIds(Container[int]):
    """The ids of the packs of a collection that has tables."""

    def __init__(self, packs: Packs) -> None:
        self._has = packs.has

    def __contains__(self, pack_id: object) -> bool:
        return isinstance(pack_id, int) and self._has(pack_id)


class Packs(Sequence[PackEntry]):
    """Packs, ascending by id. Immutable; equal to any other sequence of the same entries.

    The time of `find`, `has`, `with_entries` and `without` depends only on what has changed since the tables were
    written. Iterating and indexing make an entry of each row of the tables: they are for maintenance alone.
    """

    def __init__(
        self,
        tables: PackTables = _NO_TABLES,
        changed: Mapping[int, PackEntry] | None = None,
        hidden: frozenset[int] = frozenset(),
    ) -> None:
        """``changed`` are rows beside the tables by their ids, ascending.

        ``hidden`` are the ids of rows in the tables that do not count: those that are in ``changed`` too, and those of
        packs that are gone.
        """
        self.tables = tables
        self.changed: Mapping[int, PackEntry] = changed or {}
        self.hidden = hidden

    @classmethod
    def of(cls, entries: Iterable[PackEntry]) -> Packs:
        """Return the collection of some packs, in any order."""
        return cls().with_entries(entries)

    # Asking for one.

    def find(self, pack_id: int) -> PackEntry | None:
        """Return the pack of an id; None if there is none."""
        found = self.changed.get(pack_id)
        if found is not None or pack_id in self.hidden:
            return found
        return self.tables.find(pack_id)

    def has(self, pack_id: int) -> bool:
        """Return whether there is a pack of an id."""
        return pack_id in self.changed or (pack_id not in self.hidden and self.tables.has(pack_id))

    @property
    def live(self) -> Container[int]:
        """The ids, for use with ``in`` alone."""
        return _LiveIds(self) if self.tables.count else self.changed.keys()

    def dictionaries_of(self, pack_id: int) -> Sequence[PackDictionary]:
        """Return the dictionaries of a pack; none if there is no such pack."""
        found = self.find(pack_id)
        return found.dictionaries if found else ()

    def synced_of(self, pack_id: int) -> int:
        """Return how many bytes of a pack are on stable storage; 0 if there is no such pack."""
        found = self.find(pack_id)
        return found.synced if found else 0

    # All of them.

    def __len__(self) -> int:
        return self.tables.count - len(self.hidden) + len(self.changed)

    def __iter__(self) -> Iterator[PackEntry]:
        if not self.tables.count:
            return iter(self.changed.values())
        rows = self.tables.rows()
        kept = [row for row in rows if row.id not in self.hidden] if self.hidden else [*rows]
        return iter(sorted([*kept, *self.changed.values()]) if self.changed else kept)

    def __reversed__(self) -> Iterator[PackEntry]:
        return iter([*self][::-1])

    @overload
    def __getitem__(self, at: int) -> PackEntry: ...

    @overload
    def __getitem__(self, at: slice) -> tuple[PackEntry, ...]: ...

    def __getitem__(self, at: int | slice) -> PackEntry | tuple[PackEntry, ...]:
        return tuple(self)[at]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Packs) and other.tables is self.tables:
            touched = {*self.changed, *self.hidden, *other.changed, *other.hidden}
            return all(self.find(pack_id) == other.find(pack_id) for pack_id in touched)
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(PackEntry.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Packs.of({[*self]})"

    # Some of them, or what they have in common.

    @property
    def gone(self) -> Collection[int]:
        """The ids of rows in tables whose packs are gone."""
        return self.hidden - self.changed.keys()

    @cached_property
    def ids(self) -> array[int]:
        """All ids, ascending."""
        from array import array

        gone, fresh = self.gone, [pack_id for pack_id in self.changed if pack_id not in self.hidden]
        of_tables = self.tables.ids
        found = array("I", filterfalse(gone.__contains__, of_tables)) if gone else of_tables[:]
        found.extend(fresh)
        if fresh and of_tables and fresh[0] < of_tables[-1]:
            found = array("I", sorted(found))
        return found

    @cached_property
    def kinds(self) -> Mapping[int, PackKind]:
        """The kinds of the packs that are not plain, by their ids: none in a container that never had a snapshot."""
        mine = {pack_id: pack.kind for pack_id, pack in self.changed.items() if pack.kind}
        of_tables = self.tables.kinds
        if not of_tables:
            return mine
        gone = [pack_id for pack_id in self.gone if pack_id in of_tables]
        if not gone and not mine:
            return of_tables
        kinds = {**of_tables, **mine}
        for pack_id in gone:
            del kinds[pack_id]
        return kinds

    @cached_property
    def behind(self) -> Sequence[PackEntry]:
        """The packs that may not be completely on stable storage, ascending."""
        return self._with_those_of(self.tables.behind, [pack for pack in self.changed.values() if pack[2] < pack[1]])

    def unsealed(self) -> Sequence[PackEntry]:
        """Return the packs that may be appended to, ascending."""
        return self._with_those_of(self.tables.unsealed, [pack for pack in self.changed.values() if not pack.sealed])

    def _with_those_of(self, rows: Sequence[PackEntry], mine: list[PackEntry]) -> Sequence[PackEntry]:
        return sorted([*(row for row in rows if row.id not in self.hidden), *mine]) if rows else mine

    def with_dictionaries(self) -> Iterator[PackEntry]:
        """Yield the packs that have dictionaries, the newest first, except that changed rows come before the tables."""
        yield from (pack for pack in reversed([*self.changed.values()]) if pack.dictionaries)
        yield from (row for row in self.tables.with_dictionaries() if row.id not in self.hidden)

    def sums(self, kinds: Collection[PackKind] = tuple(PackKind)) -> PackSums:
        """Return what the packs of some kinds have together."""
        mine = sums_of([pack for pack in self.changed.values() if pack.kind in kinds])
        if not self.tables.count:
            return mine
        rows = (self.tables.find(pack_id) for pack_id in self.hidden)
        return self.tables.sums(kinds) + mine - sums_of([row for row in rows if row and row.kind in kinds])

    def of_kinds(self, kinds: Collection[PackKind]) -> Packs:
        """Return the same without the packs of other kinds; itself if there are none."""
        others = [pack_id for pack_id, pack in self.changed.items() if pack.kind not in kinds]
        of_tables = self.tables.others(kinds) if self.tables.count else frozenset()
        if not others and of_tables <= self.hidden:
            return self
        changed = {pack_id: pack for pack_id, pack in self.changed.items() if pack.kind in kinds}
        return Packs(self.tables, changed, self.hidden | of_tables)

    def new_since(self, before: Packs) -> Sequence[PackEntry]:
        """Return the packs whose ids an earlier manifest does not have, ascending."""
        touched = {*self.changed, *before.hidden}
        if self.tables is not before.tables:
            for table in self.tables.tables:
                if table not in before.tables.tables:
                    touched.update(table.ids)
        found = (self.find(pack_id) for pack_id in sorted(touched) if not before.has(pack_id))
        return [pack for pack in found if pack]

    # Others, made of these.

    def with_entries(self, entries: Iterable[PackEntry]) -> Packs:
        """Return the same with these packs, new or in the place of packs of the same ids."""
        others = {pack.id: pack for pack in entries}
        changed = {**self.changed, **others}
        if len(changed) > len(self.changed):
            changed = dict(sorted(changed.items()))
        hidden = self.hidden
        if self.tables.count:
            hidden = hidden.union(filter(self.tables.has, others.keys() - self.changed.keys()))
        return Packs(self.tables, changed, hidden)

    def without(self, pack_ids: Collection[int]) -> Packs:
        """Return the same without the packs of some ids."""
        changed = {pack_id: pack for pack_id, pack in self.changed.items() if pack_id not in pack_ids}
        hidden = self.hidden.union(filter(self.tables.has, pack_ids)) if self.tables.count else self.hidden
        return Packs(self.tables, changed, hidden)


NO_PACKS = Packs()
