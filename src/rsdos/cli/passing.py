"""How a command gets its session from click."""

from __future__ import annotations

import click

from rsdos.cli.session import Session

pass_session = click.make_pass_decorator(Session)
