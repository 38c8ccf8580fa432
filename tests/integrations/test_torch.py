"""The door to torch: data sets of files, and loaders with workers that are forked and spawned."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rsdos import Container, InvalidOption
from tests.integrations.conftest import write_tree

torch = pytest.importorskip("torch", reason="the extra `torch`: `make doors` has it where there is a build for the CPU")
from torch.utils.data import BatchSampler, DataLoader, RandomSampler  # noqa: E402

from rsdos.integrations.torch_dataset import FileSample, PackLocalSampler, SnapshotDataset  # noqa: E402


def _numbers(path: str, data: bytes) -> tuple[str, int]:
    """A transform that spawned workers can import."""
    return path, int(data)


@pytest.fixture
def numbers(container: Container, tmp_path: Path) -> Container:
    """A branch `numbers` of a thousand files that hold their numbers, and some others."""
    files = {f"train/{number % 7}/{number}.txt": b"%d" % number for number in range(1000)}
    made = write_tree(tmp_path / "numbers", {**files, "labels.csv": b"", "test/1.txt": b"1"})
    (made / "train" / "link.txt").symlink_to("1/1.txt")
    (made / "train" / "out.txt").symlink_to("/etc/passwd")
    (made / "train" / "broken.txt").symlink_to("nowhere")
    container.snapshots.save("numbers", made)
    return container


def _open(container: Container, pattern: str = "train/*/*.txt", **named: Any) -> Any:
    return SnapshotDataset(container.path, "numbers", pattern, **named)


# --- data sets --------------------------------------------------------------------------------------------------------


def test_a_data_set_has_the_files_that_match(numbers: Container) -> None:
    dataset = _open(numbers)
    assert len(dataset) == 1000
    assert dataset[-1] == dataset[999]
    paths = [dataset.path(index) for index in range(1000)]
    assert paths == [entry.path for entry in numbers.snapshots["numbers"].walk("train") if entry.is_file]
    assert all(dataset[index] == FileSample(path, Path(path).stem.encode()) for index, path in enumerate(paths[:50]))
    assert dataset.key(3) == (numbers.snapshots["numbers"] / dataset.path(3)).key
    with pytest.raises(IndexError):
        dataset[1000]


def test_patterns_are_those_of_paths(numbers: Container) -> None:
    for pattern in ("**/*", "train/**", "*/1.txt", "train/[12]/*", "labels.csv", "absent/*"):
        files = [path.path for path in numbers.snapshots["numbers"].root.glob(pattern) if path.is_file()]
        dataset = _open(numbers, pattern)
        assert [dataset.path(index) for index in range(len(dataset))] == files
    with pytest.raises(InvalidOption):
        _open(numbers, "")


def test_a_link_to_a_file_is_a_file(numbers: Container) -> None:
    assert [_open(numbers, "train/*.txt")[0]] == [FileSample("train/link.txt", b"1")]


def test_a_data_set_stays_at_its_version(numbers: Container) -> None:
    dataset = _open(numbers, "test/*")
    with numbers.snapshots.edit("numbers") as draft:
        draft["test/1.txt"] = b"2"
    assert dataset[0].data == pickle.loads(pickle.dumps(dataset))[0].data == b"1"
    assert dataset.snapshot_key == numbers.snapshots["numbers@1"].key


def test_names_are_kept_as_they_are(container: Container) -> None:
    with container.snapshots.edit("odd") as draft:
        draft["na me\udcff é.txt"] = b"odd"
    dataset = SnapshotDataset(container.path, "odd")
    assert dataset[0] == FileSample("na me\udcff é.txt", b"odd")


def test_a_batch_is_one_bulk_read_in_the_order_asked_for(numbers: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = _open(numbers, transform=_numbers)
    calls: list[list[str]] = []
    real = dataset.container.extract_many

    def counted(keys: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        calls.append(list(keys))
        found: Iterator[tuple[str, bytes]] = real(calls[-1])
        return found

    monkeypatch.setattr(dataset.container, "extract_many", counted)
    indices = [5, 900, 5, 17, 0]
    assert dataset.__getitems__(indices) == [dataset[index] for index in indices]
    assert len(calls) == 1
    assert [len(batch[0]) for batch in DataLoader(dataset, batch_size=400)] == [400, 400, 200]
    assert len(calls) == 4


def test_the_names_and_keys_are_flat_buffers(numbers: Container) -> None:
    """No list and no tuple of the size of the data set: its references would be counted, and its pages copied."""
    dataset = _open(numbers)
    sizes = {name: len(value) for name, value in vars(dataset).items() if hasattr(value, "__len__")}
    assert sizes["_keys"] == 32_000
    assert not any(isinstance(value, list | tuple | dict | set) for value in vars(dataset).values())
    assert len(pickle.dumps(dataset)) < 1000 * (32 + 8 + 25) + 1000


# --- loaders ----------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("how", ["fork", "spawn", None])
def test_a_loader_yields_every_file_once(numbers: Container, how: str | None) -> None:
    dataset = _open(numbers, transform=_numbers)
    dataset[0]  # The container is open, with all its descriptors, when its process forks.
    workers = 0 if how is None else 2
    loader = DataLoader(
        dataset, batch_size=64, num_workers=workers, multiprocessing_context=how, sampler=PackLocalSampler(dataset)
    )
    for _ in range(2):
        read = [item for paths, values in loader for item in zip(paths, values.tolist(), strict=True)]
        assert sorted(number for _, number in read) == list(range(1000))
        assert all(int(Path(path).stem) == number for path, number in read)


def test_samples_are_collated_as_tuples_with_names(numbers: Container) -> None:
    (batch,) = DataLoader(_open(numbers, "train/1/[18].txt"), batch_size=2)
    assert list(batch.path) == ["train/1/1.txt", "train/1/8.txt"]
    assert list(batch.data) == [b"1", b"8"]


# --- samplers ---------------------------------------------------------------------------------------------------------


def test_the_storage_order_is_that_of_the_packs(numbers: Container) -> None:
    dataset = _open(numbers)
    order = list(dataset.storage_order())
    assert sorted(order) == list(range(1000))
    extents = [numbers.meta(dataset.key(index)).extent for index in order]
    assert extents == sorted(extents)  # type: ignore[type-var]
    assert order != sorted(order)


def test_a_seed_gives_one_order_and_each_epoch_another(numbers: Container) -> None:
    dataset = _open(numbers)
    sampler, same = (PackLocalSampler(dataset, block=20, mix=4, seed=1) for _ in range(2))
    first, second = list(sampler), list(sampler)
    assert [list(same), list(same)] == [first, second]
    assert sorted(first) == sorted(second) == list(range(len(sampler)))
    assert first != second
    same.set_epoch(0)
    assert list(same) == first
    assert list(PackLocalSampler(dataset, block=20, mix=4, seed=2)) != first
    again = pickle.loads(pickle.dumps(sampler))
    assert list(again) == list(sampler)


def test_the_order_of_a_seed_is_the_same_on_every_machine(container: Container) -> None:
    """Objects that are stored by one thread have their places from the order of the insert."""
    with container.snapshots.edit("few") as draft:
        draft.write_many((f"{number}.txt", b"%d" % number) for number in range(10))
    dataset = SnapshotDataset(container.path, "few")
    assert list(PackLocalSampler(dataset, block=3, mix=2, seed=7)) == [7, 5, 8, 4, 6, 3, 1, 9, 0, 2]


def test_a_batch_is_drawn_from_few_places(numbers: Container) -> None:
    dataset = _open(numbers)
    rank = {index: place for place, index in enumerate(dataset.storage_order())}

    def blocks(sampler: Any) -> float:
        touched = [len({rank[index] // 20 for index in batch}) for batch in BatchSampler(sampler, 40, False)]
        return sum(touched) / len(touched)

    assert blocks(PackLocalSampler(dataset, block=20, mix=4, seed=1)) <= 8
    assert blocks(RandomSampler(dataset, generator=torch.Generator().manual_seed(1))) > 20


@pytest.mark.parametrize("wrong", [{"block": 0}, {"mix": 0}])
def test_blocks_have_files(numbers: Container, wrong: dict[str, int]) -> None:
    with pytest.raises(InvalidOption, match="1 or more"):
        PackLocalSampler(_open(numbers), **wrong)
