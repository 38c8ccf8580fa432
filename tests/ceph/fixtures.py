"""Fixtures of object storage: one Ceph for a whole run of tests, buckets on it, the fault proxy, Swift.

They are in tests/conftest.py, for all tests. Without Ceph the tests that want it are skipped with the reason;
`RSDOS_CEPH=required` makes that an error.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.ceph import swift as swift_service
from tests.ceph.__main__ import USUAL, place_of
from tests.ceph.cluster import PACKAGES, Ceph, missing
from tests.ceph.endpoint import REGION, Endpoint
from tests.ceph.keeper import running, start
from tests.ceph.proxy import Proxy
from tests.ceph.s3 import Answer, send

CONTAINER = "container"
"""The prefix of `S3.url`."""


@dataclass(frozen=True, slots=True)
class S3:
    """A bucket, and a user of it."""

    endpoint: Endpoint
    bucket: str

    @property
    def url(self) -> str:
        """The URL of a container in it."""
        return f"s3://{self.bucket}/{CONTAINER}"

    @property
    def options(self) -> dict[str, str]:
        """What OpenDAL's service "s3" wants: with the secret, for tests alone."""
        return {
            "bucket": self.bucket,
            "endpoint": self.endpoint.url,
            "region": REGION,
            "access_key_id": self.endpoint.access_key,
            "secret_access_key": self.endpoint.secret_key,
        }

    @property
    def environment(self) -> dict[str, str]:
        """The variables that S3 clients read, for child processes."""
        return self.endpoint.environment

    def send(self, method: str, name: str = "", body: bytes = b"", **more: dict[str, str]) -> Answer:
        """Send one request, without any client library. ``more``: query, headers."""
        return send(self.endpoint, method, f"/{self.bucket}/{name}" if name else f"/{self.bucket}", body, **more)

    def through(self, url: str) -> S3:
        """Return the same bucket behind a proxy."""
        return S3(self.endpoint._replace(url=url), self.bucket)


@dataclass(frozen=True, slots=True)
class Proxied:
    """The fault proxy before the Ceph, and a bucket through it; `direct` is the same bucket without the proxy."""

    proxy: Proxy
    s3: S3
    direct: S3


@dataclass(frozen=True, slots=True)
class Stranger:
    """Another user of the Ceph, who may do in a bucket what `allow` grants, and nothing in the beginning."""

    s3: S3
    owner: S3
    user: str

    def allow(self, *actions: str) -> None:
        """Grant these actions, such as "s3:GetObject", and no others."""
        both = [f"arn:aws:s3:::{self.s3.bucket}", f"arn:aws:s3:::{self.s3.bucket}/*"]
        who = {"AWS": [f"arn:aws:iam:::user/{self.user}"]}
        grant = {"Effect": "Allow", "Principal": who, "Action": list(actions), "Resource": both}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [grant]})
        answer = self.owner.send("PUT", "", policy.encode(), query={"policy": ""})
        assert answer.status in (200, 204), answer


def _require_ceph() -> None:
    """Skip the test where Ceph is not installed; fail it where Ceph is required."""
    if absent := missing():
        reason = f"Ceph is not installed ({', '.join(absent)}): apt-get install {' '.join(PACKAGES)}"
        if os.environ.get("RSDOS_CEPH") == "required":
            pytest.fail(reason)
        pytest.skip(reason)


def _shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """Return a directory of this run of tests, and the id of its process: the same for all workers of xdist."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        return base.parent, os.getppid()
    return base, os.getpid()


@pytest.fixture(scope="session")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Endpoint:
    """One Ceph for all workers: that of `make ceph` if it runs, else one that ends with this run of tests."""
    _require_ceph()
    if running(place_of(USUAL)) is not None:
        return Endpoint.load(place_of(USUAL))
    directory, process = _shared(tmp_path_factory)
    return start(directory / "ceph.json", process)


@pytest.fixture
def own_ceph() -> Iterator[Ceph]:
    """A Ceph of its own, for a test that kills parts of it."""
    _require_ceph()
    with Ceph() as made:
        yield made


def new_bucket(endpoint: Endpoint) -> S3:
    """Make a bucket that nothing else uses."""
    made = S3(endpoint, f"test-{secrets.token_hex(8)}")
    answer = made.send("PUT")
    assert answer.status == 200, answer
    return made


@pytest.fixture
def s3(ceph: Endpoint) -> S3:
    """A new empty bucket on the Ceph."""
    return new_bucket(ceph)


@pytest.fixture
def bucket(s3: S3) -> str:
    """The name of the bucket of `s3`."""
    return s3.bucket


@pytest.fixture
def s3_environment(s3: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    """The bucket of `s3`; its credentials are in the environment of this process."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return s3


@pytest.fixture
def proxied(s3: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxied]:
    """The bucket of `s3` behind a fault proxy; the credentials, and the proxy as endpoint, are in the environment."""
    with Proxy(s3.endpoint.url) as proxy:
        through = s3.through(proxy.url)
        for name, value in through.environment.items():
            monkeypatch.setenv(name, value)
        yield Proxied(proxy, through, s3)


@pytest.fixture
def stranger(s3: S3) -> Stranger:
    """Another user, for the bucket of `s3`."""
    user, key, secret = f"stranger-{secrets.token_hex(4)}", secrets.token_hex(10), secrets.token_hex(20)
    query = {"uid": user, "display-name": user, "access-key": key, "secret-key": secret, "format": "json"}
    answer = send(s3.endpoint, "PUT", "/admin/user", query=query)
    assert answer.status == 200, answer
    return Stranger(S3(s3.endpoint._replace(access_key=key, secret_key=secret), s3.bucket), s3, user)


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """Swift's s3api, which refuses conditional puts; one for each worker."""
    if not swift_service.is_installed():
        pytest.skip(f"Swift is not installed: apt-get install {' '.join(swift_service.PACKAGES)}")
    with swift_service.Swift() as made:
        yield made.endpoint


@pytest.fixture
def swift_s3(swift: Endpoint) -> S3:
    """A new empty bucket on Swift."""
    return new_bucket(swift)
