"""``python3 -m tests.ceph start|env|stop [NAME]``: a Ceph for tests and trials, without any installation of rsdos.

`start` installs Debian's packages first where they are missing and it may, and prints lines for a shell; `env` prints
them again. `stop` removes all. One NAME is one Ceph.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.ceph.cluster import BUCKET, PACKAGES, missing
from tests.ceph.daemons import Failed, run
from tests.ceph.endpoint import Endpoint
from tests.ceph.keeper import ROOT, keep, running, start, stop

USUAL = "default"


def place_of(name: str) -> Path:
    """Return the file that tells of the Ceph with this name."""
    return ROOT / ".ceph" / f"{name}.json"


def install() -> None:
    """Install what is missing of Ceph, from Debian's packages. Raise `Failed` with what to do."""
    absent = missing()
    if not absent:
        return
    if os.geteuid() or not Path("/usr/bin/apt-get").exists():
        raise Failed(
            f"missing: {' '.join(absent)}. As root: apt-get install --no-install-recommends {' '.join(PACKAGES)}"
        )
    print(f"installing {' '.join(PACKAGES)}", file=sys.stderr)
    for command in (["update"], ["install", "-y", "--no-install-recommends", *PACKAGES]):
        run("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", *command)


def main(arguments: list[str]) -> int:
    """Run one command, and return its exit code."""
    match arguments:
        case ["keep", place, *bound]:
            keep(Path(place), int(bound[0]) if bound else None)
        case ["install"]:
            install()
        case ["start" | "env" | "stop" as verb, *names] if len(names) < 2:
            return _serve(verb, names[0] if names else USUAL)
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


def _serve(verb: str, name: str) -> int:
    place = place_of(name)
    if verb == "stop":
        print("stopped" if stop(place) else "none was running", file=sys.stderr)
        return 0
    if verb == "start":
        install()
        start(place)
    elif running(place) is None:
        print(f"no Ceph runs with the name {name}: start it first", file=sys.stderr)
        return 1
    print(Endpoint.load(place).exports, end="")
    print(f"# bucket: {BUCKET}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Failed as error:
        sys.exit(f"error: {error}")
