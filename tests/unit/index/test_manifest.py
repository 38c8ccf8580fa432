"""Manifests: what is written is read, and nothing else is believed."""

from __future__ import annotations

import json

import pytest

from rsdos.index.manifest import Manifest, PackEntry, SegmentEntry, decode_manifest, encode_manifest
from rsdos.model import Counts
from rsdos.storage.checked_json import encode_document

MANIFEST = Manifest(
    7,
    "ab" * 16,
    next_pack_id=3,
    next_segment=5,
    packs=(
        PackEntry(1, 8192, 8192, sealed=True, objects=10, size=1000, stored=900, dead_objects=1, dead_size=9),
        PackEntry(2, 12288, 8192, objects=5, size=50, stored=50),
    ),
    segments=(SegmentEntry(10, 0, pack_id=1, offset=6000, length=900), SegmentEntry(5, 1, number=4, synced=False)),
)


def test_written_bytes_are_read() -> None:
    assert decode_manifest(encode_manifest(MANIFEST)) == MANIFEST
    assert MANIFEST.objects == 14
    assert [pack.live for pack in MANIFEST.packs] == [Counts(9, 991, 900), Counts(5, 50, 50)]


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
        (("manifest_version",), 4),
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
