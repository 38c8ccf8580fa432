"""The doors to fsspec, zarr and torch with a container at a URL, and with a lazy clone of one.

At a directory that machines share, at a small S3 of this process, and on a Ceph where there is one.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rsdos import Container, InvalidOption, RemoteAfterFork
from tests.ceph.fixtures import S3
from tests.integrations.conftest import write_tree
from tests.remote.conftest import KEY_ID, SECRET, TOKEN
from tests.remote.little_s3 import BUCKET, LittleS3

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*has no Zarr format 3 specification"),
]

LABELS = b"name,kind\n1.jpg,rose\n2.jpg,tulip\n"


def needs(*libraries: str) -> pytest.MarkDecorator:
    """Skip a test, before its containers are made, where a library is not installed."""
    absent = [name for name in libraries if find_spec(name) is None]
    return pytest.mark.skipif(bool(absent), reason=f"not installed: {', '.join(absent)}; `make doors` has it")


COUNT = 300
"""Files that hold their numbers."""


class Place(NamedTuple):
    """What a user gives to a door: where a container is, and the options that go with it."""

    path: str
    options: dict[str, Any]

    def open(self) -> Container:
        return Container(self.path, **self.options)


def _made(place: Place, directory: Path) -> Place:
    """Make a container, and save a directory in it as `flowers`."""
    files = {f"train/{number % 7}/{number}.txt": b"%d" % number for number in range(COUNT)}
    write_tree(directory, {**files, "labels.csv": LABELS, "large.bin": bytes(range(256)) * 12_000})
    with Container.create(place.path, **place.options) as container:
        container.snapshots.save("flowers", directory)
        container.close()
    return place


def _clone(place: Place, directory: Path) -> Place:
    Container.clone_lazily(place.path, directory, **place.options)
    return Place(str(directory), {})


@pytest.fixture
def shared(tmp_path: Path) -> Place:
    """A directory that machines share."""
    return _made(Place(f"file://{tmp_path}/shared", {}), tmp_path / "flowers")


@pytest.fixture
def bucket_here(little: LittleS3, tmp_path: Path) -> Place:
    """The small S3."""
    return _made(Place(f"s3://{BUCKET}/store", {"endpoint": little.url}), tmp_path / "flowers")


@pytest.fixture
def on_ceph(s3_environment: S3, tmp_path: Path) -> Place:
    place = Place(s3_environment.url, {"endpoint": s3_environment.endpoint.url})
    return _made(place, tmp_path / "flowers")


@pytest.fixture(params=["shared", "shared, lazy", "bucket_here", "bucket_here, lazy", "on_ceph"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    name, _, lazy = request.param.partition(", ")
    made: Place = request.getfixturevalue(name)
    return _clone(made, tmp_path / "clone") if lazy else made


# --- fsspec -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def filesystem() -> Iterator[Any]:
    """The class, whose instances fsspec keeps for as long as the process runs: a later test has another container."""
    import fsspec

    made = fsspec.get_filesystem_class("rsdos")
    yield made
    made.clear_instance_cache()


@needs("fsspec")
def test_a_file_system_reads_files_ranges_and_many_at_once(place: Place, filesystem: Any) -> None:
    fs = filesystem(container=place.path, **place.options)
    assert fs.cat("rsdos://flowers@1/labels.csv") == LABELS
    paths = fs.glob("flowers/train/**/*.txt")
    assert len(paths) == COUNT
    assert fs.cat(paths) == {path: Path(path).stem.encode() for path in paths}
    with fs.open("flowers/large.bin") as stream:
        assert stream.seek(-2, 2) and stream.read() == b"\xfe\xff"
    assert fs.cat_file("flowers/large.bin", 256_000, 256_004) == b"\0\1\2\3"
    fs.container.close()


@needs("fsspec")
def test_a_branch_is_followed_at_once_where_it_was_written(shared: Place, filesystem: Any) -> None:
    fs = filesystem(container=shared.path)
    assert fs.cat("flowers/labels.csv") == LABELS
    with shared.open().snapshots.edit("flowers") as draft:
        draft["labels.csv"] = b"new"
    assert fs.cat("flowers/labels.csv") == b"new"
    assert fs.cat("flowers@1/labels.csv") == LABELS


@needs("fsspec", "pandas")
def test_pandas_gives_the_options_of_a_url_as_storage_options(bucket_here: Place, filesystem: Any) -> None:
    import pandas

    options = {"container": bucket_here.path, **bucket_here.options}
    frame = pandas.read_csv("rsdos://flowers@1/labels.csv", storage_options=options)
    assert list(frame["kind"]) == ["rose", "tulip"]


@needs("fsspec", "upath")
def test_a_universal_path_takes_the_options_of_a_url(bucket_here: Place, filesystem: Any) -> None:
    import upath

    top = upath.UPath("rsdos://flowers@1", container=bucket_here.path, **bucket_here.options)
    assert (top / "labels.csv").read_bytes() == LABELS


@needs("fsspec")
def test_a_file_system_keeps_what_it_reads_in_the_cache(
    bucket_here: Place, little: LittleS3, filesystem: Any, tmp_path: Path
) -> None:
    options = {**bucket_here.options, "cache": str(tmp_path / "cache")}
    for _ in range(2):
        little.asked.clear()
        fs = filesystem(container=bucket_here.path, **options)
        assert fs.cat("flowers/large.bin") == bytes(range(256)) * 12_000
        fs.container.close()
        filesystem.clear_instance_cache()
    assert not [asked for asked in little.asked if len(asked.name) and len(little.usual(asked).body) > 1_000_000]


# --- torch ------------------------------------------------------------------------------------------------------------


def number(path: str, data: bytes) -> tuple[str, int]:
    """A transform that spawned workers can import."""
    return path, int(data)


def _epochs(place: Place, how: str | None, epochs: int) -> list[list[int]]:
    """Return the numbers that a loader gives in each epoch."""
    from torch.utils.data import DataLoader

    from rsdos.integrations.torch_dataset import PackLocalSampler, SnapshotDataset

    train = SnapshotDataset(place.path, "flowers", "train/**", transform=number, **place.options)
    train[0]  # The container is open, with all that it has, when its process forks.
    sampler, workers = PackLocalSampler(train, seed=1), 0 if how is None else 2
    loader = DataLoader(train, batch_size=64, sampler=sampler, num_workers=workers, multiprocessing_context=how)
    read = [[item for batch in loader for item in zip(*batch, strict=True)] for _ in range(epochs)]
    train.container.close()
    assert all(Path(path).stem == str(int(value)) for epoch in read for path, value in epoch)
    return [[int(value) for _, value in epoch] for epoch in read]


@needs("torch")
@pytest.mark.parametrize("how", ["spawn", None])
def test_a_loader_yields_every_file_once(place: Place, how: str | None) -> None:
    (epoch,) = _epochs(place, how, 1)
    assert sorted(epoch) == list(range(COUNT))


@needs("torch")
@pytest.mark.parametrize("is_lazy", [False, True])
def test_a_loader_with_forked_workers_yields_every_file_once(shared: Place, tmp_path: Path, is_lazy: bool) -> None:
    place = _clone(shared, tmp_path / "clone") if is_lazy else shared
    for epoch in _epochs(place, "fork", 2):
        assert sorted(epoch) == list(range(COUNT))


@needs("torch")
def test_a_forked_worker_says_that_a_bucket_needs_spawned_ones(bucket_here: Place) -> None:
    with pytest.raises(RemoteAfterFork, match="spawn"):
        _epochs(bucket_here, "fork", 1)


@needs("torch")
@pytest.mark.parametrize("how", ["fork", "spawn", None])
def test_a_second_epoch_on_a_lazy_clone_needs_no_remote(shared: Place, tmp_path: Path, how: str | None) -> None:
    place = _clone(shared, tmp_path / "clone")
    _epochs(place, how, 1)
    (tmp_path / "shared").rename(tmp_path / "away")
    (again,) = _epochs(place, how, 1)
    assert sorted(again) == list(range(COUNT))


# --- zarr -------------------------------------------------------------------------------------------------------------


@needs("zarr")
def test_an_array_is_written_at_a_url_and_read_there_and_in_a_lazy_clone(
    bucket_here: Place, shared: Place, tmp_path: Path
) -> None:
    import numpy
    import zarr

    from rsdos.integrations.zarr_store import DraftStore, SnapshotStore

    values = numpy.arange(10_000, dtype="float32").reshape(100, 100)
    for count, place in enumerate((bucket_here, shared)):
        with place.open() as container, container.snapshots.edit("weather") as draft:
            array = zarr.create_array(
                DraftStore(draft, "grid.zarr"), shape=(100, 100), chunks=(10, 10), dtype="float32"
            )
            array[:] = values
        for each in (place, _clone(place, tmp_path / f"clone-{count}")):
            with each.open() as container:
                store = SnapshotStore(container.snapshots["weather"] / "grid.zarr")
                assert (zarr.open_array(store, mode="r")[:] == values).all()
                container.close()


@needs("zarr", "xarray")
def test_xarray_opens_what_is_at_a_url(bucket_here: Place) -> None:
    import xarray

    from rsdos.integrations.zarr_store import DraftStore, SnapshotStore

    made = xarray.Dataset({"temperature": ("day", [1.0, 2.0, 3.0])})
    with bucket_here.open() as container:
        with container.snapshots.edit("weather") as draft:
            made.to_zarr(DraftStore(draft, "grid.zarr"), consolidated=False)
        store = SnapshotStore(container.snapshots["weather"] / "grid.zarr")
        with xarray.open_zarr(store, consolidated=False, chunks=None) as read:
            xarray.testing.assert_identical(read.load(), made)
        container.close()


# --- credentials ------------------------------------------------------------------------------------------------------


def _is_secret_free(data: bytes) -> bool:
    return not any(secret.encode() in data for secret in (KEY_ID, SECRET, TOKEN))


@needs("fsspec")
def test_a_pickled_file_system_has_no_credentials(bucket_here: Place, filesystem: Any) -> None:
    fs = filesystem(container=bucket_here.path, **bucket_here.options)
    assert fs.cat("flowers/labels.csv") == LABELS  # What signs has read the credentials.
    sent = pickle.dumps(fs)
    assert _is_secret_free(sent)
    assert _is_secret_free(fs.to_json().encode())
    assert _is_secret_free(repr(fs).encode())
    filesystem.clear_instance_cache()
    assert pickle.loads(sent).cat("flowers/labels.csv") == LABELS


@needs("torch")
def test_a_pickled_data_set_has_no_credentials(bucket_here: Place) -> None:
    from rsdos.integrations.torch_dataset import SnapshotDataset

    train = SnapshotDataset(bucket_here.path, "flowers", "labels.csv", **bucket_here.options)
    assert train[0].data == LABELS
    sent = pickle.dumps(train)
    assert _is_secret_free(sent)
    assert pickle.loads(sent)[0].data == LABELS


@needs("zarr")
def test_a_pickled_store_of_zarr_has_no_credentials(bucket_here: Place) -> None:
    from rsdos.integrations.zarr_store import SnapshotStore

    with bucket_here.open() as container:
        store = SnapshotStore(container.snapshots["flowers"] / "train")
        assert store._read("0/0.txt", None) == b"0"
        sent = pickle.dumps(store)
        assert _is_secret_free(sent)
        assert pickle.loads(sent)._read("0/0.txt", None) == b"0"
        container.close()


@needs("fsspec")
@pytest.mark.parametrize("name", ["secret", "aws_secret_access_key", "token", "password"])
def test_a_secret_among_the_options_is_refused_and_not_shown(bucket_here: Place, filesystem: Any, name: str) -> None:
    """fsspec keeps the options, and sends them with its pickles."""
    with pytest.raises(InvalidOption, match="credentials come from the environment") as refused:
        filesystem(container=bucket_here.path, **bucket_here.options, **{name: SECRET})
    assert SECRET not in str(refused.value)


@needs("fsspec")
def test_a_mistyped_option_is_refused(bucket_here: Place, shared: Place, tmp_path: Path, filesystem: Any) -> None:
    with pytest.raises(InvalidOption, match="'endpoint'"):
        filesystem(container=bucket_here.path, endpoints="http://127.0.0.1:1")
    with pytest.raises(TypeError, match="only a container at a URL"):
        filesystem(container=str(tmp_path), endpoint="http://127.0.0.1:1")
    assert filesystem(container=shared.path, use_listings_cache=False, asynchronous=False).exists("flowers")
