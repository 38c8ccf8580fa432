"""What the drop-in says of a container that another program changes meanwhile, and of what it is given by mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsdos import Codec, NotOurs
from rsdos import Container as OurContainer
from rsdos.compat.disk_objectstore import Container, ObjectType
from rsdos.compat.disk_objectstore.exceptions import InconsistentContent
from rsdos.compat.disk_objectstore.utils import LazyOpener
from rsdos.model import FRAME_SIZE
from tests.data import noise, text
from tests.helpers import NOBODY, flip, let_others_pass, run_python, tree, writable_as_nobody
from tests.v1.test_golden_1 import unpack


@pytest.mark.parametrize("version", [1, 2])
def test_an_object_packed_by_another_process_is_packed(tmp_path: Path, version: int) -> None:
    OurContainer.create(tmp_path, container_version=version).close()
    with Container(tmp_path) as container, Container(tmp_path) as other:
        keys = [container.add_object(b"one"), container.add_object(b"two")]
        assert {meta.type for _, meta in container.get_objects_meta(keys)} == {ObjectType.LOOSE}
        other.pack_all_loose()
        assert {meta.type for _, meta in container.get_objects_meta(keys)} == {ObjectType.PACKED}
        assert container.get_object_meta(keys[0]).type is ObjectType.PACKED


@pytest.mark.parametrize("version", [1, 2])
def test_metas_of_packed_loose_missing_and_senseless_keys(tmp_path: Path, version: int) -> None:
    OurContainer.create(tmp_path, container_version=version).close()
    with Container(tmp_path) as container:
        packed = container.add_objects_to_pack([b"packed", b"text " * 1000], compress=True)
        loose = container.add_object(b"loose")
        asked = ["nope", loose, "0" * 64, *packed]
        found = dict(container.get_objects_meta(asked, skip_if_missing=False))
        assert {key: meta.type.value for key, meta in found.items()} == {
            "nope": "missing",
            "0" * 64: "missing",
            loose: "loose",
            packed[0]: "packed",
            packed[1]: "packed",
        }
        assert [found[key].size for key in (loose, *packed)] == [5, 6, 5000]
        with container.get_objects_stream_and_meta(asked) as triplets:
            assert {key: stream and stream.read() for key, stream, _ in triplets} == {
                loose: b"loose",
                packed[0]: b"packed",
                packed[1]: b"text " * 1000,
            }


def test_a_file_that_is_not_open_is_no_stream(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"data")
    container = Container(tmp_path / "container")
    container.init_container()
    with pytest.raises(AttributeError, match="'LazyOpener' object has no attribute 'read'"):
        container.add_streamed_objects_to_pack([LazyOpener(tmp_path / "file")])  # open_streams was forgotten
    assert container.count_objects().packed == 0
    assert len(container.add_streamed_objects_to_pack([LazyOpener(tmp_path / "file")], open_streams=True)) == 1


def test_the_size_of_the_index_is_that_of_its_file(tmp_path: Path) -> None:
    with Container(tmp_path) as container:
        container.init_container()
        container.add_objects_to_pack([b"%d" % number for number in range(1000)])
        sizes = container.get_total_size()
        assert sizes.total_size_packindexes_on_disk == (tmp_path / "packs.idx").stat().st_size


@pytest.mark.parametrize("name", ["packs", "loose", "sandbox", "duplicates"])
def test_a_link_to_the_container_is_followed_and_one_in_it_is_refused(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No call can ask for more, nor can the environment."""
    monkeypatch.setenv("RSDOS_FOLLOW_LINKS", "1")
    (tmp_path / "larger-disk").mkdir()
    (tmp_path / "container").symlink_to("larger-disk")
    with Container(tmp_path / "container") as container:
        container.init_container()
        key = container.add_object(b"data")
        container.pack_all_loose()
    with Container(tmp_path / "container") as container:
        assert container.get_object_content(key) == b"data"
    (tmp_path / "larger-disk" / name).rename(tmp_path / "elsewhere")
    (tmp_path / "larger-disk" / name).symlink_to(tmp_path / "elsewhere")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(NotOurs), Container(tmp_path / "container") as container:
        container.get_object_content(key)
    with pytest.raises(NotOurs), Container(tmp_path / "container") as container:
        container.add_object(b"more")
    assert sorted(tmp_path.rglob("*")) == before


