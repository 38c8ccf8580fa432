"""All branches and tags of a container at one moment, and the operations that make the next such moment of it.

Everything here is pure: an operation returns new `Refs`, and the engine publishes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from rsdos.errors import RefExists, RefMoved, RefNotFound
from rsdos.trees.names import check_ref_name, parse_ref


class Version(NamedTuple):
    """One version of a branch."""

    number: int
    snapshot: str
    """The key of its snapshot."""
    time: str


class Branch(NamedTuple):
    """The versions of a branch, the newest last. ``next`` is the number of the next one: none is given out twice."""

    next: int
    versions: tuple[Version, ...]

    @property
    def newest(self) -> Version | None:
        return self.versions[-1] if self.versions else None

    def with_next(self, snapshot: str, time: str) -> Branch:
        """Return the branch with one version more."""
        return Branch(self.next + 1, (*self.versions, Version(self.next, snapshot, time)))


NEW_BRANCH = Branch(1, ())


class Operation(NamedTuple):
    """What made a refs document: a verb, the names that it changed, when, and by whom."""

    verb: str
    names: tuple[str, ...]
    time: str
    by: str


NO_OPERATION = Operation("", (), "", "")


class Resolved(NamedTuple):
    """The snapshot that a ref leads to. ``version`` is None for a tag, and for a key, which has no ``name``."""

    name: str
    version: Version | None
    snapshot: str

    @property
    def label(self) -> str:
        """``NAME@N``, the name of the tag, or the key."""
        if self.version is not None:
            return f"{self.name}@{self.version.number}"
        return self.name or self.snapshot


@dataclass(frozen=True, slots=True)
class Refs:
    """The content of a refs document. Immutable: the mappings are not to be changed."""

    container_id: str
    number: int = 0
    """That of the document; 0 where there is none yet."""
    previous: str = ""
    """The key of the document before."""
    operation: Operation = NO_OPERATION
    tags: Mapping[str, str] = field(default_factory=dict)
    """Names and snapshots."""
    branches: Mapping[str, Branch] = field(default_factory=dict)
    """A branch without versions is one that was forgotten: it keeps its numbers."""

    def after(self, before: Refs, key: str) -> Refs:
        """Return these refs as the document that follows ``before``, whose key is ``key``."""
        return replace(self, container_id=before.container_id, number=before.number + 1, previous=key)

    # --- operations -------------------------------------------------------------------------------------------------

    def saved(self, name: str, snapshot: str, time: str, by: str, parent: str | None) -> Refs:
        """Return these refs with one version more of a branch, which is made if it is new.

        Raise `RefMoved` when the newest version of the branch is not ``parent`` (None: there is none yet), and
        `RefExists` for the name of a tag.
        """
        check_ref_name(name)
        if name in self.tags:
            raise RefExists(name, "a tag has this name")
        branch = self.branches.get(name, NEW_BRANCH)
        newest = branch.newest
        if (newest.snapshot if newest else None) != parent:
            now = f"it is now at {name}@{newest.number}" if newest else "it was forgotten"
            raise RefMoved(name, f"somebody else saved to this branch: {now}", snapshot)
        return self._with_branch(name, branch.with_next(snapshot, time), Operation("save", (name,), time, by))

    def branched(self, name: str, snapshot: str, time: str, by: str) -> Refs:
        """Return these refs with a new branch at a snapshot. Raise `RefExists`."""
        self._check_new(name)
        branch = self.branches.get(name, NEW_BRANCH)
        return self._with_branch(name, branch.with_next(snapshot, time), Operation("branch", (name,), time, by))

    def tagged(self, name: str, snapshot: str, time: str, by: str) -> Refs:
        """Return these refs with a new tag. Raise `RefExists`."""
        self._check_new(name)
        return self.retagged(name, snapshot, time, by)

    def retagged(self, name: str, snapshot: str, time: str, by: str) -> Refs:
        """Return these refs with a tag, which is moved if it is there. Raise `RefExists` for the name of a branch."""
        check_ref_name(name)
        if name in self.branches:
            raise RefExists(name, "a branch has this name")
        return replace(self, tags={**self.tags, name: snapshot}, operation=Operation("tag", (name,), time, by))

    def forgotten(self, gone: Iterable[tuple[str, int | None]], time: str, by: str) -> Refs:
        """Return these refs without some versions ``(branch, number)``, tags and whole branches ``(name, None)``.

        A branch without versions stays, so that its numbers are never given out again. Raise `RefNotFound`.
        """
        tags, branches = dict(self.tags), dict(self.branches)
        numbers: dict[str, set[int]] = {}
        names = []
        for name, number in gone:
            names.append(name if number is None else f"{name}@{number}")
            if number is None and name in tags:
                del tags[name]
                continue
            versions = branches[name].versions if name in branches else ()
            known = {version.number for version in versions}
            wanted = known if number is None else known & {number}
            if not wanted:
                raise RefNotFound(names[-1])
            numbers.setdefault(name, set()).update(wanted)
        for name, some in numbers.items():
            left = tuple(version for version in branches[name].versions if version.number not in some)
            branches[name] = Branch(branches[name].next, left)
        return replace(self, tags=tags, branches=branches, operation=Operation("forget", tuple(names), time, by))

    def undone(self, before: Refs, time: str, by: str) -> Refs:
        """Return the tags and branches of ``before``, the document before this one. Numbers given out stay so."""
        branches = dict(before.branches)
        for name, branch in self.branches.items():
            old = branches.get(name, NEW_BRANCH)
            branches[name] = Branch(max(old.next, branch.next), old.versions)
        changed = sorted(
            {name for name, _ in self.tags.items() ^ before.tags.items()}
            | {name for name, branch in branches.items() if branch.versions != _versions(self, name)}
        )
        return replace(
            self, tags=dict(before.tags), branches=branches, operation=Operation("undo", tuple(changed), time, by)
        )

    def _check_new(self, name: str) -> None:
        check_ref_name(name)
        if name in self.tags:
            raise RefExists(name, "a tag has this name")
        if _versions(self, name):
            raise RefExists(name, "a branch has this name")

    def _with_branch(self, name: str, branch: Branch, operation: Operation) -> Refs:
        return replace(self, branches={**self.branches, name: branch}, operation=operation)

    # --- questions --------------------------------------------------------------------------------------------------

    def find(self, text: str) -> str:
        """Return the key of the snapshot that a ref leads to. Raises as `resolve`."""
        return self.resolve(text).snapshot

    def resolve(self, text: str) -> Resolved:
        """Return what ``NAME``, ``NAME@N``, ``NAME@DATE``, ``TAG`` or a key leads to.

        A key is returned as it is: it may be of no snapshot. Raise `InvalidName` for a text that is no ref, and
        `RefNotFound`.
        """
        ref = parse_ref(text)
        if ref.is_key:
            return Resolved("", None, ref.name)
        if ref.name in self.tags and ref.number is None and not ref.until:
            return Resolved(ref.name, None, self.tags[ref.name])
        versions = _versions(self, ref.name)
        if not versions:
            raise RefNotFound(text, "a tag has no versions" if ref.name in self.tags else "no such branch or tag")
        for version in reversed(versions):
            if ref.number in (None, version.number) and (not ref.until or version.time <= ref.until):
                return Resolved(ref.name, version, version.snapshot)
        raise RefNotFound(text, f"there is no such version; the newest is {ref.name}@{versions[-1].number}")

    def has(self, name: str) -> bool:
        """Return whether a tag, or a branch that has versions, has this name."""
        return name in self.tags or bool(_versions(self, name))

    def names(self) -> list[str]:
        """Return the names of all tags, and of the branches that have versions, sorted."""
        return sorted([*self.tags, *[name for name, branch in self.branches.items() if branch.versions]])

    def names_of(self, snapshot: str) -> list[str]:
        """Return all refs that lead to a snapshot: versions as ``NAME@N``, then tags."""
        versions = [
            f"{name}@{version.number}"
            for name, branch in sorted(self.branches.items())
            for version in branch.versions
            if version.snapshot == snapshot
        ]
        return versions + sorted(tag for tag, key in self.tags.items() if key == snapshot)

    def snapshots(self) -> set[str]:
        """Return the keys of all live snapshots."""
        versions = {version.snapshot for branch in self.branches.values() for version in branch.versions}
        return versions | set(self.tags.values())


def _versions(refs: Refs, name: str) -> tuple[Version, ...]:
    return refs.branches[name].versions if name in refs.branches else ()


def united(one: Refs, other: Refs) -> Refs:
    """Return the union of two documents of one number, of which one writer lost its race and died.

    Either order gives the same. Of two versions with one number the one that is later in time, or has the larger key,
    gets the next number; of two snapshots of one tag the larger key is tagged.
    """
    tags = dict(one.tags)
    for name, snapshot in other.tags.items():
        tags[name] = max(snapshot, tags.get(name, ""))
    branches = dict(one.branches)
    for name, branch in other.branches.items():
        branches[name] = _united_branch(branches.get(name, NEW_BRANCH), branch)
    for name in tags.keys() & branches.keys():
        if branches[name].versions:
            del tags[name]
        else:
            del branches[name]
    newest = max(one, other, key=lambda refs: (refs.operation.time, refs.operation))
    return replace(newest, tags=tags, branches=branches)


def _united_branch(one: Branch, other: Branch) -> Branch:
    following = max(one.next, other.next)
    numbers: dict[int, Version] = {}
    renumbered: list[Version] = []
    for version in sorted(
        {*one.versions, *other.versions}, key=lambda version: (version.number, version.time, version)
    ):
        if version.number in numbers:
            renumbered.append(version)
        else:
            numbers[version.number] = version
    for version in renumbered:
        numbers[following] = version._replace(number=following)
        following += 1
    return Branch(following, tuple(numbers[number] for number in sorted(numbers)))
