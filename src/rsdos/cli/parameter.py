"""The base of our own types of parameters."""

from __future__ import annotations

import click


class Parameter(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on, and not to be asked before
    """What an option's text becomes."""
