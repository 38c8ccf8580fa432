"""The workers of a Dask cluster as an executor: ``jobs=`` of `rsdos.Container.add_tree`, `validate` and `repack`."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from importlib.metadata import version

from rsdos.errors import InvalidOption
from rsdos.integrations.extras import missing_extra
from rsdos.version import __version__

try:
    from distributed import Client
except ImportError:
    raise missing_extra("dask", "distributed") from None


@contextmanager
def dask_executor(address: str) -> Iterator[Executor]:
    """Yield an executor whose work is done by the workers of a scheduler.

    If a worker dies, another one does its work.

    Args:
        address: the address of the scheduler, "tcp://host:8786".

    Raises:
        InvalidOption: there are no workers, or one has no rsdos, or another release.
        OSError: the scheduler does not answer.
    """
    with Client(address) as client:
        _check_releases(client.run(version, "rsdos", on_error="return"))
        yield client.get_executor()


def _check_releases(found: dict[str, object]) -> None:
    """Raise `InvalidOption` unless each worker has this release."""
    if not found:
        raise InvalidOption("the scheduler has no workers")
    for worker, release in found.items():
        if isinstance(release, Exception):
            raise InvalidOption(f"{worker} has no rsdos: {release}")
        if release != __version__:
            raise InvalidOption(f"{worker} has rsdos {release}, and this is {__version__}")
