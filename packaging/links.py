"""Checks all links with LinkChecker: those of the built site, and the addresses in files that are not on it.

Run by `make links`, in `.venv-links`. `make docs` checks the links within the pages; this one also asks other sites.
"""

from __future__ import annotations

import re
import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

ROOT = Path(__file__).parents[1]

BESIDE = (
    "pyproject.toml",
    "drop-in/pyproject.toml",
    "drop-in/README.md",
    "CITATION.cff",
    "SECURITY.md",
    ".github/**/*",
)
"""Files with addresses that the site does not show: the metadata of the packages, and what GitHub shows."""

URL = re.compile(r"https?://[^\s)\]}>\"'`,]+")

OPTIONS = (
    "--check-extern",
    "--no-status",
    "--no-warnings",
    "--no-follow-url=^https?://(?!127\\.0\\.0\\.1)",  # Other sites are asked for one page each.
)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        """Print nothing of a request."""


def addresses(root: Path) -> list[str]:
    """Return the addresses in the files that are not on the site, sorted."""
    files = [path for pattern in BESIDE for path in root.glob(pattern) if path.is_file()]
    return sorted({url.rstrip(".") for path in files for url in URL.findall(path.read_text())})


def main(site: Path) -> int:
    """Check a site. Return the exit code of LinkChecker: 1 if a link is broken."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=site)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        home = f"http://127.0.0.1:{server.server_port}/"
        done = subprocess.run([sys.executable, "-m", "linkcheck", *OPTIONS, home, *addresses(ROOT)])
        server.shutdown()
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
