"""The chain of manifests of a container of version 3: finding the newest manifest, and reading manifests.

This is step 1 of a commit (`rsdos.index.remote_commits`), and all that a reader needs.
"""

from __future__ import annotations

import errno
import hashlib
import os
from typing import NamedTuple, Protocol

from rsdos import names
from rsdos.codecs.sealed import unseal
from rsdos.config import REMOTE_VERSION
from rsdos.errors import DamagedContainer, DecodeError, RemoteDiverged, UnsupportedContainer
from rsdos.index import reservations
from rsdos.index.manifest import Manifest, Published, UnknownManifest, decode_manifest
from rsdos.index.pack_table import TableEntry
from rsdos.index.table_reader import TableReader, read_pack_table
from rsdos.layout import Layout
from rsdos.migration import Original
from rsdos.storage.base import Version

MOST_BYTES = 1 << 24
"""The most bytes of a decoded manifest."""

_READS = 4
"""Manifests that are read one after another to find the newest. After these, a listing is requested."""

_READS_AFTER_FIRST = 2
"""The same for a program that begins where another has stopped: it is at the newest, or far behind."""

_MOST_VERSIONS = 64
"""The most versions of manifests that are remembered."""


class Places(Protocol):
    """Knows the random parts of the names of objects on the medium."""

    def learn(self, manifest: Manifest) -> None:
        """Learn the names of the objects that a manifest names."""

    def learn_table(self, entry: TableEntry) -> None:
        """Learn the name of a pack table, before it is read."""

    def suffix_of(self, kind: str, number: int) -> str:
        """Return the random part of the name of an object that was made here, or learned."""

    def first_manifest(self) -> int:
        """Return the newest manifest in a listing, which may be an old one; 0 if there is none."""

    def refuse_two_winners(self) -> None:
        """Raise `ReadOnlyContainer` if the medium gives a name twice."""


class StoredManifest(NamedTuple):
    """The bytes of a manifest, as they are stored. An emptied manifest has no bytes."""

    number: int
    data: bytes
    version: Version


