"""What every store promises (`rsdos.interfaces.ObjectStore`): the same tests for each of them."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from rsdos import Container, InvalidKey, InvalidOption, InvalidSource, ObjectNotFound, UnreadableSource
from rsdos.model import FRAME_SIZE, Missing, ObjectMeta, Place, Source
from rsdos.protocols import ObjectStore
from rsdos.storage.base import Traits
from rsdos.storage.memory import MemoryStorage
from rsdos.stores.base import Store
from tests.ceph.fixtures import S3
from tests.data import key_of, noise, text
from tests.helpers import ABSENT, BAD_KEYS, SIZES, Breaking, Pattern, objects_of_all_sizes, tree


class _Alone:
    """One of a container's two stores. By itself it only reads: what is in it already the container knows."""

    def __init__(self, container: Container, store: Store, place: Place) -> None:
        self._container, self._store, self._place = container, store, place

    def insert(self, source: Source) -> str:
        return self._container.insert(source, to=self._place)

    def insert_many(self, sources: Iterable[Source]) -> list[str]:
        return self._container.insert_many(sources, to=self._place)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._store)

    def __len__(self) -> int:
        return len(self._store)

    def __contains__(self, key: object) -> bool:
        return key in self._store


_PICK: dict[str, Callable[[Container], ObjectStore]] = {
    "loose": lambda container: cast(ObjectStore, _Alone(container, container.engine.loose, Place.LOOSE)),
    "packed": lambda container: cast(ObjectStore, _Alone(container, container.engine.packed, Place.PACKED)),
    "union": lambda container: container.engine.objects,
    "container": lambda container: container,
}
_SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "zlib everywhere": {"compression": "zlib:1", "loose_compression": "zlib:1"},
    "zstd when loose, tiny packs": {"loose_compression": "zstd:-1", "pack_size_target": 100_000},
    "version 1": {"container_version": 1},
    "version 1, flat, tiny packs": {"container_version": 1, "loose_prefix_len": 0, "pack_size_target": 100_000},
    "raw, relaxed, flat": {"compression": "none", "durability": "relaxed", "loose_prefix_len": 0},
}


def _in_memory(**settings: Any) -> ObjectStore:
    """A container that is no directory: all of its objects are packed."""
    container = Container.create(MemoryStorage(), **settings)
    return cast(ObjectStore, _Alone(container, container.engine.objects, Place.PACKED))


def _remote(**settings: Any) -> ObjectStore:
    """A container of version 3, on a medium that can neither append nor lock."""
    container = Container.create(MemoryStorage("bucket", Traits("object storage")), **settings)
    return cast(ObjectStore, _Alone(container, container.engine.objects, Place.PACKED))


def _on_ceph(request: pytest.FixtureRequest) -> ObjectStore:
    """A container in a bucket of a real Ceph, where that is installed."""
    s3: S3 = request.getfixturevalue("s3_environment")
    container = Container.create(s3.url, endpoint=s3.endpoint.url)
    return cast(ObjectStore, _Alone(container, container.engine.objects, Place.PACKED))


_WITHOUT_FILES = {"in memory": _in_memory, "remote": _remote}


def _is_without_files(kind: str, settings: str) -> bool:
    """Whether a container of these settings can be on a medium without files; a remote one is never relaxed."""
    return "version 1" not in settings and not (kind == "remote" and "relaxed" in settings)


@pytest.fixture(
    params=[
        *(f"{kind}, {settings}" for kind in _PICK for settings in _SETTINGS),
        *(
            f"{kind}, {settings}"
            for kind in _WITHOUT_FILES
            for settings in _SETTINGS
            if _is_without_files(kind, settings)
        ),
        "bucket, defaults",
    ]
)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ObjectStore]:
    kind, settings = request.param.split(", ", 1)
    if kind == "bucket":
        yield _on_ceph(request)
        return
    if kind in _WITHOUT_FILES:
        yield _WITHOUT_FILES[kind](**_SETTINGS[settings])
        return
    with Container.create(tmp_path / "container", **_SETTINGS[settings]) as container:
        yield _PICK[kind](container)


