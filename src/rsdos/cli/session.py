"""The options in front of a command: which container, and how to use it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rsdos.container import Container
    from rsdos.engine.engine import Engine

DEFAULT_PATH = "./container"
PATH_VARIABLE = "RSDOS_PATH"
"""The environment variable with the path of another container."""

LINKS_VARIABLE = "RSDOS_FOLLOW_LINKS"
"""The environment variable that is 1 if links in place of the container's directories are the user's own."""

COMPLETE = "_RSDOS_COMPLETE"
"""The environment variable that a shell sets to ask for completions."""


class Session(NamedTuple):
    """The options in front of the command."""

    path: str
    durability: str | None
    verify: str | None = None

    def refuse_own(self, path: str) -> None:
        """Raise `InvalidOption` if a path that a command would write to is in the container itself."""
        from rsdos.errors import InvalidOption
        from rsdos.root import is_inside

        if is_inside(path, self.path):
            raise InvalidOption(f"{path}: is inside the container itself")

    def container(self) -> Container:
        """Return the container. It is not opened yet."""
        from rsdos.container import Container

        return Container(self.path, durability=self.durability, follow_links=follows_links(), verify=self.verify)

    def engine(self) -> Engine:
        """Open the container without the facade, for a command that must be quick."""
        from rsdos.engine.engine import Engine
        from rsdos.model import Durability, Links, Verify

        durability = None if self.durability is None else Durability(self.durability)
        links = Links.FOLLOW if follows_links() else Links.REFUSE
        return Engine(self.path, durability, links=links, verify=Verify(self.verify) if self.verify else None)


def follows_links() -> bool:
    """Return whether the user says that links in place of the container's directories are their own."""
    return os.environ.get(LINKS_VARIABLE) == "1"
