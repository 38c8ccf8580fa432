"""A container that holds a dataset, under the rig of damage: every file of every version is read by its path, too."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rsdos import Container, DamagedObject, DamagedTree, NotAContainer, RefNotFound
from tests.crash.ours import Ours, Reader
from tests.data import key_of, noise, text

FIRST = {"a.txt": noise(60, 1), "sub/b": text(700, 2), "sub/deep/c": noise(90, 3), "d": noise(80, 4)}
SECOND = FIRST | {"a.txt": noise(70, 5), "sub/new": noise(50, 6)}
VERSIONS = {"flowers@1": FIRST, "flowers@2": SECOND}


class SnapshotReader(Reader):
    """Reads objects by key and by every path of every version."""

    def ways(self, key: str) -> Iterator[tuple[str, Callable[[], bytes | None]]]:
        yield from super().ways(key)
        for version, files in VERSIONS.items():
            for path, data in files.items():
                if key_of(data) == key:
                    yield f"{version}:{path}", partial(self._by_path, version, path, key)
        yield "checkout", partial(self._by_checkout, key)

    def _by_path(self, version: str, path: str, key: str) -> bytes | None:
        try:
            return self.container.snapshots[version].path(path).read_bytes()
        except DamagedTree as error:
            # It names the page, the snapshot or the document, and the rig asks for the object.
            raise DamagedObject(key, str(error)) from error
        except NotAContainer:
            raise
        except (FileNotFoundError, RefNotFound):
            return None

    def _by_checkout(self, key: str) -> bytes | None:
        """Check both versions out as far as they can be. What is written is right, and what is not is named."""
        for version, files in VERSIONS.items():
            place = self.container.path.with_name("checked-out")
            shutil.rmtree(place, ignore_errors=True)
            try:
                report = self.container.snapshots.checkout(version, place, keep_going=True)
            except DamagedTree as error:
                raise DamagedObject(key, str(error)) from error
            except RefNotFound:
                return None
            failed = {failure.path for failure in report.failed}
            written = {str(path.relative_to(place)): path for path in place.rglob("*") if path.is_file()}
            for path, file in written.items():
                assert file.read_bytes() == files[path], f"{version}:{path} was checked out wrong"
            lost = files.keys() - written.keys() - {path.decode() for path in failed}
            assert not lost or any(failed), f"{version}: {lost} are neither written nor named"
            for path, data in files.items():
                if key_of(data) == key:
                    if path not in written:
                        raise DamagedObject(key, f"{version}:{path} was not checked out")
                    return data
        return None


class WithSnapshots(Ours):
    """Version 2, with two versions of a directory, a tag, and objects that were inserted by key as well."""

    @contextmanager
    def look(self, path: Path) -> Iterator[SnapshotReader]:
        with Container(path) as container:
            yield SnapshotReader(container)

    def begin_damage(self, path: Path) -> Mapping[str, bytes]:
        work = path.with_name(f"work of {path.name}")
        with Container.create(path) as container:
            container.insert_many([FIRST["sub/b"]])
            for files in VERSIONS.values():
                for name, data in files.items():
                    (work / name).parent.mkdir(parents=True, exist_ok=True)
                    (work / name).write_bytes(data)
                container.snapshots.save("flowers", work)
            container.snapshots.tag("v1", "flowers@1")
        (path / "locks" / "reserve").unlink(missing_ok=True)
        shutil.rmtree(path / "checkouts", ignore_errors=True)
        return {key_of(data): data for files in VERSIONS.values() for data in files.values()}

    def is_root(self, name: str) -> bool:
        """Without the newest manifest the refs are those of the one before, which may have none."""
        return re.search(r"manifest-\d+|locks/commit", name) is not None


SUBJECT = WithSnapshots()
