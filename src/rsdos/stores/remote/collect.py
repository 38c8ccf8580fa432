"""Removing dead objects of a container of version 3, and emptying old manifests. Any number of collectors at once.

1. Commit a manifest that changes nothing: its time, by the medium, is now. 2. List the manifests, and find the newest
ones that are old enough. 3. Commit a manifest without the reservations and retired rows of those and earlier ones.
4. List packs, segments and tables, and remove those that are dead in that manifest. 5. Empty old manifests, and commit
the number up to which that was done.

A collector that is killed between any two steps, or sleeps there for a week, harms nothing. A dead object stays dead
forever (`rsdos.stores.remote.dead`), and a manifest that was to be emptied has only become older. A writer that was
too slow gets `Expired` from its own commit. No lock is taken, and no clock of this machine is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from rsdos.errors import DamagedContainer
from rsdos.index.manifest import Manifest
from rsdos.index.remote_commits import RemoteCommits
from rsdos.index.reservations import state_of
from rsdos.model import Durability
from rsdos.storage.base import FileInfo, Storage
from rsdos.stores.remote.dead import Bounds, DeadNames, SeenManifest, bounds, lapsed, to_empty
from rsdos.stores.remote.in_flight import InFlight
from rsdos.stores.remote.placed import MANIFESTS, PACKS, SEGMENTS, TABLES, manifest_of, object_of, placed_manifest

GRACE = 24 * 3600.0
"""Seconds after which a reservation lapses: a writer commits every ten minutes, so this one is dead or asleep."""

KEEP = 7 * 24 * 3600.0
"""Seconds for which a reader with an old manifest finds all of its objects."""

AT_ONCE = 16
"""Removals that are under way at the same time: each is a request of its own."""


@dataclass(frozen=True, slots=True)
class CollectOptions:
    """Seconds after which reservations lapse (``grace``), and after which retired objects are removed (``keep``)."""

    grace: float = GRACE
    keep: float = KEEP


DEFAULTS = CollectOptions()


@dataclass(frozen=True, slots=True)
class Collected:
    """The result of a collector.

    ``reservations`` lapsed, and ``retired`` rows were dropped. ``objects`` of ``length`` bytes were removed from the
    medium, and ``emptied`` manifests were emptied.
    """

    reservations: int = 0
    retired: int = 0
    objects: int = 0
    length: int = 0
    emptied: int = 0


class Collector:
    """One run. The methods are the steps; each can be called on its own."""

    def __init__(self, storage: Storage, commits: RemoteCommits, options: CollectOptions = DEFAULTS) -> None:
        """``storage`` is the medium, under its own names."""
        self._storage = storage
        self._commits = commits
        self._options = options

    def pending(self) -> tuple[int, int]:
        """Return how many reservations and retired rows there are, of any age."""
        state = state_of(self._commits.newest())
        return len(state.reserved), len(state.retired)

    def run(self, advance: Callable[[int], None] = lambda _: None) -> Collected:
        """Do all steps. Raise what a commit raises, and OSError. ``advance`` receives the number of removed objects."""
        now = self.tell_time()
        old = self.old_since(now)
        before, manifest = self.drop(old)
        objects, length = self.remove_dead(manifest, advance)
        return Collected(
            len(state_of(before).reserved) - len(state_of(manifest).reserved),
            len(state_of(before).retired) - len(state_of(manifest).retired),
            objects,
            length,
            self.empty_manifests(old),
        )

    def tell_time(self) -> SeenManifest:
        """Do step 1. Return the number of the commit and its time."""
        # 1. A change that is none: the number is taken, and the medium says when.
        number = self._commits.commit(lambda newest: newest._replace(), Durability.FULL).manifest.number
        info = self._storage.stat(placed_manifest(number))
        if info is None:
            raise DamagedContainer(self._storage.path(placed_manifest(number)), "it was committed, and is missing")
        return SeenManifest(number, info.time)

    def old_since(self, now: SeenManifest) -> Bounds:
        """Do step 2."""
        # 2. Newest first: behind the emptied ones nothing is needed.
        seen = list(self._seen())
        # A listing tells milliseconds where the answer about one object has seconds alone.
        listed = (one for one in seen if one.number == now.number and one.time > now.time)
        return bounds(seen, next(listed, now), self._options.grace, self._options.keep)

    def _seen(self) -> Iterator[SeenManifest]:
        emptied_below = state_of(self._commits.newest()).emptied_below
        for info in self._storage.list_infos(MANIFESTS):
            number = manifest_of(_last(info.name))
            if number is None or number >= emptied_below:
                if number is not None:
                    yield SeenManifest(number, info.time)
            elif self._storage.traits.lists_in_order:
                return

    def drop(self, old: Bounds) -> tuple[Manifest, Manifest]:
        """Do step 3. Return the manifest before and after; the same where there is nothing to drop."""
        newest = self._commits.newest()
        if lapsed(newest, old) is newest:
            return newest, newest
        before = newest

        def change(newest: Manifest) -> Manifest:
            nonlocal before
            before = newest
            return lapsed(newest, old)

        # 3. Behind this commit a writer with such a reservation gets `Expired`.
        manifest = self._commits.commit(change, Durability.FULL).manifest
        return before, manifest

    def make_room(self) -> None:
        """Do steps 1 to 3 alone, where a writer finds the list of reservations full. Nothing is removed."""
        self.drop(self.old_since(self.tell_time()))

    def remove_dead(self, manifest: Manifest, advance: Callable[[int], None] = lambda _: None) -> tuple[int, int]:
        """Do step 4 by any manifest. Return how many objects were removed, and their bytes."""
        names = DeadNames(manifest)
        objects = length = 0
        with InFlight(AT_ONCE) as removals:
            for directory in (PACKS, SEGMENTS, TABLES):
                # 4. A listing may be old: what it lacks goes the next time.
                for info in self._listed(directory):
                    named = object_of(_last(info.name))
                    if named and names.has(*named):
                        removals.add(partial(self._storage.remove, info.name))
                        objects, length = objects + 1, length + info.length
                        advance(1)
        return objects, length

    def empty_manifests(self, old: Bounds) -> int:
        """Do step 5. Return how many were emptied."""
        newest = self._commits.newest()
        numbers = to_empty(newest, old)
        if not numbers:
            return 0
        # 5. The numbers stay taken: a writer that was suspended cannot commit under one of them.
        with InFlight(AT_ONCE) as requests:
            for number in numbers:
                requests.add(partial(self._storage.empty, placed_manifest(number)))
        self._commits.commit(partial(_emptied, numbers.stop), Durability.FULL)
        return len(numbers)

    def _listed(self, directory: str) -> Iterator[FileInfo]:
        try:
            yield from self._storage.list_infos(directory)
        except FileNotFoundError:
            return  # A medium with directories makes one for the first object in it.


def _emptied(below: int, newest: Manifest) -> Manifest:
    state = state_of(newest)
    return newest._replace(remote=state._replace(emptied_below=max(state.emptied_below, below)))


def _last(name: str) -> str:
    return name.rpartition("/")[2]
