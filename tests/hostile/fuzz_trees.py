"""Hostile trees, snapshots and refs, and every command that reads or writes them.

``python -m tests.hostile.fuzz_trees --cases 500``. A case is a container that has good snapshots, and the forged
versions of a branch ``bad`` or forged refs: one of the lists of `hostile_trees` and `hostile_documents`, now and then
with some bytes changed before they were hashed. Each command runs in a process of its own under limits. It has to end
by itself, with an exit code and a line, print nothing that a terminal acts on, and leave all alone that is outside of
the container and of the directory that it may write to. What is good stays readable.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import stat
import subprocess
import sys
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from rsdos import Container
from rsdos.errors import RsdosError
from tests.data import key_of, noise, text
from tests.hostile.forging import Forge
from tests.hostile.fuzz import Report
from tests.hostile.hostile_documents import REFS, SNAPSHOTS
from tests.hostile.hostile_trees import TREES, Make
from tests.hostile.limits import import_all, in_child, run_limited
from tests.hostile.watch import Watch
from tests.hostile.ways import READING, WRITING, Ground, read_in_python

THINGS: dict[str, Make] = {
    **{f"tree: {name}": make for name, make in TREES.items()},
    **{f"snapshot: {name}": make for name, make in SNAPSHOTS.items()},
    **{f"refs: {name}": make for name, make in REFS.items()},
}
GOOD = {"a": b"a", "sub/b": text(3000, 1), "sub/deep/c": noise(4000, 2)}
LOOSE, PACKED = noise(900, 3), text(900, 4)


class Case(NamedTuple):
    """What is forged, whether bytes of it are changed, and the ways that are gone."""

    name: str
    seed: int
    is_twisted: bool = False

    def __str__(self) -> str:
        return f"{self.name} ({'twisted, ' if self.is_twisted else ''}seed {self.seed})"


def make_template(root: Path) -> Path:
    """Make a container with two good versions and a tag, a directory outside, and a container of the user's own."""
    directory = root / "directory"
    for number, files in enumerate((GOOD, {**GOOD, "a": b"aa", "new": b"n"})):
        for name, data in files.items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_bytes(data)
        for name in ("template", "mine")[: number + 1]:
            with Container.create(root / name) if not (root / name).exists() else Container(root / name) as container:
                container.insert(LOOSE)
                container.insert_many([PACKED])
                branch = "good" if name == "template" else "mine"
                container.snapshots.save(branch, directory, author="me", message="good")
                container.snapshots.tag(f"kept{number}" if name == "template" else "own", branch)
    outside = root / "outside"
    outside.mkdir()
    (outside / "a file").write_bytes(b"not yours")
    (outside / "d").mkdir()
    (outside / "d" / "x").write_bytes(b"not yours")
    return root / "template"


def twisted(chance: random.Random) -> Callable[[bytes], bytes]:
    """Return what changes some bytes of one of a few things."""

    def twist(data: bytes) -> bytes:
        if not data or chance.random() < 0.5:
            return data
        changed = bytearray(data)
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(min(len(changed), chance.choice([40, 200, 10**6])))
            match chance.randrange(4):
                case 0:
                    del changed[at : at + chance.randint(1, 4)]
                case 1:
                    changed[at:at] = changed[: chance.randint(1, 8)]
                case _:
                    changed[at] = chance.choice([0, 1, 27, 34, 46, 47, 255, chance.randrange(256)])
            if not changed:
                break
        return bytes(changed)

    return twist


def forge(path: Path, case: Case) -> bool:
    """Forge the case in a copy of the template; whether that could be done."""

    def work() -> int:
        with Container(path) as container:
            maker = Forge(container, twisted(random.Random(case.seed)) if case.is_twisted else lambda data: data)
            THINGS[case.name](maker)
            maker.publish()
        return 0

    return in_child(work) == 0


def run(work: Path, cases: Sequence[Case], ways: int, report: Report) -> None:
    """Run cases, each with so many ways; 0: with all."""
    template = make_template(work)
    import_all()
    read_in_python(template)  # Imports what it needs, once.
    watch = Watch(work / "outside")
    for number, case in enumerate(cases):
        path = work / f"case-{number}"
        shutil.copytree(template, path)
        if not forge(path, case):
            report.faults.append(f"{case}: could not be forged")
            continue
        report.cases += 1
        _run_case(case, path, work, watch, ways, report)
        _remove(path)


def _run_case(case: Case, path: Path, work: Path, watch: Watch, ways: int, report: Report) -> None:
    chance = random.Random(f"{case.seed} {case.name}")
    is_readable = _good(path, snapshots=True) == ""
    if not is_readable and not case.name.startswith("refs: ") and not case.is_twisted:
        report.faults.append(f"{case}: what is good beside it cannot be read")
    names = [*READING, *WRITING]
    chosen = chance.sample(names, ways) if ways else names
    for name in chosen:
        place = work / "place"
        subject = place / "container"
        place.mkdir()
        (place / "neighbour").write_bytes(b"not yours")
        shutil.copytree(path, subject)
        ground = Ground(subject, place, work)
        before = _around(work)
        for arguments in (READING.get(name) or WRITING[name])(ground):
            out = place / "out.txt"
            code, said = run_limited(arguments, place / "said", out)
            report.commands += 1
            report.codes[code] += 1
            wrong = [*watch.changes(), *_judged(arguments, code, said, out)]
            wrong += [f"changed: {path}" for path in before.items() ^ _around(work).items()]
            wrong += _judged_files(place) if "checkout" in arguments else []
            report.faults += [f"{case}: {name}: {' '.join(arguments)}: {one}" for one in wrong]
        lost = "" if name in READING else _good(subject, snapshots=is_readable)
        if lost:
            report.faults.append(f"{case}: {name}: what was good is lost: {lost}")
        _remove(place)


