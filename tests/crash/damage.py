"""Damages a small container in every way, one at a time, and reads every object in every way.

`python -m tests.crash.damage SUBJECT DIRECTORY SHARE SEED` takes one of so many damages. Prints a `Result` as JSON:
``wrong`` bytes were returned; ``missing``: the store says that there is no such object; ``unnamed``: the error does
not say which object, or that it is the container; ``listed``: the list of keys is not as long as their count;
``foreign``: the error is none of the store's; ``crash`` and ``hang`` end the process; ``memory``: more was wanted than
there is reason for.
"""

from __future__ import annotations

import json
import random
import resource
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from itertools import combinations, islice
from pathlib import Path
from typing import NamedTuple

from tests.crash.judge import Verdicts, in_child
from tests.crash.subject import Subject, Wrong, subject
from tests.crash.sweep import Result
from tests.crash.warm import import_operations

_MEMORY = 512 << 20
"""Bytes of address space that reading a container of 20 KB may want more than there was."""

_TOGETHER = 100
"""Damages that one child looks at; it is forked again for each when it died."""

_WRITES = 25
"""Behind every so many damages of bytes something is inserted; behind those of whole files always."""

WHOLE_FILES = frozenset({"remove", "exchange", "swap", "older"})
KINDS = WHOLE_FILES | {"flip", "cut", "grow", "zero"}


class Damage(NamedTuple):
    """What is done, to which file: ``apply`` does it in a container that is whole."""

    kind: str
    name: str
    what: str
    apply: Callable[[Path], None]


def damages(whole: Mapping[str, bytes], other: Mapping[str, bytes], seed: int) -> Iterator[Damage]:
    """Every damage: bytes flipped, files cut, grown, emptied, removed, exchanged for one another or a stranger's."""
    chance = random.Random(seed)
    for name, data in whole.items():
        for at in range(len(data)):
            for mask in {0x01, 0xFF, 1 << chance.randrange(8)}:
                flipped = data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]
                yield Damage("flip", name, f"byte {at} by {mask:#x}", _content(name, flipped))
        for length in range(len(data)):
            yield Damage("cut", name, f"to {length} bytes", _content(name, data[:length]))
        yield Damage("grow", name, "by zeros", _content(name, data + bytes(5000)))
        yield Damage("zero", name, "whole", _content(name, bytes(len(data))))
        yield Damage("remove", name, "", lambda path, name=name: (path / name).unlink())  # type: ignore[misc]
        for stranger, foreign in other.items():
            if Path(stranger).parent.name == Path(name).parent.name or stranger == name:
                yield Damage("exchange", name, f"for {stranger} of another", _content(name, foreign))
    for one, two in combinations(whole, 2):
        yield Damage("swap", one, f"with {two}", _swap(one, two))
    manifests = sorted(name for name in whole if "manifest-" in name)
    for at, name in enumerate(manifests):
        yield Damage("older", name, "and what came after it is gone", _remove(manifests[at:]))


def _content(name: str, data: bytes) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        (path / name).write_bytes(data)

    return apply


