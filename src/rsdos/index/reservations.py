"""The rules by which a commit of version 3 changes reservations and the chain of commits. Everything here is pure.

**Reservations.** Packs, segment files and tables share one sequence of ids, and each id is given out once, by a commit.
A writer reserves ids by a commit, and a later commit uses them up: it adds packs and takes their ids out of the
reservation in one step. If an id is not reserved under the writer's token any more, this commit fails with `Expired`.

So ids are unique with any number of writers, and a commit that was stored unnoticed cannot be stored twice. No clock is
needed to take back the ids of a dead writer: a commit removes the reservation. Either the writer was first, and its
packs are live, or it gets `Expired` whenever it wakes.

An id is **dead** if it was given out and is neither live, reserved nor retired. It stays dead forever.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from rsdos.errors import Busy, DamagedContainer, Expired
from rsdos.index.manifest import Manifest, SegmentEntry
from rsdos.index.pack_entry import PackEntry
from rsdos.index.remote_state import (
    KEPT_HISTORY,
    MOST_ROWS,
    PACK,
    SEGMENT,
    TABLE,
    RemoteState,
    Reservation,
    Retired,
)
from rsdos.names import LAST_PACK

MOST_RETIRED = MOST_ROWS
"""The most rows of retired objects. The oldest are dropped first."""

MOST_RESERVED = 1 << 12
"""The most reservations at a time. Each process that has ever inserted leaves one, until it is collected."""


def state_of(manifest: Manifest) -> RemoteState:
    """Return the state of a manifest of version 3. Raise `DamagedContainer` for any other."""
    if manifest.remote is None:
        raise DamagedContainer("the manifest", "it is not that of a container of version 3")
    return manifest.remote


def committed_after(
    newest: Manifest, changed: Manifest, commit: str, token: str, suffix_of: Callable[[str, int], str]
) -> Manifest:
    """Return the manifest to commit after the newest one, given what a change made of that.

    New packs, segment files and pack tables use their ids up. Packs and segment files get the suffix of their names,
    which ``suffix_of`` returns for a kind and an id. Those that the change has removed are retired. Raise `Expired` if
    an id is not reserved under the token.
    """
    before = state_of(newest)
    state = state_of(changed)
    number = newest.number + 1
    new_packs = changed.packs.new_since(newest.packs)
    new_segments = _other_files(changed.segments, {segment.number for segment in newest.segments})
    new_tables = set(changed.packs.tables.entries).difference(newest.packs.tables.entries)
    fresh = [pack.id for pack in new_packs] + [segment.number for segment in new_segments]
    fresh += [table.number for table in new_tables]
    state = state._replace(
        commit=commit,
        parent=before.commit,
        history=history_after(newest),
        reserved=take_reserved(state.reserved, fresh, token),
        retired=(*state.retired, *_retired_by(newest, changed, number))[-MOST_RETIRED:],
    )
    manifest = _with_suffixes(changed, new_packs, new_segments, suffix_of)
    next_id = max(newest.next_pack_id, newest.next_segment, changed.next_pack_id, changed.next_segment)
    return manifest._replace(number=number, next_pack_id=next_id, next_segment=next_id, remote=state)


def history_after(newest: Manifest) -> tuple[tuple[int, str], ...]:
    """Return the history of the manifest after the newest one."""
    before = state_of(newest)
    return (*before.history, (newest.number, before.commit))[-KEPT_HISTORY:]


def take_reserved(reserved: Sequence[Reservation], ids: Collection[int], token: str) -> tuple[Reservation, ...]:
    """Return the reservations without some ids. Raise `Expired` if one of the ids is not reserved under the token."""
    left = tuple(reserved)
    for number in sorted(ids):
        for at, row in enumerate(left):
            if row.token == token and row.first <= number < row.end:
                split = (
                    row._replace(count=number - row.first),
                    row._replace(first=number + 1, count=row.end - number - 1),
                )
                left = (*left[:at], *(part for part in split if part.count), *left[at + 1 :])
                break
        else:
            raise Expired(f"id {number}", "it was reserved for this writer, and taken back since")
    return left


def without_ids(changed: Manifest, ids: Collection[range], token: str) -> Manifest:
    """Return a manifest in which some ids of a writer are not reserved any more. Skip ids that are not reserved."""
    if not ids:
        return changed
    state = state_of(changed)
    rows = reserved_under(changed, token)
    given_up = [number for some in ids if any(row.has(some) for row in rows) for number in some]
    return changed._replace(remote=state._replace(reserved=take_reserved(state.reserved, given_up, token)))


def reserve(newest: Manifest, count: int, token: str) -> Manifest:
    """Return the newest manifest with the next ids reserved. Raise `Busy` when there are too many reservations."""
    state = state_of(newest)
    if is_full(newest):
        raise Busy("the list of reservations", f"{len(state.reserved)} writers, or what dead ones have left today")
    first = newest.next_pack_id
    if first + count > LAST_PACK:
        raise DamagedContainer("the manifest", "no id is left for another pack")
    rows = (*state.reserved, Reservation(first, count, newest.number + 1, token))
    after = first + count
    return newest._replace(next_pack_id=after, next_segment=after, remote=state._replace(reserved=rows))


def is_full(manifest: Manifest) -> bool:
    """Return whether there are so many reservations that no more can be made."""
    return len(state_of(manifest).reserved) >= MOST_RESERVED


def reserved_under(manifest: Manifest, token: str) -> list[Reservation]:
    """Return the reservations of a writer, ascending."""
    return sorted(row for row in state_of(manifest).reserved if row.token == token)


def without_reservations(newest: Manifest, up_to: int) -> Manifest:
    """Return the newest manifest without the reservations that the commit ``up_to`` and earlier ones have made."""
    state = state_of(newest)
    left = tuple(row for row in state.reserved if row.number > up_to)
    return newest if left == state.reserved else newest._replace(remote=state._replace(reserved=left))


def without_retired(newest: Manifest, up_to: int) -> Manifest:
    """Return the newest manifest without the rows of what the commit ``up_to`` and earlier ones have retired."""
    state = state_of(newest)
    left = tuple(row for row in state.retired if row.number > up_to)
    return newest if left == state.retired else newest._replace(remote=state._replace(retired=left))


def contradiction(known: Manifest, newer: Manifest) -> str:
    """Return why a manifest cannot follow from an earlier one; "" if it can, or if they are too far apart to tell."""
    one, other = state_of(known), state_of(newer)
    said = {known.number: one.commit, **dict(one.history)}
    says = {newer.number: other.commit, newer.number - 1: other.parent, **dict(other.history)}
    for number in sorted(said.keys() & says.keys()):
        if said[number] != says[number] and said[number] and says[number]:  # "": a repair did not know.
            return f"commit {number} was {said[number]}, and is {says[number]} now"
    return ""


def _other_files(segments: Iterable[SegmentEntry], known: Collection[int]) -> list[SegmentEntry]:
    return [segment for segment in segments if segment.number and segment.number not in known]


def _retired_by(newest: Manifest, changed: Manifest, number: int) -> list[Retired]:
    packs = newest.packs.new_since(changed.packs)
    segments = _other_files(newest.segments, {segment.number for segment in changed.segments})
    kept = frozenset(changed.packs.tables.entries)
    tables = [entry for entry in newest.packs.tables.entries if entry not in kept]
    return [
        *(Retired(PACK, pack.id, pack.suffix, number) for pack in packs),
        *(Retired(SEGMENT, segment.number, segment.suffix, number) for segment in segments),
        *(Retired(TABLE, table.number, table.suffix, number) for table in tables),
    ]


def _with_suffixes(
    manifest: Manifest,
    packs: Sequence[PackEntry],
    segments: Sequence[SegmentEntry],
    suffix_of: Callable[[str, int], str],
) -> Manifest:
    for pack in packs:
        if not pack.suffix:
            manifest = manifest.with_pack(pack._replace(suffix=suffix_of(PACK, pack.id)))
    if all(segment.suffix for segment in segments):
        return manifest
    named = {
        segment: segment._replace(suffix=segment.suffix or suffix_of(SEGMENT, segment.number)) for segment in segments
    }
    return manifest._replace(segments=tuple(named.get(segment, segment) for segment in manifest.segments))
