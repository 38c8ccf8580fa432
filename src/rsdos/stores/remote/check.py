"""Checking a container of version 3. A quick check reads the index and one listing, a full one every byte."""

from __future__ import annotations

from collections.abc import Iterator

from rsdos import names
from rsdos.errors import DamagedContainer
from rsdos.stores.findings import Checked, Depth, Finding, Sample, Steps
from rsdos.stores.packed.check import NativeCheck
from rsdos.stores.packed.context import PackedContext


class RemoteCheck(NativeCheck):
    """See `PacksCheck`. Objects that no manifest names are no findings: `rsdos.stores.remote.collect` removes them.

    A damaged manifest before the newest one is no finding either: no reader uses it.
    """

    def __init__(self, context: PackedContext, depth: Depth, sample: Sample, moment: object = None) -> None:
        self._depth = depth
        self._found: dict[int, int] | None = None
        """The bytes of each pack in a listing."""
        super().__init__(context, depth, sample, moment)

    def _manifests(self) -> Iterator[Finding]:
        try:
            self._index.commits.newest()
        except DamagedContainer as error:
            yield self._damage(error)

    def _note_leftovers(self) -> None:
        return None

    def pack(self, pack_id: int, start: int) -> Steps:
        if self._depth is not Depth.QUICK:
            yield from super().pack(pack_id, start)
            return
        wanted = self.lengths[pack_id]
        length = self._length_of(pack_id)
        if length == wanted:
            yield Checked(position=wanted)
            return
        what = "the pack is missing" if length is None else f"the pack has {length} bytes instead of {wanted}"
        objects = self._count(pack_id)
        found = Finding(self._layout.relative(self._layout.pack(pack_id)), what, objects=objects)
        yield self._unless_gone(pack_id, Checked(findings=(found,), position=wanted))

    def _length_of(self, pack_id: int) -> int | None:
        """Return the bytes of a pack, by one listing of all; None for a missing one."""
        if self._found is None:
            infos = self._layout.storage.list_infos(names.PACKED)
            self._found = {int(info.name.rpartition("/")[2].partition(".")[0]): info.length for info in infos}
        if self._found.get(pack_id) != self.lengths[pack_id]:
            info = self._layout.storage.stat(names.pack(pack_id))  # A listing may be old.
            return info and info.length
        return self._found[pack_id]
