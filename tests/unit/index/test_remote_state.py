"""The members of manifests of version 3: a stranger's list of numbers and names is checked before anything uses it."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest

from rsdos.index.manifest import Manifest, decode_manifest, encode_manifest
from rsdos.index.remote_state import KEPT_HISTORY, MOST_ROWS, PACK, SEGMENT, TABLE, RemoteState, Reservation, Retired
from rsdos.storage.checked_json import encode_compact
from rsdos.stores.remote.dead import DeadNames

NAMES = [f"{number:032x}" for number in range(100)]
TOKEN, SUFFIX = "a" * 32, "0123456789abcdef"

STATE = RemoteState(
    commit=NAMES[40],
    parent=NAMES[39],
    history=tuple((number, NAMES[number]) for number in range(24, 40)),
    reserved=(Reservation(10, 4, 30, TOKEN), Reservation(20, 1, 31, "b" * 16), Reservation(14, 6, 40, "c" * 64)),
    retired=(Retired(PACK, 3, SUFFIX, 40), Retired(SEGMENT, 4, SUFFIX, 1), Retired(TABLE, 5, SUFFIX, 7)),
    emptied_below=9,
)
MANIFEST = Manifest(40, "ab" * 16, next_pack_id=21, next_segment=21, remote=STATE)

NO_NUMBERS: list[object] = [
    None,
    True,
    1.0,
    1e300,
    float("inf"),
    float("nan"),
    "1",
    "1" * 10**6,
    [],
    [1],
    {},
    {"1": 1},
    -1,
    -(1 << 63),
    1 << 63,
    1 << 200,
    10**4000,
]
"""What no number of a manifest is."""

NO_NAMES: list[object] = [
    None,
    True,
    0,
    1 << 200,
    [],
    [SUFFIX],
    {},
    "",
    SUFFIX[:-1],
    SUFFIX.upper(),
    f"{SUFFIX}\n",
    f"{SUFFIX[:-1]}\0",
    f"../{SUFFIX[3:]}",
    f"{SUFFIX[:8]}/{SUFFIX[9:]}",
    f"{SUFFIX[:-3]}%2f",
    "..",
    "/etc/passwd",
    "\0" * 16,
    "\ud800" * 16,
    "\u0660" * 16,
    "a" * 10**6,
    SUFFIX * 5,
]
"""What is no name of a commit, no token, and no random part of the name of an object."""


def members() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(encode_manifest(MANIFEST))
    del found["checksum"]
    return found


def decoded(place: tuple[str | int, ...], value: object) -> Manifest:
    """Return the manifest with another value in a place, which a checksum says is meant so."""
    changed = members()
    inner: Any = changed
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    return decode_manifest(encode_compact(changed))


def test_what_is_written_is_read() -> None:
    assert decode_manifest(encode_manifest(MANIFEST)) == MANIFEST


@pytest.mark.parametrize("value", NO_NUMBERS, ids="{!r:.20}".format)
@pytest.mark.parametrize(
    "place",
    [
        ("emptied_below",),
        ("history", 0, 0),
        ("reserved", 0, 0),
        ("reserved", 0, 1),
        ("reserved", 0, 2),
        ("retired", 0, 1),
        ("retired", 0, 3),
        ("next_pack_id",),
    ],
    ids=str,
)
def test_what_is_no_number_is_refused(place: tuple[str | int, ...], value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        decoded(place, value)


@pytest.mark.parametrize("value", NO_NAMES, ids="{!r:.20}".format)
@pytest.mark.parametrize(
    "place",
    [("commit",), ("parent",), ("history", 0, 1), ("reserved", 0, 3), ("retired", 0, 0), ("retired", 0, 2)],
    ids=str,
)
def test_what_is_no_name_is_refused(place: tuple[str | int, ...], value: object) -> None:
    if place == ("parent",):
        value = value or "0"  # "" is good: the first manifest has no parent.
    with pytest.raises(ValueError, match=r".") as refused:
        decoded(place, value)
    assert str(refused.value).isprintable() and len(str(refused.value)) < 200


@pytest.mark.parametrize("rows", [None, 0, "x", {}, {"0": []}, [None], [0], ["abcd"], [{}], [[]], [[1]], [[1] * 5]])
@pytest.mark.parametrize("member", ["history", "reserved", "retired"])
def test_what_is_no_list_of_rows_is_refused(member: str, rows: object) -> None:
    with pytest.raises(ValueError, match=member):
        decoded((member,), rows)


@pytest.mark.parametrize("member", ["commit", "parent", "history", "reserved", "retired", "emptied_below"])
def test_a_member_that_is_missing_is_refused(member: str) -> None:
    left = members()
    del left[member]
    with pytest.raises(ValueError, match=r"."):
        decode_manifest(encode_compact(left))


@pytest.mark.parametrize(
    ("member", "rows"),
    [
        # Ids that were never given out, or no ids: the next one is 21.
        ("reserved", [[0, 1, 1, TOKEN]]),
        ("reserved", [[1, 0, 1, TOKEN]]),
        ("reserved", [[21, 1, 1, TOKEN]]),
        ("reserved", [[1, 21, 1, TOKEN]]),
        ("reserved", [[(1 << 32) - 1, (1 << 32) - 1, 1, TOKEN]]),
        ("retired", [["pack", 0, SUFFIX, 1]]),
        ("retired", [["pack", 21, SUFFIX, 1]]),
        # Commits that were not there yet: this is number 40.
        ("reserved", [[1, 1, 41, TOKEN]]),
        ("retired", [["pack", 1, SUFFIX, 41]]),
        ("history", [[40, NAMES[40]]]),
        ("history", [[41, NAMES[41]]]),
        ("emptied_below", 41),
        # Rows that contradict each other.
        ("reserved", [[1, 1, 1, TOKEN], [1, 1, 1, TOKEN]]),
        ("reserved", [[1, 4, 1, TOKEN], [9, 1, 1, TOKEN], [4, 1, 1, "b" * 16]]),
        ("reserved", [[1, 20, 1, TOKEN], [2, 1, 1, TOKEN]]),
        ("history", [[39, NAMES[39]], [39, NAMES[39]]]),
        ("history", [[39, NAMES[39]], [38, NAMES[38]]]),
        ("history", [[37, NAMES[37]], [39, NAMES[39]]]),
        ("history", [[38, NAMES[38]]]),
        ("history", [[number, NAMES[number]] for number in range(39 - KEPT_HISTORY, 40)]),
    ],
)
def test_rows_that_contradict_the_manifest_are_refused(member: str, rows: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        decoded((member,), rows)


def test_a_number_of_a_million_digits_is_refused_before_it_is_one() -> None:
    """Python itself would take minutes to read it: the time grows with the square of the digits."""
    text = json.dumps(members(), separators=(",", ":"))[:-1]
    long = text.replace('"emptied_below":9', f'"emptied_below":{"9" * 10**6}')
    assert len(long) > 10**6
    with pytest.raises(ValueError, match="digits"):
        decode_manifest(_sealed(long))


def _sealed(text: str) -> bytes:
    """Return the bytes of a document with this text, of which no JSON encoder is asked."""
    body = text.encode()
    return body + b',\n "checksum": "' + sha256(body).hexdigest().encode() + b'"\n}\n'


@pytest.mark.parametrize(
    ("member", "row"),
    [("history", "[1]"), ("reserved", f'[1,1,1,"{TOKEN}"]'), ("retired", f'["pack",1,"{SUFFIX}",1]'), ("retired", "0")],
)
def test_a_list_of_a_million_rows_is_refused_by_its_length(member: str, row: str) -> None:
    """480,000 rows took 6 seconds to check, one by one."""
    text = json.dumps({name: value for name, value in members().items() if name != member}, separators=(",", ":"))
    rows = ",".join([row] * 10**6)
    with pytest.raises(ValueError, match=f"{member} is not a list of up to"):
        decode_manifest(_sealed(f'{text[:-1]},"{member}":[{rows}]'))


def test_as_many_rows_as_a_commit_may_write_are_read() -> None:
    full = STATE._replace(
        reserved=tuple(Reservation(number, 1, 1, TOKEN) for number in range(1, MOST_ROWS + 1)),
        retired=tuple(Retired(PACK, number, SUFFIX, 1) for number in range(1, MOST_ROWS + 1)),
    )
    manifest = MANIFEST._replace(next_pack_id=MOST_ROWS + 2, next_segment=MOST_ROWS + 2, remote=full)
    read = decode_manifest(encode_manifest(manifest))
    assert read == manifest
    dead = DeadNames(read)
    assert not any(dead.has(PACK, number, "f" * 16) for number in range(1, MOST_ROWS + 1))
    assert dead.has(PACK, MOST_ROWS + 1, SUFFIX)
