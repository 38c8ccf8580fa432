"""The commits of a container of version 3: put-if-absent of numbered manifests, without locks (docs/concurrency.md).

The steps of a commit are numbered here, and each number has a crash test. A machine that stops between any two steps
leaves a whole manifest or none. It may also leave objects that no manifest names; the collector removes these.

*A number that is taken is never free again.* No program deletes a manifest; the collector empties old ones. So a
machine that was suspended between steps 1 and 4 finds its number taken whenever it wakes.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from rsdos import names
from rsdos.codecs.sealed import seal, unseal
from rsdos.errors import Busy, CommitUnknown, DamagedContainer, Expired, RemoteWentBack
from rsdos.index import reservations
from rsdos.index.contention import Contention
from rsdos.index.ids import Ids
from rsdos.index.manifest import Manifest, OpenTables, Published, decode_manifest, encode_manifest
from rsdos.index.remote_chain import MOST_BYTES, Places, RemoteChain, StoredManifest, version_by
from rsdos.index.remote_state import RemoteState
from rsdos.layout import Layout
from rsdos.model import Durability
from rsdos.storage import chance
from rsdos.storage.base import Put, Version
from rsdos.storage.checked_json import decode_document

DEADLINE = 300.0
"""Seconds after which a commit gives up: its outcome is not known, or other processes always committed first."""

CROWDED = 1 << 11
"""Reservations from which on a writer keeps no ids for later. Otherwise each program that inserts would leave some."""

_LONGEST_PAUSE = 2.0
_FIRST_PAUSE = 0.016
"""Seconds. A commit that got no answer waits for a random part of a time that doubles each time."""


class _Attempts(NamedTuple):
    """What all attempts of one commit share: its name, and the ids of this process that it gives back."""

    commit: str
    given_up: list[range]


class RemoteCommits(RemoteChain):
    """Makes manifests; see `rsdos.index.committing.Commits`. Any number of threads, processes and machines."""

    def __init__(self, layout: Layout, container_id: str, places: Places) -> None:
        super().__init__(layout, container_id, places)
        self.ids = Ids(self)
        self._contention = Contention()
        self._is_exclusive = False
        """Whether this process has tested that the medium gives a name only once although it keeps old versions."""

    def commit(self, change: Callable[[Manifest], Manifest], durability: Durability) -> Published:
        """Publish what ``change`` makes of the newest manifest, and return it. Durable, whatever ``durability`` says.

        ``change`` is called for each attempt, with the newest manifest. It must look up again everything that it relies
        on. If it returns the same manifest, there is nothing to do, and nothing is committed. New packs and segment
        files use up ids of `ids`. 2. They were uploaded before: ``change`` does no large I/O.

        Raise `CommitUnknown` if it is not known whether the commit was stored, `Expired` if the reservation was taken
        back, `Busy` if others were faster for `DEADLINE` seconds, `DamagedContainer`, `UnsupportedContainer`, OSError.
        Nothing is undone in any case.
        """
        ends = chance.now() + DEADLINE
        # 3. One name for this commit, for all attempts.
        attempts = _Attempts(chance.token(128), [])
        losses = 0
        seen = self._raw
        began = chance.now()
        if published := self._commit_at_once(change, attempts, ends):
            return published
        if self._raw is not seen:
            losses = 1
            self._let_pass(began, losses)
        while True:
            began = chance.now()
            newest = self.newest()
            self._contention.see(newest.number, chance.now())
            if seen is not None and seen.number == newest.number:
                self._look_at(newest.number)
            # 3. Make the next manifest.
            changed = self._changed(change, newest)
            if changed is newest:
                return self.read_with_file(newest.number)
            if changed is not None:
                try:
                    manifest = self._after(newest, changed, attempts)
                except Expired:
                    self.ids.drop()
                    raise
                if published := self._publish(manifest, ends):
                    return published
            # 5b. Another was faster: wait, follow, and go to 3.
            losses += 1
            if chance.now() > ends:
                raise Busy(self._layout.index, f"others, who committed {losses} times just before")
            self._let_pass(began, losses)

    def _changed(self, change: Callable[[Manifest], Manifest], newest: Manifest) -> Manifest | None:
        """Do ``change``. Return None if what the manifest names is gone because it is not the newest any more."""
        try:
            return change(newest)
        except FileNotFoundError:
            # This machine slept for as long as old manifests are kept, and a collector has removed what only they name.
            if self.newest_number() == newest.number:
                raise
            return None

    def _let_pass(self, began: float, losses: int) -> None:
        """Wait after an attempt that was lost, since others are about to commit as well."""
        chance.pause(chance.fraction() * self._contention.longest_pause(began, chance.now(), losses))

    def _commit_at_once(
        self, change: Callable[[Manifest], Manifest], attempts: _Attempts, ends: float
    ) -> Published | None:
        """Do steps 3 to 6 with the newest known manifest, without step 1: one request less in the usual case.

        There may be a newer manifest. Only a successful step 4 shows that there was none. Otherwise return None, also
        if ``change`` has nothing to do or raises: the result may differ with the newest manifest.
        """
        if self._known is None or self._raw is None or self._raw.number != self._known.manifest.number:
            return None
        known = self._known.manifest
        try:
            changed = change(known)
            if changed is known:
                return None
            manifest = self._after(known, changed, attempts)
        except Exception:  # noqa: BLE001  what it means is decided by the newest manifest
            return None
        self._look_at(known.number)
        return self._publish(manifest, ends)

    def _look_at(self, number: int) -> None:
        """Check, by one request, that a manifest is still there. This detects two kinds of unusable storages.

        Raise `RemoteWentBack` if the manifest is gone: the storage was set back to an older state, and a commit would
        leave a hole in the numbers. Raise `ReadOnlyContainer` if the storage keeps old versions and lets two writers
        put the same name: versioning was switched on after the container was made. The first commit of a process
        usually reserves ids, so no objects are lost then. A process that has ids already may lose its first commit.
        """
        info = self._storage.stat(names.manifest(number))
        if info is None:
            self.check()
            raise RemoteWentBack(self._storage.root, f"commit {number} was there, and is gone: nothing was written")
        if info.is_versioned and not self._is_exclusive:
            self._places.refuse_two_winners()
            self._is_exclusive = True

    def _after(self, newest: Manifest, changed: Manifest, attempts: _Attempts) -> Manifest:
        if newest.number >= names.LAST_NUMBER:
            raise DamagedContainer(self._layout.manifest(newest.number), "no number is left for a manifest after it")
        state = reservations.state_of(changed)
        if len(state.reserved) >= CROWDED:
            attempts.given_up.extend(self.ids.give_up())
        changed = reservations.without_ids(changed, attempts.given_up, self.ids.token)
        return reservations.committed_after(newest, changed, attempts.commit, self.ids.token, self._places.suffix_of)

    def _publish(self, manifest: Manifest, ends: float) -> Published | None:
        """Do steps 4 to 6. Return None if another commit has the number."""
        name = names.manifest(manifest.number)
        plain = encode_manifest(manifest)
        if len(plain) > MOST_BYTES:
            raise OSError(errno.EFBIG, f"a manifest of more than {MOST_BYTES} bytes: too many packs, or long notes")
        data = seal(plain)
        is_unknown = False
        pauses = 0
        while True:
            # 4. Put it under its number unless that is taken: one request, which no layer below repeats.
            refused: OSError | None = None
            try:
                result = self._storage.put_new(name, data)
            except OSError as error:
                refused = error
            else:
                if result.outcome is Put.OURS:
                    return self._published(manifest, data, version_by(data))
                is_unknown = is_unknown or result.outcome is not Put.TAKEN
            # 5. After any other answer read that number.
            try:
                raw = self._read_raw(manifest.number)
            except OSError as error:
                if refused is not None and not is_unknown:
                    raise refused from None
                is_unknown = True
                self._pause(pauses, ends, manifest.number, error)
                pauses += 1
                continue
            if raw is not None:
                if self._is_ours(raw, manifest):
                    return self._published(manifest, data, raw.version)
                if is_unknown and not raw.data:
                    # Whose it was cannot be told any more: this machine slept for as long as manifests are kept.
                    raise CommitUnknown(self._storage.root, manifest.number)
                self._see(raw)
                return None
            if refused is not None and not is_unknown:
                raise refused
            # It is absent: put the same bytes again, until the number is taken. There are never two candidates.
            self._pause(pauses, ends, manifest.number, refused)
            pauses += 1

    def _pause(self, pauses: int, ends: float, number: int, cause: OSError | None) -> None:
        """Wait before the same bytes are put again. 6. Raise `CommitUnknown` when there is no time left."""
        if chance.now() > ends:
            raise CommitUnknown(self._storage.root, number) from cause
        chance.pause(chance.fraction() * min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(pauses, 16)))

    def _is_ours(self, raw: StoredManifest, manifest: Manifest) -> bool:
        if not raw.data:
            return False
        with suppress(ValueError):
            there = decode_document(unseal(raw.data, MOST_BYTES))
            return there.get("commit") == reservations.state_of(manifest).commit
        return False

    def _published(self, manifest: Manifest, data: bytes, version: Version) -> Published:
        self._storage.sync_names(names.INDEX)
        published = self._keep(manifest, version)
        self._contention.win(manifest.number, chance.now())
        self._see(StoredManifest(manifest.number, data, version))
        return published

    def restore(self, make: Callable[[], Manifest | None]) -> Manifest | None:
        """Publish the manifest that ``make`` returns, after the newest one, whatever that is. For None publish nothing.

        The ids that it names need not be reserved. ``make`` is called again when another commit was faster: the
        manifest that it made lacks the packs of that commit. Raise the errors of `commit`.
        """
        ends = chance.now() + DEADLINE
        commit = chance.token(128)
        while True:
            # Before ``make`` looks: a commit that it does not know has taken this number then.
            number = self.latest()[0] + 1
            try:
                made = make()
            except FileNotFoundError:
                # It may have been collected since the manifest of then was overtaken.
                if self.latest()[0] < number:
                    raise
            else:
                if made is None:
                    return None
                readable = self.readable()
                if readable is None or readable.number < number:
                    manifest = self._restored(made, commit, number, readable)
                    if self._publish(manifest, ends):
                        return manifest
            if chance.now() > ends:
                raise Busy(self._layout.index, "others, who commit all the time")

    def _restored(self, made: Manifest, commit: str, number: int, readable: Manifest | None) -> Manifest:
        """Return what was made as the manifest of a number; ``readable`` is the newest one before it that is whole."""
        before = readable and reservations.state_of(readable)
        ids = [*(pack.id for pack in made.packs), *(segment.number for segment in made.segments)]
        next_id = max(made.next_pack_id, made.next_segment, *(number + 1 for number in ids), 1)
        state = RemoteState(commit)
        if readable and before:
            next_id = max(next_id, readable.next_pack_id)
            # Keep the reservations of running writers. After a damaged manifest, whose random name is not known, the
            # chain begins anew.
            state = before._replace(commit=commit, parent="", history=())
            if readable.number == number - 1:
                state = state._replace(parent=before.commit, history=reservations.history_after(readable))
        manifest = made._replace(number=number, next_pack_id=next_id, next_segment=next_id, remote=state)
        try:
            decode_manifest(encode_manifest(manifest), _tables_of(manifest))
        except ValueError as error:
            raise DamagedContainer(self._layout.packed, f"what the packs say makes no manifest: {error}") from None
        return manifest


def _tables_of(manifest: Manifest) -> OpenTables:
    """Return a function that returns the tables of a manifest, which are open."""
    return lambda _: manifest.packs.tables
