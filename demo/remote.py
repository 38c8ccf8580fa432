"""A container on object storage: what many machines do with it, shown on a Ceph of its own on loopback.

`make demo-remote` runs it, after `make ceph` has installed Ceph once. A container on the bucket is made; /usr/share is
saved here, and pushed; a lazy clone elsewhere gives one file of it, and then all; three processes push at once, of
which one is killed and run again; and at the end every object is read and hashed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, os.fspath(Path(__file__).parents[1]))

from demo.datasets import LARGEST, copied
from tests.ceph.cluster import BUCKET
from tests.ceph.keeper import start, stop

SOURCE = Path("/usr/share")


class Demo:
    """One run, in a directory of its own."""

    def __init__(self, top: Path, endpoint: str, environment: dict[str, str]) -> None:
        self.top = top
        self._endpoint = ("--option", f"endpoint={endpoint}")
        self._environment = {**os.environ, **environment, "XDG_CACHE_HOME": str(top / "cache")}
        self._url = f"s3://{BUCKET}/shared"

    def start(self, *words: str | Path) -> subprocess.Popen[bytes]:
        """Start a command line."""
        print("$", " ".join(["rsdos", *map(str, words)]), flush=True)
        command = [sys.executable, "-m", "rsdos", *map(str, words)]
        return subprocess.Popen(command, env=self._environment, cwd=self.top)

    def rsdos(self, *words: str | Path) -> None:
        """Run a command line. Raise `SystemExit` if it fails."""
        begun = time.perf_counter()
        if code := self.start(*words).wait():
            raise SystemExit(f"exit code {code}")
        print(f"  [{time.perf_counter() - begun:.1f} s]", flush=True)

    def machine(self, name: str, tree: Path) -> Path:
        """Make a container of another machine, with a directory saved in it, and the bucket as its remote."""
        place = self.top / name
        self.rsdos("-p", place, "init")
        self.rsdos("-p", place, "save", name, tree)
        self.rsdos("-p", place, "remote", "add", "origin", self._url, *self._endpoint)
        return place

    def run(self) -> None:
        """Do all of it."""
        share = self.top / "tree"
        print(f"{copied(SOURCE, share):,} files of {SOURCE}, {LARGEST >> 20} MiB at most", flush=True)
        self.rsdos("-p", self._url, *self._endpoint, "init")
        first = self.machine("share", share)
        self.rsdos("-p", first, "push", "--dry-run")
        self.rsdos("-p", first, "push")
        self.rsdos("-p", first, "status", "--remote")
        self._clone(share)
        self._three_at_once()
        self.rsdos("-p", self._url, *self._endpoint, "validate", "--full")
        self.rsdos("-p", self._url, *self._endpoint, "optimize")

    def _clone(self, share: Path) -> None:
        """Take one file out of a lazy clone, and then all."""
        clone = self.top / "clone"
        self.rsdos("clone", "--lazy", self._url, clone, *self._endpoint)
        path = next(path for path in sorted(share.rglob("*")) if path.is_file() and not path.is_symlink())
        name = path.relative_to(share)
        self.rsdos("-p", clone, "checkout", "share", self.top / "one", "--include", str(name))
        if (self.top / "one" / name).read_bytes() != path.read_bytes():
            raise SystemExit(f"{name} is not as it was")
        self.rsdos("-p", clone, "checkout", "share", self.top / "all")
        done = subprocess.run(["diff", "-r", "--no-dereference", share, self.top / "all"], check=False)
        if done.returncode:
            raise SystemExit("the clone's checkout is not as it was saved")
        print("the lazy clone's checkout is equal, by diff -r", flush=True)

    def _three_at_once(self) -> None:
        """Push from three machines, kill one in the middle, and let it push again."""
        machines = []
        for name in ("one", "two", "three"):
            tree = self.top / f"files-{name}"
            for number in range(3000):
                path = tree / str(number % 30) / f"{number}.dat"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(f"{name} {number} ".encode() * 200)
            machines.append(self.machine(f"machine-{name}", tree))
        pushes = [self.start("-p", machine, "push", "--pack-size", "1") for machine in machines]
        time.sleep(0.7)  # In the middle of it, on most machines; at any other moment it is as good.
        pushes[0].send_signal(signal.SIGKILL)
        codes = [push.wait() for push in pushes]
        print(f"exit codes of the three: {codes}; the first one was killed, and pushes again", flush=True)
        if codes[1:] != [0, 0]:
            raise SystemExit("a push beside the one that was killed has failed")
        self.rsdos("-p", machines[0], "push")
        self.rsdos("-p", self._url, *self._endpoint, "log")


def main() -> None:
    """Run the demonstration on a Ceph that is started for it."""
    top = Path(tempfile.mkdtemp(prefix="rsdos-demo-"))
    ceph = start(top / "ceph.json", os.getpid())
    try:
        Demo(top, ceph.url, ceph.environment).run()
    finally:
        stop(top / "ceph.json")
        shutil.rmtree(top, ignore_errors=True)
    print("all of it held")


if __name__ == "__main__":
    main()
