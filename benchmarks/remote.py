"""Containers on object storage beside boto3, rclone and DVC on the same Ceph: ``python -m benchmarks.remote``.

A Ceph RGW is started on loopback (`make ceph` installs it). The clients share the machine with it: read the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import median

from benchmarks.datasets_data import make_files
from benchmarks.measure import ROOT
from benchmarks.results import describe_machine
from rsdos import Container
from tests.ceph.cluster import BUCKET
from tests.ceph.endpoint import Endpoint
from tests.ceph.keeper import start, stop
from tests.ceph.proxy import Proxy

LEVELS = {"small": 5_000, "full": 100_000, "large": 600_000}
"""Numbers of files. The peers, which make an object of each, get a part of them."""

_OF_BOTO = 2_000
_OF_RCLONE = 2_000
_OF_DVC = 500
_READS = 300
_WRITERS = 16
_COMMITS = {"small": 5, "full": 50, "large": 200}
_LARGE_OBJECTS = 128
_MIB = 1 << 20
_BOTO = ROOT / ".venv-remote" / "bin" / "python"


@dataclass(slots=True)
class RemoteResults:
    """All figures of one run, by their names, and why some are missing."""

    level: str
    machine: dict[str, str]
    files: int
    figures: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def read_remote(path: Path) -> RemoteResults:
    """What a run has written."""
    return RemoteResults(**json.loads(path.read_text()))


class _Bench:
    """One run on one Ceph."""

    def __init__(self, ceph: Endpoint, place: Path, results: RemoteResults) -> None:
        self._ceph = ceph
        self._place = place
        self._results = results
        self._count = results.files
        self._environment = {**os.environ, **ceph.environment, "XDG_CACHE_HOME": str(place / "cache")}
        self._environment.pop("AWS_CA_BUNDLE", None)  # rclone refuses it, also where there is no TLS.
        self._local = place / "local"
        self._data = place.parent / "data" / f"files-{self._count}"

    def run(self) -> None:
        """Measure one after another; print as it goes."""
        for step in (
            self._prepare,
            self._push,
            self._push_of_peers,
            self._requests,
            self._pull,
            self._reads,
            self._large_reads,
            self._open,
            self._writers,
        ):
            try:
                step()
            except _Failed as error:
                self._results.missing[step.__name__.strip("_")] = str(error)
                print(f"{step.__name__.strip('_')}: {error}", file=sys.stderr)

    def _note(self, name: str, figure: float) -> None:
        self._results.figures[name] = figure
        print(f"{name:34} {figure:12.6g}", flush=True)

    def _url(self, name: str) -> str:
        return f"s3://{BUCKET}/{name}"

    def _rsdos(self, *words: str | Path) -> tuple[float, int]:
        """Run a command; return its seconds, and the most memory of its process in bytes."""
        command = [sys.executable, "-m", "rsdos", *map(str, words)]
        return self._run(command)

    def _run(self, command: Sequence[str], more: Mapping[str, str] = {}, cwd: Path | None = None) -> tuple[float, int]:
        with tempfile.TemporaryFile() as output:
            begun = time.perf_counter()
            child = subprocess.Popen(
                command, env={**self._environment, **more}, stdout=output, stderr=output, cwd=cwd or self._place
            )
            _, status, usage = os.wait4(child.pid, 0)
            seconds = time.perf_counter() - begun
            child.returncode = os.waitstatus_to_exitcode(status)
            if child.returncode:
                output.seek(0)
                said = output.read().decode(errors="replace")[-300:]
                raise _Failed(f"{' '.join(command[:6])}: exit code {child.returncode}: {said}")
        return seconds, usage.ru_maxrss << 10

    def _boto(self, *words: str | int | Path) -> dict[str, float]:
        if not _BOTO.exists():
            raise _Failed("boto3 is not there: make bench-remote installs it")
        command = [str(_BOTO), str(ROOT / "benchmarks" / "remote_boto.py"), *map(str, words)]
        done = subprocess.run(command, env=self._environment, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise _Failed(f"boto3 {words[0]}: exit code {done.returncode}")
        found: dict[str, float] = json.loads(done.stdout)
        return found

    def _prepare(self) -> None:
        self._data.parent.mkdir(parents=True, exist_ok=True)
        make_files(self._data, self._count)
        self._rsdos("-p", self._local, "init")
        self._rsdos("-p", self._local, "add-files", "-r", "-q", self._data)

    def _remote(self, name: str, endpoint: str | None = None) -> None:
        """Make a container on the Ceph, and a remote of the local one."""
        options = ("--option", f"endpoint={endpoint or self._ceph.url}")
        self._rsdos("-p", self._url(name), *options, "init")
        self._rsdos("-p", self._local, "remote", "add", name, self._url(name), *options)

    def _push(self) -> None:
        self._remote("pushed")
        seconds, memory = self._rsdos("-p", self._local, "push", "pushed")
        self._note("push, s a file", seconds / self._count)
        self._note("push, memory MiB", memory / _MIB)

    def _push_of_peers(self) -> None:
        found = self._boto("push", BUCKET, "boto", self._data, min(_OF_BOTO, self._count))
        self._note("push boto3, s a file", found["seconds"] / found["count"])
        part = self._part(min(_OF_RCLONE, self._count))
        if rclone := shutil.which("rclone"):
            settings = {"TYPE": "s3", "PROVIDER": "Ceph", "ENV_AUTH": "true", "ENDPOINT": self._ceph.url}
            named = {f"RCLONE_CONFIG_CEPH_{name}": value for name, value in settings.items()}
            words = [rclone, "copy", "--transfers", "16", "--s3-no-check-bucket", str(part), f"ceph:{BUCKET}/rclone"]
            seconds, _ = self._run(words, named)
            self._note("push rclone, s a file", seconds / min(_OF_RCLONE, self._count))
        else:
            self._results.missing["rclone"] = "not installed"
        self._push_of_dvc(self._part(_OF_DVC))

    def _push_of_dvc(self, part: Path) -> None:
        dvc = str(_BOTO.with_name("dvc"))
        if not os.path.exists(dvc):
            self._results.missing["dvc"] = "not installed"
            return
        project = self._place / "dvc"
        project.mkdir()
        shutil.copytree(part, project / "data")
        quiet = {"DVC_NO_ANALYTICS": "1", "CI": "1"}
        for words in (
            ("init", "--no-scm"),
            ("remote", "add", "-d", "ceph", f"s3://{BUCKET}/dvc"),
            ("remote", "modify", "ceph", "endpointurl", self._ceph.url),
            ("add", "data"),
        ):
            self._run([dvc, *words], quiet, project)
        seconds, _ = self._run([dvc, "push", "-j", "16"], quiet, project)
        self._note("push DVC, s a file", seconds / _OF_DVC)

    def _part(self, count: int) -> Path:
        """Return a directory of as many of the files."""
        part = self._place / f"part-{count}"
        if not part.exists():
            part.mkdir()
            paths = (Path(top, name) for top, _, names in sorted(os.walk(self._data)) for name in names)
            for path in [next(paths) for _ in range(count)]:
                shutil.copy2(path, part / path.name)
        return part

    def _requests(self) -> None:
        with _proxy(self._ceph) as proxy:
            self._remote("counted", proxy.url)
            proxy.seen.clear()
            self._rsdos("-p", self._local, "push", "counted")
            names = [request.name for request, _ in proxy.seen]
        packs = len({name for name in names if "/packs/" in name})
        self._note("push, requests beside one a pack", len(names) - packs)
        self._note("push, packs", packs)

    def _pull(self) -> None:
        endpoint = ("--endpoint", self._ceph.url)
        seconds, _ = self._rsdos("clone", self._url("pushed"), self._place / "clone", *endpoint)
        self._note("pull, files a second", self._count / seconds)
        found = self._boto("pull", BUCKET, "boto", _OF_BOTO)
        self._note("pull boto3, files a second", found["count"] / found["seconds"])

    def _keys(self, count: int) -> list[str]:
        with Container(self._local) as local:
            keys = list(local)
        return random.Random(1).sample(keys, min(count, len(keys)))

    def _open_remote(self, name: str, endpoint: str | None = None) -> Container:
        return Container(self._url(name), endpoint=endpoint or self._ceph.url)

    def _a_pack(self, name: str) -> str:
        storage = self._open_remote(name).engine.layout.storage
        inner = storage.inner  # type: ignore[attr-defined]  # the medium below the names of the house
        infos = list(inner.list_infos("packs"))
        return f"{name}/{max(infos, key=lambda info: info.length).name}"

    def _reads(self) -> None:
        keys = self._keys(_READS)
        with self._open_remote("pushed") as remote:
            remote.has_many(keys)
            taken = [_timed(remote.extract, key) for key in keys]
            self._note("read, ms", median(taken) * 1000)
            many = self._keys(20_000)
            here = time.perf_counter()
            count = sum(1 for _ in remote.extract_many(many))
            self._note("bulk read 1 KB, objects a second", count / (time.perf_counter() - here))
        with Container(self._local, verify="hash") as local:
            here = time.perf_counter()
            count = sum(1 for _ in local.extract_many(many))
            self._note("bulk read 1 KB local, objects a second", count / (time.perf_counter() - here))
        found = self._boto("gets", BUCKET, self._a_pack("pushed"), _READS, 1100)
        self._note("raw GET, ms", found["median"] * 1000)

    def _large_reads(self) -> None:
        chance = random.Random(2)
        with Container.create(self._url("large"), endpoint=self._ceph.url, container_version=3) as remote:
            keys = remote.insert_many(chance.randbytes(_MIB) for _ in range(_LARGE_OBJECTS))
        with self._open_remote("large") as remote:
            begun = time.perf_counter()
            size = sum(len(data) for _, data in remote.extract_many(keys))
            self._note("bulk read 1 MiB, MB a second", size / 1e6 / (time.perf_counter() - begun))
        found = self._boto("spans", BUCKET, self._a_pack("large"), 16, 8 * _MIB)
        self._note("raw 8 MiB GETs, MB a second", found["size"] / 1e6 / found["seconds"])

    def _open(self) -> None:
        keys = self._keys(11)
        taken = []
        for key in keys:
            remote = self._open_remote("pushed")
            taken.append(_timed(remote.extract, key))
            remote.close()
        self._note("open and first read, ms", median(taken[1:]) * 1000)  # The first one imports.
        with _proxy(self._ceph) as proxy:
            remote = self._open_remote("pushed", proxy.url)
            remote.extract(keys[0])
            remote.close()
            self._note("open and first read, requests", len(proxy.seen))

    def _writers(self) -> None:
        commits = _COMMITS[self._results.level]
        Container.create(self._url("written"), endpoint=self._ceph.url, container_version=3).close()
        context = get_context("spawn")
        barrier = context.Barrier(_WRITERS)
        with ProcessPoolExecutor(_WRITERS, context, _meet, (barrier,)) as pool:
            parts = [(self._url("written"), self._ceph.url, writer, commits) for writer in range(_WRITERS)]
            written = list(pool.map(_write, parts))
        keys = [key for some, _, _ in written for key in some]
        seconds = max(end for _, _, end in written) - min(begin for _, begin, _ in written)
        self._note("16 writers, inserts a second", len(keys) / seconds)
        with self._open_remote("written") as remote:
            there = set(remote)
        self._note("16 writers, lost", len(set(keys) - there))
        self._note("16 writers, too many", len(there - set(keys)))


class _Failed(Exception):
    """A step could not be done; says why."""


def _timed(do: Callable[..., object], *arguments: object) -> float:
    begun = time.perf_counter()
    do(*arguments)
    return time.perf_counter() - begun


_barriers: list[Barrier] = []


def _meet(barrier: Barrier) -> None:
    _barriers.append(barrier)


def _write(part: tuple[str, str, int, int]) -> tuple[list[str], float, float]:
    """Be one of the writers: insert one object after another, each with its commit. Return when it began and ended."""
    url, endpoint, writer, commits = part
    with Container(url, endpoint=endpoint) as container:
        container.has("0" * 64)  # Imports.
        _barriers[0].wait()  # All begin at the same time.
        begun = time.time()
        keys = [container.insert_many([b"%d of %d" % (number, writer)])[0] for number in range(commits)]
        return keys, begun, time.time()


@contextmanager
def _proxy(ceph: Endpoint) -> Iterator[Proxy]:
    with closing(Proxy(ceph.url)) as proxy:
        yield proxy


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(prog="benchmarks.remote", description=__doc__)
    parser.add_argument("--level", choices=LEVELS, default="small", help="How many files.")
    parser.add_argument("--work", type=Path, default=ROOT / ".bench", help="Where data and stores are.")
    parser.add_argument("--json", type=Path, help="Write all figures to this file.")
    options = parser.parse_args()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(dir=work, prefix="remote-"))
    results = RemoteResults(options.level, describe_machine(ROOT), LEVELS[options.level])
    ceph = start(place / "ceph.json", os.getpid())
    os.environ.update(ceph.environment)  # What opens a URL in this process reads them.
    try:
        _Bench(ceph, place, results).run()
    finally:
        stop(place / "ceph.json")
        shutil.rmtree(place, ignore_errors=True)
    if options.json:
        options.json.write_text(json.dumps(asdict(results), indent=1) + "\n")
    from benchmarks.remote_report import remote_section  # which needs this module

    print("\n".join(remote_section(results)))


if __name__ == "__main__":
    main()
