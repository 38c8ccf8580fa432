"""The door to torch: the files of a snapshot as a data set, and a sampler that reads them in nearly their order."""

from __future__ import annotations

import os
import random
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from rsdos.container import Container
from rsdos.errors import InvalidOption
from rsdos.ingest.patterns import expression
from rsdos.integrations.extras import missing_extra
from rsdos.model import DIGEST_BYTES
from rsdos.trees.entry import EntryKind

try:
    from torch.utils.data import Dataset, Sampler
except ImportError:
    raise missing_extra("torch", "torch") from None

if TYPE_CHECKING:
    from rsdos.facade.snapshot import Snapshot


class FileSample(NamedTuple):
    """One file of a data set."""

    path: str
    data: bytes


class SnapshotDataset(Dataset):
    """The files of a snapshot that match a pattern, in the order of the tree. It never changes, and can be pickled.

    An item is a `FileSample`, or what ``transform`` makes of path and bytes. A `torch.utils.data.DataLoader` reads
    each of its batches with one bulk read, verified. Names and keys are in three flat buffers, 40 bytes and the path
    for each file: forked workers share them, while the reference counts of a list of a million strings would copy it
    into each worker. Workers may be forked or spawned, or be threads; see docs/integrations.md for object storage.

    Reads may raise `DamagedObject` and, after a forget and a gc by another process, `ObjectNotFound`.

    Examples:
        >>> train = SnapshotDataset("/data/store", "flowers@3", "train/**/*.jpg", transform=decode)
        >>> loader = DataLoader(train, batch_size=64, num_workers=4, sampler=PackLocalSampler(train, seed=1))
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        ref: str,
        pattern: str = "**/*",
        *,
        transform: Callable[[str, bytes], Any] | None = None,
        **options: Any,
    ) -> None:
        """Read the names and keys of the files.

        Args:
            path: the container's directory or URL.
            ref: the snapshot, as for `rsdos.Container.snapshots`.
            pattern: the paths to take, from the root: ``*``, ``?`` and ``[a-z]`` match any characters but the slash,
                ``**`` as a part any directories. Links to files inside of the snapshot are files.
            transform: makes an item from path and bytes, in the worker. It has to be picklable for spawned workers.
            options: those of `rsdos.Container`: ``endpoint``, ``cache`` and others. Never credentials: workers have
                their own, from the environment.

        Raises:
            RefNotFound: there is no such snapshot.
            InvalidOption: the pattern is empty, or an option is none of a URL.
        """
        if not pattern.strip("/"):
            raise InvalidOption("an empty pattern matches no file: **/* matches all")
        self.container = Container(path, **options)
        snapshot = self.container.snapshots[ref]
        self.snapshot_key = snapshot.key
        """The key of the snapshot, to be noted beside a model that was trained with it."""
        self.transform = transform
        self._keys, self._paths, self._ends = _columns(snapshot, pattern)

    def __len__(self) -> int:
        return len(self._ends)

    def path(self, index: int) -> str:
        """Return the path of a file."""
        at = self._position(index)
        return os.fsdecode(self._paths[self._ends[at - 1] if at else 0 : self._ends[at]])

    def key(self, index: int) -> str:
        """Return the key of a file's object."""
        at = self._position(index)
        return self._keys[at * DIGEST_BYTES : (at + 1) * DIGEST_BYTES].hex()

    def _position(self, index: int) -> int:
        at = index + len(self) if index < 0 else index
        if not 0 <= at < len(self):
            raise IndexError(f"there are {len(self)} files, and no number {index}")
        return at

    def __getitem__(self, index: int) -> Any:
        """Return one item, by a read of its own."""
        return self._item(index, self.container.extract(self.key(index)))

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Return the items of a batch in the order asked for, by one bulk read. A `DataLoader` calls this."""
        wanted: dict[str, list[int]] = {}
        for place, index in enumerate(indices):
            wanted.setdefault(self.key(index), []).append(place)
        items: list[Any] = [None] * len(indices)
        for key, data in self.container.extract_many(wanted):
            for place in wanted[key]:
                items[place] = self._item(indices[place], data)
        return items

    def _item(self, index: int, data: bytes) -> Any:
        path = self.path(index)
        return FileSample(path, data) if self.transform is None else self.transform(path, data)

    def storage_order(self) -> array[int]:
        """Return the numbers of all files in the order of their objects in the packs, the fastest order to read."""
        digests = [self._keys[at : at + DIGEST_BYTES] for at in range(0, len(self._keys), DIGEST_BYTES)]
        return array("Q", self.container.engine.packed.storage_order(digests))


class PackLocalSampler(Sampler):
    """A shuffled order of a `SnapshotDataset` in which files that are read together are neighbours in the packs.

    A wholly random order reads one place of the disk for each file. Here the storage order is cut into blocks of
    neighbours, the blocks are shuffled, and then the files of ``mix`` blocks with one another, so that a batch is drawn
    from ``mix`` random places. Each epoch has another order. The same seed and epoch always give the same order.

    Examples:
        >>> sampler = PackLocalSampler(dataset, seed=1)
    """

    def __init__(self, dataset: SnapshotDataset, *, block: int = 256, mix: int = 16, seed: int = 0) -> None:
        """Look up the places of all files.

        Args:
            dataset: the data set.
            block: files that are neighbours in the packs and stay together when blocks are shuffled.
            mix: blocks whose files are shuffled with one another.
            seed: another seed gives other orders.

        Raises:
            InvalidOption: ``block`` or ``mix`` is less than 1.
        """
        if block < 1 or mix < 1:
            raise InvalidOption(f"block and mix are 1 or more, not {block} and {mix}")
        self._order = dataset.storage_order()
        self._block = block
        self._mix = mix
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the next epoch; each iteration is one. Call it to continue an interrupted run."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[int]:
        chance = random.Random(f"{self._seed} {self._epoch}")
        self._epoch += 1
        blocks = array("Q", range(0, len(self._order), self._block))
        chance.shuffle(blocks)
        for at in range(0, len(blocks), self._mix):
            mixed = [
                index for begin in blocks[at : at + self._mix] for index in self._order[begin : begin + self._block]
            ]
            chance.shuffle(mixed)
            yield from mixed


def _columns(snapshot: Snapshot, pattern: str) -> tuple[bytes, bytes, array[int]]:
    """Return the keys of all files that match, their paths, and where each path ends."""
    fits = expression("/" + pattern.strip("/")).fullmatch
    keys, paths, ends = bytearray(), bytearray(), array("Q")
    for listing in snapshot.columns():
        before = listing.directory + b"/" if listing.directory else b""
        for name, kind, key in zip(listing.names, listing.kinds, listing.keys, strict=True):
            path = before + name
            if kind == EntryKind.DIRECTORY or not fits(text := os.fsdecode(path)):
                continue
            if kind == EntryKind.LINK:
                target = snapshot.resolve(text)
                if target is None or not target.is_file:
                    continue
                key = bytes.fromhex(target.key)  # noqa: PLW2901
            keys += key
            paths += path
            ends.append(len(paths))
    return bytes(keys), bytes(paths), ends
