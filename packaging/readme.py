"""What hatchling runs for the long description of a package: README.md without the links that only a checkout has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface  # type: ignore[import-not-found,unused-ignore]

IMAGE = re.compile(r"!\[[^\]]*\]\((?![a-z]+:)[^)]*\)\n*")
LINK = re.compile(r"\[([^\]]*)\]\((?![a-z]+:)[^)]*\)")

END = "\nThe pages that this text names are in `docs` of the source distribution.\n"


def long_description(text: str) -> str:
    """Return a page without its pictures, and with plain text in the place of links that begin with no ``https:``.

    An index of packages has no other file of the checkout, and the project has no address to make them whole with.
    """
    return LINK.sub(r"\1", IMAGE.sub("", text)) + END


class ReadmeHook(MetadataHookInterface):  # type: ignore[misc,type-arg,unused-ignore]
    """Sets the readme."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set it."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": long_description(text)}
