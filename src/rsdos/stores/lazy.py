"""The objects of a lazy clone: those that are here, and those of its remote.

Objects that are read from the remote are kept in the clone's own packs (`rsdos.stores.keeper`). Lists, counts and
maintenance cover only the objects that are here.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from rsdos.errors import DamagedContainer, DamagedObject, ObjectNotFound, RemoteUnavailable, Unavailable
from rsdos.model import BytesLike, ObjectMeta
from rsdos.stores.base import Store, rest_of
from rsdos.stores.union import Objects

if TYPE_CHECKING:
    from rsdos.stores.loose.store import LooseStore
    from rsdos.stores.packs import PackStore

_T = TypeVar("_T")


class LazyObjects(Objects):
    """See the module. Any number of threads.

    Reads raise `RemoteUnavailable` for an object that is not here while the remote cannot be reached.
    """

    def __init__(self, root: str, loose: LooseStore, packed: PackStore, beyond: Callable[[], Objects | None]) -> None:
        """``beyond`` opens the remote, if there is one. It is called when the first object is not here."""
        super().__init__(root, loose, packed)
        self._open_beyond = beyond
        self._is_open = False
        self._beyond: Objects | None = None

    def _far(self) -> Objects | None:
        if not self._is_open:
            self._beyond = self._open_beyond()
            self._is_open = True
        return self._beyond

    def _ask(self, digest: bytes, verb: Callable[[Store], Callable[[bytes], _T | None]]) -> _T | None:
        """Return the answer of a verb of the remote for an object; None if the remote does not have the object."""
        try:
            far = self._far()
            # `is None`, because `bool(far)` would count the objects of the remote.
            return None if far is None else far.lookup(verb(far), digest.hex())
        except ObjectNotFound:
            return None
        except Unavailable as error:
            raise _unreachable(digest, error) from error

    def _here_or_there(
        self, here: Callable[[bytes], _T | None], verb: Callable[[Store], Callable[[bytes], _T | None]], digest: bytes
    ) -> _T | None:
        try:
            result = here(digest)
        except (DamagedObject, DamagedContainer):
            result = self._ask(digest, verb)
            if result is None:
                raise
            return result
        return self._ask(digest, verb) if result is None else result

    def read(self, digest: bytes) -> bytes | None:
        return self._here_or_there(super().read, lambda far: far.read, digest)

    def frames(self, digest: bytes) -> Iterator[BytesLike] | None:
        return self._here_or_there(super().frames, lambda far: far.frames, digest)

    def stream(self, digest: bytes) -> io.BufferedReader | None:
        return self._here_or_there(super().stream, lambda far: far.stream, digest)

    def describe(self, digest: bytes) -> ObjectMeta | None:
        return self._here_or_there(super().describe, lambda far: far.describe, digest)

    def contains_many(self, digests: Sequence[bytes]) -> list[bool]:
        present = super().contains_many(digests)
        rest = [at for at, is_here in enumerate(present) if not is_here]
        if rest:
            try:
                far = self._far()
                answers = () if far is None else far.has_many(digests[at].hex() for at in rest)
            except Unavailable as error:
                raise _unreachable(digests[rest[0]], error) from error
            for at, is_there in zip(rest, answers, strict=False):
                present[at] = is_there
        return present

    def read_lists(self, digests: Sequence[bytes]) -> Iterator[tuple[Sequence[int], Sequence[bytes]]]:
        found: list[Sequence[int]] = []
        for positions, payloads in super().read_lists(digests):
            found.append(positions)
            yield positions, payloads
        rest = rest_of(len(digests), found)
        if rest:
            at_of = {digests[at].hex(): at for at in rest}
            try:
                far = self._far()
                if far is not None:
                    for key, data in far.extract_many(at_of, missing="skip"):
                        yield (at_of[key],), (data,)
            except Unavailable as error:
                raise _unreachable(digests[rest[0]], error) from error

    def packed_lists(self, digests: Sequence[bytes]) -> Iterator[tuple[Sequence[int], Sequence[bytes]]]:
        found: list[Sequence[int]] = []
        for positions, payloads in super().packed_lists(digests):
            found.append(positions)
            yield positions, payloads
        rest = rest_of(len(digests), found)
        loose = self.loose.contains_many([digests[at] for at in rest]) if rest else ()
        rest = [at for at, is_loose in zip(rest, loose, strict=True) if not is_loose]
        if rest:
            try:
                far = self._far()
                if far is not None:
                    for positions, payloads in far.packed_lists([digests[at] for at in rest]):
                        yield [rest[at] for at in positions], payloads
            except Unavailable as error:
                raise _unreachable(digests[rest[0]], error) from error


def _unreachable(digest: bytes, error: Unavailable) -> RemoteUnavailable:
    if isinstance(error, RemoteUnavailable):
        return error
    return RemoteUnavailable(error.path, error.reason, digest.hex())
