"""Shows: a service that optimizes, validates and backs up a container, and tells Prometheus the outcome.
Needs: pip install rsdos; for the figures node_exporter with --collector.textfile.directory.
Run:   python maintain.py CONTAINER BACKUPS [--metrics FILE.prom] [--every HOURS]    (without --every once, for a timer)
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from rsdos import Busy, Container, RsdosError


def maintain(container: Container, backups: Path, full: bool) -> Iterator[tuple[str, float]]:
    """Do the work of a night, and yield each step with its seconds. Readers and writers are not blocked."""
    yield "optimize", container.optimize().seconds  # packs loose objects, gives back the space of deleted ones

    # "quick" checks stored bytes. "full" also decodes and hashes every object: once a week.
    checked = container.validate("full" if full else "quick")
    yield "validate", checked.seconds

    # Unchanged files are linked, not copied: thirty backups cost little more than one. Of a damaged container none is
    # made: it would push out a good one.
    if checked.is_good:
        yield "backup", container.backup(backups, keep=30).seconds


def write_metrics(path: Path, container: Path, seconds: dict[str, float]) -> None:
    """Write what `rsdos status` tells Prometheus, and how long the steps took. node_exporter reads the file at any
    moment: it is written as a whole."""
    command = [sys.executable, "-m", "rsdos", "-p", str(container), "status", "--format", "prometheus"]
    status = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True).stdout
    steps = "".join(f'rsdos_maintenance_seconds{{step="{step}"}} {value:.3f}\n' for step, value in seconds.items())
    unfinished = path.with_name(path.name + ".new")
    unfinished.write_text(f"{status}# TYPE rsdos_maintenance_seconds gauge\n{steps}")
    os.replace(unfinished, path)


def run(place: Path, backups: Path, metrics: Path | None) -> bool:
    """Run once; return whether everything is in order."""
    seconds: dict[str, float] = {}
    try:
        with Container(place) as container:
            seconds.update(maintain(container, backups, full=time.localtime().tm_wday == 6))
    except Busy as error:
        print(f"left for the next time: {error}", file=sys.stderr)
    except (RsdosError, OSError) as error:
        print(f"failed: {error}", file=sys.stderr)
    if metrics:
        write_metrics(metrics, place, seconds)
    print(", ".join(f"{step}: {value:.1f} s" for step, value in seconds.items()), flush=True)
    return "backup" in seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("container", type=Path)
    parser.add_argument("backups", type=Path)
    parser.add_argument("--metrics", type=Path)
    parser.add_argument("--every", type=float)
    options = parser.parse_args()
    while True:
        is_good = run(options.container, options.backups, options.metrics)
        if options.every is None:
            return 0 if is_good else 1
        time.sleep(options.every * 3600)


if __name__ == "__main__":
    sys.exit(main())
