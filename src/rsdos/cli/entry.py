"""Where ``rsdos`` starts: what is plain is done without click, which is half of what a short command takes."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # Type checkers take the name for true, as that of `typing`, whose import is 3 ms.

if TYPE_CHECKING:
    from typing import NoReturn


def main() -> NoReturn:
    """Run the command line, and exit with its code."""
    # numpy brings threads for linear algebra, which we have none of: they spin for 0.1 s, on a processor that a worker
    # could use, and double the time of the import.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    arguments = sys.argv[1:]
    if arguments == ["--version"] and _say_version():
        sys.exit(0)
    from rsdos.cli.fast_path import answer

    code = answer(arguments)
    if code is not None:
        sys.exit(code)
    from rsdos.cli.main import main

    main()


def _say_version() -> bool:
    """Print the version: click and all that it imports are half of the time that takes. False when that fails."""
    from rsdos import __version__

    if sys.stdout is None:
        return False  # Some file may have the number of what is closed.
    text = f"rsdos {__version__}\n".encode()
    try:
        return os.write(1, text) == len(text)  # So short a text is written whole, or not at all.
    except OSError:
        return False
