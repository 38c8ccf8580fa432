"""Without memory a codec raises MemoryError: bytes that could not be decoded for that reason are not damaged."""

from __future__ import annotations

import sys

import pytest

from tests.helpers import run_python

FORMS = {
    "zstd": "decode(FRAME, Codec.ZSTD, len(RAW)) == RAW",
    "zstd, no size": "decode(UNSIZED, Codec.ZSTD, len(RAW)) == RAW",
    "zlib": "decode(ZLIB, Codec.ZLIB, len(RAW)) == RAW",
    "zstd stream": "b''.join(decode_sequence([STREAM], Codec.ZSTD, 2 * len(RAW))) == 2 * RAW",
    "zlib stream": "b''.join(decode_sequence([ZLIB], Codec.ZLIB, len(RAW))) == RAW",
    "document": "unseal(SEALED, 1 << 24) == RAW",
    "encode": "len(encode(RAW, Compression(Codec.ZSTD, 9))) < len(RAW)",
    "dictionary": "len(Dictionary(WORDS).compress_many([RAW[:1000]], 19)) == 1",
}
"""What is done, as an expression that is true."""

CODE = """
import os, random, resource, signal, sys, zlib
import zstandard
from rsdos.codecs.coding import decode, encode
from rsdos.codecs.dictionary import Dictionary
from rsdos.codecs.sealed import seal, unseal
from rsdos.codecs.sequential import decode_sequence
from rsdos.errors import DecodeError
from rsdos.model import Codec, Compression

chance = random.Random(1)
WORD = [bytes(chance.choices(range(97, 123), k=6)) for _ in range(500)]
RAW = b" ".join(chance.choices(WORD, k=150_000))
WORDS = zstandard.train_dictionary(8000, [RAW[at : at + 1000] for at in range(0, len(RAW), 1000)]).as_bytes()
ZLIB = zlib.compress(RAW)
FRAME = zstandard.ZstdCompressor().compress(RAW)
UNSIZED = zstandard.ZstdCompressor(write_content_size=False).compress(RAW)
STREAM = zstandard.ZstdCompressor(level=19).compressobj()
STREAM = STREAM.compress(2 * RAW) + STREAM.flush()
SEALED = seal(RAW)

def taken():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()

def tried(room):
    # All memory is taken, and some of it given back: the allocator of C has kept none for itself.
    resource.setrlimit(resource.RLIMIT_AS, (taken() + (80 << 20), resource.RLIM_INFINITY))
    held = []
    for size in (1 << 20, 1 << 16, 1 << 12):
        try:
            while True:
                held.append(bytes(size))
        except MemoryError:
            pass
    while held and room > 0:
        room -= len(held.pop(0))
    try:
        return "right" if FORM else "wrong"
    except MemoryError:
        return "no memory"
    except (DecodeError, zstandard.ZstdError) as error:
        return str(error)

for room in [*range(0, 1 << 20, 1 << 17), *range(1 << 20, 48 << 20, 3 << 20)]:
    child = os.fork()
    if not child:
        print(tried(room), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="by Linux's limit of memory")
@pytest.mark.parametrize("form", FORMS)
def test_a_lack_of_memory_is_no_damage(form: str) -> None:
    """A zstd stream of version 1 was told as damaged, and an insert said that rsdos has a bug."""
    said = run_python(CODE.replace("FORM", FORMS[form])).splitlines()
    assert set(said) == {"right", "no memory"}
