"""Both stores of a container as one."""

from __future__ import annotations

import errno
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from typing import TypeVar

from rsdos.errors import DamagedContainer, DamagedObject, ReadOnlyContainer, RsdosError, log_warning
from rsdos.model import BytesLike, CompressMode, Copy, Durability, ObjectMeta, Place, Source, Trust, choice
from rsdos.storage import locks
from rsdos.stores.base import CHUNK, Store, ask_for_rest, first_good, rest_of
from rsdos.stores.loose.store import LooseStore
from rsdos.stores.packs import PackStore

REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
"""What the file system says to who may not write."""

NO_LOCKS = "its file system has no locks (flock): see docs/concurrency.md"

_T = TypeVar("_T")


class Objects(Store):
    """The objects of a container, wherever they are. Any number of threads.

    Looks go to the packs that are in sight first and to the loose files then; an object that is packed and cleaned
    between the two is found by the next look, because the packs in sight are not the newest then.
    """

    def __init__(self, root: str, loose: LooseStore, packed: PackStore) -> None:
        self.hash = loose.hash
        self._root = root
        self.loose = loose
        self.packed = packed

    def version(self) -> object:
        return self.packed.version()

    def has_version(self) -> bool:
        return self.packed.has_version()

    def is_latest(self, version: object) -> bool:
        return self.packed.is_latest(version)

    def refresh(self) -> None:
        self.packed.refresh()

    # Looks.

    def _either(
        self, packed: Callable[[bytes], _T | None], loose: Callable[[bytes], _T | None], digest: bytes
    ) -> _T | None:
        try:
            result = packed(digest)
        except (DamagedObject, DamagedContainer) as error:
            result = loose(digest)
            if result is None:
                raise
            log_warning("object %s: read from its loose file: %s", digest.hex(), error)
            return result
        return loose(digest) if result is None else result

    def read(self, digest: bytes) -> bytes | None:
        try:
            data = self.packed.read(digest)
        except (DamagedObject, DamagedContainer):
            return self._either(self.packed.read, self.loose.read, digest)
        return self.loose.read(digest) if data is None else data

    def frames(self, digest: bytes) -> Iterator[BytesLike] | None:
        return self._either(self._packed_frames, self.loose.frames, digest)

    def _packed_frames(self, digest: bytes) -> Iterator[BytesLike] | None:
        packed = self.packed.frames(digest)
        return None if packed is None else first_good(digest, self._copies_in_parts(digest, packed))

    def _copies_in_parts(
        self, digest: bytes, packed: Iterator[BytesLike]
    ) -> Iterator[Callable[[], Iterator[BytesLike]]]:
        """The packed copies and, when they are all damaged, the loose one if there is one."""
        yield lambda: packed
        loose = self.loose.frames(digest)
        if loose is not None:
            yield lambda: loose

    def stream(self, digest: bytes) -> io.BufferedReader | None:
        return self._either(self.packed.stream, self.loose.stream, digest)

    def describe(self, digest: bytes) -> ObjectMeta | None:
        return self._either(self.packed.describe, self.loose.describe, digest)

    def contains_many(self, digests: Sequence[bytes]) -> list[bool]:
        try:
            present = self.packed.contains_many(digests)
        except DamagedContainer:
            return [self.describe(digest) is not None for digest in digests]
        if not all(present):
            rest = [at for at, hit in enumerate(present) if not hit]
            for at, hit in zip(rest, self.loose.contains_many([digests[at] for at in rest]), strict=True):
                present[at] = hit
        return present

    def read_many(self, digests: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
        for positions, payloads in self.read_lists(digests):
            yield from zip(positions, payloads, strict=True)

    def read_lists(self, digests: Sequence[bytes]) -> Iterator[tuple[Sequence[int], Sequence[bytes]]]:
        found: list[Sequence[int]] = []
        try:
            for positions, payloads in self.packed.read_lists(digests, self.read):
                found.append(positions)
                yield positions, payloads
        except DamagedContainer:
            # One by one: a loose copy answers for what the index cannot tell of, or the damage is raised.
            for at in rest_of(len(digests), found):
                one = self.read(digests[at])
                if one is not None:
                    yield (at,), (one,)
            return
        if rest := rest_of(len(digests), found):
            for at, data in self.loose.read_many([digests[at] for at in rest]):
                yield (rest[at],), (data,)

    def check_copies(
        self,
        digests: Sequence[bytes],
        trust: Trust,
        durability: Durability,
        raws: Sequence[BytesLike] | None = None,
    ) -> list[Copy]:
        answers = self.packed.check_copies(digests, trust, durability, raws)
        return ask_for_rest(answers, digests, partial(self.loose.check_copies, trust=trust, durability=durability))

    # Inserting.

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turns the refusal of the file system to write the container into `ReadOnlyContainer`.

        An error of a full disk that names no file gets the container's path.
        """
        try:
            yield
        except OSError as error:
            self._refuse(error)
            raise

    def _refuse(self, error: OSError) -> None:
        """Raise what `writing` makes of an error, if that is another; name what has no name."""
        if error.errno in (errno.ENOSPC, errno.EDQUOT) and error.filename is None:
            error.filename = self._root
        if error.errno in locks.UNSUPPORTED:
            raise ReadOnlyContainer(self._root, NO_LOCKS) from error
        refused = error.errno in REFUSED
        ours = str(error.filename or "").startswith(self._root)
        if ours and error.errno == errno.ENOENT:
            self.packed.original.check()
        if refused and ours and not isinstance(error, RsdosError):
            raise ReadOnlyContainer(self._root, error.strerror or str(error)) from error

    def insert(self, source: Source, *, to: Place | str = Place.LOOSE) -> str:
        """Store one object, in a file of its own unless ``to`` says otherwise; returns its key once it is durable."""
        if to is not Place.LOOSE:
            return self.insert_many((source,), to=to)[0]
        # Most of what is inserted is small, and faster than a file is made elsewhere: by the shortest way.
        try:
            return self.loose.insert(source)
        except OSError as error:
            self._refuse(error)
            raise

    def insert_many(
        self,
        sources: Iterable[Source],
        *,
        to: Place | str = Place.PACKED,
        compress: CompressMode | str = CompressMode.AUTO,
        trust: Trust | str = Trust.VERIFY,
    ) -> list[str]:
        """Store many objects, in a pack unless ``to`` says otherwise; returns their keys in order.

        See `PackStore.insert_many` and `LooseStore.insert_many`; ``compress`` and ``trust`` are for packs.
        """
        place, mode, trusted = choice(Place, to), choice(CompressMode, compress), choice(Trust, trust)
        with self.writing():
            if place is Place.LOOSE:
                return self.loose.insert_many(sources)
            return self.packed.insert_many(sources, compress=mode, trust=trusted)

    # The whole.

    def _loose_keys(self) -> Iterator[list[str]]:
        """The keys of loose objects, in lists of bounded size."""
        keys = iter(self.loose)
        while chunk := list(islice(keys, CHUNK)):
            yield chunk

    def _not_packed(self, keys: Sequence[str]) -> list[str]:
        present = self.packed.contains_many(self.hash.parse_keys(keys))
        return [key for key, packed in zip(keys, present, strict=True) if not packed]

    def __iter__(self) -> Iterator[str]:
        """Every key once. Those that damage hides are told by a `DamagedContainer`, behind all others."""
        # Loose first: what is packed and cleaned meanwhile is met among the packed, and told from its loose self by
        # this set, of 150 bytes for each loose object that was not packed.
        self.refresh()
        seen: set[str] = set()
        for chunk in self._loose_keys():
            keys = chunk
            with suppress(DamagedContainer):  # It is raised behind the packed ones.
                keys = self._not_packed(chunk)
            seen.update(keys)
            yield from keys
        for key in self.packed:
            if key not in seen:
                yield key

    def with_prefix(self, prefix: str) -> Iterator[str]:
        """The keys that begin with ``prefix``, each once."""
        # Loose first, as in `__iter__`: what is packed and cleaned meanwhile is met among the packed.
        loose = set(self.loose.with_prefix(prefix))
        yield from loose
        yield from (key for key in self.packed.with_prefix(prefix) if key not in loose)

    def __len__(self) -> int:
        # Counted again when packs changed meanwhile; where they always do, no count is more right than another.
        packed = loose = 0
        for _ in range(3):
            self.refresh()
            version = self.version()  # Before the first count: what is packed and cleaned between the two changes it.
            packed = self.packed.count()
            loose = sum(len(self._not_packed(keys)) for keys in self._loose_keys())
            if self.is_latest(version):
                break
        return packed + loose
