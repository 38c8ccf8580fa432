"""git: ``fast-import``, ``cat-file --batch`` and ``add``."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.sides.side import Side


class Git(Side):
    """A bare repository; its keys are git's own."""

    title = "git"
    syncs = "packs when they are finished, loose objects never, whatever is asked"
    _reader: subprocess.Popen[bytes] | None = None

    def create(self, pack_size: int | None = None) -> None:
        subprocess.run(("git", "init", "--quiet", "--bare", self.path), check=True)

    def open(self) -> None:
        pass

    def _git(self, *arguments: str | Path) -> tuple[str | Path, ...]:
        return ("git", f"--git-dir={self.path}", *arguments)

    def insert_packed(self, payloads: Sequence[bytes], compress: bool) -> list[str]:
        level = "1" if compress else "0"
        command = self._git("-c", f"pack.compression={level}", "-c", f"core.compression={level}", "fast-import")
        marks = self.path / "marks"
        parts: list[bytes] = []
        for number, payload in enumerate(payloads, 1):
            parts += (b"blob\nmark :%d\ndata %d\n" % (number, len(payload)), payload, b"\n")
        subprocess.run((*command, "--quiet", "--depth=0", f"--export-marks={marks}"), input=b"".join(parts), check=True)
        lines = (line.split() for line in marks.read_text().splitlines())
        found = {int(mark[1:]): key for mark, key in lines}
        return [found[number] for number in range(1, len(payloads) + 1)]

    def insert_files(self, places: Sequence[Path], jobs: int, compress: bool) -> None:
        level = "1" if compress else "0"
        for number, place in enumerate(places):
            environment = {**os.environ, "GIT_INDEX_FILE": str(self.path / f"index-{number}")}
            command = self._git(f"--work-tree={place}", "-c", f"core.compression={level}", "add", "--force", ".")
            subprocess.run(command, check=True, env=environment, cwd=place, stderr=subprocess.DEVNULL)

    def store(self, payloads: Sequence[bytes]) -> list[str]:
        self._keys = self.insert_packed(payloads, compress=True)
        return self._keys

    def shrink(self) -> None:
        # `git gc` keeps what a reference leads to, and nothing refers to these blobs: the same packing, of named ones.
        (self.path / "marks").unlink()
        packs = self.path / "objects" / "pack"
        asked = "\n".join(dict.fromkeys(self._keys)).encode() + b"\n"
        command = self._git("pack-objects", "--quiet", "--window=10", "--depth=50", "--no-reuse-delta", packs / "pack")
        done = subprocess.run(command, input=asked, check=True, stdout=subprocess.PIPE)
        # A pack of the same objects can come out as it was (pictures gain nothing), under the name that it had.
        made = f"pack-{done.stdout.decode().strip()}"
        for file in packs.iterdir():
            if file.stem != made:
                file.unlink()

    def extract(self, key: str) -> bytes:
        if self._reader is None:
            command = self._git("cat-file", "--batch")
            self._reader = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        asked, answers = self._reader.stdin, self._reader.stdout
        assert asked and answers
        asked.write(key.encode() + b"\n")
        asked.flush()
        size = int(answers.readline().split()[2])
        return answers.read(size + 1)[:-1]

    def close(self) -> None:
        if self._reader is not None:
            self._reader.communicate()
            self._reader = None

    def extract_many(self, keys: Sequence[str]) -> Iterator[bytes]:
        asked = "\n".join(keys).encode() + b"\n"
        done = subprocess.run(self._git("cat-file", "--batch"), input=asked, check=True, capture_output=True).stdout
        at = 0
        for _ in keys:
            end = done.index(b"\n", at)
            size = int(done[at:end].split()[2])
            yield done[end + 1 : end + 1 + size]
            at = end + 2 + size

    def has_many(self, keys: Sequence[str]) -> int:
        asked = "\n".join(keys).encode() + b"\n"
        command = self._git("cat-file", "--batch-check=%(objectname)")
        done = subprocess.run(command, input=asked, check=True, capture_output=True).stdout
        return len(keys) - done.count(b" missing\n")
