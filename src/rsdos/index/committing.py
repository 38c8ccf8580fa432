"""What an index and maintenance need from the commits of a container: the interface of both commit protocols."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rsdos.errors import DamagedContainer
    from rsdos.index.manifest import Manifest, Published
    from rsdos.migration import Original
    from rsdos.model import Durability
    from rsdos.storage.base import Version


class Commits(Protocol):
    """Reads and makes manifests: `rsdos.index.commits`, in version 3 `rsdos.index.remote_commits`. Any thread.

    Every method may raise `ContainerReplaced`, `NotAContainer` and OSError.
    """

    original: Original | None

    def check(self) -> None:
        """Raise `ContainerReplaced` or `NotAContainer` if the container is no longer the one that was opened."""

    def committed(self) -> int:
        """Return the highest number that is known to be committed, 0 if none is. No older manifest is the newest."""

    def begin_at(self, number: int) -> None:
        """Begin the search for the newest manifest at this number, which was the newest once. 0: nothing is known."""

    def latest(self, *, again: bool = False) -> tuple[int, int]:
        """Return the number of the newest manifest that is there, and of a newer one that is missing; 0 means none.

        If the index is read ``again``, first do `check`, if a manifest would not show that the container was replaced.
        """

    def newest_number(self) -> int:
        """Return the newest manifest's number. Raise `DamagedContainer` if it is missing."""

    def newest(self) -> Manifest:
        """Return the newest manifest. Raise `DamagedContainer`, `UnsupportedContainer`."""

    def never_there(self, number: int) -> DamagedContainer:
        """Return the error for a manifest that was gone each time it was opened."""

    def read(self, number: int) -> Manifest:
        """Return one manifest. Raise FileNotFoundError, `DamagedContainer`, `UnsupportedContainer`."""

    def read_with_file(self, number: int) -> Published:
        """Return one manifest, and the version of its file. Raise what `read` does."""

    def let_go(self) -> None:
        """Read manifests again the next time."""

    def file_of(self, number: int) -> Version | None:
        """Return the version of a manifest's file; None when it is missing."""

    def is_newest(self, number: int, known: Version | None = None) -> bool:
        """Return whether this manifest was the newest when this call began, and is still there as ``known``."""

    def commit(self, change: Callable[[Manifest], Manifest], durability: Durability) -> Published:
        """Publish what ``change`` makes of the newest manifest, and return it."""

    def readable(self) -> Manifest | None:
        """Return the newest manifest that is not damaged; None when there is none. Raise `UnsupportedContainer`."""

    def restore(self, make: Callable[[], Manifest | None]) -> Manifest | None:
        """Publish durably what ``make`` returns, whatever the newest manifest is; nothing when that is None."""
