"""A writer with valid credentials that writes nonsense, and a store that has archived a pack: told, and never believed.

Such a writer can hide objects and remove files, as on any shared disk: docs/security.md says so. It cannot make a
reader that hashes take other bytes for an object, nor keep `validate` from finding what it has damaged.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rsdos import Container
from rsdos.codecs.sealed import seal, unseal
from rsdos.errors import DamagedContainer, DamagedObject, Refused, RsdosError
from rsdos.index.remote_chain import MOST_BYTES
from rsdos.model import RecordFlag, Stored
from rsdos.storage.checked_json import decode_document, encode_compact
from tests.data import key_of, noise
from tests.remote.little_s3 import BUCKET, Asked, LittleS3, Reply, refusal
from tests.remote.machines import Bucket, packed_of

REAL, FORGED = noise(1000, 1), noise(1000, 2)


@pytest.fixture
def bucket() -> Bucket:
    bucket = Bucket()
    Container.create(bucket, pack_size_target=1 << 14).close()
    Container(bucket).insert_many([noise(1000, number) for number in range(10, 30)])
    return bucket


def forge(bucket: Bucket) -> None:
    """Commit other bytes under a key, with checksums that are right."""
    container = Container(bucket)
    container.insert_many([FORGED])
    meta = container.meta(key_of(FORGED))
    assert meta.extent is not None
    with packed_of(container).writer() as writer:
        stored = Stored(meta.codec, RecordFlag.NONE, meta.length, meta.size)
        writer.add_stored(bytes.fromhex(key_of(REAL)), stored, [FORGED])
        writer.commit()


def test_forged_bytes_are_no_answer_and_a_full_run_finds_them(bucket: Bucket) -> None:
    forge(bucket)
    with pytest.raises(DamagedObject, match=key_of(REAL)):
        Container(bucket, verify="hash").extract(key_of(REAL))
    report = Container(bucket).validate("full")
    assert [finding.key for finding in report.damaged] == [key_of(REAL)]


def test_an_insert_of_what_was_forged_stores_it(bucket: Bucket) -> None:
    forge(bucket)
    container = Container(bucket, verify="hash")
    container.insert_many([REAL])
    assert container.extract(key_of(REAL)) == REAL


def _swap(bucket: Bucket) -> None:
    """Two packs have each other's bytes."""
    first, second = bucket.names("packs")[:2]
    one, other = bucket.read(first, 1 << 24), bucket.read(second, 1 << 24)
    for name, data in ((first, other), (second, one)):
        bucket.remove(name)
        bucket.put_new(name, data)


def _empty(bucket: Bucket) -> None:
    name = bucket.names("packs")[0]
    bucket.remove(name)
    bucket.put_new(name, b"")


def _remove(bucket: Bucket) -> None:
    bucket.remove(bucket.names("packs")[0])


@pytest.mark.parametrize("harm", [_swap, _empty, _remove])
def test_harmed_packs_are_found_and_give_no_wrong_bytes(bucket: Bucket, harm: Callable[[Bucket], None]) -> None:
    wanted = {key_of(data): data for data in (noise(1000, number) for number in range(10, 30))}
    harm(bucket)
    lost = 0
    for key, data in wanted.items():
        try:
            assert Container(bucket).extract(key) == data
        except RsdosError:
            lost += 1
    assert lost
    assert not Container(bucket).validate("full").is_good


@pytest.mark.parametrize("text", [b"", b"{}", b"nonsense", b"[" * 5000, b'{"format": "rsdos"}\n'])
def test_a_nonsense_commit_is_damage_and_a_repair_is_its_end(bucket: Bucket, text: bytes) -> None:
    objects = sorted(Container(bucket))
    bucket.put_new(_name_of_next(bucket), text)
    with pytest.raises(DamagedContainer):
        Container(bucket).insert_many([noise(500, 3)])
    assert Container(bucket).repair_index().is_good
    assert sorted(Container(bucket)) == objects
    Container(bucket).insert_many([noise(500, 3)])


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("reserved", [[1, 1 << 200, 1, "a" * 32]]),
        ("reserved", [[1, 1, 1, "a" * 32]] * 100_000),
        ("reserved", [[1, 2, 1, "a" * 32], [2, 1, 1, "b" * 32]]),
        ("retired", [["pack", 1, "../../../../etc/pa", 1]]),
        ("retired", [["pack", 1 << 63, "0" * 16, 1]]),
        ("history", [[1, "a" * 32]] * 100_000),
        ("history", [[-1, "\0" * 32]]),
        ("emptied_below", 1 << 63),
        ("commit", "a/../b"),
        ("packs", [{"id": 1}]),
        ("gone", [1 << 200]),
    ],
)
def test_a_commit_of_odd_numbers_and_names_is_damage(bucket: Bucket, member: str, value: object) -> None:
    """Its checksum is right, as a writer with credentials can make it."""
    objects = sorted(Container(bucket))
    newest = bucket.read(min(bucket.names("manifests")), MOST_BYTES)
    members = decode_document(unseal(newest, MOST_BYTES))
    members |= {"number": members["number"] + 1, "tables": [], "gone": [], member: value}
    bucket.put_new(_name_of_next(bucket), seal(encode_compact(members)))
    with pytest.raises(DamagedContainer):
        Container(bucket).insert_many([noise(500, 3)])
    with pytest.raises(DamagedContainer):
        Container(bucket).collect()
    assert sorted(Container(bucket)) == objects  # From the packs.
    assert Container(bucket).repair_index().is_good
    Container(bucket).insert_many([noise(500, 3)])
    assert sorted(Container(bucket)) == sorted([*objects, key_of(noise(500, 3))])


def _name_of_next(bucket: Bucket) -> str:
    """Return the name that the next commit takes: names of manifests count down, so that the newest is listed first."""
    newest = min(bucket.names("manifests"))
    digits = "".join(filter(str.isdigit, newest))
    return newest.replace(digits, f"{int(digits) - 1:0{len(digits)}}")


def archived(asked: Asked) -> Reply | None:
    """Answer as S3 does for an object that a rule of the bucket has moved to an archive."""
    if asked.method == "GET" and "/packs/" in asked.name:
        return refusal(403, "InvalidObjectState", "The operation is not valid for the object's storage class")
    return None


def test_an_archived_pack_is_named_and_no_object_of_it_is_called_missing(little: LittleS3) -> None:
    url, endpoint = f"s3://{BUCKET}/store", little.url
    with Container.create(url, endpoint=endpoint) as container:
        (key,) = container.insert_many([REAL])
    with Container(url, endpoint=endpoint) as container:
        assert container.has(key)  # A small table of an index is in its pack.
        little.answer = archived
        assert list(container) == [key]
        with pytest.raises(Refused, match=r"packs/\S+.*InvalidObjectState") as refused:
            container.extract(key)
        assert refused.value.action == ""  # No permission would help.
        with pytest.raises(Refused, match="InvalidObjectState"):
            dict(container.extract_many([key]))
    little.answer = lambda asked: None
    with Container(url, endpoint=endpoint) as container:
        assert container.extract(key) == REAL
