"""The verbs of a container on Ceph, each with what it needs and what is there behind it: for `test_faults`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from rsdos import Container
from tests.ceph.fixtures import CONTAINER, S3
from tests.ceph.writer import batch
from tests.data import key_of

OLD = {key_of(data): data for data in batch("old", 0)}
"""What is there in the beginning, ..."""
NEW = {key_of(data): data for data in batch("new", 1)}
"""... and what is added."""
LEFT = dict(list(OLD.items())[3:])
"""What a delete leaves of it."""
FILES = {"a.txt": b"a", "b/c.txt": b"c" * 3000}
"""A directory that is saved."""


class Machine(NamedTuple):
    """A machine with a directory of its own, and the container in the bucket: as it reaches that, and directly."""

    url: str
    bucket: S3
    top: Path

    def own(self) -> Container:
        """Open the container in its directory, whose remote is that in the bucket."""
        return Container(self.top / "own")

    def there(self) -> Container:
        """Open the container in the bucket."""
        return Container(self.url)

    def names(self, kind: str) -> list[str]:
        """List the objects of a kind in the bucket, the newest manifest first; past all faults."""
        answer = self.bucket.send("GET", query={"list-type": "2", "prefix": f"{CONTAINER}/{kind}/"})
        return [part.partition(b"<")[0].decode() for part in answer.body.split(b"<Key>")[1:]]


class Verb(NamedTuple):
    """One verb. It is done as often as it asks for that, so that ``do`` may begin again."""

    do: Callable[[Machine], object]
    held: dict[str, bytes] = OLD
    """What the bucket then holds."""
    prepare: Callable[[Machine], object] = lambda _: None
    """Makes what it needs. No fault happens there."""
    check: Callable[[Machine], object] = lambda _: None
    """Looks at what else is there behind it."""
    writes: bool = True
    """Whether it puts anything into the bucket."""


def insert(machine: Machine) -> None:
    with machine.there() as container:
        assert container.insert_many(NEW.values()) == list(NEW)


def extract(machine: Machine) -> None:
    with machine.there() as container:
        assert dict(container.extract_many(OLD)) == OLD


def delete(machine: Machine) -> None:
    with machine.there() as container:
        container.delete(OLD.keys() - LEFT.keys())


def write_files(machine: Machine) -> None:
    for name, data in FILES.items():
        path = machine.top / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def save(machine: Machine) -> None:
    with machine.there() as container:
        container.snapshots.save("files", machine.top / "files")


def has_files(machine: Machine) -> None:
    with machine.there() as container:
        snapshot = container.snapshots["files"]
        assert {name: (snapshot / name).read_bytes() for name in FILES} == FILES


def make_own(machine: Machine) -> None:
    """Make the container of the machine's own: empty."""
    with Container.create(machine.top / "own") as own:
        own.remotes.add("origin", machine.url)


def fill_own(machine: Machine) -> None:
    """Make it with what the bucket has not: objects and a snapshot."""
    make_own(machine)
    write_files(machine)
    with machine.own() as own:
        own.insert_many(NEW.values())
        own.snapshots.save("files", machine.top / "files")


def push(machine: Machine) -> None:
    with machine.own() as own:
        report = own.remotes.push(pack_size=5000)
        assert (report.damaged, report.missing) == ((), ())


def save_there(machine: Machine) -> None:
    """Save a directory in the bucket."""
    write_files(machine)
    save(machine)


def fill_there(machine: Machine) -> None:
    """Save it for a machine that has nothing."""
    save_there(machine)
    make_own(machine)


def pull(machine: Machine) -> None:
    with machine.own() as own:
        report = own.remotes.pull()
        assert (report.damaged, report.missing) == ((), ())


def has_all_here(machine: Machine) -> None:
    with machine.own() as own:
        assert dict(own.extract_many(OLD)) == OLD
        snapshot = own.snapshots["files"]
        assert {name: (snapshot / name).read_bytes() for name in FILES} == FILES
        assert own.validate(depth="full").is_good


def clone(machine: Machine) -> None:
    Container.clone(machine.url, machine.top / "own")


def wear(machine: Machine) -> None:
    """Leave dead objects in several packs."""
    for data in list(NEW.values())[:3]:
        with machine.there() as container:
            container.insert_many([data])
    with machine.there() as container:
        container.delete((OLD | NEW).keys() - LEFT.keys())


def optimize(machine: Machine) -> None:
    with machine.there() as container:
        container.optimize()


def merge(machine: Machine) -> None:
    with machine.there() as container:
        container.merge()


def is_packed_anew(machine: Machine) -> None:
    with machine.there() as container:
        packs = container.inspect_packed().packs
        assert len(packs) == 1
        assert sum(pack.dead_objects for pack in packs) == 0


def retire(machine: Machine) -> None:
    """Leave packs that nothing names any more."""
    wear(machine)
    optimize(machine)


def collect(machine: Machine) -> None:
    with machine.there() as container:
        container.collect(grace=0, keep=0)


def is_collected(machine: Machine) -> None:
    with machine.there() as container:
        assert len(machine.names("packs")) == len(container.inspect_packed().packs) == 1


def is_merged(machine: Machine) -> None:
    with machine.there() as container:
        assert container.inspect_packed().segments == 1


def validate(machine: Machine) -> None:
    with machine.there() as container:
        assert container.validate("full").is_good


def damage(machine: Machine) -> None:
    """Damage the newest manifest."""
    assert machine.bucket.send("PUT", machine.names("manifests")[0], b"damaged").status == 200


def repair_index(machine: Machine) -> None:
    with machine.there() as container:
        assert container.repair_index().is_good


VERBS = {
    "insert": Verb(insert, OLD | NEW),
    "extract": Verb(extract, writes=False),
    "delete": Verb(delete, LEFT),
    "save": Verb(save, prepare=write_files, check=has_files),
    "push": Verb(push, OLD | NEW, fill_own, has_files),
    "pull": Verb(pull, prepare=fill_there, check=has_all_here, writes=False),
    "clone": Verb(clone, prepare=save_there, check=has_all_here, writes=False),
    "optimize": Verb(optimize, LEFT, wear, is_packed_anew),
    "merge": Verb(merge, LEFT, wear, is_merged),
    "collect": Verb(collect, LEFT, retire, is_collected),
    "validate": Verb(validate),
    "repair index": Verb(repair_index, prepare=damage),
}
