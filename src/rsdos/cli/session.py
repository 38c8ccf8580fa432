"""What every command gets: where the container is and how it is to be used."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rsdos.container import Container
    from rsdos.engine.engine import Engine

DEFAULT_PATH = "./container"
PATH_VARIABLE = "RSDOS_PATH"
"""Names another."""

LINKS_VARIABLE = "RSDOS_FOLLOW_LINKS"
"""Says, by 1, that links in the place of the container's directories are the user's own."""

COMPLETE = "_RSDOS_COMPLETE"
"""Is set when a shell asks how a command line could go on."""


class Session(NamedTuple):
    """The options in front of the command."""

    path: str
    durability: str | None
    verify: str | None = None

    def refuse_own(self, path: str) -> None:
        """Raise `InvalidOption` when a command would write to a path that is in the container itself."""
        from rsdos.errors import InvalidOption
        from rsdos.layout import is_inside

        if is_inside(path, self.path):
            raise InvalidOption(f"{path}: is in the container itself")

    def container(self) -> Container:
        """The container; nothing is opened yet."""
        from rsdos.container import Container

        return Container(self.path, durability=self.durability, follow_links=follows_links(), verify=self.verify)

    def engine(self) -> Engine:
        """The open container's parts alone, for a command that has to be quick."""
        from rsdos.engine.engine import Engine
        from rsdos.model import Durability, Links, Verify

        durability = None if self.durability is None else Durability(self.durability)
        links = Links.FOLLOW if follows_links() else Links.REFUSE
        return Engine(self.path, durability, links=links, verify=Verify(self.verify) if self.verify else None)


def follows_links() -> bool:
    """Whether the user has put links in the place of the container's directories, and says so."""
    return os.environ.get(LINKS_VARIABLE) == "1"
