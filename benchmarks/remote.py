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
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import median
from unittest.mock import patch

from benchmarks.datasets_data import make_files
from benchmarks.measure import ROOT
from benchmarks.remote_index import fill, look_up
from benchmarks.remote_lean import LeanGets, hash_each, spans
from benchmarks.remote_report import remote_section
from benchmarks.remote_results import LEVELS, RemoteResults
from benchmarks.remote_writers import WRITERS, Race, Wait, outcome, write
from benchmarks.results import describe_machine
from rsdos import Container
from tests.ceph.cluster import BUCKET, Ceph
from tests.ceph.endpoint import Endpoint
from tests.ceph.keeper import start, stop
from tests.ceph.proxy import FAULTS, Kind, Proxy, seeded

_OF_BOTO = 2_000
_OF_RCLONE = 2_000
_OF_DVC = 500
_READS = 300
_FAULTY = 0.15
"""The part of all requests that the fault proxy does something to."""
_RANGE = 1100
"""Bytes of a raw GET: as many as a file has."""
_SPANS = 16
_SPAN = 8 << 20
_LARGE_OBJECTS = 128
_MIB = 1 << 20
_BOTO = ROOT / ".venv-remote" / "bin" / "python"


class _Bench:
    """One run on one Ceph."""

    def __init__(self, ceph: Endpoint, place: Path, results: RemoteResults) -> None:
        self._ceph = ceph
        self._place = place
        self._results = results
        self._count = results.files
        self._level = LEVELS[results.level]
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
            self._push_more,
            self._requests,
            self._pull,
            self._reads,
            self._large_reads,
            self._open,
            self._writers,
            self._writers_through_faults,
            self._writers_and_kills,
            self._lookups,  # The last: a child process counts the memory of this one as its own.
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
        self._insert(self._local, self._data, self._count)

    def _insert(self, local: Path, data: Path, count: int) -> None:
        """Make files, and a local container of them."""
        data.parent.mkdir(parents=True, exist_ok=True)
        make_files(data, count)
        self._rsdos("-p", local, "init")
        self._rsdos("-p", local, "add-files", "-r", "-q", data)

    def _remote(self, name: str, endpoint: str | None = None, local: Path | None = None) -> None:
        """Make a container on the Ceph, and a remote of the local one."""
        options = ("--option", f"endpoint={endpoint or self._ceph.url}")
        self._rsdos("-p", self._url(name), *options, "init")
        self._rsdos("-p", local or self._local, "remote", "add", name, self._url(name), *options)

    def _push(self) -> None:
        self._remote("pushed")
        seconds, memory = self._rsdos("-p", self._local, "push", "pushed")
        self._note("push, s a file", seconds / self._count)
        self._note("push, memory MiB", memory / _MIB)

    def _push_more(self) -> None:
        count = self._level.more_files
        if not count:
            return
        local = self._place / "more"
        self._insert(local, self._data.with_name(f"files-{count}"), count)
        self._remote("more", local=local)
        seconds, memory = self._rsdos("-p", local, "push", "more")
        self._note(f"push of {count:,}, s a file", seconds / count)
        self._note(f"push of {count:,}, memory MiB", memory / _MIB)
        shutil.rmtree(local)

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
        self._push_of_dvc(self._part(min(_OF_DVC, self._count)))

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
        self._note("push DVC, s a file", seconds / min(_OF_DVC, self._count))

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
            taken, lean = self._read_by_turns(remote, keys)
            self._note("read, ms", median(taken) * 1000)
            self._note("lean GET, ms", median(lean) * 1000)
            many = self._keys(20_000)
            here = time.perf_counter()
            count = sum(1 for _ in remote.extract_many(many))
            self._note("bulk read 1 KB, objects a second", count / (time.perf_counter() - here))
        with Container(self._local, verify="hash") as local:
            here = time.perf_counter()
            count = sum(1 for _ in local.extract_many(many))
            self._note("bulk read 1 KB local, objects a second", count / (time.perf_counter() - here))
        found = self._boto("gets", BUCKET, self._a_pack("pushed"), _READS, _RANGE)
        self._note("raw GET, ms", found["median"] * 1000)

    @contextmanager
    def _gets(self) -> Iterator[LeanGets]:
        """Raw GETs of a pack. One comes after each thing that is compared with it: the speed of a machine changes."""
        with closing(LeanGets(self._ceph, f"/{BUCKET}/{self._a_pack('pushed')}")) as gets:
            yield gets

    def _read_by_turns(self, remote: Container, keys: Sequence[str]) -> tuple[list[float], list[float]]:
        """Read objects, and ranges of a pack that are as long: the seconds of both."""
        chance = random.Random(3)
        taken, lean = [], []
        with self._gets() as gets:
            most = gets.length() - _RANGE
            for key in keys:
                taken.append(_timed(remote.extract, key))
                lean.append(_timed(gets.get, chance.randrange(most), _RANGE))
        return taken, lean

    def _large_reads(self) -> None:
        chance = random.Random(2)
        with Container.create(self._url("large"), endpoint=self._ceph.url, container_version=3) as remote:
            keys = remote.insert_many(chance.randbytes(_MIB) for _ in range(_LARGE_OBJECTS))
        with self._open_remote("large") as remote:
            begun = time.perf_counter()
            size = sum(len(data) for _, data in remote.extract_many(keys))
            self._note("bulk read 1 MiB, MB a second", size / 1e6 / (time.perf_counter() - begun))
        pack = self._a_pack("large")
        path = f"/{BUCKET}/{pack}"
        self._note("lean 8 MiB GETs, MB a second", spans(self._ceph, path, _SPANS, _SPAN))
        self._note("lean 8 MiB GETs, hashed, MB a second", spans(self._ceph, path, _SPANS, _SPAN, hash_each))
        found = self._boto("spans", BUCKET, pack, _SPANS, _SPAN)
        self._note("raw 8 MiB GETs, MB a second", found["size"] / 1e6 / found["seconds"])

    def _open(self) -> None:
        keys = self._keys(11)
        taken, lean = [], []
        with self._gets() as gets:
            for key in keys:
                remote = self._open_remote("pushed")
                taken.append(_timed(remote.extract, key))
                lean.append(_timed(gets.get, 0, _RANGE))
                remote.close()
        opened = median(taken[1:])  # The first one imports.
        self._note("open and first read, ms", opened * 1000)
        self._note("open and first read, times a lean GET", opened / median(lean[1:]))
        with _proxy(self._ceph) as proxy:
            remote = self._open_remote("pushed", proxy.url)
            remote.extract(keys[0])
            remote.close()
            self._note("open and first read, requests", len(proxy.seen))

    def _new(self, name: str) -> str:
        """Make an empty container; return its URL."""
        Container.create(self._url(name), endpoint=self._ceph.url, container_version=3).close()
        return self._url(name)

    def _writers(self) -> None:
        url = self._new("written")
        found = outcome(url, write(url, self._ceph.url, self._level.commits))
        self._note("16 writers, inserts a second", found.rate)
        self._note_race("16 writers", found)

    def _note_race(self, name: str, found: Race) -> None:
        self._note(f"{name}, done again", found.again)
        self._note(f"{name}, lost", found.lost)
        self._note(f"{name}, twice", found.twice)

    def _writers_through_faults(self) -> None:
        url = self._new("faulty")
        # A bit that flips in an answer is told as damage.
        faults = [fault for fault in FAULTS if fault.kind is not Kind.FLIP_DOWN]
        with _proxy(self._ceph) as proxy:
            proxy.fault = seeded(20, _FAULTY, faults)
            written = write(url, proxy.url, self._level.commits)
            proxy.fault = None
            proxy.deliver_late()
            self._note("16 writers through faults, faults", sum(fault is not None for _, fault in proxy.seen))
        self._note_race("16 writers through faults", outcome(url, written))

    def _writers_and_kills(self) -> None:
        with Ceph() as own, patch.dict(os.environ, own.endpoint.environment):
            third = WRITERS * self._level.commits // 3

            def kill(wait: Wait) -> None:
                wait(third)
                own.kill_rgw()
                own.start_rgw()
                wait(third)
                own.kill_osd()
                own.start_osd()

            Container.create(self._url("killed"), container_version=3).close()
            written = write(self._url("killed"), own.endpoint.url, self._level.commits, kill)
            self._note_race("16 writers and kills", outcome(self._url("killed"), written))

    def _lookups(self) -> None:
        count = self._level.entries
        url = self._url("index")
        keys = fill(url, self._ceph.url, count)
        taken, lean = [], []
        with self._gets() as gets:
            for key in keys:
                taken.append(look_up(url, self._ceph.url, key))
                lean.append(_timed(gets.get, 0, _RANGE))
        self._note(f"lookup in {count:,}, times a lean GET", median(taken) / median(lean))
        self._note(f"lookup in {count:,}, ms", median(taken) * 1000)
        with _proxy(self._ceph) as proxy:
            look_up(url, proxy.url, keys[0])
            self._note(f"lookup in {count:,}, requests", sum("/segments/" in one.name for one, _ in proxy.seen))


class _Failed(Exception):
    """A step could not be done; says why."""


def _timed(do: Callable[..., object], *arguments: object) -> float:
    begun = time.perf_counter()
    do(*arguments)
    return time.perf_counter() - begun


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
    results = RemoteResults(options.level, describe_machine(ROOT), LEVELS[options.level].files)
    ceph = start(place / "ceph.json", os.getpid())
    os.environ.update(ceph.environment)  # What opens a URL in this process reads them.
    try:
        _Bench(ceph, place, results).run()
    finally:
        stop(place / "ceph.json")
        shutil.rmtree(place, ignore_errors=True)
    if options.json:
        options.json.write_text(json.dumps(asdict(results), indent=1) + "\n")
    print("\n".join(remote_section(results)))


if __name__ == "__main__":
    main()
