"""What has to be there after actors were at work beside one another, from what each was told, and what is there.

The rule (docs/concurrency.md): what was acknowledged is there, unless a removal may have come after it; what was
removed is gone, unless a store may have come after that. Of the two at the same time either may be the later, but for
this: a store whose last look at the container comes after the commit of a removal comes after it, and stays. A mend is
no store: what it says that it has mended is there as if it were stored, but it brings nothing back that was removed. A
name of a snapshot that was acknowledged leads to it, unless it may have been taken away since.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

from rsdos import Container, ContainerExists, DamagedObject, ObjectNotFound, Place
from rsdos.engine.publish import read_refs
from rsdos.maintenance.check import validate
from tests.crash.shim import LOOKS, Kind
from tests.data import key_of
from tests.interleave.acts import Act
from tests.interleave.schedule import Played, Step
from tests.interleave.world import BACKUPS, DATA, KEYS, MAIN, NAMES, PRESENT, REFS, SHARED

_TAKES_TIME = LOOKS | {Kind.CREATE, Kind.WRITE, Kind.SYNC, Kind.LINK, Kind.RENAME}
"""The last of these calls that a store makes is its last look, or comes before it."""


@dataclass(frozen=True)
class _Store:
    """Steps: it began behind ``begin``, looked last behind ``look``, and was acknowledged by ``end``."""

    begin: float
    look: float
    end: float


@dataclass(frozen=True)
class _Removal:
    """Steps: began behind ``begin``, what it removes was ``planned`` by, ``commit`` was let go on, ``end`` said."""

    begin: float
    planned: float
    commit: float
    end: float


@dataclass
class _History:
    stores: dict[str, list[_Store]] = field(default_factory=dict)
    mends: dict[str, list[_Store]] = field(default_factory=dict)
    removals: dict[str, list[_Removal]] = field(default_factory=dict)
    copies: list[tuple[str, float, float, set[str]]] = field(default_factory=list)
    """Of the whole container: where to, between which steps, and what it says that it left out."""
    named: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    unnamed: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    """Of snapshots: between which steps they got a name, and lost it."""

    def stored(self, name: str) -> list[_Store]:
        first = [_Store(-1, -1, -1)] if name in PRESENT else []
        return first + self.stores.get(name, [])

    def _good(self, name: str) -> list[_Store]:
        return self.stored(name) + self.mends.get(name, [])

    def may_be_saved(self, end: float) -> bool:
        """Whether a snapshot may have been saved before a step, and its objects be there, whoever else has them."""
        return any(begin < end for names in self.named.values() for begin, _ in names)

    def must_be_named(self, name: str) -> bool:
        """Whether a name has to lead to a snapshot at the end."""
        lost = [end for _, end in self.unnamed.get(name, [])]
        return any(end < inf and max(lost, default=-1) <= begin for begin, end in self.named.get(name, []))

    def must_be_free(self, name: str) -> bool:
        """Whether a name has to lead to nothing at the end. Of what was not acknowledged: it may be anything."""
        lost = self.unnamed.get(name, [])
        last = max((end for _, end in self.named.get(name, [])), default=-1)
        return all(end < inf for _, end in lost) and any(begin >= last for begin, _ in lost)

    def must_be(self, name: str) -> bool:
        """Whether an object has to be there at the end."""
        removals = self.removals.get(name, [])
        if name == "damaged" and any(removal.planned < inf for removal in removals):
            return False  # What takes the place of a damaged file just then is no more than that was.
        return any(
            store.end < inf and all(self._is_before(removal, store, removals) for removal in removals)
            for store in self._good(name)
        )

    @staticmethod
    def _is_before(removal: _Removal, store: _Store, removals: Sequence[_Removal]) -> bool:
        if removal.commit <= store.look:
            return True
        # What was removed by another, and came anew after the plan, is not what the plan has seen.
        return removal.planned <= store.begin and any(
            other is not removal and other.end <= store.begin for other in removals
        )

    def must_be_gone(self, name: str) -> bool:
        """Whether an object has to be missing at the end.

        A removal that was planned leaves what was moved since; so it says nothing of what is gone.
        """
        stores = self._may_be_stored(name)
        return not stores or any(
            removal.end < inf and removal.planned == inf and all(store.end < removal.begin for store in stores)
            for removal in self.removals.get(name, [])
        )

    def _may_be_stored(self, name: str) -> list[_Store]:
        return self.stored(name) + [_Store(-1, -1, -1)] * (name == "damaged")

    def stays(self, name: str, begin: float, end: float) -> bool:
        """Whether an object was there from one step to another, for sure."""
        removals = self.removals.get(name, [])
        return any(
            store.end < begin and all(removal.end <= store.begin or removal.begin >= end for removal in removals)
            for store in self._good(name)
        )

    def may_be(self, name: str, begin: float, end: float) -> bool:
        """Whether an object may have been there at any moment from one step to another."""
        removals = [removal for removal in self.removals.get(name, []) if removal.planned == inf]
        return (name in SHARED and self.may_be_saved(end)) or any(
            store.begin < end and not any(store.end < removal.begin and removal.end < begin for removal in removals)
            for store in self._may_be_stored(name)
        )


_REFUSALS = {"Busy", "ContainerExists"}
"""What an operation may say when another is at the same thing: of two that make a container, one."""

_RAISED = ("raises ", "failed ")


def _said(trace: Sequence[Step]) -> Iterator[tuple[int, int, str, str, list[str]]]:
    """Each thing said, but errors: the step, the actor, the verb, the container, the objects' names."""
    for at, step in enumerate(trace):
        if step.kind is Kind.MARK and not step.text.startswith(_RAISED):
            verb, where, *words = step.text.split()
            yield at, step.actor, verb, where, [word.replace("-", " ") for word in words]