def test_an_object_of_mixed_frames_counts_as_compressed(tmp_path: Path) -> None:
    data = noise(FRAME_SIZE) + text(FRAME_SIZE)
    with OurContainer.create(tmp_path / "container") as own:
        (key,) = own.insert_many([data])
        assert own.meta(key).codec is Codec.MIXED
    with Container(tmp_path / "container") as container:
        assert container.get_object_meta(key)["pack_compressed"] is True
        assert container.get_object_content(key) == data
        with container.get_object_stream(key) as stream:
            stream.seek(FRAME_SIZE - 10)
            assert stream.read(20) == data[FRAME_SIZE - 10 : FRAME_SIZE + 10]
        assert container.validate().is_valid()
    pack = tmp_path / "container" / "packed" / "0000000001.pack"
    flip(pack, pack.read_bytes().index(data[:100]) + 50)
    with Container(tmp_path / "container") as container:
        assert container.validate().invalid_hashes_packed == [key]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("clean", [False, True])
def test_a_damaged_loose_object_is_not_packed_without_validation_either(
    tmp_path: Path, version: int, clean: bool
) -> None:
    """As docs/drop-in.md says. The original packs the wrong bytes."""
    OurContainer.create(tmp_path, container_version=version).close()
    with Container(tmp_path) as container:
        good, bad = container.add_object(b"good"), container.add_object(b"bad")
        path = tmp_path / "loose" / bad[:2] / bad[2:]
        flip(path, 0)
        damaged = path.read_bytes()
        container.pack_all_loose(validate_objects=False, clean_loose_per_pack=clean)
        assert [container.get_object_meta(key).type for key in (good, bad)] == [ObjectType.PACKED, ObjectType.LOOSE]
        assert container.get_object_content(good) == b"good" and path.read_bytes() == damaged
        with pytest.raises(InconsistentContent, match=bad):
            container.pack_all_loose()


ADD_AGAIN = """
import sys
from rsdos import ReadOnlyContainer
from rsdos.compat.disk_objectstore import Container
container = Container(sys.argv[1])
container.add_object(b"another")
try:
    container.add_object(b"damaged")
except ReadOnlyContainer:
    print("refused")
"""


@pytest.mark.skipif(not writable_as_nobody(), reason="needs root, to be somebody without rights")
def test_a_damaged_loose_object_in_a_directory_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """As docs/drop-in.md says: a key would be one of an object that cannot be read."""
    with Container(tmp_path / "container") as container:
        container.init_container()
        keys = [container.add_object(data) for data in (b"damaged", b"another")]
        container.delete_objects(keys[1:])
        container.close()
    directory = tmp_path / "container" / "loose" / keys[0][:2]
    flip(directory / keys[0][2:], 0)
    let_others_pass(tmp_path)
    for path in (tmp_path / "container").rglob("*"):
        path.chmod(0o777 if path.is_dir() else 0o666)
    (tmp_path / "container").chmod(0o777)
    directory.chmod(0o555)
    assert run_python(ADD_AGAIN, tmp_path / "container", user=NOBODY) == "refused\n"
    assert tree(tmp_path / "container" / "duplicates") == {}


SETTINGS_OF = """
import sys
from rsdos.compat.disk_objectstore import Container
with Container(sys.argv[1]) as container:
    print(container.compression_algorithm, container.container_id)
"""


def test_a_container_of_disk_objectstore_0_4_has_an_id_and_a_compression(tmp_path: Path) -> None:
    """Its configuration says neither, and each process finds the same ones."""
    root, expected = unpack("dos-0.4", tmp_path)
    assert "container_id" not in (root / "config.json").read_text()
    with Container(root) as container:
        assert (container.compression_algorithm, len(container.container_id)) == ("zlib+1", 32)
        told = f"zlib+1 {container.container_id}\n"
        assert {key: len(container.get_object_content(key)) for key in expected["objects"]} == expected["objects"]
    assert [run_python(SETTINGS_OF, root) for _ in range(2)] == [told, told]
