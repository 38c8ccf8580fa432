"""What every command exits with; the table is in docs/command-line.md."""

from __future__ import annotations

DONE = 0
"""All that was asked for is done, or nobody reads on."""

FAILED = 1
"""It failed, or a part of it: something is missing, damaged, unreadable, or could not be written."""

USAGE = 2
"""It was called wrongly, and nothing was done."""

INTERRUPTED = 130
"""Ctrl-C."""
