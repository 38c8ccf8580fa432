"""Manifests: what is written is read, and nothing else is believed."""

from __future__ import annotations

import json

import pytest

from rsdos.index.manifest import Manifest, SegmentEntry, UnknownManifest, decode_manifest, encode_manifest
from rsdos.index.pack_entry import PackEntry
from rsdos.index.packs import Packs
from rsdos.model import Counts, PackKind
from rsdos.storage.checked_json import encode_document

MANIFEST = Manifest(
    7,
    "ab" * 16,
    next_pack_id=3,
    next_segment=5,
    packs=Packs.of(
        (
            PackEntry(1, 8192, 8192, sealed=True, objects=10, size=1000, stored=900, dead_objects=1, dead_size=9),
            PackEntry(2, 12288, 8192, objects=5, size=50, stored=50),
        )
    ),
    segments=(SegmentEntry(10, 0, pack_id=1, offset=6000, length=900), SegmentEntry(5, 1, number=4, synced=False)),
)


def test_written_bytes_are_read() -> None:
    assert decode_manifest(encode_manifest(MANIFEST)) == MANIFEST
    assert MANIFEST.objects == 14
    assert [pack.live for pack in MANIFEST.packs] == [Counts(9, 991, 900), Counts(5, 50, 50)]


def test_a_container_that_never_had_a_snapshot_keeps_its_version_of_the_manifest() -> None:
    members = json.loads(encode_manifest(MANIFEST))
    assert members["manifest_version"] == 3
    assert not {"refs", "epoch"} & members.keys() and not any("kind" in pack for pack in members["packs"])


@pytest.mark.parametrize(
    "manifest",
    [
        MANIFEST._replace(refs="ab" * 32),
        MANIFEST._replace(epoch=1),
        MANIFEST.with_pack(MANIFEST.packs[0]._replace(kind=PackKind.HELD)),
        MANIFEST.with_pack(MANIFEST.packs[0]._replace(kind=PackKind.TREES))._replace(refs="0" * 64, epoch=9),
    ],
)
def test_refs_an_epoch_and_kinds_of_packs_are_version_4(manifest: Manifest) -> None:
    data = encode_manifest(manifest)
    assert decode_manifest(data) == manifest
    assert json.loads(data)["manifest_version"] == 4


def test_a_manifest_of_another_version_is_told_from_damage() -> None:
    members = json.loads(encode_manifest(MANIFEST))
    del members["checksum"]
    with pytest.raises(UnknownManifest, match="version 7"):
        decode_manifest(encode_document(members | {"manifest_version": 7}))


def test_pages_are_not_counted_as_objects() -> None:
    trees = PackEntry(2, 12288, 8192, objects=5, size=50, stored=50, kind=PackKind.TREES)
    assert MANIFEST.with_pack(trees).objects == 9
    assert MANIFEST.with_pack(trees._replace(kind=PackKind.HELD)).objects == 14


def test_every_flipped_bit_is_found() -> None:
    good = encode_manifest(MANIFEST)
    for offset in range(len(good)):
        for bit in (0x01, 0x20):
            with pytest.raises(ValueError, match=r"."):
                decode_manifest(good[:offset] + bytes([good[offset] ^ bit]) + good[offset + 1 :])


def test_every_cut_is_found() -> None:
    good = encode_manifest(MANIFEST)
    for length in range(len(good)):
        with pytest.raises(ValueError, match=r"."):
            decode_manifest(good[:length])


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("packs", 0, "length"), -1),
        (("packs", 0, "length"), 1 << 70),
        (("packs", 0, "length"), True),
        (("packs", 0, "length"), "8192"),
        (("packs", 0, "length"), 10),
        (("packs", 0, "sealed"), 1),
        (("packs", 0, "id"), 0),
        (("packs", 0, "id"), 3),
        (("packs", 0, "id"), 2),
        (("packs", 0, "dead_objects"), 11),
        (("packs",), {}),
        (("packs", 0), 7),
        (("segments", 1, "count"), 1.5),
        (("number",), None),
        (("refs",), 7),
        (("refs",), "AB" * 32),
        (("epoch",), -1),
        (("packs", 0, "kind"), 3),
        (("packs", 0, "kind"), "held"),
        (("packs", 0, "kind"), True),
        (("manifest_version",), 5),
        (("manifest_version",), 1),
    ],
)
def test_numbers_that_make_no_sense_are_refused(where: tuple[str | int, ...], value: object) -> None:
    members = json.loads(encode_manifest(MANIFEST))
    del members["checksum"]
    place = members
    for name in where[:-1]:
        place = place[name]
    place[where[-1]] = value
    with pytest.raises(ValueError, match=r"."):
        decode_manifest(encode_document(members))
