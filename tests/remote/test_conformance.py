"""Every storage behind a network against what every storage promises."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from rsdos.storage.base import Storage
from rsdos.storage.memory import MemoryStorage
from rsdos.storage.shared import SharedDirectory
from rsdos.storage.url import open_storage
from rsdos.testing import StorageConformance
from tests.ceph.fixtures import S3
from tests.remote.azurite import ACCOUNT, KEY, Azurite
from tests.remote.little_s3 import BUCKET, LittleS3


class TestMemoryUrl(StorageConformance):
    @pytest.fixture
    def storage(self) -> Storage:
        storage = open_storage(f"memory://{uuid.uuid4().hex}")
        assert isinstance(storage, MemoryStorage)
        return storage


class TestFileUrl(StorageConformance):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        storage = open_storage(f"file://{tmp_path}/made/by/the/first/put")
        assert isinstance(storage, SharedDirectory)
        return storage


class TestOpendalOnALittleS3(StorageConformance):
    @pytest.fixture
    def storage(self, little: LittleS3) -> Storage:
        return open_storage(f"s3://{BUCKET}/some/prefix", {"endpoint": little.url})


class TestObstoreInMemory(StorageConformance):
    @pytest.fixture
    def storage(self) -> Storage:
        pytest.importorskip("obstore")
        from obstore.store import MemoryStore

        from tests.remote.obstore_storage import ObstoreStorage

        return ObstoreStorage(MemoryStore())


class TestOpendalOnCeph(StorageConformance):
    @pytest.fixture
    def storage(self, s3_environment: S3) -> Storage:
        return open_storage(s3_environment.url, {"endpoint": s3_environment.endpoint.url})


class TestObstoreOnCeph(StorageConformance):
    @pytest.fixture
    def storage(self, s3: S3) -> Storage:
        return _obstore(s3.endpoint.url, s3.bucket, s3.endpoint.access_key, s3.endpoint.secret_key)


class TestOpendalOnAzurite(StorageConformance):
    @pytest.fixture
    def storage(self, azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> Storage:
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT)
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", KEY)
        return open_storage(f"az://{azurite.make_container()}/some/prefix", {"endpoint": azurite.endpoint})


def _obstore(endpoint: str, bucket: str, key: str, secret: str) -> Storage:
    pytest.importorskip("obstore")
    from obstore.store import S3Store

    from tests.remote.obstore_storage import ObstoreStorage

    store = S3Store(
        bucket,
        prefix="some/prefix",
        client_options={"allow_http": True},
        endpoint=endpoint,
        region="us-east-1",
        access_key_id=key,
        secret_access_key=secret,
    )
    return ObstoreStorage(store)
