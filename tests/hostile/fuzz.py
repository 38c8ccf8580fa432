"""Links, FIFOs, devices, sockets, directories and files of every kind, in every place of a container; every command.

``python -m tests.hostile.fuzz --cases 200``. A case is a copy of a container, of a backup, of the unfinished place of a
migration, restore or clone, or of the directory that objects are written to, with one to three places changed. The
lines of `tests.hostile.commands` are played on it, each command in a process of its own under limits. Each has to end
by itself, with an exit code and a line; a directory outside has to be as it was, unread.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import random
import re
import shutil
import stat
import struct
import sys
import tempfile
import termios
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tests.hostile.commands import lines
from tests.hostile.limits import import_all, run_limited
from tests.hostile.places import KINDS, places
from tests.hostile.templates import BYTES, EXTRACTED, SUBJECTS, Template, make_templates
from tests.hostile.watch import Watch


class Case(NamedTuple):
    """What is changed in a copy of what, and the seed of the order of its lines."""

    subject: str
    changes: tuple[tuple[str, str], ...]
    seed: str

    def __str__(self) -> str:
        return f"{self.subject}: " + "; ".join(f"{kind} at {place}" for place, kind in self.changes)


def cases(template: Template, count: int, seed: int, subjects: Sequence[str]) -> Iterator[Case]:
    """So many, each of one change, or now and then of two or three."""
    chance = random.Random(seed)
    places_of = {subject: places(subject, template, chance) for subject in dict.fromkeys(subjects)}
    for case in range(count):
        subject = chance.choice(subjects)
        number = chance.choice((1, 1, 1, 2, 3))
        changes = ((chance.choice(places_of[subject]), chance.choice(list(KINDS))) for _ in range(number))
        yield Case(subject, tuple(changes), f"{seed} {case}")


class Report:
    """What was run, and what went wrong."""

    def __init__(self) -> None:
        self.cases = 0
        self.commands = 0
        self.codes: Counter[int] = Counter()
        self.kinds: Counter[str] = Counter()
        self.faults: list[str] = []

    def __str__(self) -> str:
        codes = ", ".join(f"{number} with exit code {code}" for code, number in sorted(self.codes.items()))
        kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(self.kinds.items()))
        return "; ".join(
            filter(
                None, (f"{self.cases} cases, {self.commands} commands ({codes})", kinds, f"{len(self.faults)} faults")
            )
        )

    def tell(self) -> int:
        """Print all of it; return the exit code of the program."""
        for fault in self.faults:
            print(fault)
        print(self)
        return 1 if self.faults else 0


class Fuzzer:
    """Runs cases in a directory."""

    def __init__(self, work: Path, most: int = 0) -> None:
        """Make the templates. Of a case at most so many lines are played; 0: all."""
        self.template = make_templates(work / "templates")
        self.report = Report()
        self._case = work / "of-a-case"
        self._most = most
        self._watch = Watch(self.template.outside)
        import_all()

    def run(self, case: Case) -> None:
        """Run a case, again if something was only read: a program that goes through all files may have done that."""
        self.report.cases += 1
        faults = self._faults(case)
        if faults and all(fault.endswith(_READ) for fault in faults):
            faults = self._faults(case)
        self.report.faults += faults

    def run_unchanged(self, subject: str) -> None:
        """Run all lines of a subject in their order, in which each has to work."""
        case = Case(subject, (), "")
        self._lay_out(case)
        for line in lines(subject, self.template, self._case, random.Random(0)):
            for command in line:
                code, said = self._play(command)
                if code:
                    self.report.faults.append(f"{subject}: {' '.join(command)}: exit code {code}: {said}")
        self._clear()

    def _faults(self, case: Case) -> list[str]:
        """Play a case up to the first command of which something is wrong."""
        made = self._lay_out(case)
        held = list(
            filter(None, (_fill(place) for place in dict.fromkeys(self._case / "case" / at for at, _ in case.changes)))
        )
        self.report.kinds.update(kind for (_, kind), is_made in zip(case.changes, made, strict=True) if is_made)
        chance = random.Random(case.seed)
        played = lines(case.subject, self.template, self._case, chance)
        chance.shuffle(played)
        wrong: list[str] = []
        for command in (command for line in played[: self._most or None] for command in line):
            code, said = self._play(command)
            wrong += [change for change in self._watch.changes() if not _is_of_a_name(change)]
            wrong += _wrong(code, said)
            wrong += ["a FIFO was read" for fd in held if _waiting(fd) != len(BYTES)]
            if wrong:
                wrong = [f"{case}: {' '.join(command)}: {one}" for one in wrong]
                break
        for fd in held:
            os.close(fd)
        self._clear()
        return wrong

    def _lay_out(self, case: Case) -> list[bool]:
        """Copy the template and make the changes; which of them could be made."""
        subject = self._case / "case"
        if case.subject == EXTRACTED:
            subject.mkdir(parents=True)
        else:
            shutil.copytree(self.template.root / case.subject, subject, symlinks=True)
        made = [_put(subject / place, kind, self.template) for place, kind in case.changes]
        self._watch.changes()  # Of making the case itself: a hard link has two names.
        return made

    def _play(self, command: list[str]) -> tuple[int, str]:
        code, said = run_limited(command, self._case / "said")
        self.report.commands += 1
        self.report.codes[code] += 1
        return code, said

    def _clear(self) -> None:
        for directory, _, _ in os.walk(self._case):
            with suppress(OSError):
                os.chmod(directory, 0o700)
        shutil.rmtree(self._case)


_READ = ": read"
_NO_SUCH = re.compile(r"No such (command|option)|Usage:|Missing (argument|option|parameter)|unexpected extra argument")
"""Said of a line that is not as a user would type it: a fault of the fuzzer, not of rsdos."""


def _wrong(code: int, said: str) -> list[str]:
    if code not in (0, 1, 2) or "a bug in rsdos" in said or "Traceback" in said or _NO_SUCH.search(said):
        return [f"exit code {code}: {said.strip()[-300:]}"]
    return []


def _is_of_a_name(change: str) -> bool:
    """Whether no more happened than that a file lost a name in the container, got another there, or was read by it."""
    return re.search(r"/a file: ((links, )?changed)?(, )?(read)?$", change) is not None


def _put(place: Path, kind: str, template: Template) -> bool:
    """Put it there, in the place of what is there; whether it could be."""
    try:
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
        KINDS[kind](place, template)
    except OSError:
        return False  # In a place that an earlier change has made none of.
    return True


def _fill(place: Path) -> int:
    """Write to every second FIFO: a reader takes bytes out. Of the others nobody opens the other end."""
    try:
        status = place.lstat()
        if not stat.S_ISFIFO(status.st_mode) or status.st_ino % 2:
            return 0
        fd = os.open(place, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return 0
    os.write(fd, BYTES)
    return fd


def _waiting(fd: int) -> int:
    (count,) = struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))
    return int(count)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.hostile.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="what the names of subjects begin with")
    parser.add_argument("--lines", type=int, default=0, help="of each case; 0: all")
    parser.add_argument("--unchanged", action="store_true", help="play the lines on subjects as they are made")
    options = parser.parse_args()
    subjects = [subject for subject in SUBJECTS if subject.startswith(options.only)]
    with tempfile.TemporaryDirectory() as work:
        fuzzer = Fuzzer(Path(work), options.lines)
        if options.unchanged:
            for subject in dict.fromkeys(subjects):
                fuzzer.run_unchanged(subject)
        else:
            for case in cases(fuzzer.template, options.cases, options.seed, subjects):
                fuzzer.run(case)
    return fuzzer.report.tell()


if __name__ == "__main__":
    sys.exit(main())
