"""Snapshots as bytes: the same record gives the same bytes, and nothing else is read as one."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from rsdos.errors import DamagedTree, InvalidOption
from rsdos.trees.documents import is_record, is_refs, parse_time, utc_text
from rsdos.trees.entry import Attributes
from rsdos.trees.record import LARGEST_RECORD, MOST_NESTED, SnapshotRecord, decode_record, encode_record

KEY = sha256(b"tree").hexdigest()
OTHER = sha256(b"other").hexdigest()
RECORD = SnapshotRecord(KEY, Attributes.NONE, 3, 2, 1000, "2026-11-26T17:30:00Z")
FULL = replace(
    RECORD,
    attributes=Attributes.TIMES | Attributes.MODES,
    author="Ada <ada@example.org>",
    message="first\ndelivery, déjà vu \udcff",
    parents=(OTHER,),
    derived_from=(KEY, OTHER),
    metadata={"licence": "CC0", "count": [1, 2.5, None, True], "é": {}},
    skipped={"special": 2},
)


def test_a_record_is_one_line_of_json_with_its_keys_sorted() -> None:
    assert encode_record(RECORD) == (
        b'{"attributes":[],"author":"","derived_from":[],"entries":3,"files":2,"message":"","metadata":{},"parents":[],'
        b'"size":1000,"skipped":{"special":0},"time":"2026-11-26T17:30:00Z","tree":"' + KEY.encode() + b'",'
        b'"type":"rsdos snapshot","version":1}\n'
    )


@pytest.mark.parametrize("record", [RECORD, FULL])
def test_a_record_is_read_back(record: SnapshotRecord) -> None:
    data = encode_record(record)
    assert data.isascii() and data.count(b"\n") == 1
    assert decode_record(data) == record
    assert is_record(data) and not is_refs(data)


def test_the_order_of_metadata_does_not_change_the_key() -> None:
    one, other = ({"a": 1, "b": {"c": 1, "d": 2}}, {"b": {"d": 2, "c": 1}, "a": 1})
    assert encode_record(replace(RECORD, metadata=one)) == encode_record(replace(RECORD, metadata=other))


def nested(depth: int) -> dict[str, Any]:
    """Metadata that is nested so deep, itself counted."""
    value: Any = []
    for at in range(depth - 2):
        value = [value] if at % 2 else {"a": value}
    return {"a": value}


def test_metadata_is_nested_up_to_100_deep() -> None:
    record = replace(RECORD, metadata=nested(MOST_NESTED))
    assert decode_record(encode_record(record)) == record
    with pytest.raises(InvalidOption, match="its metadata is nested more than 100 deep"):
        encode_record(replace(RECORD, metadata=nested(MOST_NESTED + 1)))
    with pytest.raises(DamagedTree, match="its metadata is nested more than 100 deep"):
        decode_record(changed(metadata=nested(MOST_NESTED + 1)))


deep: list[Any] = []
for _ in range(100_000):
    deep = [deep]


@pytest.mark.parametrize(
    "wrong",
    [
        {"metadata": {1: 2}},
        {"metadata": {"a": (1, 2)}},
        {"metadata": {"a": {1, 2}}},
        {"metadata": {"a": float("nan")}},
        {"metadata": {"a": float("inf")}},
        {"metadata": {"a": deep}},
        {"metadata": {"a": "x" * LARGEST_RECORD}},
        {"time": "2026-11-26 17:30:00"},
        {"time": "2026-02-30T00:00:00Z"},
        {"tree": KEY.upper()},
        {"parents": ("abc",)},
        {"size": -1},
    ],
)
def test_what_a_record_cannot_have_is_not_written(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption):
        encode_record(replace(RECORD, **wrong))


def changed(**members: object) -> bytes:
    fields = json.loads(encode_record(RECORD))
    fields.update(members)
    return json.dumps({name: value for name, value in fields.items() if value != "away"}).encode() + b"\n"


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"\n",
        b"[]\n",
        b"{}\n",
        encode_record(RECORD)[:-1],
        encode_record(RECORD)[:-2] + b"\n",
        encode_record(RECORD) + b"\n",
        b" " * LARGEST_RECORD + encode_record(RECORD),
        b'{"a":' * 100_000 + b"\n",
        changed(type="rsdos refs"),
        changed(version=2),
        changed(version=True),
        changed(more=1),
        changed(tree="away"),
        changed(tree="0" * 63),
        changed(tree=None),
        changed(entries=-1),
        changed(entries=True),
        changed(entries=1.5),
        changed(files=1 << 64),
        changed(attributes=["modes", "times"]),
        changed(attributes=["owners"]),
        changed(attributes="times"),
        changed(time="yesterday"),
        changed(time="0000-01-01T00:00:00Z"),
        changed(parents={}),
        changed(parents=[1]),
        changed(metadata=[]),
        changed(metadata={"a": float("nan")}),
        changed(metadata={"a": "1e999"}).replace(b'"1e999"', b"1e999"),
        changed(skipped={"special": "many"}),
        changed(author=None),
    ],
)
def test_what_is_no_record_is_refused_with_its_key(wrong: bytes) -> None:
    with pytest.raises(DamagedTree) as caught:
        decode_record(wrong, KEY)
    assert caught.value.key == KEY


def test_times_are_utc_in_seconds() -> None:
    assert utc_text(0) == "1970-01-01T00:00:00Z"
    assert utc_text(1_795_714_200.9) == "2026-11-26T17:30:00Z"
    assert parse_time("2026-11-26T17:30:00Z") == 1_795_714_200
    other_digit = "\u0662026-11-26T17:30:00Z"
    for wrong in ("2026-11-26T17:30:00", "2026-11-31T17:30:00Z", "2026-11-26T17:30:00+01:00", "", other_digit):
        with pytest.raises(InvalidOption):
            parse_time(wrong)
    with pytest.raises(InvalidOption):
        utc_text(1e18)
