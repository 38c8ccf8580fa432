"""The options in front of a command: which container, and how to use it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rsdos.container import Container
    from rsdos.engine.engine import Engine
    from rsdos.storage.url import StorageUrl

NO_CACHE = "none"
"""Given instead of a directory: nothing that is read from a URL is kept."""

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
    """The directory of the container, or its URL."""
    durability: str | None
    verify: str | None = None
    options: tuple[tuple[str, str], ...] = ()
    """Of the URL's storage."""
    cache: str | None = None
    """Where to keep what is read from a URL; "none": nowhere; None: where the user's other caches are."""

    @property
    def is_url(self) -> bool:
        """Whether the container is at a URL, and in no directory."""
        return "://" in self.path

    def refuse_own(self, path: str) -> None:
        """Raise `InvalidOption` if a path that a command would write to is in the container itself."""
        if self.is_url:
            return
        from rsdos.errors import InvalidOption
        from rsdos.root import is_inside

        if is_inside(path, self.path):
            raise InvalidOption(f"{path}: is inside the container itself")

    def place(self) -> str | StorageUrl:
        """Return the directory, or the checked URL with its options. Raise `InvalidOption`."""
        if not self.is_url and not self.options:
            return self.path
        from rsdos.errors import InvalidOption
        from rsdos.storage.url import parse_url

        if not self.is_url:
            raise InvalidOption(f"{self.path}: is a directory; --option and --endpoint are for URLs")
        return parse_url(self.path, dict(self.options))

    def container(self) -> Container:
        """Return the container. It is not opened yet."""
        from rsdos.container import Container

        links = follows_links()
        cache = cache_directory(self.cache) if self.is_url else None
        place, durability, verify = self.place(), self.durability, self.verify
        return Container(place, durability=durability, follow_links=links, verify=verify, cache=cache)

    def engine(self) -> Engine:
        """Open the container without the facade, for a command that must be quick."""
        if self.is_url or self.options:
            return self.container().engine
        from rsdos.engine.engine import Engine
        from rsdos.model import Durability, Links, Verify

        durability = None if self.durability is None else Durability(self.durability)
        links = Links.FOLLOW if follows_links() else Links.REFUSE
        return Engine(self.path, durability, links=links, verify=Verify(self.verify) if self.verify else None)


def other_container(path: str) -> Container:
    """Open a container that is named as an argument, beside the one of -p. Raise `NotAContainer`, and say so."""
    from rsdos.errors import NotAContainer
    from rsdos.root import NamedBy, no_container

    session = Session(path, None)
    container = session.container()
    try:
        container.engine  # noqa: B018  it is opened here
    except NotAContainer as error:
        raise no_container(str(error.path), is_directory=not session.is_url, by=NamedBy.OTHER) from None
    return container


def cache_directory(given: str | None) -> str | None:
    """Return where to keep what is read from a URL: the directory that is given, or the user's; None for "none"."""
    if given == NO_CACHE:
        return None
    home = os.environ.get("XDG_CACHE_HOME", "")
    return given or os.path.join(home if os.path.isabs(home) else os.path.expanduser("~/.cache"), "rsdos")


def follows_links() -> bool:
    """Return whether the user says that links in place of the container's directories are their own."""
    return os.environ.get(LINKS_VARIABLE) == "1"
