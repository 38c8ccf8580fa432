"""Rebuilding the index of version 3 from the packs; the steps are those of `rsdos.stores.packed.rebuild`.

While the newest manifest is whole, the packs that it names count, and no others. If it is damaged, all listed packs
count except those that are dead by the newest readable manifest: a dead pack stays dead, and a collector may be about
to remove it. In doubt the rebuild finds more objects, never fewer: packs with tombstones that this manifest does not
have do not count, because it is not known whether they were committed, and what they replace is still there. (If no
manifest can be read, all of them count.)

Nothing is moved or removed. A manifest keeps its number. What the new one leaves out is retired or dead, and `collect`
removes it. No process is kept out: another commit at the same time makes this one begin again. The segments of a
rebuild that was overtaken or killed have ids that were not given out: they stay until a later rebuild has passed them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack

from rsdos.errors import Busy, DamagedContainer
from rsdos.index.manifest import Manifest, SegmentEntry
from rsdos.index.remote_state import PACK, SEGMENT
from rsdos.stores.findings import Finding, Rebuilt
from rsdos.stores.packed.rebuild import Rebuild
from rsdos.stores.packed.recovery import ScannedPacks
from rsdos.stores.quarantine import Quarantine
from rsdos.stores.remote.dead import DeadNames
from rsdos.stores.remote.placed import PlacedStorage

_LOOKS = 3
"""How often the packs are read for faults, at most, when other machines commit at the same time."""

_SPARE = 1 << 16
"""Ids that are left out: a manifest that cannot be read may have reserved some for writers that are at work."""


class RemoteRebuild(Rebuild):
    """One rebuild. Any number of machines may run one at the same time."""

    def faults(self) -> list[Finding]:
        """Return what a run would put right. Read the packs again if another machine commits while they are read.

        Packs that a repack has replaced may be collected while they are read: they are missing then, and that is no
        fault. Raise `Busy` if this happens each time.
        """
        for look in range(_LOOKS):
            number, _ = self._index.commits.latest()
            try:
                found = super().faults()
            except FileNotFoundError:
                if self._index.commits.latest()[0] == number:
                    raise
            else:
                if not found or look == _LOOKS - 1 or self._index.commits.latest()[0] == number:
                    return found
        raise Busy(self._layout.index, "others, who commit and collect all the time")

    def run(self, quarantine: Quarantine) -> Rebuilt:
        return super().run(_NoQuarantine(self._layout))

    def _missing_directories(self) -> list[str]:
        return []

    def _misnamed(self) -> Iterator[tuple[str, str, int]]:
        return iter(())

    def _give_names(self, quarantine: Quarantine) -> None:
        return

    def _put_aside(self, quarantine: Quarantine) -> None:
        return

    def _lock_out_writers(self, held: ExitStack, ids: Collection[int]) -> set[int]:
        return set()

    def _bad_manifests(self) -> Iterator[tuple[str, str]]:
        """Yield the newest one, if it is damaged: no reader uses older ones."""
        try:
            self._index.commits.newest()
        except DamagedContainer as error:
            yield str(error.path), error.reason

    def _index_faults(self) -> Iterator[Finding]:
        for path, reason in self._bad_manifests():
            yield Finding(self._layout.relative(path), reason)

    def _pack_ids(self) -> list[int]:
        base = self._index.readable()
        if base is None:
            return self._layout.pack_ids()
        if base.number == self._index.commits.newest_number():
            return list(base.pack_ids)
        dead = DeadNames(base)
        return [
            pack_id for pack_id in self._layout.pack_ids() if not dead.has(PACK, pack_id, self._suffix(PACK, pack_id))
        ]

    def _suffix(self, kind: str, number: int) -> str:
        storage = self._layout.storage
        assert isinstance(storage, PlacedStorage)
        return storage.suffix_of(kind, number)

    def _free_number(self, result: ScannedPacks) -> int:
        layout = self._layout
        given = [*layout.pack_ids(), *layout.segment_numbers(), *layout.table_numbers(), *result.packs]
        return max([0, *given, result.base.next_segment - 1 if result.base else 0]) + 1 + _SPARE

    def _manifest(self, result: ScannedPacks, segments: list[SegmentEntry], number: int) -> Manifest:
        named = [one._replace(suffix=self._suffix(SEGMENT, one.number)) for one in segments]
        manifest = super()._manifest(result, named, number)
        packs = (pack._replace(suffix=self._suffix(PACK, pack.id)) for pack in manifest.packs)
        return manifest.with_packs(packs)


class _NoQuarantine(Quarantine):
    """Keeps nothing: what a commit replaces stays in the medium until it is collected."""

    def link(self, path: str) -> None:
        return
