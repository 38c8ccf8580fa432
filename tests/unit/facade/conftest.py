"""A container with a branch of snapshots, made by drafts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rsdos import Container

FILES = {
    "labels.csv": b"rose,1\n",
    "train/rose/1.jpg": b"a rose",
    "train/rose/2.jpg": b"another rose",
    "train/tulip/1.jpg": b"a tulip",
    "train/tulip/copy.jpg": b"a rose",
}


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    with Container.create(tmp_path / "container") as container:
        with container.snapshots.edit("flowers") as draft:
            draft.write_many(FILES.items())
            draft.make_directory("empty")
            draft.link("latest", "train/rose")
            draft.link("train/up", "../labels.csv")
            draft.link("out", "../outside")
            draft.link("absolute", "/etc/passwd")
            draft.link("circle", "circle")
            draft.message, draft.author, draft.metadata = "first delivery", "me", {"licence": "CC0"}
        yield container
