"""What hatchling runs when it builds a wheel: the manual page and the completions are generated, and put into it."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface  # type: ignore[import-not-found,unused-ignore]


class ShareHook(BuildHookInterface):  # type: ignore[misc,type-arg,unused-ignore]
    """Adds the files below ``share``."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the files into ``build/share``, and name them."""
        root = Path(self.root)
        # No __pycache__ in the sources, from which the wheel is made next.
        sys.dont_write_bytecode = True
        sys.path.insert(0, str(root / "src"))
        # By its path: hatchling has imported another `packaging`.
        for place, text in runpy.run_path(str(root / "packaging" / "manual.py"))["shared_files"]().items():
            target = root / "build" / place
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            build_data["shared_data"][str(target)] = place
