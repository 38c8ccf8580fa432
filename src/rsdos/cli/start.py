"""Where ``rsdos`` starts: what needs no command line is answered before there is one."""

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line, and exit with its code."""
    if sys.argv[1:] == ["--version"] and _say_version():
        sys.exit(0)
    from rsdos.cli.main import main

    main()


def _say_version() -> bool:
    """Print the version: click and all that it imports are half of the time that takes. False when that fails."""
    from rsdos import __version__

    if sys.stdout is None:
        return False
    try:
        sys.stdout.write(f"rsdos {__version__}\n")
        sys.stdout.flush()
    except OSError:
        return False
    return True
