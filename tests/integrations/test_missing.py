"""A door whose library is not installed says in one sentence what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest

DOORS = [
    ("filesystem", "fsspec", "fsspec"),
    ("fuse_mount", "mfusepy", "fuse"),
    ("torch_dataset", "torch", "torch"),
    ("universal_path", "upath", "upath"),
    ("zarr_store", "zarr", "zarr"),
]


@pytest.mark.parametrize(("module", "library", "extra"), DOORS)
def test_a_missing_library_is_named_with_what_to_install(module: str, library: str, extra: str) -> None:
    code = f"import sys; sys.modules[{library!r}] = None; import rsdos.integrations.{module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: ")
    assert last.endswith(f" is not installed: pip install 'rsdos[{extra}]'")