def _remove(names: list[str]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        for name in names:
            (path / name).unlink()

    return apply


def _swap(one: str, two: str) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        aside = path.with_name("aside")
        (path / one).rename(aside)
        (path / two).rename(path / one)
        aside.rename(path / two)

    return apply


def files(path: Path) -> dict[str, bytes]:
    """What can be damaged; lock files say nothing of objects, but for the one that says what was committed last."""
    found = (file for file in sorted(path.rglob("*")) if file.is_file())
    names = {str(file.relative_to(path)): file.read_bytes() for file in found}
    return {name: data for name, data in names.items() if name == "locks/commit" or not _is_passed_over(name)}


def _is_passed_over(name: str) -> bool:
    return name.startswith("locks/") or name.endswith("-shm")


class Sweep:
    """One store's small container."""

    def __init__(self, own: Subject, directory: Path) -> None:
        self._own = own
        self._template = directory / "template"
        self._path = directory / "container"

        def begin() -> Verdicts:
            return {key: data.hex() for key, data in own.begin_damage(self._template).items()}

        made = {key: bytes.fromhex(data) for key, data in in_child(begin).items()}

        def begin_other() -> Verdicts:
            own.begin_damage(directory / "other")
            return {}

        in_child(begin_other)
        self._objects = made
        self._whole = files(self._template)
        self._other = files(directory / "other")

    def run(self, share: int, seed: int, kinds: frozenset[str] = KINDS) -> Result:
        """Damage in some ways; one of ``share``, by chance."""
        result = Result()
        chance = random.Random(seed)
        chosen = (
            damage
            for damage in damages(self._whole, self._other, seed)
            if damage.kind in kinds and (share == 1 or not chance.randrange(share))
        )
        while some := list(islice(chosen, _TOGETHER)):
            together = in_child(lambda: self._look(some))
            if together.keys() & {"crash", "hang"}:
                for damage in some:
                    result.add(in_child(lambda: self._look([damage])), _name(damage))  # noqa: B023
                continue
            for damage in some:
                ours = {key: text for key, text in together.items() if key.startswith(_name(damage) + "|")}
                result.add({key.rpartition("|")[2]: text for key, text in ours.items()}, _name(damage))
        return result

    def _look(self, some: list[Damage]) -> Verdicts:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY, used + _MEMORY))
        verdicts: Verdicts = {}
        for number, damage in enumerate(some):
            shutil.rmtree(self._path, ignore_errors=True)
            shutil.copytree(self._template, self._path)
            damage.apply(self._path)
            found = self._read(damage)
            if not found and (number % _WRITES == 0 or damage.kind in WHOLE_FILES):
                found = self._write(damage)
            verdicts |= {f"{_name(damage)}|{verdict}": text for verdict, text in found.items()}
        return verdicts

    def _read(self, damage: Damage) -> Verdicts:
        verdicts: Verdicts = {}
        try:
            with self._own.look(self._path) as reader:
                for key, data in self._objects.items():
                    for way, read in reader.ways(key):
                        self._judge(damage, key, f"{way} {key[:8]}", data, read, verdicts)
                reader.keys()
        except AssertionError as error:
            verdicts["listed"] = str(error)
        except BaseException as error:  # noqa: BLE001
            if not isinstance(error, self._own.errors):
                verdicts["memory" if isinstance(error, MemoryError) else "foreign"] = f"{error!r:.200}"
        return verdicts

    def _judge(
        self,
        damage: Damage,
        key: str,
        where: str,
        wanted: bytes,
        read: Callable[[], bytes | None],
        verdicts: Verdicts,
    ) -> None:
        try:
            data = read()
        except MemoryError as error:
            verdicts["memory"] = f"{where}: {error}"
        except BaseException as error:  # noqa: BLE001
            if not isinstance(error, self._own.errors):
                verdicts["foreign"] = f"{where}: {error!r:.200}"
            elif key not in str(error) and str(self._path) not in str(error):
                verdicts["unnamed"] = f"{where}: {error!r:.200}"
        else:
            if data is None and not self._is_gone(damage, key):
                verdicts["missing"] = where
            elif data is not None and data != wanted:
                verdicts["wrong"] = f"{where}: {len(data)} bytes for {len(wanted)}"

    def _is_gone(self, damage: Damage, key: str) -> bool:
        """Whether nothing in the container can tell that the object was there."""
        named = [damage.name, damage.what.removeprefix("with ")]
        if damage.kind in ("remove", "swap") and any(f"loose/{key[:2]}/{key[2:]}" in name for name in named):
            return True
        return damage.kind in ("remove", "swap", "exchange") and any(map(self._own.is_root, named))

    def _write(self, damage: Damage) -> Verdicts:
        """What is inserted then is there; and what could be read before can be read still."""
        try:
            self._own.insert(self._path, b"inserted into a damaged container")
        except Wrong as error:
            return {"wrong": f"inserted: {error}"}
        except BaseException as error:  # noqa: BLE001
            if not isinstance(error, self._own.errors):
                return {"foreign": f"insert: {error!r:.200}"}
        return self._read(damage)


def _name(damage: Damage) -> str:
    return f"{damage.kind} {damage.name} {damage.what}"


def main(name: str, directory: str, share: str, seed: str) -> None:
    """Damage and print."""
    if name.startswith("rsdos, "):
        import_operations()
    print(json.dumps(asdict(Sweep(subject(name), Path(directory)).run(int(share), int(seed)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
