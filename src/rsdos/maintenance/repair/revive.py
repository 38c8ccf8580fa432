"""Bringing back objects that live snapshots need and a tombstone has killed.

A gc, or a delete, may die between writing its tombstones to a pack and committing the manifest. The objects are still
alive then, and a save may find them. But if the newest manifest is damaged or missing, a repair applies each whole
batch, because it cannot tell which ones were committed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

from rsdos.engine.engine import Engine
from rsdos.engine.snapshots import pages_here, read_record
from rsdos.errors import DamagedTree, ObjectNotFound
from rsdos.model import DIGEST_BYTES, CompressMode, Durability, PackKind
from rsdos.storage.base import passing_over_damage
from rsdos.stores.encoding import Encoding
from rsdos.stores.packed.dead_copies import DeadCopies
from rsdos.stores.packed.store import PackedStore
from rsdos.trees.reach import keys_by_kind


class Reviver:
    """Brings objects back. One thread, with the maintenance lock. It is also a `ReadPages`, which brings back pages."""

    def __init__(self, engine: Engine) -> None:
        packed = engine.packed
        assert isinstance(packed, PackedStore)
        self._engine = engine
        self._packed = packed
        self._pages = pages_here(engine)
        self._dead: DeadCopies | None = None

    def run(self, snapshots: Iterable[str]) -> None:
        """Bring back the objects that some snapshots need, if packs have them. Durable. Readers are not blocked."""
        roots = []
        for snapshot in snapshots:
            self._bring([bytes.fromhex(snapshot)], PackKind.TREES)
            with suppress(DamagedTree, ObjectNotFound):
                roots.append(bytes.fromhex(read_record(self._engine, snapshot).tree))
        try:
            self._run(roots)
        except DamagedTree:
            # One by one: a damaged page hides only what its own snapshot leads to.
            for root in roots:
                with suppress(DamagedTree):
                    self._run([root])

    def _run(self, roots: Sequence[bytes]) -> None:
        for reached in keys_by_kind(roots, self):
            files = reached.files
            self._bring([files[at : at + DIGEST_BYTES] for at in range(0, len(files), DIGEST_BYTES)], PackKind.HELD)

    def __call__(self, digests: Sequence[bytes]) -> Sequence[bytes]:
        """Return pages in the order of their digests."""
        self._bring(digests, PackKind.TREES)
        return self._pages(digests)

    def _bring(self, digests: Sequence[bytes], kind: PackKind) -> None:
        present = self._packed.contains_many(digests, kind) if digests else ()
        absent = {digest for digest, is_there in zip(digests, present, strict=True) if not is_there}
        if not absent:
            return
        self._dead = self._dead or DeadCopies(self._packed.context)
        encoding = Encoding(CompressMode.AUTO, self._packed.compression)
        with self._packed.writer(durability=Durability.FULL, kind=kind) as writer:
            for record in self._dead.find(list(absent)):
                if record.digest in absent:
                    with passing_over_damage():  # The next copy may be good.
                        writer.add_parts(self._dead.parts(record), encoding)
                        absent.remove(record.digest)
            writer.commit()
        self._packed.refresh()
