"""Links, FIFOs, devices, sockets, directories and files of every kind, in every place of a container; every command.

``python -m tests.hostile.fuzz --cases 200``. A case is a copy of a container, of a backup, or of the directory that
objects are written to, with one to three places changed. Every command runs on it, each in a process of its own under
limits. Each has to end by itself, with an exit code and a line; a directory outside has to be as it was, unread.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import random
import re
import shutil
import socket
import stat
import struct
import sys
import tempfile
import termios
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from rsdos import Container
from tests.data import noise, text
from tests.hostile.limits import import_all, run_limited
from tests.hostile.watch import Watch

LOOSE, PACKED = noise(900, 1), text(3000, 2)
_BYTES = b"not yours"


class Template(NamedTuple):
    """Directories that cases are copies of, and the keys of a loose and a packed object."""

    root: Path
    loose: str
    packed: str

    @property
    def outside(self) -> Path:
        return self.root / "outside"


def make_templates(root: Path) -> Template:
    """Make a container of each version, a backup of each, and a directory outside that has containers too."""
    keys = ("", "")
    for version in (1, 2):
        path = root / f"container-{version}"
        with Container.create(path, container_version=version) as container:
            keys = container.insert(LOOSE), container.insert_many([PACKED, *(noise(200, seed) for seed in range(9))])[0]
            container.insert_many([noise((2 << 20) + 5, 3)])
            container.delete([container.insert(b"deleted"), container.insert_many([b"deleted too"])[0]])
            container.engine.packed.maintenance.note("a note", 1)
            container.backup(root / f"backup-{version}")
        # Dead writers' and others' leftovers have places too.
        claim = path / "sandbox" / f"0a1b2c3d-999999-{'0' * 16}"
        claim.mkdir(parents=True)
        (claim / "0").write_bytes(b"unfinished")
    outside = root / "outside"
    outside.mkdir()
    for version in (1, 2):
        shutil.copytree(root / f"container-{version}", outside / f"container-{version}")
    for name in (
        "0",
        "0000000001.pack",
        "1",
        "config.json",
        "manifest-0000000009.json",
        "a file",
        keys[0],
        keys[1][2:],
    ):
        (outside / name).write_bytes(_BYTES)
    for name in ("ab", "loose", "packed", "index", "sandbox", "locks"):
        (outside / name).mkdir()
        (outside / name / "0000000001.pack").write_bytes(_BYTES)
    return Template(root, *keys)


# What is put into a place.


def _link(target: str) -> Callable[[Path, Template], None]:
    def put(place: Path, template: Template) -> None:
        place.symlink_to(template.outside / target if target else "nowhere")

    return put


def _file(data: bytes) -> Callable[[Path, Template], None]:
    def put(place: Path, _: Template) -> None:
        place.write_bytes(data)

    return put


def _directory(place: Path, _: Template) -> None:
    place.mkdir()
    (place / "mine.txt").write_bytes(_BYTES)
    (place / "more").mkdir()


def _twin(place: Path, template: Template) -> None:
    """A link in the place of a directory or file to that of the same name in a container outside."""
    parts = place.parts
    root = next(at for at, part in enumerate(parts) if part == "case")
    for version in (2, 1):
        twin = template.outside / f"container-{version}" / Path(*parts[root + 1 :])
        if twin.exists():
            place.symlink_to(twin)
            return
    place.symlink_to(template.outside / f"container-{random.choice((1, 2))}")


def _socket(place: Path, _: Template) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as made:
        before = os.getcwd()
        os.chdir(place.parent)
        try:
            made.bind(place.name)
        except OSError:
            place.touch()  # Its name is too long for one.
        finally:
            os.chdir(before)


def _device(place: Path, _: Template) -> None:
    try:
        os.mknod(place, 0o666 | stat.S_IFCHR, os.makedev(1, 5))
    except PermissionError:
        place.symlink_to("/dev/zero")


def _sparse(place: Path, _: Template) -> None:
    with open(place, "wb") as file:
        file.truncate(1 << 40)


def _hard_link(place: Path, template: Template) -> None:
    """Another name of a file outside: the name may go, and the file has to stay as it is."""
    os.link(template.outside / "a file", place)


KINDS: dict[str, Callable[[Path, Template], None]] = {
    "link to a directory": _link("."),
    "link to an empty directory": _link("ab"),
    "link to a container": _link("container-2"),
    "link to its like in a container": _twin,
    "link to a file": _link("a file"),
    "link to nowhere": _link(""),
    "link to itself": lambda place, _: place.symlink_to(place.name),
    "FIFO": lambda place, _: os.mkfifo(place),
    "socket": _socket,
    "device": _device,
    "directory": _directory,
    "empty directory": lambda place, _: place.mkdir(),
    "empty file": lambda place, _: place.touch(),
    "file of zeros": _file(bytes(70_000)),
    "file of noise": _file(noise(70_000, 5)),
    "file of JSON": _file(b'{"a": ' * 3000),
    "sparse file": _sparse,
    "hard link to a file": _hard_link,
    "nothing": lambda place, _: None,
}

# Places that need not be there yet.
_MORE = (
    *(
        "migration.json",
        "notes.json",
        "validation.json",
        "config.json.new",
        "config.json.clearing",
        "quarantine",
        "locks",
    ),
    *("packs.idx-wal", "packs.idx-shm", "packs.idx-journal", "packs.idx.new", "packs.idx.salvaged", "packs", "packed"),
    *("index", "loose", "sandbox", "duplicates", "loose/ab", "loose/zz", "sandbox/mine", "packs/0.lock", "packs/1"),
    *(
        "locks/commit",
        "locks/maintenance",
        "locks/turn",
        "locks/readers",
        "locks/pack-1",
        "locks/pack-2",
        "locks/reserve",
    ),
    *("locks/backup", "locks/last-backup.json", "index/manifest.new", "index/manifest-0000000099.json"),
    *("index/0000000001.seg", "packed/0000000002.pack", "packed/0000000001.pack.found", "packed/mine"),
)
_MORE_OF_BACKUPS = ("live-backup", "last-backup", ".rsdos-lock", ".deleting-backup_20260101000000_abcd", "mine")


class Case(NamedTuple):
    """What is changed in a copy of what: a container, a backup's place or source, the place of extracted objects."""

    subject: str
    changes: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return f"{self.subject}: " + "; ".join(f"{kind} at {place}" for place, kind in self.changes)


