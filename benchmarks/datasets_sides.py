"""The programs of `benchmarks.datasets`: what a user types into each, for the same directory."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.measure import ROOT

Command = Sequence[str]

Commands = Mapping[str, Sequence[Command]]
"""The commands of each step that a program has.

``prepare`` makes the store, and is not measured. ``first`` saves, and ``again`` when nothing or little has changed;
``status`` asks whether anything has. ``restore`` writes all files into a new directory, ``listing`` prints all paths of
what was saved first, and ``diff`` what differs between the first two versions.
"""

_GIT_NAMES = {
    f"GIT_{role}_{what}": "bench@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
}


class DatasetSide:
    """One program: a store below ``work`` that keeps the directory ``source``."""

    title: str
    own_source = False
    """Whether the program writes into the directory: it gets a copy then."""
    most = 10**9
    """The largest number of files that it is asked to take."""
    longest = 600
    """Seconds that a measurement may take; then it is stopped, and said so."""

    def __init__(self, work: Path, source: Path) -> None:
        self.work = work
        self.source = source
        self.store = work / "store"
        self.out = work / "out"

    @classmethod
    def fault(cls) -> str:
        """Why it cannot take part, or ""."""
        return ""

    def environment(self) -> dict[str, str]:
        """The variables that it needs."""
        return {}

    def commands(self) -> Commands:
        """What a user types."""
        raise NotImplementedError

    def clear(self) -> None:
        """Take away what is to be restored, where that can only go to its old place. Not measured."""


class _Checkout(DatasetSide):
    """This checkout."""

    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(ROOT / "src"), "RSDOS_PATH": str(self.store)}

    def _run(self, *words: str) -> Sequence[Command]:
        return ((sys.executable, "-m", "rsdos", *words),)


class Rsdos(_Checkout):
    """Directories as snapshots."""

    title = "rsdos"

    def _save(self) -> Sequence[Command]:
        return self._run("save", "data", str(self.source))

    def commands(self) -> Commands:
        return {
            "prepare": self._run("init"),
            "first": self._save(),
            "status": self._run("status", str(self.source)),
            "again": self._save(),
            "restore": self._run("checkout", "data@1", str(self.out)),
            "listing": self._run("ls", "-r", "data@1"),
            "diff": self._run("diff", "data@1", "data@2"),
        }


class RsdosOneProcess(Rsdos):
    """The same without a second process."""

    title = "rsdos, one process"

    def _save(self) -> Sequence[Command]:
        return self._run("save", "-j", "1", "data", str(self.source))


class AddFiles(_Checkout):
    """The objects alone, without their names."""

    title = "rsdos add-files -r"

    def commands(self) -> Commands:
        return {"prepare": self._run("init"), "first": self._run("add-files", "-r", str(self.source))}


class Floors(DatasetSide):
    """The least that could do it: tar and find."""

    title = "floors: tar -c, find -printf, tar -x"

    def commands(self) -> Commands:
        store, out, archive = str(self.store), str(self.out), str(self.store / "archive.tar")
        return {
            "first": (("mkdir", store), ("tar", "-C", str(self.source), "-cf", archive, ".")),
            "status": (("find", str(self.source), "-printf", "%p %s %T@ %C@ %i %m\\n"),),
            "restore": (("mkdir", out), ("tar", "-C", out, "-xf", archive)),
        }


class _Program(DatasetSide):
    program: str

    @classmethod
    def fault(cls) -> str:
        return "" if cls.found() else f"{cls.program} is not installed ({cls.source_of()})"

    @classmethod
    def source_of(cls) -> str:
        """Where it can be had."""
        return f"apt install {cls.program}"

    @classmethod
    def found(cls) -> str | None:
        """The program: on the PATH, or in the environment that the Makefile makes for this benchmark."""
        own = ROOT / ".venv-datasets" / "bin" / cls.program
        return str(own) if own.exists() else shutil.which(cls.program)


class Restic(_Program):
    """restic, whose store is encrypted in any case."""

    title = "restic"
    program = "restic"

    def environment(self) -> dict[str, str]:
        return {"RESTIC_PASSWORD": "benchmark", "RESTIC_REPOSITORY": str(self.store)} | {
            "RESTIC_CACHE_DIR": str(self.work / "cache")
        }

    def commands(self) -> Commands:
        run = (self.found() or self.program, "--quiet")
        backup = ((*run, "backup", str(self.source)),)
        ids = """$("$0" snapshots --json | grep -o '"short_id":"[0-9a-f]*"' | cut -d'"' -f4)"""
        return {
            "prepare": ((*run, "init"),),
            "first": backup,
            "again": backup,
            "restore": ((*run, "restore", "latest", "--target", str(self.out)),),
            "listing": ((*run, "ls", "latest"),),
            "diff": (("sh", "-c", f'set -- {ids}; exec "$0" diff $1 $3', run[0]),),
        }


class Borg(_Program):
    """borg without encryption, lz4."""

    title = "borg"
    program = "borg"

    @classmethod
    def source_of(cls) -> str:
        return "apt install borgbackup"

    def environment(self) -> dict[str, str]:
        home = str(self.work / "home")
        return {
            "BORG_BASE_DIR": home,
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
            "BORG_REPO": str(self.store),
        }

    def commands(self) -> Commands:
        program, source, out = self.found() or self.program, str(self.source), str(self.out)
        differs = 'exec "$0" diff ::1 $("$0" list --short | tail -n 1)'
        return {
            "prepare": ((program, "init", "-e", "none"),),
            "first": ((program, "create", "-C", "lz4", "::1", source),),
            "again": ((program, "create", "-C", "lz4", "::{now:%H%M%S%f}", source),),
            "restore": (("mkdir", out), ("sh", "-c", 'cd "$1" && exec "$0" extract ::1', program, out)),
            "listing": ((program, "list", "--short", "::1"),),
            "diff": (("sh", "-c", differs, program),),
        }


class Git(_Program):
    """git, which syncs nothing."""

    title = "git, core.fsync=none"
    program = "git"
    sync = "none"

    def environment(self) -> dict[str, str]:
        places = {"GIT_DIR": str(self.store), "GIT_WORK_TREE": str(self.source)}
        return _GIT_NAMES | places | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}

    def commands(self) -> Commands:
        run = ("git", "-c", f"core.fsync={self.sync}", "-c", "gc.auto=0")
        elsewhere = ("env", f"GIT_INDEX_FILE={self.work / 'index'}", f"GIT_WORK_TREE={self.out}")
        add = (*run, "add", "--all")
        return {
            "prepare": ((*run, "init", "--quiet"),),
            "first": (add, (*run, "commit", "--quiet", "-m", "save")),
            "status": ((*run, "status", "--short"),),
            "again": (add, (*run, "commit", "--quiet", "--allow-empty", "-m", "save")),
            "restore": (
                ("mkdir", str(self.out)),
                (*elsewhere, *run, "checkout", "--quiet", "--force", "HEAD", "--", "."),
            ),
            "listing": ((*run, "ls-tree", "-r", "--name-only", "HEAD"),),
            "diff": ((*run, "diff", "--name-status", "HEAD~1", "HEAD"),),
        }


class GitSynced(Git):
    """git as it is, which syncs each file."""

    title = "git"
    sync = "default"
    most = 20_000


class GitAnnex(_Program):
    """git-annex, with a symbolic link for each file."""

    title = "git-annex"
    program = "git-annex"
    own_source = True
    most = 20_000
    longest = 60

    def environment(self) -> dict[str, str]:
        return _GIT_NAMES | {"HOME": str(self.work), "GIT_CONFIG_SYSTEM": os.devnull}

    def commands(self) -> Commands:
        run = ("git", "-C", str(self.source))
        return {
            "prepare": ((*run, "init", "--quiet"), (*run, "annex", "init", "--quiet")),
            "first": ((*run, "annex", "add", "--quiet", "."), (*run, "commit", "--quiet", "-m", "save")),
            "status": ((*run, "annex", "status"),),
        }


class Dvc(_Program):
    """DVC without git; its cache has a copy of each file."""

    title = "DVC"
    program = "dvc"
    own_source = True
    most = 20_000

    @classmethod
    def source_of(cls) -> str:
        return "PyPI; make bench-datasets installs it where it can"

    def environment(self) -> dict[str, str]:
        home = str(self.work / "home")
        return {"DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": home, "HOME": home, "CI": "true"}

    def commands(self) -> Commands:
        run = ("env", "-C", str(self.source.parent), self.found() or self.program)
        add = ((*run, "add", "--quiet", self.source.name),)
        return {
            "prepare": ((*run, "init", "--no-scm", "--quiet"), (*run, "config", "core.analytics", "false")),
            "first": add,
            "status": ((*run, "status"),),
            "again": add,
            "restore": ((*run, "checkout", "--quiet", "--force"),),
        }

    def clear(self) -> None:
        self.source.rename(self.work / "before")


DATASET_SIDES: dict[str, type[DatasetSide]] = {
    "rsdos": Rsdos,
    "rsdos-1": RsdosOneProcess,
    "add-files": AddFiles,
    "floors": Floors,
    "restic": Restic,
    "borg": Borg,
    "git": Git,
    "git-synced": GitSynced,
    "git-annex": GitAnnex,
    "dvc": Dvc,
}
