"""Where an S3 service is, and with which credentials. Standard library only: it is used before any installation."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import NamedTuple, Self

REGION = "us-east-1"


class Endpoint(NamedTuple):
    """An S3 service on loopback, and a user of it."""

    url: str
    access_key: str
    secret_key: str

    @property
    def environment(self) -> dict[str, str]:
        """What S3 clients read from the environment."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": REGION,
        }

    @property
    def exports(self) -> str:
        """The environment as lines of a shell."""
        return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in self.environment.items())

    def save(self, path: Path) -> None:
        """Write it to a file that only its owner reads, whole or not at all."""
        made = path.with_suffix(".new")
        made.touch(mode=0o600)
        made.write_text(json.dumps(self._asdict()))
        made.replace(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` has written."""
        return cls(**json.loads(path.read_text()))
