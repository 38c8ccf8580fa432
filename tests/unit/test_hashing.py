from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsdos.errors import InvalidKey
from rsdos.hashing import digest_of, is_key, parse_key, parse_keys, parse_prefix
from tests.helpers import BAD_KEYS

digests = st.binary(min_size=32, max_size=32)


@given(st.lists(digests))
def test_keys_are_parsed_one_by_one_and_many_at_once(wanted: list[bytes]) -> None:
    keys = [digest.hex() for digest in wanted]
    assert list(parse_keys(keys)) == wanted == [parse_key(key) for key in keys]


@given(st.lists(digests, max_size=3), st.lists(digests, max_size=3), st.sampled_from(BAD_KEYS))
def test_one_bad_key_among_good_ones_is_found(before: list[bytes], after: list[bytes], bad: object) -> None:
    keys = [digest.hex() for digest in before] + [bad] + [digest.hex() for digest in after]
    with pytest.raises(InvalidKey):
        parse_keys(cast("list[str]", keys))


@given(digests, st.integers(1, 63))
def test_keys_cut_in_another_place_are_no_keys(digest: bytes, cut: int) -> None:
    whole = digest.hex() * 2
    with pytest.raises(InvalidKey):
        parse_keys([whole[: 64 - cut], whole[64 - cut :]])


@pytest.mark.parametrize("key", BAD_KEYS, ids=repr)
def test_what_is_no_key(key: str) -> None:
    assert not is_key(key)
    with pytest.raises(InvalidKey):
        parse_key(key)


def test_an_error_never_repeats_more_than_a_line() -> None:
    with pytest.raises(InvalidKey) as caught:
        parse_key("x" * 10_000 + "\n")
    assert len(str(caught.value)) < 250 and "\n" not in str(caught.value)


def test_prefixes() -> None:
    key = digest_of(b"").hex()
    assert parse_prefix(key[:6], 6) == key[:6]
    assert parse_prefix(key, 6) == key
    for prefix in (key[:5], "", "ABCDEF", "../../", key + "0", None):
        with pytest.raises(InvalidKey):
            parse_prefix(cast(str, prefix), 6)
