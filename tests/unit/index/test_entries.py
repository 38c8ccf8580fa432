"""What tables of entries are asked, beside what segments and merges ask of them."""

import random

import pytest

from rsdos.hashing import SHA1, SHA256, HashType
from rsdos.index.entries import all_differ


@pytest.mark.parametrize("hash_type", [SHA256, SHA1])
@pytest.mark.parametrize("count", [1, 2, 5000])
def test_different_digests_are_distinguished(hash_type: HashType, count: int) -> None:
    digests = [hash_type.digest_of(b"%d" % number) for number in range(count)]
    random.Random(count).shuffle(digests)
    assert all_differ(digests)
    assert all_differ(hash_type.spelled_by(list(map(bytes.hex, digests))))
    assert not all_differ([*digests, digests[count // 2]])
    assert all_differ([])
