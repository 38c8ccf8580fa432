"""The manifests of a container on disk: the highest number is the truth, and a commit makes the next one."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from rsdos import fsio, locks
from rsdos.config import VERSION
from rsdos.errors import DamagedContainer
from rsdos.index.committed import Committed, read_committed
from rsdos.index.manifest import Manifest, decode_manifest, encode_manifest
from rsdos.layout import Layout
from rsdos.model import Durability

KEPT = 16
"""Manifests that stay: a reader that listed ``index/`` has this many commits of time to open what it saw."""

_MOST_BYTES = 1 << 28


class History:
    """Reads and makes manifests. Stateless: any number of threads and processes."""

    def __init__(self, layout: Layout, container_id: str) -> None:
        self._layout = layout
        self._container_id = container_id

    def committed(self) -> int:
        """The highest number that is known to be committed, 0 if none is: no older manifest is the newest."""
        return read_committed(self._layout.commit_lock).number

    def latest(self) -> tuple[int, int]:
        """The number of the newest manifest that is there, and that of a newer one that is missing; 0: none is."""
        committed = self.committed()
        numbers = self._layout.manifest_numbers()
        number = numbers[-1] if numbers else 0
        if committed <= number:
            return number, 0
        # On a network file system the listing may be an older one.
        return (committed, 0) if os.path.exists(self._layout.manifest(committed)) else (number, committed)

    def newest_number(self) -> int:
        """The number of the newest manifest, from a fresh listing. Raises `DamagedContainer` when it is not there."""
        number, missing = self.latest()
        if not number:
            raise DamagedContainer(self._layout.index, "there is no manifest")
        if missing:
            raise DamagedContainer(self._layout.manifest(missing), "this manifest was committed last, and is missing")
        return number

    def newest(self) -> Manifest:
        """The newest manifest, from a fresh listing. Raises `DamagedContainer` when it is not whole or not there."""
        while True:
            number = self.newest_number()
            try:
                return self.read(number)
            except FileNotFoundError:
                continue  # Sixteen commits went by since the listing.

    def read(self, number: int) -> Manifest:
        """One manifest. Raises FileNotFoundError, `DamagedContainer`."""
        path = self._layout.manifest(number)
        try:
            manifest = decode_manifest(fsio.read_file(path, _MOST_BYTES))
        except ValueError as error:
            raise DamagedContainer(path, str(error)) from None
        if manifest.number != number or manifest.container_id != self._container_id:
            raise DamagedContainer(path, "it is a manifest of another number or another container")
        return manifest

    def is_newest(self, number: int) -> bool:
        """Whether no manifest came after this one. Two ``stat`` calls."""
        return not os.path.exists(self._layout.manifest(number + 1)) and os.path.exists(self._layout.manifest(number))

    def commit(self, change: Callable[[Manifest], Manifest], durability: Durability) -> Manifest:
        """Publish what ``change`` makes of the newest manifest, and return it. Waits for other commits.

        When it has returned under full durability the new manifest survives a power loss. When it raises, the new
        manifest may be there nevertheless if only the last sync failed: whoever undoes work looks at `newest` first.
        Raises `ReadOnlyContainer` when the container is one of version 1 by now.
        """
        from rsdos.migration import refuse_migrated  # Not for who only reads.

        # 5. From here to the end of the block nobody else commits.
        with locks.acquire(self._layout.commit_lock) as lock:
            refuse_migrated(self._layout, VERSION)
            newest = self.newest()
            try:
                manifest = change(newest)._replace(number=newest.number + 1)
                self._publish(manifest, durability)
            except BaseException:
                self._undo(newest)
                raise
            self._note(lock, manifest.number, durability)
            with suppress(OSError):  # The commit stands; what could not be dropped is dropped by a later one.
                self._prune(manifest)
        return manifest

    def readable(self) -> Manifest | None:
        """The newest manifest that is whole, if there is one."""
        for number in reversed(self._layout.manifest_numbers()):
            with suppress(FileNotFoundError, DamagedContainer):
                return self.read(number)
        return None

    def restore(self, make: Callable[[], Manifest | None]) -> Manifest | None:
        """Publish, durably, what ``make`` gives, whatever the newest manifest is; nothing when that is None.

        No commit goes on meanwhile. What was the newest stays where it is.
        """
        with locks.acquire(self._layout.commit_lock) as lock:
            made = make()
            if made is None:
                return None
            manifest = made._replace(number=max([self.committed(), *self._layout.manifest_numbers()]) + 1)
            try:
                decode_manifest(encode_manifest(manifest))
            except ValueError as error:
                raise DamagedContainer(self._layout.packed, f"what the packs say makes no manifest: {error}") from None
            self._publish(manifest, Durability.FULL)
            self._note(lock, manifest.number, Durability.FULL)
        return manifest

    def _note(self, lock: locks.Lock, number: int, durability: Durability) -> None:
        # Behind the syncs: a power loss must not leave the number of a commit that it takes.
        if durability is Durability.FULL:
            committed = Committed(number, number)
        else:
            committed = read_committed(self._layout.commit_lock).followed_by(number)
        with suppress(OSError):  # The commit stands.
            fsio.write_at(lock.fileno(), 0, committed.encode())

    def forget(self) -> None:
        """Let go, durably, of what was committed to an index that is not there any more; there is no manifest yet."""
        if self.committed():
            with locks.acquire(self._layout.commit_lock) as lock:
                fsio.write_at(lock.fileno(), 0, Committed().encode())
            fsio.sync_path(self._layout.commit_lock)

    def _publish(self, manifest: Manifest, durability: Durability) -> None:
        # 6. A temporary name, a sync, the number, a sync of the directory. ``link`` refuses a number that is taken.
        target = self._layout.manifest(manifest.number)
        temporary = self._layout.new_manifest
        fsio.remove(temporary)
        fd = fsio.create(temporary)
        try:
            fsio.write_at(fd, 0, encode_manifest(manifest))
            # Relaxed as well: a manifest whose name has reached the disk without its bytes would stop all writers.
            fsio.sync_file(fd)
            os.link(temporary, target)
        finally:
            os.close(fd)
            fsio.remove(temporary)
        if durability is Durability.FULL:
            fsio.sync_directory(self._layout.index)

    def _undo(self, newest: Manifest) -> None:
        """Remove what a commit that failed has merged, unless it stands and only its last sync failed."""
        with suppress(OSError):
            if not os.path.exists(self._layout.manifest(newest.number + 1)):
                for number in self._layout.segment_numbers():
                    if number >= newest.next_segment:
                        fsio.remove(self._layout.segment(number))

    def _prune(self, newest: Manifest) -> None:
        """Drop the manifests beyond the last `KEPT`, oldest first, and the segment files that no kept one needs."""
        numbers = self._layout.manifest_numbers()
        for number in numbers[:-KEPT]:
            fsio.remove(self._layout.manifest(number))
        if newest.number % KEPT == 0:
            kept = [self.read(number) for number in numbers[-KEPT:]]
            needed = {segment.number for manifest in kept for segment in manifest.segments}
            for number in self._layout.segment_numbers():
                if number not in needed and number < newest.next_segment:
                    fsio.remove(self._layout.segment(number))
