"""Writers race on a Ceph while the gateway, its storage daemon and one of themselves are killed: nothing is lost."""

from __future__ import annotations

from queue import SimpleQueue

import pytest

from rsdos import Container
from tests.ceph.cluster import Ceph
from tests.ceph.fixtures import new_bucket
from tests.ceph.writer import Writer, wait_for
from tests.data import key_of

WRITERS = 4


def assert_nothing_lost(url: str, writers: list[Writer]) -> None:
    """Every acknowledged object is there, whole, and the container is whole."""
    objects = {key_of(data): data for writer in writers for data in writer.objects()}
    assert objects
    with Container(url) as container:
        assert dict(container.extract_many(objects)) == objects
        report = container.validate(depth="full")
        assert (report.damaged, report.files) == ((), ())


def test_nothing_acknowledged_is_lost_when_gateway_storage_and_a_writer_are_killed(
    own_ceph: Ceph, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3 = new_bucket(own_ceph.endpoint)
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    Container.create(s3.url).close()
    stored: SimpleQueue[Writer] = SimpleQueue()
    writers = [Writer(s3.url, f"writer-{at}", s3.environment, stored) for at in range(WRITERS)]
    victim, others = writers[0], writers[1:]
    try:
        wait_for(stored, WRITERS)
        own_ceph.kill_rgw()
        own_ceph.start_rgw()
        wait_for(stored, WRITERS)
        own_ceph.kill_osd()
        own_ceph.start_osd()
        wait_for(stored, WRITERS)
        victim.kill()
        codes = [writer.stop() for writer in others]
    finally:
        for writer in writers:
            writer.kill()
    assert codes == [0] * len(others)
    assert_nothing_lost(s3.url, writers)