class RemoteChain:
    """Finds and reads manifests, and remembers the newest. Any number of threads, processes and machines."""

    def __init__(self, layout: Layout, container_id: str, places: Places) -> None:
        self._layout = layout
        self._storage = layout.storage
        self._container_id = container_id
        self._places = places
        self.original: Original | None = Original(layout, REMOTE_VERSION, container_id)
        self._known: Published | None = None
        """The newest manifest that was read or made here."""
        self._raw: StoredManifest | None = None
        """The newest manifest's bytes, which may be damaged."""
        self._first = 0
        """The number at which the search for the newest manifest begins; 0: with a listing."""
        self._versions: dict[int, Version] = {}
        """The versions of manifests that were read or made here. A manifest does not change while anybody needs it."""
        self._tables = TableReader(self._read_table)

    @property
    def known(self) -> Manifest | None:
        """The newest manifest that was read or made here, if any was. No request."""
        return self._known and self._known.manifest

    def check(self) -> None:
        """Raise `ContainerReplaced` or `NotAContainer` if the container is no longer the one that was opened."""
        if self.original is not None:
            self.original.check()

    def committed(self) -> int:
        """Return 0: there is no note of the last number. Without its newest manifest a chain has no other newest."""
        return 0

    # 1. Finding the newest manifest.

    def begin_at(self, number: int) -> None:
        """Begin with this number instead of a listing, if nothing was read yet. If it is missing, request the listing.

        That is one request less, and as sure: whatever it begins with, the search ends at a number that is not taken.
        """
        self._first = number

    def latest(self, *, again: bool = False) -> tuple[int, int]:
        """Return the number of the newest manifest, 0 if there is none. The second 0 means that none is missing.

        Nothing more is done ``again``: each manifest names its container.
        """
        raw = self._newest_stored()
        return (raw.number if raw else 0), 0

    def newest_number(self) -> int:
        """Return the newest manifest's number. Raise `DamagedContainer` if there is none."""
        number, _ = self.latest()
        if not number:
            self.check()
            raise DamagedContainer(self._layout.index, "there is no manifest (see: rsdos repair index)")
        return number

    def newest(self) -> Manifest:
        """Return the newest manifest. Raise `DamagedContainer`, `UnsupportedContainer`, OSError."""
        return self.read(self.newest_number())

    def _newest_stored(self) -> StoredManifest | None:
        """Do step 1: starting at the newest known manifest, read the next ones until one is missing.

        If no manifest is known, begin with a listing. Usually this is one request. An empty manifest is far behind the
        newest. Then, and if there are many to read, request a listing. If that shows an old state, read on from there.
        """
        raw, reads = self._raw, 0
        if raw is None and (raw := self._from(self._first)):
            reads = _READS - _READS_AFTER_FIRST
        raw = raw or self._from(self._listed())
        if raw is None:
            return None
        while True:
            if not raw.data or reads == _READS:
                raw = self._beyond(raw)
                reads = 0
            following = self._read_raw(raw.number + 1)
            if following is None:
                break
            raw = following
            reads += 1
        return self._see(raw)

    def _see(self, raw: StoredManifest) -> StoredManifest:
        """Remember a manifest's bytes, unless a newer one is known; return the newer one."""
        known = self._raw
        if known is None or raw.number > known.number:
            self._raw = known = raw
        return known

    def _listed(self) -> int:
        """Return the newest manifest in a listing; if that is empty or refused, the one that `_galloped` finds.

        A listing may be old: for a new container it may be empty.
        """
        try:
            return self._places.first_manifest() or self._galloped(0)
        except PermissionError as refusal:
            try:
                return self._galloped(0)
            except PermissionError:
                # Without the permission to list, some media answer 403 for a missing name. So report that permission.
                raise refusal from None

    def _galloped(self, known: int) -> int:
        """Return the newest manifest, found by requests for numbers beyond a known one: these have no holes."""
        step = 1
        while self._storage.exists(names.manifest(known + step)):
            known, step = known + step, step * 2
        while step > 1:
            step //= 2
            if self._storage.exists(names.manifest(known + step)):
                known += step
        return known

    def _from(self, number: int) -> StoredManifest | None:
        return self._read_raw(number) if number else None

    def _beyond(self, raw: StoredManifest) -> StoredManifest:
        """Return a later manifest, from a listing or else by `_galloped`. If there is none, return this one."""
        number = self._listed()
        if number <= raw.number and not raw.data:
            number = self._galloped(raw.number)
        return (self._read_raw(number) if number > raw.number else None) or raw

    def _read_raw(self, number: int) -> StoredManifest | None:
        """Return the bytes of one manifest; None if it is missing."""
        if number > names.LAST_NUMBER:
            return None
        try:
            data = self._storage.read(names.manifest(number), MOST_BYTES)
        except FileNotFoundError:
            return None
        return StoredManifest(number, data, version_by(data))

    # Reading.

    def read(self, number: int) -> Manifest:
        """Return one manifest. Raise FileNotFoundError, `DamagedContainer`, `UnsupportedContainer`."""
        return self.read_with_file(number).manifest

    def read_with_file(self, number: int) -> Published:
        """Return one manifest, and the version of its object. Raise what `read` does.

        An emptied manifest raises FileNotFoundError if another follows it, and is damage if it is the newest one.
        """
        if self._known is not None and self._known.manifest.number == number:
            return self._known
        raw = self._raw if self._raw is not None and self._raw.number == number else self._read_raw(number)
        if raw is not None and not raw.data and not self._storage.exists(names.manifest(number + 1)):
            raise DamagedContainer(self._layout.manifest(number), "it was emptied, and is the newest one")
        if raw is None or not raw.data:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self._layout.manifest(number))
        try:
            manifest = self._decoded(raw)
        except DamagedContainer:
            # A bit may have flipped on the network: read it once more.
            again = self._read_raw(number)
            if again is None or not again.data:
                raise
            if raw is self._raw:
                self._raw = again
            raw, manifest = again, self._decoded(again)
        return self._keep(manifest, raw.version)

    def _decoded(self, raw: StoredManifest) -> Manifest:
        path = self._layout.manifest(raw.number)
        try:
            manifest = decode_manifest(unseal(raw.data, MOST_BYTES), self._tables)
        except FileNotFoundError as error:
            # Tables are removed after the manifests that name them.
            if self._storage.exists(names.manifest(raw.number + 1)):
                raise
            raise DamagedContainer(path, f"a pack table is missing: {error.filename}") from None
        except UnknownManifest as error:
            reason = f"{error}: a later release of rsdos has written it, which can also read it"
            raise UnsupportedContainer(path, reason) from None
        except (ValueError, DecodeError) as error:
            raise DamagedContainer(path, str(error)) from None
        if manifest.number != raw.number or manifest.container_id != self._container_id or manifest.remote is None:
            self.check()
            raise DamagedContainer(path, "it is a manifest of another number or another container")
        return manifest

    def _read_table(self, entry: TableEntry) -> bytes:
        self._places.learn_table(entry)
        return read_pack_table(self._storage, entry)

    def _keep(self, manifest: Manifest, version: Version) -> Published:
        """Remember a manifest if it is newer than the known one. Raise `RemoteDiverged` if they contradict."""
        self._versions[manifest.number] = version
        for number in list(self._versions)[:-_MOST_VERSIONS]:
            self._versions.pop(number, None)
        known = self._known
        # Check older manifests, too: a program that was suspended may have read one before.
        if known is not None and (reason := reservations.contradiction(*_in_order(known.manifest, manifest))):
            raise RemoteDiverged(self._storage.root, f"{reason}: it was set back, or written in two regions")
        self._places.learn(manifest)
        published = Published(manifest, version)
        if known is None or known.manifest.number < manifest.number:
            self._known = published
        return published

    def let_go(self) -> None:
        """Do nothing: a manifest never changes, and the newest that was seen must stay known."""

    def file_of(self, number: int) -> Version | None:
        """Return the version of a manifest; None when it is missing. No request for one that was read here."""
        if known := self._versions.get(number):
            return known
        raw = self._read_raw(number)
        return raw and raw.version

    def is_newest(self, number: int, known: Version | None = None) -> bool:
        """Return whether no manifest follows this one, and it is the ``known`` one. One request."""
        if self._storage.exists(names.manifest(number + 1)):
            return False
        now = self.file_of(number)
        return now is not None and (known is None or known == now)

    def readable(self) -> Manifest | None:
        """Return the newest manifest that is not damaged; None when there is none. Raise `UnsupportedContainer`."""
        for number in range(self.latest()[0], 0, -1):
            try:
                return self.read(number)
            except FileNotFoundError:
                return None
            except DamagedContainer:
                continue
        return None

    def never_there(self, number: int) -> DamagedContainer:
        """Return the error for a manifest that was gone each time it was read."""
        return DamagedContainer(self._layout.manifest(number), "listed again and again, and never there")


def version_by(data: bytes) -> Version:
    """Return a version made from the bytes of a manifest. The medium's own version would take a request."""
    return len(data), int.from_bytes(hashlib.blake2b(data, digest_size=8).digest())


def _in_order(one: Manifest, other: Manifest) -> tuple[Manifest, Manifest]:
    return (one, other) if one.number <= other.number else (other, one)
