"""How stored bytes become raw bytes and back; the only door to zstandard, isal and zlib.

Everything here is a function of its arguments and may be called from any thread and after a fork. Each is imported when
it is asked for: whoever reads a configuration needs none of the three.
"""

from rsdos.late import late

TYPE_CHECKING = False  # Type checkers take the name for true, as that of `typing`, whose import is 3 ms.

if TYPE_CHECKING:
    from rsdos.codecs.auto import clearly_smaller, encode_if_smaller, encode_many_if_smaller, looks_compressible
    from rsdos.codecs.checksum import crc32, crc32_of_each
    from rsdos.codecs.coding import decode, decode_many, encode, encode_many
    from rsdos.codecs.cores import set_threads, threads
    from rsdos.codecs.deflate import PieceEncoder, decode_piece
    from rsdos.codecs.sequential import SequenceEncoder, codec_of, decode_sequence
    from rsdos.codecs.spec import parse_compression
    from rsdos.codecs.workers import Job, Workers
    from rsdos.codecs.zstd import context_size, encode_checked
else:
    __getattr__ = late(
        __name__,
        {
            "clearly_smaller": "auto",
            "encode_if_smaller": "auto",
            "encode_many_if_smaller": "auto",
            "looks_compressible": "auto",
            "crc32": "checksum",
            "crc32_of_each": "checksum",
            "decode": "coding",
            "decode_many": "coding",
            "encode": "coding",
            "encode_many": "coding",
            "PieceEncoder": "deflate",
            "decode_piece": "deflate",
            "SequenceEncoder": "sequential",
            "codec_of": "sequential",
            "decode_sequence": "sequential",
            "parse_compression": "spec",
            "Job": "workers",
            "Workers": "workers",
            "context_size": "zstd",
            "encode_checked": "zstd",
            "set_threads": "cores",
            "threads": "cores",
        },
    )

__all__ = [
    "Job",
    "PieceEncoder",
    "SequenceEncoder",
    "Workers",
    "clearly_smaller",
    "codec_of",
    "context_size",
    "crc32",
    "crc32_of_each",
    "decode",
    "decode_many",
    "decode_piece",
    "decode_sequence",
    "encode",
    "encode_checked",
    "encode_if_smaller",
    "encode_many",
    "encode_many_if_smaller",
    "looks_compressible",
    "parse_compression",
    "set_threads",
    "threads",
]
