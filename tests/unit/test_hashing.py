from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsdos.errors import InvalidKey, InvalidOption
from rsdos.hashing import SHA1, SHA256, hash_type, spell_digests
from tests.helpers import BAD_KEYS

digests = st.binary(min_size=32, max_size=32)


@given(st.lists(digests))
def test_keys_are_parsed_one_by_one_and_many_at_once(wanted: list[bytes]) -> None:
    keys = [digest.hex() for digest in wanted]
    assert list(SHA256.parse_keys(keys)) == wanted == [SHA256.parse_key(key) for key in keys]


@given(st.lists(digests, max_size=3), st.lists(digests, max_size=3), st.sampled_from(BAD_KEYS))
def test_one_bad_key_among_good_ones_is_found(before: list[bytes], after: list[bytes], bad: object) -> None:
    keys = [digest.hex() for digest in before] + [bad] + [digest.hex() for digest in after]
    with pytest.raises(InvalidKey):
        SHA256.parse_keys(cast("list[str]", keys))


@given(digests, st.integers(1, 63))
def test_keys_cut_in_another_place_are_no_keys(digest: bytes, cut: int) -> None:
    whole = digest.hex() * 2
    with pytest.raises(InvalidKey):
        SHA256.parse_keys([whole[: 64 - cut], whole[64 - cut :]])


@pytest.mark.parametrize("key", BAD_KEYS, ids=repr)
def test_what_is_no_key(key: str) -> None:
    assert not SHA256.is_key(key)
    with pytest.raises(InvalidKey):
        SHA256.parse_key(key)


def test_an_error_never_repeats_more_than_a_line() -> None:
    with pytest.raises(InvalidKey) as caught:
        SHA256.parse_key("x" * 10_000 + "\n")
    assert len(str(caught.value)) < 250 and "\n" not in str(caught.value)


def test_prefixes() -> None:
    key = SHA256.digest_of(b"").hex()
    assert SHA256.parse_prefix(key[:6], 6) == key[:6]
    assert SHA256.parse_prefix(key, 6) == key
    for prefix in (key[:5], "", "ABCDEF", "../../", key + "0", None):
        with pytest.raises(InvalidKey):
            SHA256.parse_prefix(cast(str, prefix), 6)


def test_the_hashes_that_are_known() -> None:
    assert hash_type("sha256") is SHA256 and hash_type("sha1") is SHA1
    assert SHA1.digest_of(b"abc").hex() == "a9993e364706816aba3e25717850c26c9cd0d89d"
    assert SHA1.is_key("a" * 40) and not SHA1.is_key("a" * 64) and not SHA256.is_key("a" * 40)
    with pytest.raises(InvalidKey, match="40 lower-case"):
        SHA1.parse_keys(["a" * 64])
    for name in ("md5", "", None):
        with pytest.raises(InvalidOption):
            hash_type(cast(str, name))


@pytest.mark.parametrize("end", ["", "\n"])
def test_keys_on_lines_are_read_as_one_by_one(end: str) -> None:
    keys = [SHA256.digest_of(b"%d" % number).hex() for number in range(100)]
    wanted = list(map(bytes.fromhex, keys))
    assert list(SHA256.parse_lines("\n".join(keys) + end)) == wanted
    assert list(SHA256.parse_lines("\r\n".join(keys) + end)) == wanted
    assert list(SHA256.parse_lines("\n\n " + "\n\n\t".join(keys) + " \n" + end)) == wanted
    assert list(SHA256.parse_lines(end)) == []


@pytest.mark.parametrize("bad", ["A" * 64, "a" * 62, "a" * 66, "a" * 128, "a" * 32 + " " + "a" * 32, "\ufffd", "xy"])
def test_a_line_that_is_not_a_key_is_named(bad: str) -> None:
    keys = [SHA256.digest_of(b"%d" % number).hex() for number in range(3)]
    for lines in ([bad], [*keys, bad], [bad, *keys], [keys[0], bad, keys[1], "worse"]):
        with pytest.raises(InvalidKey) as caught:
            SHA256.parse_lines("\n".join(lines))
        assert caught.value.key == bad


def test_keys_of_half_the_length_are_no_keys_together() -> None:
    """Without the ends of the lines the text would be one key."""
    with pytest.raises(InvalidKey):
        SHA256.parse_lines("a" * 32 + "\n" + "a" * 32)


def test_parts_of_joined_digests_are_as_those_of_a_list() -> None:
    keys = [SHA256.digest_of(b"%d" % number).hex() for number in range(9)]
    digests = SHA256.parse_keys(keys)
    for joined in (digests, SHA256.parse_lines("\n".join(keys))):
        for part in (slice(2, 5), slice(None), slice(5, 2), slice(-3, None), slice(None, None, 2), slice(7, 20)):
            assert list(joined[part]) == list(map(bytes.fromhex, keys[part]))
            assert spell_digests(joined[part]) == keys[part]
