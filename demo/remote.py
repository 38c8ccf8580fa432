"""A container on object storage: what many machines do with it, shown on a Ceph of its own on loopback.

`make demo-remote` runs it, after `make ceph` has installed Ceph once. A container on the bucket is made; /usr/share is
saved here, and pushed; a lazy clone elsewhere gives one file of it, and then all; three processes push at once, of
which one is killed in the middle and run again; and at the end every object is read and hashed. Without Ceph it says
so, and does nothing; `RSDOS_CEPH=required` makes that an error, as in the tests.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, os.fspath(Path(__file__).parents[1]))

from demo.datasets import LARGEST, copied
from tests.ceph.cluster import BUCKET, PACKAGES, missing
from tests.ceph.daemons import PAUSE
from tests.ceph.keeper import start, stop
from tests.ceph.proxy import Fault, Kind, Proxy, Request

FILES = 2000
"""Files of each of the three machines, of 4 kB that nothing compresses: 8 MB, ..."""

PACK_SIZE = "64KiB"
"""... which are more than 120 packs of this size. A push commits each 64 packs."""

HELD = 100
"""The pack in whose put a push is killed: some are committed by then, others are stored and in no commit."""


class Line:
    """The way of one machine to the bucket: a proxy that does not answer a put, so that a push waits in the middle.

    A kill after a fixed time would come too early on a slow machine, and too late on a fast one.
    """

    def __init__(self, proxy: Proxy) -> None:
        self.url = proxy.url
        self._proxy = proxy
        self._packs = 0
        self._is_held = threading.Event()

    def hold(self) -> None:
        """Let the packs before `HELD` through, and no other."""
        self._proxy.fault = self._fault

    def let_go(self) -> None:
        """Let everything through."""
        self._proxy.fault = None

    def _fault(self, request: Request) -> Fault | None:
        if request.method != "PUT" or "/packs/" not in f"/{request.name}":
            return None
        self._packs += 1
        if self._packs < HELD:
            return None
        self._is_held.set()
        return Fault(Kind.STALL)

    def wait_until_held(self, push: subprocess.Popen[bytes]) -> None:
        """Wait until the push is in the middle. Raise `SystemExit` if it ends before."""
        while not self._is_held.wait(PAUSE):
            if push.poll() is not None:
                raise SystemExit(f"the push ended after {self._packs} packs, with exit code {push.returncode}")


class Demo:
    """One run, in a directory of its own."""

    def __init__(self, top: Path, source: Path, endpoint: str, environment: dict[str, str]) -> None:
        self.top = top
        self._source = source
        self._url_of_store = endpoint
        self._endpoint = ("--option", f"endpoint={endpoint}")
        self._environment = {**os.environ, **environment, "XDG_CACHE_HOME": str(top / "cache")}
        self._url = f"s3://{BUCKET}/shared"

    def start(self, *words: str | Path, output: int | None = None) -> subprocess.Popen[bytes]:
        """Start a command line. What it prints goes to ``output``; None: where ours goes."""
        print("$", " ".join(["rsdos", *map(str, words)]), flush=True)
        command = [sys.executable, "-m", "rsdos", *map(str, words)]
        return subprocess.Popen(command, env=self._environment, cwd=self.top, stdout=output)

    def rsdos(self, *words: str | Path) -> None:
        """Run a command line. Raise `SystemExit` if it fails."""
        begun = time.perf_counter()
        if code := self.start(*words).wait():
            raise SystemExit(f"exit code {code}")
        print(f"  [{time.perf_counter() - begun:.1f} s]", flush=True)

    def machine(self, name: str, tree: Path, endpoint: str = "") -> Path:
        """Make a container of another machine, with a directory saved in it, and the bucket as its remote."""
        place = self.top / name
        way = ("--option", f"endpoint={endpoint}") if endpoint else self._endpoint
        self.rsdos("-p", place, "init")
        self.rsdos("-p", place, "save", name, tree)
        self.rsdos("-p", place, "remote", "add", "origin", self._url, *way)
        return place

    def compare(self, saved: Path, back: Path) -> None:
        """Raise `SystemExit` if a checkout is not as it was saved."""
        if subprocess.run(["diff", "-r", "--no-dereference", saved, back], check=False).returncode:
            raise SystemExit(f"{back} is not as {saved} was saved")
        print(f"{back.name} is equal to {saved.name}, by diff -r", flush=True)

    def run(self) -> None:
        """Do all of it."""
        share = self.top / "tree"
        print(f"{copied(self._source, share):,} files of {self._source}, {LARGEST >> 20} MiB at most", flush=True)
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
        self.compare(share, self.top / "all")

    def _three_at_once(self) -> None:
        """Push from three machines, kill one in the middle, and let it push again."""
        with Proxy(self._url_of_store) as proxy:
            line = Line(proxy)
            machines = [
                self.machine(f"machine-{name}", self._files(name), line.url if name == "one" else "")
                for name in ("one", "two", "three")
            ]
            line.hold()
            pushes = [self.start("-p", machine, "push", "--pack-size", PACK_SIZE) for machine in machines]
            line.wait_until_held(pushes[0])
            pushes[0].kill()
            codes = [push.wait() for push in pushes]
            print(f"exit codes of the three: {codes}; the first one was killed, and pushes again", flush=True)
            if codes != [-signal.SIGKILL, 0, 0]:
                raise SystemExit("one was to be killed, and those beside it were to end well")
            line.let_go()
            self._continue(machines[0])
        self.rsdos("-p", self._url, *self._endpoint, "log")
        self.rsdos("-p", self._url, *self._endpoint, "checkout", "machine-one", self.top / "again")
        self.compare(self.top / "files-one", self.top / "again")

    def _continue(self, machine: Path) -> None:
        """Push again. Raise `SystemExit` if what the killed push had committed is sent once more."""
        with self.start("-p", machine, "push", "--json", output=subprocess.PIPE) as push:
            told = json.load(push.stdout) if push.stdout else {}
        print(f"  {told['objects']:,} objects were left to send", flush=True)
        if push.returncode or not 0 < told["objects"] < FILES:
            raise SystemExit("the second push was to send what the first had not committed, and no more")

    def _files(self, name: str) -> Path:
        """Make the files of a machine."""
        tree = self.top / f"files-{name}"
        dice = random.Random(name)
        for number in range(FILES):
            path = tree / str(number % 30) / f"{number}.dat"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(dice.randbytes(4000))
        return tree


def main() -> None:
    """Run the demonstration on a Ceph that is started for it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--source", type=Path, default=Path("/usr/share"), help="the directory that is saved first")
    source = parser.parse_args().source
    if absent := missing():
        reason = f"Ceph is not installed ({', '.join(absent)}): make ceph, or apt-get install {' '.join(PACKAGES)}"
        if os.environ.get("RSDOS_CEPH") == "required":
            raise SystemExit(reason)
        print(f"skipped: {reason}")
        return
    top = Path(tempfile.mkdtemp(prefix="rsdos-demo-"))
    ceph = start(top / "ceph.json", os.getpid())
    try:
        Demo(top, source, ceph.url, ceph.environment).run()
    finally:
        stop(top / "ceph.json")
        shutil.rmtree(top, ignore_errors=True)
    print("all of it held")


if __name__ == "__main__":
    main()