@pytest.fixture(params=[*_PICK, *_WITHOUT_FILES, "bucket"])
def plain(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ObjectStore]:
    """Each store with the defaults: for what settings have no part in."""
    if request.param == "bucket":
        yield _on_ceph(request)
        return
    if request.param in _WITHOUT_FILES:
        yield _WITHOUT_FILES[request.param]()
        return
    with Container.create(tmp_path / "container") as container:
        yield _PICK[request.param](container)


def test_objects_of_all_sizes_come_back(store: ObjectStore, tmp_path: Path) -> None:
    objects = objects_of_all_sizes()
    assert store.insert_many(objects.values()) == list(objects)
    assert len(store) == len(objects)
    assert sorted(store) == sorted(objects)
    assert store.has_many([*objects, ABSENT]) == [True] * len(objects) + [False]
    assert dict(store.extract_many(objects)) == objects
    for key, data in objects.items():
        assert store.extract(key) == data
        assert store.has(key) and key in store
        meta = store.meta(key)
        assert (meta.key, meta.size) == (key, len(data))
        with store.open(key) as stream:
            assert stream.read() == data
        out = tmp_path / "out"
        assert store.extract_to(key, out) == len(data)
        assert out.read_bytes() == data


def test_one_at_a_time(store: ObjectStore) -> None:
    objects = objects_of_all_sizes()
    for key, data in objects.items():
        assert not store.has(key)
        assert store.insert(data) == key
        assert store.extract(key) == data
    assert len(store) == len(objects)


@pytest.mark.parametrize("size", [0, 1, 5000, FRAME_SIZE, FRAME_SIZE + 1, 2 * FRAME_SIZE + 3])
def test_sources_of_all_kinds(plain: ObjectStore, tmp_path: Path, size: int) -> None:
    kinds: list[Callable[[bytes], Source]] = [
        bytes,
        bytearray,
        memoryview,
        io.BytesIO,
        lambda data: io.BufferedReader(io.BytesIO(data)),
        lambda data: _file(tmp_path, data),
        lambda data: str(_file(tmp_path, data)),
    ]
    for seed, kind in enumerate(kinds):
        data = noise(size, seed)
        assert plain.insert(kind(data)) == key_of(data)
        assert plain.extract(key_of(data)) == data
    data = noise(size, 99)
    with _file(tmp_path, data).open("rb") as stream:
        assert plain.insert(stream) == key_of(data)
        assert not stream.closed
    assert plain.extract(key_of(data)) == data


def _file(directory: Path, data: bytes) -> Path:
    path = directory / f"source-{key_of(data)}"
    path.write_bytes(data)
    return path


def test_a_stream_is_read_from_where_it_stands(plain: ObjectStore) -> None:
    stream = io.BytesIO(b"skipped:rest")
    stream.seek(8)
    assert plain.insert(stream) == key_of(b"rest")


def test_a_generated_stream_is_never_read_whole(plain: ObjectStore) -> None:
    key = plain.insert(cast(Source, Pattern(3 * FRAME_SIZE + 77)))
    assert plain.meta(key).size == 3 * FRAME_SIZE + 77
    assert plain.extract(key) == Pattern(3 * FRAME_SIZE + 77).read(3 * FRAME_SIZE + 77)


def test_keys_come_back_in_the_order_given(plain: ObjectStore) -> None:
    sources = [noise(size, seed) for seed, size in enumerate([10, FRAME_SIZE + 1, 0, 3, 2 * FRAME_SIZE, 10, 1])]
    assert plain.insert_many(iter(sources)) == [key_of(data) for data in sources]
    assert plain.insert_many([]) == []


def test_duplicates_within_one_call_and_between_calls(store: ObjectStore) -> None:
    large, small = text(FRAME_SIZE + 9), b"small"
    sources = [small, large, small, large, b"other", small, large]
    keys = [key_of(data) for data in sources]
    for _ in range(2):
        assert store.insert_many(sources) == keys
        assert len(store) == 3
        assert sorted(store) == sorted(set(keys))
    assert dict(store.extract_many(keys)) == dict(zip(keys, sources, strict=True))


class _Bytes(bytes):
    """As ``numpy.bytes_`` is one."""


