"""Moves the files of ``changes/`` into ``CHANGELOG.md``, as a release: ``make changelog VERSION=0.2.0``."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]

KINDS = ("added", "changed", "deprecated", "removed", "fixed", "security")
"""The sections of Keep a Changelog, in its order."""

UNRELEASED = "## [Unreleased]\n"


def fragments(directory: Path) -> dict[str, list[str]]:
    """Return the texts of each kind. Raise ValueError for a file that is none, or is empty."""
    found: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for path in sorted(directory.glob("*")):
        if path.name == "README.md":
            continue
        name, kind, suffix = ([*path.name.split("."), "", ""])[:3]
        text = path.read_text().strip()
        if not name or kind not in KINDS or suffix != "md" or not text or text.startswith("- "):
            raise ValueError(f"{path.name}: is no NAME.KIND.md with a sentence in it; see changes/README.md")
        found[kind].append(text)
    return found


def released(log: str, found: dict[str, list[str]], version: str, day: str) -> str:
    """Return the change log with what is unreleased, there and in the files, as a version of a day."""
    before, mark, rest = log.partition(UNRELEASED)
    if not mark:
        raise ValueError("CHANGELOG.md has no section [Unreleased]")
    section, following, old = rest.partition("\n## [")
    for kind in KINDS:
        lines = "".join("- " + text.replace("\n", "\n  ") + "\n" for text in found[kind])
        title = f"### {kind.capitalize()}\n"
        if lines and title in section:
            section = section.replace(title, f"{title}\n{lines.rstrip()}", 1)
        elif lines:
            section = f"{section.rstrip()}\n\n{title}\n{lines}"
    return f"{before}{UNRELEASED}\n## [{version}] - {day}\n{section.rstrip()}\n{following}{old}"


def main(version: str) -> None:
    """Write the change log, and remove the files."""
    log = ROOT / "CHANGELOG.md"
    log.write_text(released(log.read_text(), fragments(ROOT / "changes"), version, f"{datetime.now(UTC):%Y-%m-%d}"))
    for path in (ROOT / "changes").glob("*.*.md"):
        path.unlink()


if __name__ == "__main__":
    main(sys.argv[1])
