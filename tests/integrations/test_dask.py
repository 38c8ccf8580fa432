"""The door to Dask, on a directory and on a real Ceph: the cases of `dask_cases.py`, in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.ceph.fixtures import S3
from tests.helpers import ROOT

pytestmark = pytest.mark.skipif(find_spec("distributed") is None, reason="the extra `dask`")


def run(directory: Path, *words: str, **environment: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={directory / 'cases'}"]
    done = subprocess.run(
        [*command, "tests/integrations/dask_cases.py", *words],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout


def test_all_cases_with_a_container_in_a_directory(tmp_path: Path) -> None:
    run(tmp_path)


def test_two_workers_of_which_one_is_killed_with_a_container_on_ceph(s3_environment: S3, tmp_path: Path) -> None:
    run(tmp_path, "-k", "killed", RSDOS_TEST_URL=s3_environment.url)
