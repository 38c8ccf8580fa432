"""What the operations of the model share: one object of one container.

A world is immutable, so that states can be compared; a step makes the next one. Every copy, a file or an extent, has a
number of its own, which is never used again.
"""

from __future__ import annotations

from typing import NamedTuple

from rsdos.stores.order import FileId


class ActivePack(NamedTuple):
    """An insert has had its last look, and leans on a copy: the object is to be there from then on."""

    insert: str
    copy: int


class World(NamedTuple):
    """``loose``: the file under the object's name, 0 if there is none. ``packed``: the living packed copies.

    ``bad``: damaged copies. ``made``: how many copies there have been. ``maintainer``: who has the maintenance lock.
    ``begun``: the inserts that have looked for a copy. ``claims``: what has to be there; a delete answers those made
    before its commit. ``version``: of the container; a migration in place changes it. ``revived``: the actors that have
    brought back what was deleted.
    """

    loose: int = 0
    packed: frozenset[int] = frozenset()
    bad: frozenset[int] = frozenset()
    made: int = 0
    maintainer: str = ""
    begun: frozenset[str] = frozenset()
    claims: frozenset[ActivePack] = frozenset()
    version: int = 1
    revived: frozenset[str] = frozenset()

    @property
    def is_there(self) -> bool:
        """Whether who opens the container now reads the object."""
        return bool(self.loose and self.loose not in self.bad) or bool(self.packed - self.bad)

    @property
    def has_good_loose(self) -> bool:
        return bool(self.loose) and self.loose not in self.bad

    @property
    def file(self) -> FileId | None:
        """What `FileId.at` says of the object's name."""
        return file_of(self.loose) if self.loose else None

    def named(self) -> World:
        """With a new file under the name, in the place of what was there."""
        return self._replace(loose=self.made + 1, made=self.made + 1)

    def packed_anew(self) -> World:
        """With one more packed copy."""
        return self._replace(packed=self.packed | {self.made + 1}, made=self.made + 1)

    def claimed(self, insert: str, copy: int) -> World:
        return self._replace(claims=self.claims | {ActivePack(insert, copy)})

    def answered(self, inserts: frozenset[str], copies: frozenset[int]) -> World:
        """A commit by a plan is the answer to those inserts that had begun before the plan, or found these copies."""
        left = (claim for claim in self.claims if claim.insert not in inserts and claim.copy not in copies)
        return self._replace(claims=frozenset(left))


def file_of(copy: int) -> FileId:
    return FileId(copy, 0)