def _histories(trace: Sequence[Step]) -> _History:
    """What was stored and removed when."""
    history = _History()
    for actor in {step.actor for step in trace}:
        _Gathering(history, trace, actor).gather()
    return history


class _Gathering:
    """What one actor has done."""

    def __init__(self, history: _History, trace: Sequence[Step], actor: int) -> None:
        self._history = history
        self._trace = trace
        self._actor = actor
        self._stores: dict[str, int] = {}
        self._removal: tuple[int, list[str]] = 0, []
        self._plan: int | None = None
        self._copy = self._mend = 0
        self._names: dict[str, tuple[int, list[str]]] = {}

    def gather(self) -> None:
        for at, actor, verb, where, names in _said(self._trace):
            if actor != self._actor:
                continue
            if verb in ("store", "plan", "remove", "copy", "mend", "name", "unname"):
                self._begun(verb, names, at)
            else:
                self._ended(verb, where, names, at)
        # What was not said to be done may be done, or not.
        for name, begin in self._stores.items():
            self._history.stores.setdefault(name, []).append(_Store(begin, begin, inf))
        self._removed(len(self._trace), inf)
        for verb in list(self._names):
            self._renamed(verb, inf)

    def _begun(self, verb: str, names: list[str], at: int) -> None:
        match verb:
            case "store":
                self._stores.update(dict.fromkeys(names, at))
            case "plan":
                self._plan = at
            case "remove":
                self._removal = at, names
            case "copy":
                self._copy = at
            case "mend":
                self._mend = at
            case "name" | "unname":
                self._names[f"{verb}d"] = at, names

    def _ended(self, verb: str, where: str, names: list[str], at: int) -> None:
        match verb:
            case "stored":
                self._stored(names, at)
            case "removed":
                self._removed(at, at)
            case "copied":
                self._history.copies.append((where, self._copy, at, set(names)))
            case "mended":
                for name in names:
                    # What was removed since it began may be the later.
                    self._history.mends.setdefault(name, []).append(_Store(self._mend, self._mend, at))
            case "named" | "unnamed":
                self._renamed(verb, at)

    def _renamed(self, verb: str, end: float) -> None:
        begin, names = self._names.pop(verb)
        changed = self._history.named if verb == "named" else self._history.unnamed
        for name in names:
            changed.setdefault(name, []).append((begin, end))

    def _stored(self, names: Sequence[str], at: int) -> None:
        for name in names:
            begin = self._stores.pop(name, 0)
            look = _last_look(self._trace, self._actor, begin, at, len(names))
            self._history.stores.setdefault(name, []).append(_Store(begin, look, at))

    def _removed(self, at: int, end: float) -> None:
        begin, names = self._removal
        commit = max(_commits(self._trace, self._actor, begin, at), default=end)
        # What is planned for is what was there when the plan was made, at the latest when it was done.
        first, planned = (begin, inf) if self._plan is None else (self._plan, begin)
        for name in names:
            self._history.removals.setdefault(name, []).append(_Removal(first, planned, commit, end))
        self._removal, self._plan = (0, []), None


def _last_look(trace: Sequence[Step], actor: int, begin: int, end: int, objects: int) -> int:
    """The step of the last look of a store; what is committed is looked at then.

    Of one call for many objects the last look comes batch by batch: the first commit counts, if there are several.
    """
    commits = _commits(trace, actor, begin, end)
    if commits:
        return commits[0] if objects > 1 else commits[-1]
    own = [at for at in range(begin, end) if trace[at].actor == actor and _is_look(trace[at])]
    looks = [at for at in own if trace[at].text.startswith(_OBJECTS) or trace[at].text == _MANIFESTS_LISTED]
    opened = (step.text for step in trace[:end] if step.actor == actor and _is_manifest(step, Kind.OPEN))
    known = max(opened, default="")
    while len(looks) > 1 and _is_manifest(trace[looks[-1]], Kind.LOOK) and trace[looks[-1]].text <= known:
        looks.pop()  # Not for a newer manifest: whether its own is there yet.
    return looks[-1] if looks else begin


