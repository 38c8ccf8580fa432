"""``--option`` and ``--endpoint``: how the storage of a URL is reached."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from rsdos.cli.parameter import Parameter


class OptionPair(Parameter):
    """``region=eu-west-1``, as a pair."""

    name = "name=value"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, found, text = str(value).partition("=")
        if not found or not name:
            # Without the value: it may be a secret that belongs in the environment.
            self.fail("an option is given as NAME=VALUE, for example region=eu-west-1", param, ctx)
        return name.strip(), text


def url_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the parameters ``option`` (pairs) and ``endpoint``; see `given_options`."""
    option = click.option(
        "--option",
        type=OptionPair(),
        multiple=True,
        metavar="NAME=VALUE",
        help="An option of the URL's storage: region, virtual_host, profile, storage_class, server_side_encryption, "
        "anonymous, deadline. May be repeated. Never credentials: those come from the environment.",
    )
    endpoint = click.option("--endpoint", metavar="URL", help="The server of an s3:// URL, if it is not Amazon's.")
    return option(endpoint(function))


def given_options(option: tuple[tuple[str, str], ...], endpoint: str | None) -> tuple[tuple[str, str], ...]:
    """Return the options of a storage that the user has given."""
    return option + ((("endpoint", endpoint),) if endpoint else ())
