"""Buckets that allow less: a role that may only append, and a bucket whose objects are locked. Rules of Amazon's.

No store here has them: the little server refuses what Amazon's documentation says is refused.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from rsdos import Container, Refused, Unavailable
from rsdos.storage.opendal import PART
from rsdos.stores.remote import dead, placed, spool
from tests.data import key_of, noise
from tests.helpers import assert_holds
from tests.remote.little_s3 import BUCKET, Asked, LittleS3, Reply, refusal

URL = f"s3://{BUCKET}/store"


@pytest.fixture
def small_puts(monkeypatch: pytest.MonkeyPatch) -> None:
    """An object of more than a part is uploaded in parts; otherwise of more than 64 MiB."""
    for module in (placed, spool):
        monkeypatch.setattr(module, "AT_ONCE", PART)


def append_only(asked: Asked) -> Reply | None:
    """Answer as a policy that demands `s3:if-none-match` of everything that makes an object, and allows no delete."""
    makes = asked.method == "PUT" and "partNumber" not in asked.query
    makes = makes or (asked.method == "POST" and "uploadId" in asked.query)
    if asked.method == "DELETE" and not asked.query:
        return refusal(403, "AccessDenied")
    return refusal(403, "AccessDenied") if makes and asked.headers.get("if-none-match") != "*" else None


def test_a_role_that_may_only_append_saves_and_pushes(little: LittleS3, tmp_path: Path) -> None:
    little.answer = append_only
    (tmp_path / "flowers").mkdir()
    (tmp_path / "flowers" / "rose.txt").write_text("a rose")
    with Container.create(URL, container_version=3, endpoint=little.url) as container:
        container.snapshots.save("flowers", tmp_path / "flowers")
        with Container.create(tmp_path / "here") as here:
            here.insert_many([b"pushed"])
            here.remotes.add("origin", URL, endpoint=little.url)
            here.remotes.push()
    with Container(URL, endpoint=little.url) as container:
        assert container.snapshots["flowers"].metadata == {}
        assert container.extract(key_of(b"pushed")) == b"pushed"


def test_a_role_that_may_only_append_writes_and_deletes_and_cannot_collect(little: LittleS3) -> None:
    little.answer = append_only
    with Container.create(URL, container_version=3, endpoint=little.url) as container:
        objects = {key_of(data): data for data in (noise(5000, number) for number in range(20))}
        container.insert_many(objects.values())
        (gone,) = container.insert_many([b"to be deleted"])
        container.delete([gone])
        assert_holds(Container(URL, endpoint=little.url), objects)
        little.objects["store/packs/0000000001-0123456789abcdef.pack"] = little.objects["store/config.json"]
        with pytest.raises(Refused, match="s3:DeleteObject"):
            container.collect(grace=0, keep=0)
        assert_holds(Container(URL, endpoint=little.url), objects)
        assert container.validate("full").is_good


@pytest.mark.usefixtures("small_puts")
def test_a_role_that_may_only_append_is_refused_objects_that_are_sent_in_parts(little: LittleS3) -> None:
    """Conditions of uploads in parts are ignored by Ceph, so none is sent."""
    with Container.create(URL, container_version=3, endpoint=little.url) as container:
        little.answer = append_only
        with pytest.raises(Refused, match="s3:PutObject"):
            container.insert_many([noise(PART + 1, 1)])
        (key,) = container.insert_many([b"small"])
        assert set(container) == {key}
        little.answer = lambda asked: None
        assert container.insert_many([noise(PART + 1, 1)])


def locked(asked: Asked) -> Reply | None:
    """Answer as a bucket with a default retention: it wants the MD5 of every body, and its objects have versions."""
    if asked.method == "PUT" and "content-md5" not in asked.headers:
        return refusal(400, "InvalidRequest", "Content-MD5 is required for Put Object requests with Object Lock")
    return None


def test_a_bucket_that_locks_its_objects_takes_everything_but_uploads_in_parts(
    little: LittleS3, small_puts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead, "NEWEST", 3)  # Manifests that are never emptied: 64.
    little.answer = locked
    with Container.create(URL, container_version=3, endpoint=little.url, deadline=0.05) as container:
        objects = {key_of(data): data for data in (noise(5000, number) for number in range(20))}
        container.insert_many(objects.values())
        for number in range(8):
            (key,) = container.insert_many([b"%d" % number])
            objects[key] = b"%d" % number
        assert container.collect(grace=0, keep=0).collected.emptied
        assert_holds(container, objects)
        with pytest.raises(Unavailable):
            container.insert_many([noise(PART + 1, 1)])
    with Container(URL, endpoint=little.url) as container:
        assert container.validate("full").is_good
        assert_holds(container, objects)
