"""The refs that a repaired index leads to: those of the newest manifest, or else the newest refs in the packs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from rsdos.engine.engine import Engine
from rsdos.engine.publish import newest_refs, publish, read_document
from rsdos.engine.snapshots import this_process
from rsdos.errors import (
    DamagedContainer,
    DamagedObject,
    DamagedTree,
    DecodeError,
    ObjectNotFound,
    RefNotFound,
    RemoteUnavailable,
)
from rsdos.index.manifest import Manifest
from rsdos.index.view import IndexView
from rsdos.maintenance.forget import NamedVersion, versions_of
from rsdos.maintenance.repair.revive import Reviver
from rsdos.maintenance.tag import need_whole
from rsdos.model import PackKind
from rsdos.stores.packed.store import PackedStore
from rsdos.trees.documents import is_refs, utc_text
from rsdos.trees.refs import Refs, united
from rsdos.trees.refs_document import decode_refs


class _Document(NamedTuple):
    key: str
    refs: Refs


class RefsFinder:
    """Finds the newest refs document that can be read: `rsdos.stores.packs.FindRefs`, of one repair."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._others: tuple[Refs, ...] = ()

    def __call__(self, manifest: Manifest, view: IndexView) -> str:
        """Return the key of the newest document: the one that the newest manifest names, if it can be read.

        Otherwise read all packs of trees. If several documents have the highest number, return one of them; `settle`
        publishes the union. One of two may belong to a writer that died before it was published.
        """
        if self._is_newest(manifest) and (not manifest.refs or self._document(view, manifest.refs)):
            return manifest.refs
        found = list(self._documents(view))
        newest = max((document.refs.number for document in found), default=0)
        best = [document for document in found if document.refs.number == newest]
        best.sort(key=lambda document: (document.key != manifest.refs, document.key))
        self._others = tuple(document.refs for document in best[1:])
        return best[0].key if best else ""

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
            with suppress(DecodeError, DamagedObject, DamagedTree, OSError):
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
                with suppress(DecodeError, DamagedObject, DamagedTree, OSError):
                    data = self._packed.records.read_object(record)
                    if is_refs(data) and self._packed.hash.digest_of(data) == record.digest:
                        key = record.digest.hex()
                        if refs := self._own(data, key):
                            yield _Document(key, refs)

    def settle(self) -> tuple[NamedVersion, ...]:
        """Publish the refs that the newest document should have, after the repair. Return the versions left out.

        Versions are left out if their operation was never finished and gc has deleted their objects since. Before that,
        objects are brought back that snapshots need, and that perhaps uncommitted tombstones have killed.
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
            gone = tuple(self._unfinished(wanted, refs.previous))
            if wanted is refs and not gone:
                return ()
            now, by = utc_text(time.time()), this_process()
            left = wanted.forgotten([version[:2] for version in gone], now, by)
            publish(engine, live.epoch, lambda newest: left)
            return gone
        return ()

    def _unfinished(self, refs: Refs, previous: str) -> Iterator[NamedVersion]:
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
