"""Shows: the workers of a Dask cluster store the files of a directory in one container, all at the same time.
Needs: pip install 'rsdos[dask]'; on several machines a file system that all of them see, or a container at a URL.
Run:   python dask_ingest.py CONTAINER DIRECTORY [SCHEDULER]    (without a scheduler two workers are started here)
"""

import sys
from contextlib import ExitStack

from distributed import LocalCluster

from rsdos import Container, ContainerExists
from rsdos.ingest.files import StoredFile
from rsdos.integrations.dask_executor import dask_executor


def main() -> None:
    place, directory, *scheduler = sys.argv[1:]
    try:
        container = Container.create(place)
    except ContainerExists:
        container = Container(place)
    with ExitStack() as stack:
        address = scheduler[0] if scheduler else start_workers(stack)
        files: list[StoredFile] = []
        executor = stack.enter_context(dask_executor(address))
        # Names are not stored: `tell` gets the path and the key of each file, when the file is durable.
        report = container.add_tree(directory, jobs=executor, tell=files.extend)
        print(f"{report.files} files, {report.size} bytes, {len({file.key for file in files})} objects")
        for refused in report.refused:
            print("not stored:", refused.path, refused.reason, file=sys.stderr)
        print("good" if container.validate("full", jobs=executor).is_good else "damaged")
    container.close()


def start_workers(stack: ExitStack) -> str:
    """Start two workers on this machine, and return the address of their scheduler."""
    workers = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    return str(stack.enter_context(workers).scheduler_address)


if __name__ == "__main__":  # The workers import this file.
    main()
