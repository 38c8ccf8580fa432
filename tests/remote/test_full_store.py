"""A store that is full says so at once, and loses nothing that was acknowledged. With room the next insert works."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rsdos import Container
from rsdos.errors import Refused, means_full
from rsdos.storage.opendal import PART
from rsdos.storage.url import open_storage
from rsdos.storage.wrapper import StorageCall
from rsdos.testing import FaultyStorage
from tests.data import key_of, noise
from tests.helpers import assert_holds
from tests.remote.little_s3 import BUCKET, Asked, LittleS3, Reply, refusal

URL = f"s3://{BUCKET}/store"

FULL = {
    "Ceph, a quota": refusal(403, "QuotaExceeded"),
    "MinIO, its disks": refusal(
        507, "XMinioStorageFull", "Storage backend has reached its minimum free drive threshold."
    ),
    "MinIO, a quota": refusal(400, "XMinioAdminBucketQuotaExceeded", "Bucket quota exceeded"),
    "no code": Reply(507),
}
"""What stores say."""


def full_after(puts: int, reply: Reply) -> Callable[[Asked], Reply | None]:
    """Return an answer for puts beyond so many."""
    left = iter(range(puts))
    return lambda asked: reply if asked.method == "PUT" and next(left, None) is None else None


def good(asked: Asked) -> None:
    """Answer as a good store does."""
    return


@pytest.mark.parametrize("reply", FULL.values(), ids=FULL)
def test_a_full_store_says_so_at_once_and_loses_nothing(little: LittleS3, reply: Reply) -> None:
    stored: dict[str, bytes] = {}
    with Container.create(URL, container_version=3, endpoint=little.url, pack_size_target=1 << 14) as container:
        for room in range(10):
            fresh = [noise(9000, 10 * room + number) for number in range(3)]
            before, names = little.count("PUT"), set(little.objects)
            little.answer = full_after(room, reply)
            try:
                container.insert_many(fresh)
            except Refused as error:
                assert "the storage is full" in str(error) and "needs" not in str(error)
                assert little.count("PUT") - before <= room + 4  # Packs under way. Nothing is tried again and again.
                little.answer = good
                assert_holds(Container(URL, endpoint=little.url), stored)
                container.insert_many(fresh)
            else:
                assert set(little.objects) > names
            little.answer = good
            stored |= {key_of(data): data for data in fresh}
            assert_holds(container, stored)
        assert room > 5
    with Container(URL, endpoint=little.url) as anew:
        assert_holds(anew, stored)
        assert anew.validate("full").is_good


@pytest.mark.parametrize("reply", FULL.values(), ids=FULL)
def test_an_upload_in_parts_to_a_full_store_is_never_completed(little: LittleS3, reply: Reply) -> None:
    storage = open_storage(URL, {"endpoint": little.url})
    little.answer = full_after(1, reply)
    with pytest.raises(Refused, match="the storage is full"):
        storage.put_stream("packs/one", [noise(PART, 1)] * 3, 3 * PART)
    assert little.objects == {}
    little.answer = good
    storage.put_stream("packs/one", [noise(PART, 1)] * 3, 3 * PART)
    assert storage.stat("packs/one")


def test_a_push_to_a_full_store_says_what_was_committed_and_the_next_one_sends_the_rest(
    little: LittleS3, tmp_path: Path
) -> None:
    objects = {key_of(data): data for data in (noise(9000, number) for number in range(150))}
    Container.create(URL, container_version=3, endpoint=little.url).close()
    with Container.create(tmp_path / "here") as here:
        here.insert_many(objects.values())
        here.remotes.add("origin", URL, endpoint=little.url)
        little.answer = full_after(100, FULL["Ceph, a quota"])
        with pytest.raises(Refused, match="the storage is full") as refused:
            here.remotes.push(pack_size=9000)
        (note,) = refused.value.__notes__
        little.answer = good
        with Container(URL, endpoint=little.url) as there:
            done = len(list(there))
            assert note.startswith(f"committed so far: {done} of 150 objects; run it again")
            assert 0 < done < 150
        report = here.remotes.push(pack_size=9000)
        assert (report.objects, report.known) == (150 - done, done)
    assert_holds(Container(URL, endpoint=little.url), objects)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_directory_of_a_file_server_loses_nothing(tmp_path: Path, number: int) -> None:
    storage = open_storage(f"file://{tmp_path}/there")
    Container.create(storage, container_version=3).close()
    stored: dict[str, bytes] = {}
    left: Iterator[int] = iter(())
    for room in range(6):
        left = iter(range(room))

        def fault(call: StorageCall, left: Iterator[int] = left) -> OSError | None:
            is_full = call.verb == "put_new" and next(left, None) is None
            return OSError(number, os.strerror(number), call.name) if is_full else None

        fresh = [noise(9000, 10 * room + at) for at in range(3)]
        try:
            Container(FaultyStorage(storage, fault)).insert_many(fresh)
        except OSError as error:
            assert means_full(error)
            assert_holds(Container(storage), stored)
            Container(storage).insert_many(fresh)
        stored |= {key_of(data): data for data in fresh}
    assert next(left, None) is not None
    assert_holds(Container(storage), stored)
    assert Container(storage).validate("full").is_good
