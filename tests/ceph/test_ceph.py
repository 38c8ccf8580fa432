"""The Ceph of the tests gives what a container needs, asked without any client library."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from tests.ceph.daemons import Daemon, Failed
from tests.ceph.fixtures import S3, Proxied, Stranger
from tests.ceph.proxy import Fault, Kind, first

NEW = {"If-None-Match": "*"}


def statuses(s3: S3, bodies: Sequence[bytes]) -> list[int]:
    """The answers to conditional puts of one name, all sent at the same moment."""
    start = Barrier(len(bodies))

    def put(body: bytes) -> int:
        start.wait()
        return s3.send("PUT", "raced", body, headers=NEW).status

    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(put, bodies))


def test_of_all_conditional_puts_of_a_name_one_wins(s3: S3) -> None:
    bodies = [b"writer %d" % at for at in range(16)]
    answers = statuses(s3, bodies)
    assert answers.count(200) == 1
    # 409 says that another put is under way: nothing was stored.
    assert set(answers) <= {200, 409, 412}
    assert s3.send("GET", "raced").body == bodies[answers.index(200)]


def test_a_put_whose_answer_was_lost_is_stored(proxied: Proxied) -> None:
    proxied.proxy.fault = first(1, Fault(Kind.LOST))
    with pytest.raises(OSError):
        proxied.s3.send("PUT", "name", b"data", headers=NEW)
    assert proxied.direct.send("GET", "name").body == b"data"
    assert proxied.s3.send("PUT", "name", b"other", headers=NEW).status == 412


def test_half_of_an_object_is_never_stored(proxied: Proxied) -> None:
    proxied.proxy.fault = first(1, Fault(Kind.CUT_UP))
    with pytest.raises(OSError):
        proxied.s3.send("PUT", "name", bytes(1 << 20), headers=NEW)
    assert proxied.direct.send("GET", "name").status == 404


def test_a_late_put_meets_the_name_taken(proxied: Proxied) -> None:
    proxied.proxy.fault = first(1, Fault(Kind.LATE))
    with pytest.raises(OSError):
        proxied.s3.send("PUT", "name", b"zombie", headers=NEW)
    assert proxied.s3.send("PUT", "name", b"data", headers=NEW).status == 200
    assert proxied.proxy.deliver_late() == [412]
    assert proxied.direct.send("GET", "name").body == b"data"


def test_a_stranger_may_do_what_was_allowed_and_nothing_else(stranger: Stranger) -> None:
    stranger.owner.send("PUT", "name", b"data")
    assert stranger.s3.send("GET", "name").status == 403
    stranger.allow("s3:GetObject")
    assert stranger.s3.send("GET", "name").body == b"data"
    assert stranger.s3.send("PUT", "name", b"other").status == 403
    # Without the right to list nobody is told whether a name is missing.
    assert stranger.s3.send("GET", "missing").status == 403


def test_swift_refuses_the_condition(swift_s3: S3) -> None:
    answer = swift_s3.send("PUT", "name", b"data", headers=NEW)
    assert answer.status == 501
    assert swift_s3.send("GET", "name").status == 404
    assert swift_s3.send("PUT", "name", b"data").status == 200
    assert swift_s3.send("GET", "name").body == b"data"


def test_a_daemon_that_ends_at_once_is_told_with_its_log(tmp_path: Path) -> None:
    daemon = Daemon(("sh", "-c", "echo no room; exit 3"), tmp_path / "log")
    daemon.start()
    with pytest.raises(Failed, match=r"exit code 3\s+no room"):
        daemon.wait_until(lambda: False)