def _is_look(step: Step) -> bool:
    """Whether a step may be a store's last look. Version 1: SQLite takes this lock for what it reads from memory."""
    if step.kind is Kind.LOCK:
        return step.text == f"{MAIN}/packs.idx-shm"
    # That at the name of the index asks whether it is the container's, that at a lock whether another has it.
    asks = step.kind is Kind.LOOK and (step.text == f"{MAIN}/packs.idx" or step.text.endswith(".lock"))
    return step.kind in _TAKES_TIME and not asks


_MANIFESTS_LISTED = f"{MAIN}/index"
_MANIFESTS = f"{_MANIFESTS_LISTED}/manifest-"


def _is_manifest(step: Step, kind: Kind) -> bool:
    return step.kind is kind and step.text.startswith(_MANIFESTS)


_OBJECTS = tuple(f"{MAIN}/{name}" for name in ("loose/", "packed/", "packs/", "index/", "packs.idx"))
"""Where a look is one at objects: that at the configuration, behind all others, asks whether this is the container."""


def _commits(trace: Sequence[Step], actor: int, begin: int, end: int) -> list[int]:
    """The steps of the commits of an actor between two steps."""
    commits = []
    is_written = False
    for at in range(begin, end):
        step = trace[at]
        if step.actor != actor:
            continue
        if step.kind is Kind.LINK and step.text.startswith(_MANIFESTS):
            commits.append(at)
        elif step.kind is Kind.WRITE and step.text == f"{MAIN}/packs.idx-wal":
            is_written = True
        elif is_written and step.kind is Kind.UNLOCK and step.text == f"{MAIN}/packs.idx-shm":
            # Others see it when the log's index says so, in memory: behind the syncs, before the lock is given back.
            is_written = False
            commits.append(at)
    return commits


def told(played: Played, acts: Sequence[Act]) -> Iterator[str]:
    """What is wrong with what the actors were told; each a kind of fault, and then what it is about."""
    if played.stuck:
        yield f"stuck: {played.stuck}"
    ends = any(act.ends for act in acts)
    said = [(actor, text) for actor, text in played.errors.items()]
    said += [
        (step.actor, step.text.removeprefix("failed "))
        for step in played.trace
        if step.kind is Kind.MARK and step.text.startswith("failed ")
    ]
    for actor, text in said:
        kinds = text.partition(": ")[0].split(",")
        is_plain = "RsdosError" in kinds and not {"DamagedObject", "DamagedContainer", "ObjectNotFound"} & set(kinds)
        if not _REFUSALS & set(kinds) and not (ends and is_plain):
            yield f"error: {'ABCDEFGH'[actor]} {text}"
    yield from _read(played.trace)


def _read(trace: Sequence[Step]) -> Iterator[str]:
    history = _histories(trace)
    looks: dict[int, int] = {}
    opened: dict[int, int] = {}
    for at, actor, verb, _, names in _said(trace):
        begin = looks.get(actor, 0)
        # That an object is there is an answer of one second ago at most, and no schedule takes as long as that.
        first = opened.setdefault(actor, at)
        if verb == "look":
            looks[actor] = at
        elif verb in ("saw", "missed", "listed"):
            missed = names if verb == "missed" else [name for name in DATA if name not in names] * (verb == "listed")
            for name in missed:
                if history.stays(name, begin, at):
                    yield f"unseen: {name}, at step {at}"
            for name in names if verb != "missed" else ():
                if name in DATA and not history.may_be(name, first, at):
                    yield f"ghost: {name}, at step {at}"
        elif verb == "counted":
            least = sum(history.stays(name, begin, at) for name in DATA)
            most = sum(history.may_be(name, first, at) for name in DATA) + history.may_be_saved(at)  # `OWN`.
            if not least <= int(names[0]) <= most:
                yield f"count: {names[0]}, of {least} to {most}, at step {at}"


