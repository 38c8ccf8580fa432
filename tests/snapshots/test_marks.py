"""What live snapshots reach, as numbers and as bits of the index: a delete asks for it."""

from __future__ import annotations

import numpy as np
import pytest

from rsdos import Container
from rsdos.engine.publish import newest_refs
from rsdos.index import key_marks
from rsdos.index.digests import PREFIX
from rsdos.maintenance import marks
from rsdos.maintenance.marks import Marks, ReachedKeys
from tests.data import key_of
from tests.snapshots.saving import pages_of, save
from tests.snapshots.test_gc import collect, copies_of, delete_keys, forget_named
from tests.snapshots.test_publish import FILES, assert_whole

OTHER = {"other": b"other", "a.txt": b"not that of flowers"}


def digests_of(*payloads: bytes) -> list[bytes]:
    return [bytes.fromhex(key_of(data)) for data in payloads]


def prefixes(digests: list[bytes]) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.sort(np.array([int.from_bytes(digest[:8], "big") for digest in digests], PREFIX))


@pytest.fixture(params=[0, 2, 1 << 22], ids=["bits", "bits at the second batch", "numbers"])
def most_numbers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Up to how many keys are kept as numbers. A batch has two."""
    monkeypatch.setattr(marks, "_MOST_NUMBERS", request.param)
    monkeypatch.setattr(key_marks, "_TOGETHER", 2)
    return int(request.param)


@pytest.mark.usefixtures("most_numbers")
def test_files_pages_and_snapshots_are_reached_and_nothing_else_is(store: Container) -> None:
    store.insert_many([b"by key", OTHER["other"]])
    snapshot = save(store.engine, "flowers", FILES)
    save(store.engine, "trees", OTHER)
    forget_named(store, "trees")
    reached = ReachedKeys(store.engine)
    Marks(store.engine, reached.mark).add(newest_refs(store.engine))
    inside = [*digests_of(*FILES.values(), *pages_of(FILES)[1]), bytes.fromhex(snapshot)]
    outside = digests_of(b"by key", *OTHER.values(), *pages_of(OTHER)[1], b"never there")
    assert reached.among([*outside, *inside, *outside]) == inside
    assert reached.among([]) == []


@pytest.mark.usefixtures("most_numbers")
def test_a_key_that_the_index_does_not_have_is_reached_all_the_same(store: Container) -> None:
    """Its pack may be lost, or with the remote of a lazy clone: a loose file may be the only copy."""
    store.insert_many([b"one", b"two"])
    digests = digests_of(b"one", b"two", b"three", b"four", b"five")
    reached = ReachedKeys(store.engine)
    for some in ([digests[0], digests[2]], digests[3:4]):
        reached.mark(prefixes(some))
    store.insert_many([b"three", b"five"])  # Later than the marks.
    assert reached.among(digests) == [digests[0], *digests[2:4]]


@pytest.mark.usefixtures("most_numbers")
def test_a_delete_keeps_what_snapshots_need_however_the_keys_are_marked(store: Container) -> None:
    store.insert_many([*FILES.values(), b"mine"])
    save(store.engine, "trees", OTHER)
    snapshot = save(store.engine, "flowers", FILES)
    report = delete_keys(store, *FILES.values(), b"mine")
    assert (report.deleted, report.held) == (len(FILES) + 1, len(FILES))
    assert_whole(store, snapshot, FILES)


def test_gc_marks_in_batches(store: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_marks, "_TOGETHER", 2)
    snapshot = save(store.engine, "flowers", FILES)
    save(store.engine, "trees", OTHER)
    forget_named(store, "trees")
    report = collect(store)
    assert (report.objects, report.pages) == (len(OTHER), 1 + len(pages_of(OTHER)[1]))
    assert_whole(store, snapshot, FILES)
    assert copies_of(store, OTHER["other"]) == []


def test_the_number_of_what_is_kept_counts_an_object_once(store: Container) -> None:
    """A file may be in many directories."""
    save(store.engine, "flowers", {"a": b"same", "b": b"same", "c/d": b"same"})
    # The file, the page, the snapshot and the refs document.
    assert collect(store).live == 4