def _around(work: Path) -> dict[str, tuple[int, int, int]]:
    """What is around the places that commands may write to."""
    paths = [*work.iterdir(), work / "place" / "neighbour"]
    seen = {str(path): path.lstat() for path in paths if path.exists() and path.name != "outside"}  # The watch sees it.
    return {
        path: (status.st_mode, status.st_size if stat.S_ISREG(status.st_mode) else 0, status.st_ino)
        for path, status in seen.items()
        if path != str(work / "place")
    }


def _judged(arguments: list[str], code: int, said: str, out: Path) -> list[str]:
    """What is wrong with how a command ended, and with what it printed."""
    wrong = []
    allowed = (0, 1, 2, 3) if "--exit-code" in arguments else (0, 1, 2)
    if code not in allowed or "a bug in rsdos" in said or "Traceback" in said:
        wrong.append(f"exit code {code}: {said.strip()[-300:]}")
    printed = said if {"-0", "cat-file"} & set(arguments) else said + out.read_bytes().decode(errors="surrogateescape")
    raw = {f"{character!r}" for character in set(printed) - {"\n"} if unicodedata.category(character) in ("Cc", "Zl")}
    if raw:
        wrong.append(f"prints {', '.join(sorted(raw))}")
    return wrong


def _judged_files(place: Path) -> list[str]:
    """What is wrong with the files that were written: by find, which has no limit on the depth."""
    kinds = ["-type", "f", "-o", "-type", "d", "-o", "-type", "l"]
    modes = ["-not", "-type", "l", "-a", "(", "-perm", "-4000", "-o", "-perm", "-2000", "-o", "-perm", "-1000", ")"]
    tests = ["(", "-not", "(", *kinds, ")", "-o", *modes, ")", "-print"]
    found = subprocess.run(["find", place, *tests], check=False, capture_output=True).stdout
    return [f"of an odd kind or mode: {os.fsdecode(path)[-100:]}" for path in found.splitlines()]


def _good(path: Path, *, snapshots: bool) -> str:
    """Return what of the good is lost, or ""."""

    def work() -> int:
        try:
            with Container(path) as container:
                if {data for _, data in container.extract_many(map(key_of, (LOOSE, PACKED)))} != {LOOSE, PACKED}:
                    return 2
                if snapshots:
                    snapshot = container.snapshots["kept0"]
                    if {name: snapshot.path(name).read_bytes() for name in GOOD} != GOOD:
                        return 3
        except (RsdosError, OSError, MemoryError):
            return 4
        return 0

    return {0: "", 2: "an object", 3: "a file of a snapshot", 4: "it cannot be read"}[in_child(work)]


def _remove(path: Path) -> None:
    """Remove a directory, also one of more levels than Python's own function can follow."""
    try:
        shutil.rmtree(path)
    except (OSError, RecursionError):
        subprocess.run(["chmod", "-R", "u+rwx", path], check=False, stderr=subprocess.DEVNULL)
        subprocess.run(["rm", "-rf", path], check=True)


def _is_large(name: str) -> bool:
    """Whether a command takes a second on a thing of this name."""
    return any(large in name for large in ("MiB", "large pages", "200,000", "20,000"))


def some_cases(count: int, seed: int, names: Iterable[str] = THINGS) -> list[Case]:
    """Return so many cases in any order: each thing once, then twisted, again and again."""
    chance = random.Random(seed)
    names = list(names)
    cases: list[Case] = []
    while names and len(cases) < count:
        chance.shuffle(names)
        is_twisted = bool(cases)
        cases += [Case(name, chance.randrange(10**6), is_twisted) for name in names]
    return cases[:count]


def twisted_cases(count: int, seed: int, names: Iterable[str] = THINGS) -> list[Case]:
    """Return so many cases that are twisted."""
    return [case._replace(is_twisted=True) for case in some_cases(count, seed, names)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.hostile.fuzz_trees", description=__doc__)
    parser.add_argument("--cases", type=int, default=len(THINGS))
    parser.add_argument("--ways", type=int, default=12, help="of each case; 0: all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="what the names of cases contain")
    parser.add_argument("--twisted", type=int, default=0, help="more cases, all of them twisted")
    parser.add_argument("--small", action="store_true", help="without what takes a second a command")
    options = parser.parse_args()
    report = Report()
    names = [name for name in THINGS if options.only in name and not (options.small and _is_large(name))]
    cases = [*some_cases(options.cases, options.seed, names), *twisted_cases(options.twisted, options.seed, names)]
    work = Path(tempfile.mkdtemp())
    try:
        run(work, cases, options.ways, report)
    finally:
        _remove(work)
    return report.tell()


if __name__ == "__main__":
    sys.exit(main())
