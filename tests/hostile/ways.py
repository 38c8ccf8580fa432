"""The ways in which a user meets a stranger's snapshots: command lines, one after the other, by name."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from rsdos import Container
from rsdos.errors import RsdosError
from tests.data import key_of
from tests.hostile.forging import EVIL

Way = Callable[["Ground"], list[list[str]]]


class Ground(NamedTuple):
    """Where a way is gone."""

    container: Path
    place: Path
    """A directory that commands may write to, except for a file ``neighbour``."""
    work: Path
    """Has a directory that may be read, ``directory``, and a container of the user's own, ``mine``."""

    def at(self, *arguments: str) -> list[str]:
        return ["-p", str(self.container), *arguments]

    def to(self, name: str) -> str:
        return str(self.place / name)

    @property
    def directory(self) -> str:
        return str(self.work / "directory")

    def mine(self) -> str:
        """A copy of the user's own container."""
        shutil.copytree(self.work / "mine", self.to("mine"))
        return self.to("mine")


def _one(*arguments: str) -> Way:
    return lambda ground: [ground.at(*arguments)]


READING: dict[str, Way] = {
    **{" ".join(line): _one(*line) for line in (
        *(["log"], ["log", "--json"], ["log", "bad"], ["log", "bad@1", "-n", "3"], ["log", "good", "--json"]),
        *(["log", "--operations"], ["log", "--operations", "--json"]),
        *(["show", "bad"], ["show", "bad", "--json"], ["show", "bad@1"], ["show", "good"]),
        *(["ls", "bad"], ["ls", "-r", "bad"], ["ls", "-l", "bad"], ["ls", "-r", "-l", "bad"], ["ls", "-d", "bad"]),
        *(["ls", "-r", "-0", "bad"], ["ls", "-r", "--json", "bad"], ["ls", "bad:d"], ["ls", "-r", "bad:d/d/d"]),
        *(["diff", "good", "bad"], ["diff", "bad", "good", "--stat"], ["diff", "bad", "bad@1", "--json"]),
        *(["diff", "good", "bad", "--exit-code", "--name-only"], ["diff", "good", "bad", "-0"]),
        *(["cat-file", "bad"], ["cat-file", "bad:a"], ["cat-file", "bad:d/a"], ["cat-file", "bad:../neighbour"]),
        *(["inspect", "object", "bad:a"], ["inspect", "packed"], ["list", "--long"], ["status"], ["status", "--json"]),
        *(["status", "--check"], ["status", "--format", "prometheus"], ["validate"], ["validate", "--full", "--json"]),
        *(["forget", "bad", "--keep-last", "1", "--dry-run"], ["undo", "--dry-run"], ["gc", "--dry-run"], ["doctor"]),
        ["inspect", "object", "bad", "--json"],
    )},
    "diff ./": lambda ground: [ground.at("diff", "bad", f"{ground.directory}/")],
    "status DIR": lambda ground: [ground.at("status", ground.directory, "bad")],
    "export": lambda ground: [ground.at("export", "bad", "-o", ground.to("x.tar"))],
    "export --times --keep-going": lambda ground: [
        ground.at("export", "bad", "--times", "--keep-going", "-o", ground.to("x.tar"))
    ],
    "export to list": lambda ground: [ground.at("export", "bad", "--format", "list")],
    "Python": lambda ground: [["python", str(ground.container)]],
}  # fmt: skip


def _checkout(*options: str, ref: str = "bad") -> Way:
    return lambda ground: [ground.at("checkout", ref, ground.to("new"), *options)]


def _there_and_back(ground: Ground) -> list[list[str]]:
    """Versions over one another, a status, and a save of what was written."""
    new = ground.to("new")
    return [
        ground.at("checkout", "bad@1", new),
        ground.at("checkout", "bad@2", new, "--force", "--delete"),
        ground.at("status", new),
        ground.at("checkout", "good", new, "--delete"),
        ground.at("save", "bad", new, "--force"),
        ground.at("checkout", "bad", ground.to("again")),
    ]


def _by_remote(*then: str) -> Way:
    def way(ground: Ground) -> list[list[str]]:
        mine = ground.mine()
        first = ["-p", mine, "remote", "add", "origin", str(ground.container)]
        return [first, *[["-p", mine, *line.split()] for line in then], *_go_on(ground, mine)]

    return way


def _go_on(ground: Ground, mine: str) -> list[list[str]]:
    """What the user does next in the own container."""
    return [["-p", mine, "log"], ["-p", mine, "save", "mine", ground.directory], ["-p", mine, "log"]]


def _transfer(*keys: str) -> Way:
    def way(ground: Ground) -> list[list[str]]:
        mine = ground.mine()
        save = ["-p", mine, "save", "bad", ground.directory, "--force"]
        return [["transfer", str(ground.container), mine, *keys], save, *_go_on(ground, mine)]

    return way


def _archive(ground: Ground) -> list[list[str]]:
    tar = ground.to("x.tar")
    return [ground.at("export", "bad", "-o", tar), ground.at("import", "again", tar), ground.at("ls", "-r", "again")]


