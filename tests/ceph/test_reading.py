"""Reading from a real Ceph: through a cache, and in a lazy clone."""

from __future__ import annotations

from pathlib import Path

from rsdos import CompressMode, Container
from tests.ceph.fixtures import S3
from tests.data import noise


def test_a_lazy_clone_and_a_cache_read_what_was_inserted(s3_environment: S3, tmp_path: Path) -> None:
    url, endpoint = s3_environment.url, s3_environment.endpoint.url
    large = noise((20 << 20) + 7, 1)
    objects = [noise(1000, seed) for seed in range(9000)]
    with Container.create(url, endpoint=endpoint) as remote:
        keys = remote.insert_many([*objects, large], compress=CompressMode.NO)
        remote.close()
    expected = dict(zip(keys, [*objects, large], strict=True))
    with Container(url, endpoint=endpoint, cache=tmp_path / "cache") as cached:
        assert dict(cached.extract_many(keys[::7])) == {key: expected[key] for key in keys[::7]}
        with cached.open(keys[-1]) as stream:
            stream.seek(10 << 20)
            assert stream.read(100) == large[10 << 20 : (10 << 20) + 100]
        cached.close()
    Container.clone_lazily(url, tmp_path / "clone", endpoint=endpoint)
    with Container(tmp_path / "clone") as clone:
        assert dict(clone.extract_many(keys)) == expected
        clone.close()
        clone.remotes.remove("origin")
    with Container(tmp_path / "clone") as clone:
        assert dict(clone.extract_many(keys)) == expected
