"""``--dask``: the work of a command is done by the workers of a Dask cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from rsdos.errors import InvalidOption

if TYPE_CHECKING:
    from rsdos.engine.workers import Jobs

dask_option = click.option(
    "--dask",
    "scheduler",
    metavar="ADDRESS",
    help="Let the workers of this Dask scheduler do the work (tcp://host:8786). They see the same files and the same "
    "container, and have this release of rsdos.",
)


@contextmanager
def workers_of(scheduler: str | None, jobs: int | None) -> Iterator[Jobs]:
    """Yield the jobs; or the executor of a Dask scheduler, if there is the address of one."""
    if scheduler is None:
        yield jobs
        return
    try:
        from rsdos.integrations.dask_executor import dask_executor
    except ImportError as error:
        raise InvalidOption(str(error)) from None
    with dask_executor(scheduler) as executor:
        yield executor
