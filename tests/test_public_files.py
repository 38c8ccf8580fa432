"""The files that GitHub, PyPI and a release read: workflows, forms, citation, change log."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT

LINKS = runpy.run_path(str(ROOT / "packaging" / "links.py"))
CHANGELOG = runpy.run_path(str(ROOT / "packaging" / "changelog.py"))

SCHEMAS = {
    "vendor.github-workflows": (".github/workflows/*.yml",),
    "custom.github-workflows-require-timeout": (".github/workflows/*.yml",),
    "vendor.github-issue-forms": (".github/ISSUE_TEMPLATE/[!c]*.yml",),
    "vendor.github-issue-config": (".github/ISSUE_TEMPLATE/config.yml",),
    "vendor.citation-file-format": ("CITATION.cff",),
}


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_file_that_others_read_follows_their_schema(schema: str) -> None:
    pytest.importorskip("check_jsonschema")  # Not where only the lowest versions of rsdos's own packages are.
    files = [path for pattern in SCHEMAS[schema] for path in ROOT.glob(pattern)]
    assert files
    options = ["--builtin-schema", schema, "--default-filetype", "yaml"]
    done = subprocess.run([sys.executable, "-m", "check_jsonschema", *options, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_what_a_workflow_makes_is_a_target() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        for line in re.findall(r"\bmake ([a-z -]+)$", path.read_text(), re.MULTILINE):
            assert set(line.split()) <= targets, line


def test_a_release_gives_the_packages_alone_to_pypi_and_the_zipapp_too_to_github() -> None:
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text()
    build, publish, attach = re.split(r"^  (?:publish|attach):$", text, flags=re.MULTILINE)
    named = re.findall(r"name: (\w+).*\n +path: (?:\|\n)?((?:\s*dist/\S+)+)", build)
    assert {name: files.split() for name, files in named} == {
        "dist": ["dist/*.whl", "dist/*.tar.gz"],
        "zipapp": ["dist/*.pyz"],
    }
    assert "name: dist\n" in publish and "merge-multiple" not in publish
    assert "merge-multiple: true" in attach and "gh release create" in attach and "contents: write" in attach


def test_the_addresses_of_the_metadata_are_among_the_links_that_are_checked(tmp_path: Path) -> None:
    (tmp_path / ".github" / "workflows").mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text('Homepage = "https://rsdos.example/a" # (see http://b.example/c.)\n')
    (tmp_path / ".github" / "workflows" / "test.yml").write_text("# https://c.example?q=1, https://rsdos.example/a\n")
    found = LINKS["addresses"](tmp_path)
    assert found == ["http://b.example/c", "https://c.example?q=1", "https://rsdos.example/a"]


def test_each_python_of_the_workflows_is_one_that_the_package_supports() -> None:
    text = (ROOT / ".github" / "workflows" / "test.yml").read_text()
    for versions in re.findall(r"python: \[(.*)\]", text):
        assert re.findall(r"[\d.]+", versions) == ["3.11", "3.12", "3.13", "3.14"]
    assert 'requires-python = ">=3.11"' in (ROOT / "pyproject.toml").read_text()


def test_every_file_of_changes_is_one_that_a_release_can_take() -> None:
    found = CHANGELOG["fragments"](ROOT / "changes")
    log = CHANGELOG["released"]((ROOT / "CHANGELOG.md").read_text(), found, "9.9.9", "2030-01-01")
    assert "\n## [9.9.9] - 2030-01-01\n" in log
    for texts in found.values():
        for text in texts:
            assert text.splitlines()[0] in log


def test_a_release_keeps_what_was_there_and_sorts_what_is_new_below_its_kind() -> None:
    log = "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- old\n\n## [0.1.0] - 2026-01-01\n\n- first\n"
    found: dict[str, list[str]] = {kind: [] for kind in CHANGELOG["KINDS"]} | {"added": ["new\nline"], "fixed": ["bug"]}
    assert CHANGELOG["released"](log, found, "0.2.0", "2026-02-02") == (
        "# Changelog\n\n## [Unreleased]\n\n## [0.2.0] - 2026-02-02\n\n### Added\n\n- new\n  line\n- old\n\n"
        "### Fixed\n\n- bug\n\n## [0.1.0] - 2026-01-01\n\n- first\n"
    )