@pytest.mark.parametrize("form", [list, tuple, iter])
def test_a_kind_of_bytes_is_bytes(store: ObjectStore, form: Callable[[list[bytes]], Iterable[bytes]]) -> None:
    sources = [b"a", _Bytes(b"b"), _Bytes(b""), b"c", _Bytes(b"d")]
    assert store.insert_many(form(sources)) == list(map(key_of, sources))
    assert store.insert(_Bytes(b"e")) == key_of(b"e")
    assert dict(store.extract_many(map(key_of, sources))) == {key_of(data): data for data in sources}


def test_the_empty_object_is_not_there_before_it_is_stored(container: Container) -> None:
    packed, empty = container.engine.packed, bytes.fromhex(key_of(b""))
    container.insert_many([b"another"])
    assert packed.verify_many([empty]) == [False]
    assert not packed.has_hash(empty)
    container.insert_many([b""])
    assert packed.verify_many([empty]) == [True]


def test_a_duplicate_takes_no_space(plain: ObjectStore, tmp_path: Path) -> None:
    data = [noise(5000), noise(FRAME_SIZE + 1)]
    plain.insert_many(data)
    before = tree(tmp_path)
    assert plain.insert_many(data) == [plain.insert(one) for one in data]
    after = tree(tmp_path)
    assert sum(length for name, length in after.items() if "/index/" not in name) == sum(
        length for name, length in before.items() if "/index/" not in name
    )


# Of more than 1,024 it is found out in another way.
@pytest.mark.parametrize("settings", _SETTINGS)
def test_lists_of_metadata_say_what_is_said_one_by_one(tmp_path: Path, settings: str) -> None:
    with Container.create(tmp_path / "container", **_SETTINGS[settings]) as container:
        both, *packed = objects_of_all_sizes().values()
        container.insert_many([both, *packed])
        container.insert(both, to=Place.LOOSE)
        loose = container.insert(b"loose", to=Place.LOOSE)
        engine = container.engine
        for store in (engine.objects, engine.loose, engine.packed):
            metas = [cast(ObjectMeta, meta) for metas in store.meta_lists() for meta in metas]
            assert sorted(meta.key for meta in metas) == sorted(store) == sorted(set(store))
            assert [store.meta(meta.key) for meta in metas] == metas
            rows = [
                (key, columns.place, size, length, codec)
                for columns in store.meta_columns()
                for key, size, length, codec in zip(*columns[1:5], strict=True)
            ]
            assert rows == [meta[:5] for meta in metas]
        assert loose in [key for keys in engine.objects.key_lists() for key in keys]


@pytest.mark.parametrize("times", [3, 700])
def test_each_key_is_yielded_once(plain: ObjectStore, times: int) -> None:
    keys = plain.insert_many([b"a", b"b"])
    missing = key_of(b"missing")
    expected: list[tuple[str, bytes | None]] = [*zip(keys, [b"a", b"b"], strict=True), (missing, None)]
    asked = [*keys * times, missing, keys[0], missing]
    assert sorted(plain.extract_many(asked, missing="none"), key=str) == sorted(expected, key=str)


def test_a_file_that_cannot_be_made_is_named(plain: ObjectStore, tmp_path: Path) -> None:
    key, target = plain.insert(b"data"), str(tmp_path / "nowhere" / "out")
    with pytest.raises(FileNotFoundError) as caught:
        plain.extract_to(key, target)
    assert caught.value.filename == target


def test_what_is_missing(store: ObjectStore, tmp_path: Path) -> None:
    key = store.insert(b"here")
    for verb in (store.extract, store.open, store.meta, lambda key: store.extract_to(key, tmp_path / "out")):
        with pytest.raises(ObjectNotFound) as caught:
            verb(ABSENT)
        assert isinstance(caught.value, KeyError)
        assert ABSENT in str(caught.value)
    assert not (tmp_path / "out").exists()
    assert not store.has(ABSENT)
    assert ABSENT not in store
    asked = [ABSENT, key, ABSENT]
    assert list(store.extract_many(asked, missing="skip")) == [(key, b"here")]
    assert sorted(store.extract_many(asked, missing="none"), key=str) == sorted(
        [(key, b"here"), (ABSENT, None)], key=str
    )
    with pytest.raises(ObjectNotFound):
        list(store.extract_many(asked))
    with pytest.raises(InvalidOption):
        store.extract_many(asked, missing=cast(Missing, "ignore"))
    assert list(store.extract_many([])) == []
    assert store.has_many([]) == []


