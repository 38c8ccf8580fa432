"""Errors go to other processes as they are."""

from __future__ import annotations

import copy
import inspect
import multiprocessing
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from rsdos import Container, ObjectNotFound, errors
from rsdos.compat.disk_objectstore import exceptions
from tests.helpers import ABSENT

PARTS = {
    "key": ABSENT,
    "expected": "64 characters",
    "prefix": "abcdef",
    "path": Path("/some/where"),
    "number": 13,
    "reason": "for a reason",
    "advice": "do this",
    "offset": 7,
    "what": "a lock",
    "holder": "process 5",
    "name": "flowers",
    "snapshot": ABSENT,
    "directory": "/some/where",
    "conflicts": [(b"labels.csv", "modified since")],
    "lost": (b"a", b"b"),
    "action": "s3:PutObject",
}
"""What the constructors ask for, by the names of their parameters."""

NAMES = ("errno", "strerror", "filename", "filename2", *PARTS)


def classes() -> Iterator[type[Exception]]:
    for module in (errors, exceptions):
        for kind in vars(module).values():
            if inspect.isclass(kind) and issubclass(kind, Exception) and kind.__module__ == module.__name__:
                yield kind


def made(kind: type[Exception]) -> Exception:
    """One with all its parts, as its constructor takes them."""
    if "__init__" not in vars(kind):
        return kind("some text")
    names = list(inspect.signature(kind).parameters)
    return kind(*(PARTS[name] for name in names))


def again(kind: str) -> Callable[[Exception], Exception]:
    if kind == "copy":
        return copy.copy
    if kind == "deepcopy":
        return copy.deepcopy
    return lambda error: pickle.loads(pickle.dumps(error, int(kind)))


@pytest.mark.parametrize("way", ["2", "3", "4", "5", "copy", "deepcopy"])
@pytest.mark.parametrize("kind", list(classes()), ids=lambda kind: kind.__name__)
def test_every_error_survives_a_pickle_and_a_copy(kind: type[Exception], way: str) -> None:
    error = made(kind)
    if isinstance(error, errors.RsdosError) and isinstance(error, OSError):
        error.filename = "/a/file"
    error.add_note("a note")
    other = again(way)(error)
    assert type(other) is kind
    assert (str(other), other.args, repr(other)) == (str(error), error.args, repr(error))
    for name in NAMES:
        assert getattr(other, name, None) == getattr(error, name, None), name
    assert other.__notes__ == ["a note"]


def extract(path: str) -> bytes:
    return Container(path).extract(ABSENT)


def test_an_error_arrives_from_a_pool_of_processes(container: Container) -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        raised = executor.submit(extract, str(container.path)).exception()
    assert isinstance(raised, ObjectNotFound)
    assert raised.key == ABSENT
    with context.Pool(1) as pool:
        answer = pool.apply_async(extract, (str(container.path / "nowhere"),))
        with pytest.raises(errors.NotAContainer, match="not a container"):
            answer.get()


def test_the_reason_of_a_damaged_file_is_its_message_without_the_path() -> None:
    error = errors.DamagedContainer("/backups: old/packed/1.pack", "no footer", 64)
    assert error.reason == "damaged at byte 64: no footer"
    assert str(error) == f"/backups: old/packed/1.pack: {error.reason}"
    assert pickle.loads(pickle.dumps(error)).reason == error.reason
