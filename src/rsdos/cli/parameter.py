"""The base class of our own parameter types."""

from __future__ import annotations

import click


class Parameter(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on, and not to be asked before
    """Converts the text of an option."""
