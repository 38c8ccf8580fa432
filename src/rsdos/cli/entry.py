"""The entry point of ``rsdos``. Short commands run without click, whose import would be half of their time."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

TYPE_CHECKING = False  # Type checkers treat it as true, like that of `typing`, whose import takes 3 ms.

if TYPE_CHECKING:
    from typing import NoReturn

_INTERRUPTED = 130
"""As in `rsdos.cli.exit_codes`."""


def main() -> NoReturn:
    """Run the command line, and exit with its code."""
    # numpy starts threads for linear algebra, which we never use. They double the time of its import, and spin for
    # 0.1 s on a processor that a worker could use.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        _run(sys.argv[1:])
    except KeyboardInterrupt:
        # Interrupted during an import, before `rsdos.cli.process.guarded` can report it.
        with suppress(OSError):
            os.write(2, b"rsdos: error: interrupted\n")
        sys.exit(_INTERRUPTED)


def _run(arguments: list[str]) -> NoReturn:
    if arguments == ["--version"] and _say_version():
        sys.exit(0)
    from rsdos.cli.fast_path import answer

    code = answer(arguments)
    if code is not None:
        sys.exit(code)
    from rsdos.cli.main import main

    main()


def _say_version() -> bool:
    """Print the version without click, which would be half of the time. Return False if that fails."""
    from rsdos import __version__

    if sys.stdout is None:
        return False  # Another file may have the number of the closed stream.
    text = f"rsdos {__version__}\n".encode()
    try:
        return os.write(1, text) == len(text)  # So short a text is written whole, or not at all.
    except OSError:
        return False
