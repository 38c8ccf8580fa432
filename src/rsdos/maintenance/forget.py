"""Forget: take versions out of the refs. Their objects stay until gc. Options → plan → execute → report."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from rsdos.engine.engine import Engine
from rsdos.engine.publish import publish, read_refs
from rsdos.engine.snapshots import this_process
from rsdos.errors import InvalidOption, RefNotFound
from rsdos.notebook import ShownAsTable
from rsdos.progress import Stopwatch
from rsdos.trees.documents import utc_text
from rsdos.trees.policy import Policy, apply_policy
from rsdos.trees.refs import Branch, Refs, Version


class NamedVersion(NamedTuple):
    """A version of a branch, or a tag (``version`` is None). ``reason`` says why it is kept or forgotten."""

    name: str
    version: int | None
    snapshot: str
    reason: str = ""

    def __str__(self) -> str:
        return self.name if self.version is None else f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class ForgetOptions:
    """What to forget: versions (``NAME@N``, ``NAME@DATE``), tags and branches.

    With a ``policy`` the names are branches, and the versions that the policy does not keep are forgotten. Without one,
    all versions of a branch are forgotten. Raise `InvalidOption` if nothing is named.
    """

    names: Sequence[str]
    policy: Policy | None = None

    def __post_init__(self) -> None:
        if not self.names:
            raise InvalidOption("nothing to forget was named")


@dataclass(frozen=True, slots=True)
class ForgetPlan:
    """The versions and tags to forget, and those of the named branches that stay."""

    forgotten: tuple[NamedVersion, ...]
    kept: tuple[NamedVersion, ...]
    options: ForgetOptions = field(repr=False)


@dataclass(frozen=True, slots=True)
class ForgetReport(ShownAsTable):
    """What was forgotten, and what was kept. The run took ``seconds``."""

    forgotten: tuple[NamedVersion, ...] = ()
    kept: tuple[NamedVersion, ...] = ()
    seconds: float = 0.0


def versions_of(refs: Refs) -> list[NamedVersion]:
    """Return all versions and tags of some refs, by name."""
    versions = [_named(name, version) for name, branch in refs.branches.items() for version in branch.versions]
    return [*versions, *(NamedVersion(name, None, snapshot) for name, snapshot in refs.tags.items())]


def _named(name: str, version: Version, reason: str = "") -> NamedVersion:
    return NamedVersion(name, version.number, version.snapshot, reason)


def plan(engine: Engine, options: ForgetOptions) -> ForgetPlan:
    """Find the versions to forget.

    With a policy the newest version of a branch, and versions that have a tag, always stay.

    Raises:
        RefNotFound: there is no version, tag or branch of one of the names.
        InvalidOption: a policy is given for a name that is not a branch.
        DamagedTree: the newest refs document is damaged.
    """
    refs, _ = read_refs(engine)
    forgotten: dict[tuple[str, int | None], NamedVersion] = {}
    kept: dict[tuple[str, int | None], NamedVersion] = {}
    for name in options.names:
        for version, goes in _planned(refs, name, options.policy):
            (forgotten if goes else kept)[version.name, version.version] = version
    for place in forgotten:
        kept.pop(place, None)
    return ForgetPlan(tuple(forgotten.values()), tuple(kept.values()), options)


def _planned(refs: Refs, name: str, policy: Policy | None) -> Iterator[tuple[NamedVersion, bool]]:
    """Yield the versions and tags that one name means, and whether each is forgotten."""
    branch = refs.branches.get(name)
    if branch is not None and branch.versions:
        yield from _of_branch(refs, name, branch, policy)
        return
    if policy is not None:
        refs.resolve(name)
        raise InvalidOption(f"{name}: a policy is for branches, and this is not a branch")
    resolved = refs.resolve(name)
    if not resolved.name:
        raise RefNotFound(name)  # A key: versions are forgotten by name.
    number = None if resolved.version is None else resolved.version.number
    yield NamedVersion(resolved.name, number, resolved.snapshot, "named"), True


def _of_branch(refs: Refs, name: str, branch: Branch, policy: Policy | None) -> Iterator[tuple[NamedVersion, bool]]:
    if policy is None:
        yield from ((_named(name, version, "named"), True) for version in branch.versions)
        return
    for version, reasons in apply_policy(branch, policy, set(refs.tags.values())):
        yield _named(name, version, ", ".join(reasons) or "the policy does not keep it"), not reasons


class _NothingLeft(Exception):
    """Everything in the plan was forgotten already."""


def execute(engine: Engine, plan: ForgetPlan) -> ForgetReport:
    """Publish the refs without the versions of the plan. Durable. Until gc deletes their objects, `undo` restores them.

    Versions that others have forgotten since the plan are left out.

    Args:
        engine: the open container.
        plan: what `plan` returned.

    Returns:
        The versions that were forgotten, and those that were kept.

    Raises:
        Busy: other processes publish all the time.
        ReadOnlyContainer: the container cannot be written.
    """
    watch = Stopwatch()
    gone: tuple[NamedVersion, ...] = ()

    def make(refs: Refs) -> Refs:
        nonlocal gone
        places = {(version.name, version.version, version.snapshot) for version in versions_of(refs)}
        gone = tuple(version for version in plan.forgotten if version[:3] in places)
        if not gone:
            raise _NothingLeft
        return refs.forgotten([version[:2] for version in gone], utc_text(time.time()), this_process())

    with suppress(_NothingLeft):
        publish(engine, read_refs(engine)[1], make)
    return ForgetReport(gone, plan.kept, watch.seconds)