@pytest.mark.parametrize("key", BAD_KEYS, ids=repr)
def test_bad_keys_are_refused(plain: ObjectStore, tmp_path: Path, key: str) -> None:
    good = plain.insert(b"x")
    before = tree(tmp_path)
    verbs: list[Callable[[], object]] = [
        lambda: plain.extract(key),
        lambda: plain.open(key),
        lambda: plain.meta(key),
        lambda: plain.has(key),
        lambda: plain.has_many([good, key]),
        lambda: list(plain.extract_many([good, key], missing="skip")),
        lambda: plain.extract_to(key, tmp_path / "out"),
    ]
    for verb in verbs:
        with pytest.raises(InvalidKey) as caught:
            verb()
        assert isinstance(caught.value, ValueError)
    assert key not in plain
    assert tree(tmp_path) == before


def test_no_path_is_made_of_a_bad_key(plain: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain.insert(b"x")
    plain.has(ABSENT)
    touched: list[object] = []
    real_open, real_lstat = os.open, os.lstat

    def watched(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: object, *rest: object, **more: object) -> object:
            touched.append(path)
            return real(path, *rest, **more)

        return call

    monkeypatch.setattr(os, "open", watched(real_open))
    monkeypatch.setattr(os, "lstat", watched(real_lstat))
    for key in BAD_KEYS:
        for verb in (plain.extract, plain.has, plain.open, plain.meta):
            with pytest.raises(InvalidKey):
                verb(cast(str, key))
    assert touched == []


def test_what_is_no_source(plain: ObjectStore, tmp_path: Path) -> None:
    for source in (io.StringIO("text"), None, 7, ["a"], object()):
        with pytest.raises(InvalidSource) as caught:
            plain.insert(cast(Source, source))
        assert isinstance(caught.value, TypeError)
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(UnreadableSource):
            plain.insert(path)
    assert len(plain) == 0


def without_locks(path: Path) -> dict[str, int]:
    """The length of every file but the lock files, which are never deleted."""
    return {name: length for name, length in tree(path).items() if "/locks/" not in name}


@pytest.mark.parametrize("size", [100, FRAME_SIZE - 1, FRAME_SIZE + 1, 3 * FRAME_SIZE])
def test_a_stream_that_raises_leaves_nothing(store: ObjectStore, tmp_path: Path, size: int) -> None:
    kept = store.insert_many([b"kept", noise(FRAME_SIZE + 1, 5)])
    before = without_locks(tmp_path)
    error = RuntimeError("the stream broke")
    with pytest.raises(RuntimeError) as caught:
        store.insert(cast(Source, Breaking(noise(size), error)))
    assert caught.value is error
    assert without_locks(tmp_path) == before
    with pytest.raises(RuntimeError):
        store.insert_many(cast("list[Source]", [b"before", Breaking(noise(size), error), b"after"]))
    # What the call committed on its way may stay; nothing else.
    assert set(store) - {key_of(b"before")} == set(kept)
    assert len(without_locks(tmp_path)) == len(before) + store.has(key_of(b"before"))
    assert store.insert(b"works again") in store


def test_open_is_a_real_binary_file(store: ObjectStore, tmp_path: Path) -> None:
    value = {"numbers": list(range(300_000)), "text": "ünïcode"}
    array = np.arange(400_000, dtype=np.float64).reshape(400, 1000)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as members:
        members.writestr("large", noise(FRAME_SIZE + 1000))
        members.writestr("small", b"content")
    saved = io.BytesIO()
    np.save(saved, array)
    lines = "".join(f"line {number} ü\n" for number in range(150_000))
    sources = [pickle.dumps(value), saved.getvalue(), archive.getvalue(), lines.encode(), json.dumps(value).encode()]
    pickled, numbers, zipped, texts, jsoned = store.insert_many(sources)
    with store.open(pickled) as stream:
        assert isinstance(stream, io.BufferedReader)
        assert pickle.load(stream) == value
    with store.open(numbers) as stream:
        assert np.array_equal(np.load(stream), array)
    with store.open(zipped) as stream, zipfile.ZipFile(stream) as members:
        assert members.read("small") == b"content"
        assert members.testzip() is None
    with io.TextIOWrapper(store.open(texts), encoding="utf-8") as wrapped:
        assert wrapped.readline() == "line 0 ü\n"
        assert sum(1 for _ in wrapped) == 149_999
    with store.open(jsoned) as stream:
        assert json.load(stream) == value


@pytest.mark.parametrize("size", SIZES)
def test_seeking_and_reading_agree_with_bytes(store: ObjectStore, size: int) -> None:
    data = text(size // 2, 3) + noise(size - size // 2, 4)
    key = store.insert(data)
    model = io.BytesIO(data)
    with store.open(key) as stream:
        assert stream.readable() and stream.seekable() and not stream.writable()
        assert stream.peek(1)[:1] == data[:1]
        for offset, whence, amount in [
            (0, os.SEEK_SET, 10),
            (size // 2, os.SEEK_SET, 100),
            (-min(7, size), os.SEEK_END, 100),
            (0, os.SEEK_END, 1),
            (size + 100, os.SEEK_SET, 5),
            (max(0, FRAME_SIZE - 3), os.SEEK_SET, 6),
            (0, os.SEEK_CUR, FRAME_SIZE),
            (0, os.SEEK_SET, -1),
        ]:
            assert stream.seek(offset, whence) == model.seek(offset, whence)
            assert stream.read(amount) == model.read(amount)
            assert stream.tell() == model.tell()
        stream.seek(0)
        buffer = bytearray(size + 10)
        assert stream.readinto(buffer) == size
        assert buffer[:size] == data
        stream.seek(size // 3)
        first = stream.read1(50)
        assert first == data[size // 3 : size // 3 + len(first)] and (first or not size)
        with pytest.raises((ValueError, OSError)):
            stream.seek(-1)
    assert stream.closed
    with pytest.raises(ValueError, match="closed"):
        stream.read()


def test_extract_to_takes_the_place_of_a_file_and_of_nothing_else(store: ObjectStore, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    large = text(FRAME_SIZE + 5)
    small_key, large_key = store.insert_many([b"small", large])
    target = out / "target"
    target.write_bytes(b"what was there")
    assert store.extract_to(large_key, target) == len(large)
    assert target.read_bytes() == large
    assert store.extract_to(small_key, str(target)) == 5
    assert target.read_bytes() == b"small"
    link = out / "link"
    link.symlink_to(target)
    (out / "directory").mkdir()
    for occupied in (link, out / "directory"):
        with pytest.raises(InvalidOption):
            store.extract_to(large_key, occupied)
    with pytest.raises(FileNotFoundError):
        store.extract_to(large_key, out / "absent" / "file")
    with pytest.raises(ObjectNotFound):
        store.extract_to(ABSENT, target)
    assert target.read_bytes() == b"small"
    assert sorted(os.listdir(out)) == ["directory", "link", "target"]


def test_an_object_that_is_taken_out_half_way_leaves_no_file(
    plain: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = plain.insert(noise(2 * FRAME_SIZE))
    out = tmp_path / "out"
    out.mkdir()
    real = os.pwrite

    def full(fd: int, data: bytes, offset: int) -> int:
        if offset >= FRAME_SIZE:
            raise OSError(28, "No space left on device")
        return real(fd, data, offset)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        with pytest.raises(OSError, match="No space"):
            plain.extract_to(key, out / "file")
    assert os.listdir(out) == []


def test_many_small_objects(store: ObjectStore) -> None:
    objects = {key_of(b"%d" % number): b"%d" % number for number in range(700)}
    assert store.insert_many(objects.values()) == list(objects)
    assert len(store) == 700
    assert dict(store.extract_many(objects)) == objects
    assert store.has_many(objects) == [True] * 700
