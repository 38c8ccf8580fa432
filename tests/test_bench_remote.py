"""`make bench-remote`: its writers, lookups and raw GETs on little data, and how its part of the page judges them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.remote_index import fill, look_up
from benchmarks.remote_lean import LeanGets, hash_each, spans
from benchmarks.remote_report import remote_section
from benchmarks.remote_results import RemoteResults
from benchmarks.remote_writers import Wait, Written, insert_each, outcome, write
from rsdos import CommitUnknown, Container, Unavailable
from rsdos.storage.base import Traits
from rsdos.storage.memory import MemoryStorage
from rsdos.testing import FaultyStorage
from tests.ceph.fixtures import S3, Proxied
from tests.ceph.proxy import Fault, Kind, seeded
from tests.helpers import ABSENT


def judged(figures: Mapping[str, float], title: str) -> tuple[str, str]:
    """The figure of a line of the page, without its unit and bound, and the verdict."""
    page = remote_section(RemoteResults("large", {}, 100_000, dict(figures)))
    (row,) = [line for line in page if line.startswith(f"| {title} |")]
    _, _, figure, verdict, _ = row.split("|")
    return figure.split()[0], verdict.strip()


def test_a_line_that_is_missed_says_why() -> None:
    figures = {"push, memory MiB": 251.0, "push of 600,000, memory MiB": 251.0, "open and first read, requests": 8}
    page = "\n".join(remote_section(RemoteResults("large", {}, 100_000, figures)))
    assert "\n- push, memory: why is not known." in page
    assert "\n- push of 600,000 files, memory: a push holds 32 bytes of each file" in page
    assert "\n- the same, requests:" not in page and "\n- push:" not in page


def test_objects_that_are_lost_or_there_twice_are_counted(tmp_path: Path) -> None:
    with Container.create(tmp_path / "store") as container:
        keys = container.insert_many([b"one", b"two", b"three"])
        assert outcome(str(tmp_path / "store"), [Written(keys, 1.0, 3.0, 2)]) == (1.5, 2, 0, 0)
        assert outcome(str(tmp_path / "store"), [Written([*keys, ABSENT], 0, 4, 0)]) == (1, 0, 1, 0)
        # Nobody says to have stored one of them.
        assert outcome(str(tmp_path / "store"), [Written(keys[1:], 0, 1, 0)]) == (2, 0, 0, 1)
        container.delete(keys[:1])
        container.insert_many([b"one"])
        assert outcome(str(tmp_path / "store"), [Written(keys, 0, 1, 0)]) == (3, 0, 0, 1)


def test_writers_behind_a_bad_line_have_all_there_once(proxied: Proxied) -> None:
    url = proxied.s3.url
    Container.create(url, container_version=3).close()

    def during(wait: Wait) -> None:
        wait(2)
        proxied.proxy.fault = seeded(1, 0.3, [Fault(Kind.ANSWER, 503), Fault(Kind.LOST), Fault(Kind.APPLIED, 500)])

    written = write(url, proxied.s3.endpoint.url, 3, during, writers=2)
    proxied.proxy.fault = None
    assert [len(part.keys) for part in written] == [3, 3]
    found = outcome(url, written)
    assert found.rate > 0 and (found.lost, found.twice) == (0, 0)


@pytest.mark.parametrize("error", [Unavailable("there", "gone"), CommitUnknown("there", 2)], ids=repr)
def test_what_fails_is_done_again_by_a_container_that_is_opened_anew(error: Exception) -> None:
    puts = iter([None, error, None, error])
    medium = MemoryStorage(traits=Traits("memory", is_remote=True))
    storage = FaultyStorage(medium, lambda call: next(puts, None) if call.verb == "put_new" else None)
    Container.create(medium, container_version=3).close()
    opened: list[Container] = []
    noted: list[None] = []

    def connect() -> Container:
        opened.append(Container(storage))
        return opened[-1]

    written = insert_each(connect, [b"one", b"two"], lambda: noted.append(None))
    assert written.again >= 1 and len(opened) == written.again + 1
    assert len(noted) == 2
    assert set(Container(medium)) == set(written.keys)


def test_lean_gets_are_ranges_of_the_object(s3: S3) -> None:
    data = bytes(range(256)) * 400
    assert s3.send("PUT", "some/pack", data).status == 200
    with closing(LeanGets(s3.endpoint, f"/{s3.bucket}/some/pack")) as gets:
        assert gets.length() == len(data)
        assert gets.get(1000, 300) == data[1000:1300]
        assert gets.get(0, 1) == data[:1]
    assert spans(s3.endpoint, f"/{s3.bucket}/some/pack", 99, 30_000) > 0  # The last one is shorter.
    assert spans(s3.endpoint, f"/{s3.bucket}/some/pack", 99, 30_000, hash_each) > 0


def test_an_index_without_objects_is_looked_up_in_few_requests(proxied: Proxied) -> None:
    keys = fill(proxied.s3.url, proxied.s3.endpoint.url, 200_000)
    proxied.proxy.seen.clear()
    proxied.proxy.fault = lambda request: Fault(Kind.DELAY, 0.2) if "/segments/" in request.name else None
    seconds = look_up(proxied.s3.url, proxied.s3.endpoint.url, keys[0])
    requests = sum("/segments/" in request.name for request, _ in proxied.proxy.seen)
    assert requests == 3
    assert seconds >= 0.4, "the two that open it, at the same time, and that of the entries"


RANDOM = "random read, verified, times a raw range GET"
OPEN = "open and first read, nothing cached, times a raw GET"
SPANS = "bulk read of 1 MiB objects, hashed, times raw 8 MiB GETs"
LOOKUP = "lookup in an index of 10,000,000, nothing of it cached, times a raw GET"
MORE = "push of 600,000 files: DVC's time a file, times ours"


def test_raw_gets_are_the_lean_ones_and_an_older_run_is_not_judged() -> None:
    old = {"read, ms": 1.9, "raw GET, ms": 5.9, "open and first read, ms": 24.0}
    assert judged(old, RANDOM)[1] == "not measured: lean GET, ms"
    lean = {"lean GET, ms": 1.0, "bulk read 1 MiB, MB a second": 60.0, "lean 8 MiB GETs, MB a second": 100.0}
    assert judged(old | lean, RANDOM) == ("1.9", "MISSED")
    assert judged(old | lean, OPEN)[1] == "not measured: open and first read, times a lean GET"
    assert judged({"open and first read, times a lean GET": 6.1}, OPEN) == ("6.1", "MISSED")
    assert judged(old | lean, SPANS) == ("0.6", "MISSED")


def test_lines_of_a_large_run_are_not_measured_by_a_smaller_one() -> None:
    smaller = {"push DVC, s a file": 1.0, "push of 500, s a file": 0.001, "lookup in 200,000, times a lean GET": 3.0}
    assert judged(smaller, MORE)[1] == "not measured: push of 600,000, s a file"
    assert judged(smaller, LOOKUP)[1] == "not measured: lookup in 10,000,000, times a lean GET"
    large = smaller | {"push of 600,000, s a file": 0.02, "lookup in 10,000,000, times a lean GET": 5.5}
    assert judged(large, MORE) == ("50", "MISSED")
    assert judged(large, LOOKUP) == ("5.5", "MISSED")
    memory = {"push of 600,000, memory MiB": 251.0}
    assert judged(memory, "push of 600,000 files, memory") == ("251", "MISSED")


def test_one_object_that_is_lost_or_there_twice_misses_the_line() -> None:
    faults = {"16 writers, lost": 1, "16 writers through faults, twice": 1, "16 writers and kills, lost": 0}
    assert judged(faults, "the same: objects lost") == ("1", "MISSED")
    assert judged(faults, "the same through the fault proxy: objects twice") == ("1", "MISSED")
    assert judged(faults, "the same while rgw and osd are killed: objects lost") == ("0", "reached")
