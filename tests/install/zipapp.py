"""The session of README.md, played with the one file of `make zipapp` in an environment where nothing is installed.

``python -m tests.install.zipapp``, run by ``make test-zipapp``. Nothing is imported from the checkout.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from tests.pages import play, steps, told, write_flowers

ROOT = Path(__file__).parents[2]
BUILT = ROOT / "dist" / f"rsdos-python{sys.version_info.major}.{sys.version_info.minor}.pyz"


def main() -> None:
    """Play it. End with what differs."""
    page = steps((ROOT / "README.md").read_text())
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        write_flowers(place)
        # The base Python, and not that of a virtual environment, which would have the packages.
        search = os.pathsep.join((os.path.join(sys.base_prefix, "bin"), "/usr/bin", "/bin"))
        environment = {"PATH": search, "HOME": directory, "LC_ALL": "C.UTF-8"}
        if differing := play(page, place, environment, program=[str(BUILT)]):
            raise SystemExit(told(differing))
    print(f"  {BUILT.name}: printed all that README.md shows, {len(page)} commands")


if __name__ == "__main__":
    main()
