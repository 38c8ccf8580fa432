"""The exit codes of all commands; docs/command-line.md has the table."""

from __future__ import annotations

DONE = 0
"""Everything is done, or the reader of the output has closed the pipe."""

FAILED = 1
"""The command failed, or a part of it: something is missing, damaged, unreadable, or could not be written."""

USAGE = 2
"""The command was called wrongly. Nothing was done."""

INTERRUPTED = 130
"""Ctrl-C."""

DIFFERENT = 3
"""With --exit-code: there are differences."""
