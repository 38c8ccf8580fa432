"""The refs that a repaired index leads to: those of the newest manifest, or else the newest refs in the packs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from enum import Enum
from typing import NamedTuple

from rsdos.engine.engine import Engine
from rsdos.engine.publish import newest_refs, publish, read_document
from rsdos.errors import Busy, DamagedContainer, DamagedTree, ObjectNotFound, RefNotFound, RemoteUnavailable
from rsdos.index.manifest import Manifest
from rsdos.index.view import IndexView
from rsdos.maintenance.forget import NamedVersion, versions_of
from rsdos.maintenance.repair.revive import Reviver
from rsdos.maintenance.tag import need_whole
from rsdos.model import PackKind
from rsdos.storage.base import passing_over_damage
from rsdos.stores.packed.store import PackedStore
from rsdos.trees.documents import is_refs
from rsdos.trees.refs import Refs, united
from rsdos.trees.refs_document import decode_refs


class LostNames(Enum):
    """What to do if the newest refs document is lost: its bytes, or the pack that had it."""

    KEEP = "keep"
    """Lead to it nevertheless. No name can be read, and nothing is saved or collected, until a repair of objects brings
    it back from a backup."""
    OLDER = "older"
    """Lead to the newest document that can be read. What only the lost one led to is collected by the next gc."""


def lost_refs(engine: Engine) -> str:
    """Return the key of the newest refs document if it cannot be read, else "" (also if the index is damaged)."""
    with suppress(DamagedContainer, Busy):
        try:
            newest_refs(engine)
        except DamagedTree as error:
            return error.key
    return ""


class _Document(NamedTuple):
    key: str
    refs: Refs


class RefsFinder:
    """Finds the newest refs document that can be read: `rsdos.stores.pack_maintenance.FindRefs`, of one repair."""

    def __init__(self, engine: Engine, lost_names: LostNames = LostNames.KEEP) -> None:
        self._engine = engine
        self._lost_names = lost_names
        self._others: tuple[Refs, ...] = ()
        self._is_found = False
        """Whether the document was found in the packs, and was perhaps never published."""

    def __call__(self, manifest: Manifest, view: IndexView) -> str:
        """Return the key of the newest document: the one that the newest manifest names, if it can be read.

        Otherwise read all packs of trees. If several documents have the highest number, return one of them; `settle`
        publishes the union. One of two may belong to a writer that died before it was published. If none has the names
        of the document that is lost, `LostNames` decides.
        """
        is_newest = self._is_newest(manifest)
        if is_newest and (not manifest.refs or self._document(view, manifest.refs)):
            return manifest.refs
        keeps = self._lost_names is LostNames.KEEP
        found = list(self._documents(view))
        if is_newest and keeps:
            found = [document for document in found if document.refs.previous == manifest.refs]
        newest = max((document.refs.number for document in found), default=0)
        best = [document for document in found if document.refs.number == newest]
        best.sort(key=lambda document: (document.key != manifest.refs, document.key))
        self._others = tuple(document.refs for document in best[1:])
        self._is_found = bool(best)
        if best:
            return best[0].key
        return manifest.refs if keeps else ""

    def _is_newest(self, manifest: Manifest) -> bool:
        with suppress(DamagedContainer):
            return self._packed.index.commits.newest_number() == manifest.number
        return False

    @property
    def _packed(self) -> PackedStore:
        packed = self._engine.packed
        assert isinstance(packed, PackedStore)
        return packed

    def _document(self, view: IndexView, key: str) -> Refs | None:
        for record in view.find_all(bytes.fromhex(key)):
            with passing_over_damage():
                data = self._packed.records.read_object(record)
                if self._packed.hash.digest_of(data) == record.digest:
                    return self._own(data, key)
        return None

    def _own(self, data: bytes, key: str) -> Refs | None:
        refs = decode_refs(data, key)
        return refs if refs.container_id == self._engine.config.container_id else None

    def _documents(self, view: IndexView) -> Iterator[_Document]:
        for entries in view.of_kinds((PackKind.TREES,)).live_tables():
            for record in entries.take(entries.storage_order()):
                with passing_over_damage():
                    data = self._packed.records.read_object(record)
                    if is_refs(data) and self._packed.hash.digest_of(data) == record.digest:
                        key = record.digest.hex()
                        if refs := self._own(data, key):
                            yield _Document(key, refs)

    def settle(self) -> tuple[NamedVersion, ...]:
        """Publish the refs that the newest document should have, after the repair. Return the doubtful versions.

        A version is doubtful if it is not whole, and the document that brought it was found in the packs: either its
        operation was never finished, and gc has deleted its objects since, or a pack is lost. Before they are looked
        for, objects are brought back that snapshots need, and that perhaps uncommitted tombstones have killed.
        """
        engine = self._engine
        with suppress(DamagedTree, DamagedContainer):
            if not engine.packed.live().refs:
                return ()
            refs, live = newest_refs(engine)
            wanted = refs
            for other in self._others:
                wanted = united(wanted, other)
            Reviver(engine).run(wanted.snapshots())
            if wanted is not refs:
                publish(engine, live.epoch, lambda newest: wanted)
            return tuple(self._doubtful(wanted, refs.previous)) if self._is_found else ()
        return ()

    def _doubtful(self, refs: Refs, previous: str) -> Iterator[NamedVersion]:
        """Yield the versions that the document before has not, and that are not whole."""
        before: set[NamedVersion] = set()
        with suppress(DamagedTree, ObjectNotFound):
            before.update(versions_of(read_document(self._engine, previous)))
        for version in versions_of(refs):
            if version not in before:
                # In a lazy clone, versions count as whole if only its remote could tell.
                with suppress(RemoteUnavailable):
                    try:
                        need_whole(self._engine, str(version), version.snapshot)
                    except RefNotFound:
                        yield version