CONTAINERS = "container-1", "container-2"
BACKUPS = "backup-1", "backup-2"
SUBJECTS = (*CONTAINERS * 4, *BACKUPS * 2, "extracted")
"""As often as they are taken."""


def cases(template: Template, count: int, seed: int, subjects: Sequence[str]) -> Iterator[Case]:
    """So many, each of one change, or now and then of two or three."""
    chance = random.Random(seed)
    places = {}
    for subject in (*CONTAINERS, *BACKUPS):
        root = template.root / subject
        there = [str(path.relative_to(root)) for path in sorted(root.rglob("*"))]
        more = _MORE_OF_BACKUPS if subject.startswith("backup") else _MORE
        # A tenth for what is there many times over.
        few = [place for place in there if place.count("/") < 3 and not ("loose/" in place and chance.random() < 0.5)]
        places[subject] = [*few, *more]
    places["extracted"] = [template.loose, template.packed, "mine", f".rsdos-{'0' * 16}.part"]
    for _ in range(count):
        subject = chance.choice(subjects)
        number = chance.choice((1, 1, 1, 2, 3))
        yield Case(subject, tuple((chance.choice(places[subject]), chance.choice(list(KINDS))) for _ in range(number)))


def commands(case: Case, template: Template, work: Path, chance: random.Random) -> list[list[str]]:
    """Every command that such a subject is for, in any order."""
    at, source = str(work / "case"), str(template.root / f"container-{case.subject[-1]}")
    if case.subject == "extracted":
        source = str(template.root / f"container-{chance.choice('12')}")
        return [["-p", source, "extract", at, template.loose, template.packed], ["-p", source, "extract", at]]
    if case.subject.startswith("backup"):
        copy = str(work / "source")
        shutil.copytree(source, copy, symlinks=True)
        with suppress(OSError):
            Path(copy, "loose", "ab").mkdir(exist_ok=True)
        made = [
            ["-p", copy, "backup", at],
            ["-p", copy, "backup", at, "--keep", "0", "--verify"],
            ["restore", at, str(work / "restored")],
            ["-p", at, "status"],
        ]
    else:
        p = ["-p", at]
        file = work / "file"
        file.write_bytes(noise(500, 8))
        made = [
            *(
                [*p, "status"],
                [*p, "status", "--json"],
                [*p, "list"],
                [*p, "inspect", "loose"],
                [*p, "inspect", "packs"],
            ),
            *([*p, "cat-file", template.loose], [*p, "cat-file", template.packed], [*p, "extract", str(work / "out")]),
            *(
                [*p, "add-files", str(file)],
                [*p, "inspect"],
                [*p, "add-files", str(file)],
            ),
            *([*p, "validate"], [*p, "validate", "--full"], [*p, "optimize"], [*p, "optimize", "pack"]),
            *([*p, "optimize", "clean"], [*p, "optimize", "repack"], [*p, "delete", template.loose]),
            *([*p, "repair", "index"], [*p, "repair", "objects", "--quarantine"], [*p, "backup", str(work / "backup")]),
            *([*p, "repair", "objects", "--from", source], [*p, "transfer", str(work / "other")]),
            *(["migrate", at], [*p, "delete", template.packed], [*p, "init"]),
        ]
    chance.shuffle(made)
    return made


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
        return f"{self.cases} cases, {self.commands} commands ({codes}); {kinds}; {len(self.faults)} faults"

    def tell(self) -> int:
        """Print all of it; return the exit code of the program."""
        for fault in self.faults:
            print(fault)
        print(self)
        return 1 if self.faults else 0


