"""What does not fit into the memory, or the descriptors, that a process may have is not told as damaged.

`validate` said so of whole containers, and `repair index` then gave up all of their objects.
"""

from __future__ import annotations

import errno
import shutil
import sys
from pathlib import Path

import pytest

from rsdos import Container
from tests.helpers import run_python

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="by Linux's limits")

COUNT = 60_000

LITTLE_MEMORY = """
import resource, sys
from rsdos import Container

def do(container):
    {do}

def taken():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()

with Container(sys.argv[1]) as small:
    small.validate("full")
    do(small)  # All modules are loaded.
resource.setrlimit(resource.RLIMIT_AS, (taken() + (1 << 20), resource.RLIM_INFINITY))
try:
    with Container(sys.argv[2]) as large:
        print(do(large))
except MemoryError:
    print("no room")
except OSError as error:
    print("no room" if error.errno == {number} else repr(error))
"""

WAYS = {
    "validate": 'return "whole" if container.validate().is_good else "damaged"',
    "validate full": 'return "whole" if container.validate("full").is_good else "damaged"',
    "repair index": "return container.repair_index().lost",
    "repair objects": 'return container.repair_objects(unrepairable="quarantine").beyond_help',
    "delete": "return container.delete([next(iter(container))])",
    "insert": 'return container.insert_many([b"object 1"])',
}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A container whose index takes more than a MiB."""
    path = tmp_path_factory.mktemp("large") / "store"
    with Container.create(path) as container:
        container.insert_many(b"object %d" % number for number in range(COUNT))
    return path


@pytest.mark.parametrize("way", WAYS)
def test_an_index_that_does_not_fit_into_memory_is_not_damaged(way: str, large: Path, tmp_path: Path) -> None:
    shutil.copytree(large, tmp_path / "store")
    with Container.create(tmp_path / "small") as small:
        small.insert_many([b"object 1", b"object 2"])
    code = LITTLE_MEMORY.format(do=WAYS[way], number=errno.ENOMEM)
    assert run_python(code, tmp_path / "small", tmp_path / "store") == "no room\n"
    with Container(tmp_path / "store") as container:
        assert len(container) == COUNT
        assert container.validate("full").is_good


SHORT_FILES = """
import errno, os, resource, sys
from rsdos import Container, DamagedContainer

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
with Container(sys.argv[1]) as container:
    assert container.validate("full").is_good
    assert len(dict(container.extract_many(container))) == 20
    assert container.status().packed_objects == 20
    try:
        container.insert_many([os.urandom(100_000)])
    except DamagedContainer as error:
        print(error)
    except OSError as error:
        print(errno.errorcode[error.errno])
"""


@pytest.mark.parametrize("limit", [0, 4096, 50_000])
@pytest.mark.parametrize("version", [1, 2])
def test_where_only_short_files_may_be_written_reading_goes_on_and_nothing_is_damaged(
    version: int, limit: int, tmp_path: Path
) -> None:
    """SQLite says "disk I/O error" then, which was told as damage."""
    with Container.create(tmp_path / "store", container_version=version) as container:
        container.insert_many(b"object %d" % number for number in range(20))
    assert run_python(SHORT_FILES, tmp_path / "store", limit) == "EFBIG\n"
    with Container(tmp_path / "store") as container:
        assert len(container) == 20
        assert container.validate("full").is_good
