"""The golden trees and documents: what was once written is read forever, and has the same key forever."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from rsdos.trees.check import canonical_root
from rsdos.trees.documents import is_record, is_refs
from rsdos.trees.entry import Attributes, EntryKind, TreeEntry
from rsdos.trees.page import decode_page
from rsdos.trees.record import decode_record, encode_record
from rsdos.trees.refs_document import decode_refs, encode_refs
from tests.helpers import ROOT, child_environment
from tests.unit.trees.cases import Pages, build, entries_of
from tests.unit.trees.reference import pages_of

GOLDEN = ROOT / "tests" / "golden" / "trees"
NAMES = sorted(path.stem for path in GOLDEN.glob("*.zip"))


def test_there_are_golden_trees() -> None:
    assert {"empty", "small-both", "levels", "full-leaves", "deep"} <= set(NAMES)


def stored(name: str) -> Pages:
    pages = Pages()
    with zipfile.ZipFile(GOLDEN / f"{name}.zip") as archive:
        for key in archive.namelist():
            pages.put(bytes.fromhex(key), archive.read(key))
    return pages


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_tree_is_read_and_built_as_it_always_was(name: str) -> None:
    expected = json.loads((GOLDEN / f"{name}.json").read_text())
    attributes = Attributes(expected["attributes"])
    entries = []
    for text, number, size, target, mtime, mode in expected["rows"]:
        path, kind = text.encode("latin-1"), EntryKind(number)
        key = sha256(path).digest() if kind.is_file else b""
        entry = TreeEntry(path, kind, size, key, target.encode("latin-1"))
        if attributes & Attributes.TIMES:
            entry = entry._replace(mtime=mtime)
        entries.append(entry._replace(mode=mode) if attributes & Attributes.MODES else entry)
    pages = stored(name)
    tree = pages.tree(bytes.fromhex(expected["root"]))
    assert entries_of(tree) == entries
    root, built = build(entries, attributes)
    assert (root.key, built.data) == (tree.root, pages.data) == pages_of(entries, attributes)
    assert [root.entries, root.files, root.size] == [expected[member] for member in ("entries", "files", "size")]
    assert canonical_root(tree) == root


def test_the_golden_trees_have_pages_of_every_level_that_names_can_end() -> None:
    assert {decode_page(page).level for page in stored("levels").data.values()} >= {0, 1, 2, 3}


def test_golden_documents_are_read_and_written_as_they_always_were() -> None:
    found = json.loads((GOLDEN / "documents.json").read_text())
    kinds = []
    for key, text in found.items():
        data = text.encode()
        assert sha256(data).hexdigest() == key
        kinds.append((is_record(data), is_refs(data)))
        if is_record(data):
            assert encode_record(decode_record(data)) == data
        else:
            assert encode_refs(decode_refs(data)) == data
    assert kinds.count((True, False)) >= 2 and kinds.count((False, True)) >= 5


def test_a_golden_tree_that_is_there_is_never_written_again(tmp_path: Path) -> None:
    for path in GOLDEN.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "deep.zip").unlink()
    (tmp_path / "empty.zip").write_bytes(b"the old one")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    subprocess.run([sys.executable, str(tmp_path / "make.py")], check=True, env=child_environment())
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert after.keys() - before.keys() == {"deep.zip"}
    assert {name: after[name] for name in before} == before
    with zipfile.ZipFile(tmp_path / "deep.zip") as made, zipfile.ZipFile(GOLDEN / "deep.zip") as old:
        assert made.namelist() == old.namelist()