WRITING: dict[str, Way] = {
    "checkout": _checkout(),
    **{f"checkout {word}": _checkout(word) for word in ("--keep-going", "--dry-run", "--json", "--sparse", "-j2")},
    "checkout --links inside": _checkout("--links", "inside"),
    "checkout --links none": _checkout("--links", "none", "--keep-going"),
    "checkout a part": _checkout("--keep-going", ref="bad:d"),
    "there and back": _there_and_back,
    "tag": lambda ground: [ground.at("tag", "t", "bad"), ground.at("log"), ground.at("gc")],
    "tag --move": lambda ground: [ground.at("tag", "fine", "good", "--move"), ground.at("log")],
    "branch": lambda ground: [ground.at("branch", "b", "bad"), ground.at("log", "--operations")],
    "forget": lambda ground: [
        ground.at("forget", "bad", "--yes"), ground.at("gc"), ground.at("undo"), ground.at("log")
    ],
    "forget @1": lambda ground: [ground.at("forget", "bad@1"), ground.at("gc", "--repack"), ground.at("log")],
    "forget --keep": lambda ground: [
        ground.at("forget", "bad", "--keep-daily", "1", "--keep-within", "1d"), ground.at("log")
    ],
    "undo": lambda ground: [ground.at("undo"), ground.at("log"), ground.at("undo"), ground.at("log")],
    "gc": lambda ground: [ground.at("gc"), ground.at("log")],
    "gc --repack": lambda ground: [ground.at("gc", "--repack"), ground.at("validate")],
    "save good": lambda ground: [ground.at("save", "good", ground.directory), ground.at("log"), ground.at("gc")],
    "save bad": lambda ground: [ground.at("save", "bad", ground.directory), ground.at("log", "bad")],
    "save bad --force": lambda ground: [
        ground.at("save", "bad", ground.directory, "--force", "--modes", "--times"), ground.at("log", "bad")
    ],
    "save --at": lambda ground: [ground.at("save", "bad", ground.directory, "--force", "--at", "x"), ground.at("log")],
    "archive": _archive,
    "repair index": lambda ground: [ground.at("repair", "index"), ground.at("log"), ground.at("validate")],
    "repair index --lost-names": lambda ground: [
        ground.at("repair", "index", "--lost-names", "older"), ground.at("log"), ground.at("gc")
    ],
    "repair objects": lambda ground: [ground.at("repair", "objects", "--quarantine"), ground.at("log")],
    "repair objects --from": lambda ground: [ground.at("repair", "objects", "--from", ground.mine())],
    "optimize": lambda ground: [ground.at("optimize"), ground.at("optimize", "repack"), ground.at("log")],
    "delete": lambda ground: [ground.at("delete", key_of(EVIL)), ground.at("validate")],
    "backup": lambda ground: [
        ground.at("backup", ground.to("backup"), "--verify"), ["restore", ground.to("backup"), ground.to("restored")],
        ["-p", ground.to("restored"), "log"],
    ],
    "migrate": lambda ground: [
        ["migrate", str(ground.container), ground.to("new"), "--without-snapshots", "--to", "1"],
        ["migrate", str(ground.container), ground.to("newer")], ["-p", ground.to("newer"), "log"],
    ],
    "transfer": _transfer(),
    "transfer bad": _transfer("bad"),
    "transfer bad@1": _transfer("bad@1", "--as", "theirs"),
    "transfer bad:a": _transfer("bad:a"),
    "clone": lambda ground: [
        ["clone", str(ground.container), ground.to("clone")], ["-p", ground.to("clone"), "log"],
        ["-p", ground.to("clone"), "save", "bad", ground.directory, "--force"], ["-p", ground.to("clone"), "log"],
        ["-p", ground.to("clone"), "push"],
    ],
    "clone --lazy": lambda ground: [
        ["clone", "--lazy", str(ground.container), ground.to("clone")], ["-p", ground.to("clone"), "ls", "-r", "bad"],
        ["-p", ground.to("clone"), "gc"], ["-p", ground.to("clone"), "validate"],
    ],
    "fetch": _by_remote("fetch", "status --remote", "fetch"),
    "pull": _by_remote("pull", "pull"),
    "push": _by_remote("push", "push"),
}  # fmt: skip


def read_in_python(path: Path) -> None:
    """Read all snapshots of a container as a program or a notebook does. Errors of rsdos are answers, and no memory."""
    answers = (RsdosError, OSError, MemoryError)
    with Container(path) as container, suppress(*answers):
        assert "<script" not in container._repr_html_()
        snapshots = container.snapshots
        with suppress(*answers):
            for _ in snapshots.operations():
                pass
        for name in [*snapshots, "bad@1"]:
            with suppress(*answers):
                snapshot = snapshots[name]
                assert "<script" not in repr(snapshot) + snapshot._repr_html_()
                str(snapshot.metadata)
                with suppress(*answers):
                    snapshot.stored()
                for entry in snapshot.root.walk():
                    with suppress(*answers):
                        entry.lstat()
                        if entry.is_file() and entry.size < 10**6:
                            entry.read_bytes()
