"""The door to zarr: its own suite for stores, and arrays of xarray there and back."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import pytest

from rsdos import Container, InvalidOption
from rsdos.facade.draft import Draft
from rsdos.facade.snapshot_path import SnapshotPath

zarr = pytest.importorskip("zarr", minversion="3.1.3", reason="the extra `zarr`: `make doors` has it")
numpy = pytest.importorskip("numpy")
from zarr.core.buffer.cpu import Buffer as Bytes  # noqa: E402
from zarr.core.sync import _collect_aiterator, sync  # noqa: E402
from zarr.testing.store import StoreTests  # noqa: E402

from rsdos.integrations.zarr_store import DraftStore, SnapshotStore  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")


@pytest.fixture
def draft(container: Container) -> Iterator[Draft]:
    """An open draft, which is dropped at the end."""
    with container.snapshots.edit("grid") as opened:
        yield opened
        opened.discard()


class TestDraftStore(StoreTests[DraftStore, Bytes]):
    """The suite of zarr for every store, below a directory of a draft."""

    store_cls = DraftStore
    buffer_cls = Bytes

    @pytest.fixture
    def store_kwargs(self, draft: Draft) -> dict[str, Any]:
        return {"draft": draft, "directory": "deep/down", "read_only": False}

    async def set(self, store: DraftStore, key: str, value: Bytes) -> None:
        store._draft[f"deep/down/{key}"] = value.to_bytes()

    async def get(self, store: DraftStore, key: str) -> Bytes:
        return Bytes.from_bytes(store._draft[f"deep/down/{key}"])

    def test_store_repr(self, store: DraftStore) -> None:
        assert repr(store) == "DraftStore(…, 'deep/down')"

    def test_store_supports_writes(self, store: DraftStore) -> None:
        assert store.supports_writes
        assert store.supports_deletes

    def test_store_supports_listing(self, store: DraftStore) -> None:
        assert store.supports_listing

    def test_serializable_store(self, store: DraftStore) -> None:
        """A draft holds a lock of its process."""
        with pytest.raises(TypeError, match="belongs to the process"):
            pickle.dumps(store)


class TestSnapshotStore(StoreTests[SnapshotStore, Bytes]):
    """The part of the suite that reads. What a test puts is a new version, and the store is told of it."""

    store_cls = SnapshotStore
    buffer_cls = Bytes

    @pytest.fixture
    def store_kwargs(self, container: Container) -> dict[str, Any]:
        with container.snapshots.edit("grid") as draft:
            draft.make_directory("deep/down")
        return {"where": container.snapshots["grid"] / "deep/down"}

    async def set(self, store: SnapshotStore, key: str, value: Bytes) -> None:
        names = store._snapshot.container.snapshots  # type: ignore[attr-defined]
        with names.edit("grid") as draft:
            draft[f"deep/down/{key}"] = value.to_bytes()
        store._tree = store._snapshot = names["grid"]

    async def get(self, store: SnapshotStore, key: str) -> Bytes:
        return Bytes.from_bytes(SnapshotPath(store._snapshot, "deep/down", key).read_bytes())

    def test_store_repr(self, store: SnapshotStore) -> None:
        assert repr(store) == "SnapshotStore('rsdos://grid@1/deep/down')"

    def test_store_supports_writes(self, store: SnapshotStore) -> None:
        assert not store.supports_writes
        assert not store.supports_deletes

    def test_store_supports_listing(self, store: SnapshotStore) -> None:
        assert store.supports_listing

    def test_serializable_store(self, store: SnapshotStore) -> None:
        sync(self.set(store, "c/0", Bytes.from_bytes(b"data")))
        again = pickle.loads(pickle.dumps(store))
        assert again == store
        assert sync(again.get("c/0", zarr.core.buffer.default_buffer_prototype())).to_bytes() == b"data"

    def test_store_read_only(self, store: SnapshotStore) -> None:
        assert store.read_only
        with pytest.raises(AttributeError):
            store.read_only = False

    async def test_is_empty(self, store: SnapshotStore) -> None:
        assert await store.is_empty("")
        await self.set(store, "foo/bar", Bytes.from_bytes(b"something"))
        assert not await store.is_empty("foo")
        assert await store.is_empty("fo")

    def test_a_store_that_can_be_written_is_refused(self, store_kwargs: dict[str, Any]) -> None:
        with pytest.raises(InvalidOption, match="DraftStore"):
            SnapshotStore(**store_kwargs, read_only=False)

    # These write through the store.
    test_store_open_read_only = test_with_read_only_store = None
    test_getsize_prefix = test_set = test_set_not_open = test_set_many = test_exists = test_clear = None
    test_list = test_list_prefix = test_list_empty_path = test_list_dir = test_set_if_not_exists = None


# --- arrays -----------------------------------------------------------------------------------------------------------


def _grid() -> Any:
    return numpy.arange(20 * 30, dtype="float32").reshape(20, 30)


def _write(container: Container, directory: str = "grid.zarr") -> None:
    with container.snapshots.edit("weather") as draft:
        group = zarr.create_group(DraftStore(draft, directory), attributes={"title": "weather"})
        array = group.create_array("temperature", shape=(20, 30), chunks=(10, 10), dtype="float32", fill_value=-1)
        array[:] = _grid()


def test_an_array_comes_back_from_the_version_it_was_written_to(container: Container) -> None:
    _write(container)
    with container.snapshots.edit("weather") as draft:
        array = zarr.open_array(DraftStore(draft, "grid.zarr"), path="temperature", mode="r+")
        array[:10, :10] = 7
    for version, corner in [("weather@1", 0), ("weather@2", 7)]:
        group = zarr.open_group(SnapshotStore(container.snapshots[version] / "grid.zarr"), mode="r")
        assert group.attrs["title"] == "weather"
        assert group["temperature"][0, 0] == corner
        assert (group["temperature"][10:, :] == _grid()[10:, :]).all()
    assert len(list(container.snapshots.diff("weather@1", "weather@2"))) == 1


def test_nothing_of_an_array_is_kept_when_its_block_raises(container: Container) -> None:
    _write(container)
    with pytest.raises(ZeroDivisionError), container.snapshots.edit("weather") as draft:
        zarr.open_array(DraftStore(draft, "grid.zarr"), path="temperature", mode="r+")[:] = 7
        raise ZeroDivisionError
    assert container.snapshots.branches() == {"weather": [1]}


def test_a_store_has_the_keys_of_the_draft_that_it_was_made_from(container: Container) -> None:
    with container.snapshots.edit("weather") as draft:
        store = DraftStore(draft, "grid.zarr")
        zarr.create_array(store, name="a/b", shape=(4,), chunks=(1,), dtype="i4", fill_value=9)[:] = [1, 2, 3, 4]
        keys = sync(_collect_aiterator(store.list()))
        names = {prefix: set(sync(_collect_aiterator(store.list_dir(prefix)))) for prefix in ("", "a", "a/b", "a/b/c")}
    read = SnapshotStore(container.snapshots["weather"] / "grid.zarr")
    assert sync(_collect_aiterator(read.list())) == keys
    assert "a/b/c/3" in keys
    assert {prefix: set(sync(_collect_aiterator(read.list_dir(prefix)))) for prefix in names} == names
    assert sync(read.getsize_prefix("a/b")) == sum(sync(read.getsize(key)) for key in keys if key.startswith("a/b/"))
    assert sync(_collect_aiterator(read.list_prefix("a/b/c/"))) == tuple(key for key in keys if "/c/" in key)


def test_a_directory_may_be_written_in_any_way(draft: Draft) -> None:
    draft["deep/down/x/y"] = b"1"
    for directory in ("deep/down", "/deep/down/", "./deep//./down"):
        store = DraftStore(draft, directory)
        assert sync(_collect_aiterator(store.list())) == ("x/y",)
        assert store == DraftStore(draft, "deep/down")


def test_chunks_of_a_value_that_fills_are_removed(container: Container) -> None:
    """zarr deletes a chunk that has the fill value only: as a whole, and beside an array that is written anew."""
    _write(container)
    with container.snapshots.edit("weather") as draft:
        zarr.open_array(DraftStore(draft, "grid.zarr"), path="temperature", mode="r+")[:10] = -1
    files = [entry.path for entry in container.snapshots["weather"].walk("grid.zarr/temperature/c") if entry.is_file]
    assert files == [f"grid.zarr/temperature/c/1/{column}" for column in range(3)]
    with container.snapshots.edit("weather") as draft:
        zarr.create_array(DraftStore(draft, "grid.zarr"), name="temperature", shape=(1,), dtype="i1", overwrite=True)
    assert [entry.name for entry in container.snapshots["weather"].listing("grid.zarr/temperature")] == ["zarr.json"]


def test_parts_of_a_large_object_are_read_alone(container: Container) -> None:
    """Shards hold many chunks in one object."""
    data = numpy.random.default_rng(1).integers(0, 255, (64, 65536), dtype="uint8")
    with container.snapshots.edit("weather") as draft:
        shards = {"shards": data.shape, "chunks": (1, 65536)}
        zarr.create_array(DraftStore(draft), shape=data.shape, dtype="uint8", **shards)[:] = data
    (entry,) = [entry for entry in container.snapshots["weather"].walk("c") if entry.is_file]
    assert entry.size > 1 << 21
    read = zarr.open_array(SnapshotStore(container.snapshots["weather"]), mode="r")
    assert (read[17] == data[17]).all()
    assert (read[:] == data).all()


def test_links_are_followed_inside_of_the_snapshot(container: Container) -> None:
    _write(container)
    with container.snapshots.edit("weather") as draft:
        draft.link("latest.zarr", "grid.zarr")
    group = zarr.open_group(SnapshotStore(container.snapshots["weather"] / "latest.zarr"), mode="r")
    assert (group["temperature"][:] == _grid()).all()


def test_xarray_there_and_back(container: Container) -> None:
    xarray = pytest.importorskip("xarray", reason="not installed: `make doors` has it")
    made = xarray.Dataset(
        {"temperature": (("day", "place"), _grid()), "height": ("place", numpy.arange(30))},
        coords={"day": numpy.arange("2026-01-01", "2026-01-21", dtype="datetime64[D]").astype("datetime64[ns]")},
        attrs={"source": "a test"},
    )
    with container.snapshots.edit("weather") as draft:
        made.to_zarr(DraftStore(draft, "grid.zarr"), zarr_format=3, consolidated=False)
    store = SnapshotStore(container.snapshots["weather@1"] / "grid.zarr")
    with xarray.open_zarr(store, consolidated=False, chunks=None) as read:
        xarray.testing.assert_identical(read.load(), made)
    with container.snapshots.edit("weather") as draft:
        made.assign_coords(day=made.day + numpy.timedelta64(20, "D")).to_zarr(
            DraftStore(draft, "grid.zarr"), append_dim="day", consolidated=False
        )
    store = SnapshotStore(container.snapshots["weather@2"] / "grid.zarr")
    with xarray.open_zarr(store, consolidated=False, chunks=None) as read:
        assert read.sizes["day"] == 40
