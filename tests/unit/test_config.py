import json
from pathlib import Path

import pytest

from rsdos.config import MOST_PREFIX, Config, encode_config, read_config
from rsdos.errors import DamagedContainer, InvalidOption, NotAContainer, RsdosError, UnsupportedContainer
from rsdos.model import Codec, Durability
from rsdos.storage.checked_json import decode_document, encode_document


def written(path: Path, **fields: object) -> str:
    """A configuration file with some fields replaced, its checksum right."""
    whole = decode_document(encode_config(Config())) | fields
    path.write_bytes(encode_document({name: value for name, value in whole.items() if value is not ...}))
    return str(path)


def test_written_bytes_are_read(tmp_path: Path) -> None:
    config = Config(
        compression="zlib+1",
        loose_compression="zstd:-1",
        durability=Durability.RELAXED,
        pack_size_target=12345,
        loose_prefix_len=0,
    )
    path = tmp_path / "config.json"
    path.write_bytes(encode_config(config))
    assert read_config(str(path)) == config
    assert (config.codec.codec, config.codec.level) == (Codec.ZLIB, 1)
    assert config.loose_codec.codec is Codec.ZSTD
    assert json.loads(path.read_text())["container_version"] == 2


def test_unknown_keys_are_kept(tmp_path: Path) -> None:
    path = written(tmp_path / "config.json", future={"a": [1, 2]}, note="x")
    config = read_config(path)
    assert dict(config.unknown) == {"future": {"a": [1, 2]}, "note": "x"}
    again = tmp_path / "again.json"
    again.write_bytes(encode_config(config))
    assert json.loads(again.read_text()) | {"checksum": 0} == json.loads(Path(path).read_text()) | {"checksum": 0}


def test_two_containers_have_two_ids() -> None:
    assert Config().container_id != Config().container_id


@pytest.mark.parametrize(
    "fields",
    [
        {"container_id": "short"},
        {"container_id": "A" * 32},
        {"container_id": 7},
        {"pack_size_target": 0},
        {"pack_size_target": True},
        {"pack_size_target": 1e9},
        {"loose_prefix_len": -1},
        {"loose_prefix_len": MOST_PREFIX + 1},
        {"hash_type": "sha1"},
        {"hash_type": ["sha256"]},
        {"compression": "lzma"},
        {"compression": 5},
        {"loose_compression": None},
    ],
    ids=repr,
)
def test_values_that_make_no_sense(tmp_path: Path, fields: dict[str, object]) -> None:
    with pytest.raises(InvalidOption):
        Config(**fields)  # type: ignore[arg-type]
    # On disk, with a checksum that is right: of a release that knows more than this one.
    with pytest.raises(UnsupportedContainer):
        read_config(written(tmp_path / "config.json", **fields))


@pytest.mark.parametrize("fields", [{"durability": "sometimes"}, {"durability": 3}, {"durability": ...}], ids=repr)
def test_a_durability_that_is_not_known(tmp_path: Path, fields: dict[str, object]) -> None:
    with pytest.raises(RsdosError):
        read_config(written(tmp_path / "config.json", **fields))


def test_an_id_is_never_made_up_for_a_container_that_is_there(tmp_path: Path) -> None:
    with pytest.raises((DamagedContainer, UnsupportedContainer)):
        read_config(written(tmp_path / "config.json", container_id=...))


@pytest.mark.parametrize("version", [0, 4, "2", None, 2.5, [2]])
def test_other_versions(tmp_path: Path, version: object) -> None:
    path = tmp_path / "config.json"
    with pytest.raises(UnsupportedContainer):
        read_config(written(path, container_version=version))
    path.write_text(json.dumps({"container_version": version, "hash_type": "sha256"}))
    with pytest.raises(UnsupportedContainer):
        read_config(str(path))


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"container_version": 2}'])
def test_what_is_damaged(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(data)
    with pytest.raises(DamagedContainer, match=r"config\.json"):
        read_config(str(path))


def test_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "config.json", tmp_path / "absent" / "config.json", tmp_path / "file" / "config.json"):
        with pytest.raises(NotAContainer):
            read_config(str(path))


def test_documents_tell_every_flipped_bit_and_every_cut() -> None:
    fields = {"name": "ünïcode", "numbers": [1, 2, 3], "nested": {"checksum": 'x",\n "checksum": "y'}}
    data = encode_document(fields)
    assert decode_document(data) == fields
    assert json.loads(data) | fields == json.loads(data)
    for offset in range(len(data)):
        for mask in (0x01, 0x80):
            flipped = bytearray(data)
            flipped[offset] ^= mask
            with pytest.raises(ValueError):
                decode_document(bytes(flipped))
        with pytest.raises(ValueError):
            decode_document(data[:offset])
    with pytest.raises(ValueError):
        decode_document(data + b"\n")