def left(played: Played, path: Path, acts: Sequence[Act]) -> Iterator[str]:
    """What is wrong with what is there. In a process of its own: it opens containers."""
    history = _histories(played.trace)
    killed = None if played.killed is None else acts[played.killed]
    if killed is not None and killed.ends:
        # The container may be none until it is done: a migration has to be gone on with, or a clearing.
        yield from _again(killed, path)
        if killed.clears:
            for name in DATA:
                history.removals.setdefault(name, []).append(_Removal(-1, inf, inf, inf))
            history.unnamed.update((name, [(-1, inf)]) for name in REFS)
    yield from _container(path / MAIN, history)
    for where in {copy[0] for copy in history.copies}:
        # Which of several backups is the last one is not known: there must be what stayed from the first to the last.
        _, begins, ends, left_out = zip(*(copy for copy in history.copies if copy[0] == where), strict=True)
        place = path / where / "last-backup" if where == BACKUPS else path / where
        with Container(place) as container:
            for name in DATA:
                if name not in set().union(*left_out) and history.stays(name, min(begins), max(ends)):
                    yield from _is_there(container, name, f"in {where}")
    if killed is not None and not killed.ends:
        # The container behind a clearing is another one: what was backed up of the one before is kept from it.
        yield from _again(killed, path, (ContainerExists,) if any(act.clears for act in acts) else ())
        yield from _goes_on(path / MAIN)


def _again(act: Act, path: Path, allowed: tuple[type[Exception], ...] = ()) -> Iterator[str]:
    try:
        act.run(path, lambda text: None)
    except allowed:
        pass
    except Exception as error:  # noqa: BLE001
        yield f"again: {error!r:.300}"


def after_power_loss(trace: Sequence[Step], path: Path) -> Iterator[str]:
    """What is wrong with what a power loss has left behind the steps of ``trace``, most of all: can it be used?"""
    history = _histories(trace)
    try:
        with Container(path / MAIN) as container:
            sure = [name for name in DATA if history.must_be(name)]
            for name in sure:
                yield from _is_there(container, name)
            listed = set(container)
            yield from (f"unlisted: {name}" for name in sure if KEYS[name] not in listed)
            if len(container) != len(listed):
                yield f"count: {len(container)} for {len(listed)}"
            container.has(key_of(b"absent"))
            for key in listed - {KEYS[name] for name in sure}:
                # What was not promised may be there, or damaged, but never other bytes.
                with suppress(DamagedObject, ObjectNotFound):
                    if key_of(container.extract(key)) != key:
                        yield f"wrong: {NAMES.get(key)}"
            container.delete([KEYS["kept 0"]])
    except Exception as error:  # noqa: BLE001
        yield f"broken: {error!r:.300}"
    yield from _goes_on(path / MAIN)


def _is_there(container: Container, name: str, where: str = "") -> Iterator[str]:
    try:
        data = container.extract(KEYS[name])
    except ObjectNotFound:
        yield f"lost: {name} {where}".rstrip()
    except Exception as error:  # noqa: BLE001
        yield f"unreadable: {name} {where} {error!r:.300}"
    else:
        if data != DATA[name]:
            yield f"wrong: {name} {where}".rstrip()


def _container(path: Path, history: _History) -> Iterator[str]:
    try:
        with Container(path) as container:
            sure = [name for name in DATA if history.must_be(name)]
            for name in sure:
                yield from _is_there(container, name)
            listed = set(container)
            yield from (f"unlisted: {name}" for name in sure if KEYS[name] not in listed)
            yield from (f"unknown: {key} is listed" for key in listed - NAMES.keys())
            for name in DATA.keys() - set(SHARED):
                if history.must_be_gone(name) and (KEYS[name] in listed or container.has(KEYS[name])):
                    yield f"undead: {name}"
            yield from _refs(container, history)
            if len(container) != len(listed):
                yield f"count: {len(container)} for {len(listed)}"
            options = validate.ValidateOptions(validate.Depth.FULL)
            report = validate.execute(container.engine, validate.plan(container.engine, options))
            for finding in (*report.files, *report.damaged):
                if finding.key != KEYS["damaged"]:  # Of that one copy is bad, whatever is beside it.
                    yield f"validate: {finding.key and NAMES.get(finding.key)} {finding.path} {finding.reason}"
    except Exception as error:  # noqa: BLE001
        yield f"broken: {error!r:.300}"
    yield from _goes_on(path)


def _refs(container: Container, history: _History) -> Iterator[str]:
    refs, _ = read_refs(container.engine)
    for name in REFS:
        if history.must_be_named(name) and not refs.has(name):
            yield f"nameless: {name}"
        if history.must_be_free(name) and refs.has(name):
            yield f"undead: {name}"


def _goes_on(path: Path) -> Iterator[str]:
    """What is wrong with what is inserted now."""
    try:
        with Container(path) as container:
            fresh = b"fresh"
            keys = [container.insert(fresh), *container.insert_many([fresh + b"er"])]
            if [container.extract(key) for key in keys] != [fresh, fresh + b"er"]:
                yield "wrong: fresh"
            container.clean_storage()
            container.insert(fresh + b"est", to=Place.PACKED)
    except Exception as error:  # noqa: BLE001
        yield f"broken: {error!r:.300}"
