"""Fixtures of storages behind a network."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.remote.azurite import Azurite, found, running
from tests.remote.little_s3 import LittleS3

KEY_ID = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
TOKEN = "FwoGZXIvYXdzEXAMPLETOKEN"


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> Iterator[LittleS3]:
    """The small S3 server, and credentials in the environment."""
    pytest.importorskip("opendal", reason="opendal is not installed: pip install 'rsdos[remote]'")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    server = LittleS3()
    yield server
    server.close()


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """Azurite, one for each worker of xdist."""
    if found() is None:
        pytest.skip("Azurite is not installed: npm install --prefix .azurite azurite")
    with running(tmp_path_factory.mktemp("azurite")) as started:
        yield started
