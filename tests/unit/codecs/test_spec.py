import pytest

from rsdos.codecs.spec import parse_compression
from rsdos.errors import InvalidOption
from rsdos.model import Codec, Compression


@pytest.mark.parametrize(
    ("text", "codec", "level"),
    [
        ("none", Codec.RAW, 0),
        ("zstd", Codec.ZSTD, 1),
        ("zstd:3", Codec.ZSTD, 3),
        ("zstd:+3", Codec.ZSTD, 3),
        ("zstd:-1", Codec.ZSTD, -1),
        ("zstd+3", Codec.ZSTD, 3),
        ("zstd-1", Codec.ZSTD, -1),
        ("zstd:22", Codec.ZSTD, 22),
        ("zstd-7", Codec.ZSTD, -7),
        ("zlib", Codec.ZLIB, 1),
        ("zlib+1", Codec.ZLIB, 1),
        ("zlib:+9", Codec.ZLIB, 9),
        ("zlib:9", Codec.ZLIB, 9),
    ],
)
def test_every_spelling_is_understood(text: str, codec: Codec, level: int) -> None:
    assert parse_compression(text) == Compression(codec, level)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "ZSTD",
            "Zlib",
            "gzip",
            "none:1",
            "zstd:",
            "zstd3",
            "zlib9",
            "zstd:++3",
            "zstd: 3",
            "zstd:3 ",
            "zstd:3\n",
        ),
        *("zstd:23", "zstd:-8", "zstd:0", "zstd:-0", "zlib:0", "zlib:10", "zlib:-1", "zlib-1", "zstd:٣", "zstd:100"),
    ],
)
def test_anything_else_is_refused_and_the_error_lists_the_allowed(text: str) -> None:
    with pytest.raises(InvalidOption, match="zstd:-7 to zstd:22, zlib:1 to zlib:9"):
        parse_compression(text)
