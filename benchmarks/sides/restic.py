"""restic: a backup program that deduplicates and compresses. It takes files, and is here where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.sides.side import Side

_FILES_PER_DIRECTORY = 256


class Restic(Side):
    """A repository with one snapshot; encrypted, as all of its repositories are."""

    title = "restic"
    syncs = "always"

    @classmethod
    def is_available(cls) -> bool:
        return shutil.which("restic") is not None

    @property
    def _files(self) -> Path:
        return self.path.with_name(self.path.name + "-files")

    def _restic(self, *arguments: str) -> None:
        environment = {**os.environ, "RESTIC_PASSWORD": "benchmarks"}
        command = ("restic", "--quiet", "--no-cache", "--repo", str(self.path), *arguments)
        subprocess.run(command, check=True, env=environment, cwd=self.path.parent, stdout=subprocess.DEVNULL)

    def create(self, pack_size: int | None = None) -> None:
        self._restic("init")

    def stage(self, payloads: Sequence[bytes]) -> None:
        for number, payload in enumerate(payloads):
            directory = self._files / f"{number // _FILES_PER_DIRECTORY:04}"
            directory.mkdir(parents=True, exist_ok=True)
            (directory / str(number)).write_bytes(payload)

    def store(self, payloads: Sequence[bytes]) -> list[str]:
        self._restic("backup", self._files.name)
        return []

    def close(self) -> None:
        shutil.rmtree(self._files, ignore_errors=True)
