"""Push, pull and clone on a real Ceph: killed, wiped, and through a line that loses answers."""

from __future__ import annotations

import random
import signal
import subprocess
from pathlib import Path

import pytest

from rsdos import Container
from rsdos.errors import RemoteChanged, Unavailable
from rsdos.maintenance.remotes.table import find_remote
from rsdos.stores.remote.placed import PlacedStorage
from tests.ceph.fixtures import S3, Proxied
from tests.ceph.proxy import Fault, Kind, Request, seeded
from tests.data import key_of, noise, text
from tests.helpers import assert_holds, objects_of_all_sizes
from tests.patience import HANG
from tests.remotes.opening import again, is_whole
from tests.remotes.test_kills import KILLS, push
from tests.snapshots.saving import save


@pytest.fixture
def there(s3_environment: S3, here: Container) -> Container:
    """A container in a bucket, which is the remote "origin"."""
    s3 = s3_environment
    here.remotes.add("origin", s3.url, endpoint=s3.endpoint.url)
    return Container.create(s3.url, endpoint=s3.endpoint.url)


def test_a_day_with_a_bucket(here: Container, there: Container, s3: S3, tmp_path: Path) -> None:
    objects = objects_of_all_sizes() | {key_of(data): data for data in (noise(40, seed) for seed in range(1000))}
    here.insert_many(objects.values())
    save(here.engine, "flowers", {"a": b"a", "b/c": noise(50_000)})
    report = here.remotes.push(pack_size=1_000_000)
    assert report.requests.put > 1
    # The index that was just written is not fetched: its files are kept here.
    assert report.requests.received < 20_000
    assert is_whole(there)
    next_one = here.remotes.push()
    assert (next_one.objects, next_one.requests.put) == (0, 0)
    assert next_one.requests.received < 20_000
    assert here.remotes.compare().is_same
    Container.clone(s3.url, tmp_path / "clone", endpoint=s3.endpoint.url)
    clone = Container(tmp_path / "clone")
    assert dict(clone.extract_many(objects)) == objects
    assert (clone.snapshots["flowers"] / "b/c").read_bytes() == noise(50_000)
    assert clone.validate().is_good
    # The clone pushes, the first one pulls.
    clone.insert_many([b"from the clone"])
    assert clone.remotes.push().objects == 1
    assert here.remotes.pull().objects == 1
    assert here.extract(key_of(b"from the clone")) == b"from the clone"


def test_no_secret_is_written_down(here: Container, there: Container, s3: S3) -> None:
    here.insert_many([b"one"])
    here.remotes.push()
    here.remotes.pull()
    seen = find_remote(here.engine).seen
    assert seen and seen.number > 1 and seen.commit
    secrets = (s3.endpoint.secret_key.encode(), s3.endpoint.access_key.encode())
    for path in here.path.rglob("*"):
        if path.is_file():
            assert not any(secret in path.read_bytes() for secret in secrets), path


def test_a_push_to_a_bucket_that_is_killed_is_continued_by_the_next(here: Container, there: Container) -> None:
    dice = random.Random(11)
    killed = written = 0
    while killed < KILLS:
        here.insert_many([noise(40_000, written + at) for at in range(60)])
        save(here.engine, "flowers", {"round": b"%d" % written})
        written += 100
        process = push(here.path)
        try:
            process.wait(dice.random())
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        killed += process.wait(HANG) == -signal.SIGKILL
        process.stdout.close()  # type: ignore[union-attr]
        assert is_whole(there)
    here.remotes.push()
    report = again(there).validate("full")
    assert report.is_finished and not (report.damaged or report.damaged_files)
    assert here.remotes.compare().is_same


def test_a_bucket_that_was_wiped_and_made_anew_is_refused_until_it_is_adopted(
    here: Container, there: Container, s3: S3
) -> None:
    here.insert_many([b"one", text(5000)])
    here.remotes.push()
    for name in ("config.json", *names_below(there)):
        assert s3.send("DELETE", f"container/{name}").status in (200, 204)
    made = Container.create(s3.url, endpoint=s3.endpoint.url)
    with pytest.raises(RemoteChanged, match="adopt"):
        here.remotes.push()
    assert len(made) == 0
    here.remotes.adopt()
    assert here.remotes.push().objects == 2
    assert is_whole(made)


def names_below(container: Container) -> list[str]:
    storage = container.engine.layout.storage
    assert isinstance(storage, PlacedStorage)
    directories = ("manifests", "packs", "segments", "tables")
    return [f"{place}/{name}" for place in directories for name in storage.inner.list(place)]


def test_a_push_through_a_line_that_loses_answers_stores_everything_once(here: Container, proxied: Proxied) -> None:
    url, endpoint = proxied.s3.url, proxied.s3.endpoint.url
    made = Container.create(url, endpoint=endpoint)
    here.remotes.add("origin", url, endpoint=endpoint)
    objects = {key_of(data): data for data in (noise(3000, seed) for seed in range(200))}
    here.insert_many(objects.values())
    faults = [Fault(Kind.LOST), Fault(Kind.APPLIED, 500), Fault(Kind.ANSWER, 503), Fault(Kind.DROP)]
    proxied.proxy.fault = seeded(5, 0.2, faults)
    here.remotes.push(pack_size=50_000)
    proxied.proxy.fault = lambda request: None
    assert_holds(Container(url, endpoint=endpoint), objects)
    assert is_whole(made)
    assert here.remotes.compare().is_same


def test_a_push_whose_network_goes_away_says_what_was_committed(here: Container, proxied: Proxied) -> None:
    url, endpoint = proxied.s3.url, proxied.s3.endpoint.url
    Container.create(url, endpoint=endpoint)
    here.remotes.add("origin", url, endpoint=endpoint, deadline=1)
    here.insert_many([noise(3000, seed) for seed in range(200)])
    packs = [0]

    def gone_after_three_packs(request: Request) -> Fault | None:
        packs[0] += request.method == "PUT" and "packs/" in request.name
        return Fault(Kind.DROP) if packs[0] > 3 else None

    proxied.proxy.fault = gone_after_three_packs
    with pytest.raises(Unavailable) as found:
        here.remotes.push(pack_size=50_000, uploads=1)
    assert found.value.__notes__ == ["committed so far: 0 of 200 objects; run it again to continue"]
    proxied.proxy.fault = lambda request: None
    assert here.remotes.push().objects == 200
    assert here.remotes.compare().is_same
