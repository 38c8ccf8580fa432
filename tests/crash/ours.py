"""Our own store under the rig."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rsdos import Container, ObjectNotFound, RsdosError
from rsdos.config import LEGACY
from tests.crash.operation import Operation
from tests.crash.operations import OPERATIONS
from tests.helpers import assert_no_leftovers, tree


class _Reader:
    def __init__(self, container: Container) -> None:
        self._container = container

    def read(self, key: str) -> bytes | None:
        try:
            return self._container.extract(key)
        except ObjectNotFound:
            return None

    def read_many(self, keys: list[str]) -> dict[str, bytes]:
        found = self._container.extract_many(keys, missing="skip")
        return {key: data for key, data in found if data is not None}

    def keys(self) -> list[str]:
        keys = list(self._container)
        assert len(keys) == len(set(keys)) == len(self._container), "a key is listed twice, or counted wrong"
        return keys


class Ours:
    """Both versions of container."""

    operations = OPERATIONS
    errors = (RsdosError, OSError)

    @contextmanager
    def look(self, path: Path) -> Iterator[_Reader]:
        with Container(path) as container:
            yield _Reader(container)

    def is_whole(self, path: Path) -> bool:
        return (path / "config.json").exists()

    def settle(self, operation: Operation, path: Path) -> None:
        """One more packing and commit, or for version 1 a repack, and no space is lost."""
        path = path / operation.target
        with Container(path) as container:
            container.pack_all_loose()
            (last,) = container.insert_many([b"one more commit"])
            is_legacy = container.config.version == LEGACY
            if is_legacy:
                container.clean_storage()
                container.repack(min_dead=0)
        with Container(path) as container:
            wanted = {**operation.wanted, last: b"one more commit"}
            assert dict(container.extract_many(wanted)) == wanted
            assert set(container) >= set(wanted)
        (_assert_no_legacy_leftovers if is_legacy else assert_no_leftovers)(path)
        names = tree(path)
        assert not [name for name in names if name.startswith("migration") or name.endswith((".new", ".clearing"))]

    def space(self, path: Path) -> dict[str, int]:
        return {name: length for name, length in tree(path).items() if not name.startswith(("locks/", "packs.idx"))}

    def assert_space_came_back(self, operation: Operation, path: Path, before: dict[str, int]) -> None:
        """But for whole objects: what failed then is the last sync, behind their publication."""
        if operation.resumes or not self.is_whole(path):
            return  # The next attempt goes on, or takes it for an empty directory.
        after = self.space(path)
        fresh = {name for name in after.keys() - before.keys() if not name.startswith("loose/")}
        if any(name.startswith("index/manifest-") for name in fresh):
            if operation.gone:
                # A repack that has committed leaves the old pack to the next maintenance.
                Container(path).clean_storage()
            assert_no_leftovers(path)
            return
        fresh -= {"config.json"}
        if any(name.startswith("packs/") for name in fresh):
            # A pack of a commit that may or may not have reached the disk stays until somebody looks.
            with Container(path) as container:
                container.clean_storage()
                fresh -= {f"packs/{pack.id}" for pack in container.engine.packed.sums().packs if pack.objects}
            fresh &= self.space(path).keys()
        assert not fresh, f"left behind: {fresh}"
        assert not [name for name in after if name.startswith("sandbox/")]

    def reads(self, path: Path, key: str) -> Mapping[str, object]:
        return {name: _answer(lambda read=read: read(path, key)) for name, read in _READS.items()}  # type: ignore[misc]


def _assert_no_legacy_leftovers(path: Path) -> None:
    with Container(path) as container:
        sums = container.engine.packed.sums()
        stored = {str(pack.id): pack.stored for pack in sums.packs if pack.length}
    assert tree(path / "sandbox") == {} and tree(path / "duplicates") == {}
    there = tree(path / "packs")
    assert there == stored, f"in packs/ there are {there}, and rows lead to {stored}"
    assert not (path / "packed").exists() and not (path / "index").exists()


def _answer(read: Callable[[], object]) -> object:
    try:
        return read()
    except ObjectNotFound:
        return None
    except BaseException as error:  # noqa: BLE001  what it is, is for the caller to judge
        return error


def _extract(path: Path, key: str) -> object:
    with Container(path) as container:
        return container.extract(key)


def _extract_many(path: Path, key: str) -> object:
    with Container(path) as container:
        return dict(container.extract_many([key], missing="none"))[key]


def _stream(path: Path, key: str) -> object:
    with Container(path) as container, container.open(key) as stream:
        return stream.read()


_READS: Mapping[str, Callable[[Path, str], object]] = {
    "extract": _extract,
    "extract_many": _extract_many,
    "open": _stream,
}

SUBJECT = Ours()
