"""What every command gets: where the container is and how it is to be used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rsdos.container import Container

DEFAULT_PATH = "./container"


@dataclass(frozen=True, slots=True)
class Session:
    """The options in front of the command."""

    path: str
    durability: str | None

    def container(self) -> Container:
        """The container; nothing is opened yet."""
        from rsdos.container import Container

        return Container(self.path, durability=self.durability)


pass_session = click.make_pass_decorator(Session)