def run(work: Path, count: int, seed: int, report: Report, subjects: Sequence[str] = SUBJECTS) -> None:
    """Run so many cases."""
    template = make_templates(work / "templates")
    watch = Watch(template.outside)
    import_all()
    for number, case in enumerate(cases(template, count, seed, subjects)):
        _run_case(case, template, work / f"{number}", watch, random.Random(f"{seed} {number}"), report)


def _run_case(case: Case, template: Template, work: Path, watch: Watch, chance: random.Random, report: Report) -> None:
    work.mkdir()
    subject = work / "case"
    if case.subject == "extracted":
        subject.mkdir()
    else:
        shutil.copytree(template.root / case.subject, subject, symlinks=True)
    made = [_put(subject / place, kind, template) for place, kind in case.changes]
    watch.changes()  # Of making the case itself: a hard link has two names.
    held = list(filter(None, (_fill(subject / place) for place in dict.fromkeys(place for place, _ in case.changes))))
    report.cases += 1
    report.kinds.update(kind for (_, kind), is_made in zip(case.changes, made, strict=True) if is_made)
    for arguments in commands(case, template, work, chance):
        code, said = run_limited(arguments, work / "said")
        report.commands += 1
        report.codes[code] += 1
        wrong = [change for change in watch.changes() if not _is_of_a_name(change)]
        if code not in (0, 1, 2) or "a bug in rsdos" in said or "Traceback" in said:
            wrong.append(f"exit code {code}: {said.strip()[-300:]}")
        for fd in held:
            if _waiting(fd) != len(_BYTES):
                wrong.append("a FIFO was read")
        report.faults += [f"{case}: {' '.join(arguments)}: {one}" for one in wrong]
        if wrong:
            break
    for fd in held:
        os.close(fd)
    for directory, _, _ in os.walk(work):
        with suppress(OSError):
            os.chmod(directory, 0o700)
    shutil.rmtree(work)


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
    """Write to every second FIFO: whoever reads it takes bytes out. Of the others nobody opens the other end."""
    try:
        status = place.lstat()
        if not stat.S_ISFIFO(status.st_mode) or status.st_ino % 2:
            return 0
        fd = os.open(place, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return 0
    os.write(fd, _BYTES)
    return fd


def _waiting(fd: int) -> int:
    (count,) = struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))
    return int(count)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.hostile.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="what the names of subjects begin with")
    options = parser.parse_args()
    report = Report()
    subjects = [subject for subject in SUBJECTS if subject.startswith(options.only)]
    with tempfile.TemporaryDirectory() as work:
        run(Path(work), options.cases, options.seed, report, subjects)
    return report.tell()


if __name__ == "__main__":
    sys.exit(main())
