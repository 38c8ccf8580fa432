"""The option ``profile``: keys of a named profile, from the files of Amazon's tools.

The client library knows a profile only by the environment variable ``AWS_PROFILE``, which is one for a whole process,
and does not read an endpoint from a profile.
"""

from __future__ import annotations

import os
from configparser import ConfigParser
from configparser import Error as ParseError

from rsdos.errors import InvalidOption

_FILES = (("~/.aws/credentials", "{}"), ("~/.aws/config", "profile {}"))
"""Where profiles are, and what their sections are called there."""

_SETTINGS = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
    "region": "region",
    "endpoint_url": "endpoint",
}
_NEEDED = ("access_key_id", "secret_access_key")


def profile_settings(profile: str) -> dict[str, str]:
    """Return the client library's settings of a profile, with its keys: never keep or show them.

    Raise `InvalidOption` for a profile that is not there, or has no keys of its own but a role or a program.
    """
    settings: dict[str, str] = {}
    for path, section in _FILES:
        parser = ConfigParser(interpolation=None)
        try:
            with open(os.path.expanduser(path), encoding="utf-8") as file:
                parser.read_file(file)
        except OSError:
            continue
        except (ParseError, UnicodeDecodeError):  # Their texts show the line.
            raise InvalidOption(f"option profile: {path} cannot be read") from None
        name = profile if profile == "default" else section.format(profile)
        if parser.has_section(name):
            there = {known: parser.get(name, key) for key, known in _SETTINGS.items() if parser.has_option(name, key)}
            settings = there | settings
    if not all(settings.get(key) for key in _NEEDED):
        raise InvalidOption(
            f"option profile: no keys of a profile {profile!r} in {_FILES[0][0]} or {_FILES[1][0]}; for a profile with "
            "a role or a program set AWS_PROFILE in the environment"
        )
    return settings
