"""The rules of the house that no linter knows: names, circles of imports, complete docstrings, and words of filler."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.helpers import ROOT

SOURCE = ROOT / "src"

SHARED = {
    "command": "the one click command of each module of `cli`",
    "execute": "maintenance is options, plan, execute, report: each operation has its own",
    "plan": "maintenance is options, plan, execute, report: each operation has its own",
    "estimate": "what a dry run of a push and of a pull shows: each has its own",
    "main": "the entry point of each command line",
    "collect_garbage": "one meaning, of a whole container and of the packs of each version",
    "decompress_many": "one meaning and signature, of each codec",
    "Container": "disk-objectstore's name, in the drop-in",
    "ObjectMeta": "disk-objectstore's name, in the drop-in",
    "ObjectWriter": "disk-objectstore's name, in the drop-in",
    "create": "the drop-in's command, which disk-objectstore exports under this name",
    "status": "the drop-in's command, which disk-objectstore exports under this name",
    "validate": "the drop-in's command, which disk-objectstore exports under this name",
}
"""Public names that several modules may give to something of their own, with the reason."""


Trees = dict[str, ast.Module]
"""The syntax tree of each module, by its dotted name."""


def modules() -> Trees:
    """Parse all modules. The trees are a million Python objects, so nothing keeps them for long."""
    found = {}
    for path in sorted((SOURCE / "rsdos").rglob("*.py")):
        name = ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
        found[name] = ast.parse(path.read_text(), str(path))
    return found


@cache
def homes() -> dict[str, list[str]]:
    """The modules that define each public class and function."""
    found = defaultdict(list)
    for module, tree in modules().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                found[node.name].append(module)
    return found


def test_a_public_name_has_one_meaning() -> None:
    several = {name: places for name, places in homes().items() if len(places) > 1 and name not in SHARED}
    assert not several, "rename all but one, or add the name to SHARED with a reason"


def test_every_exception_for_a_shared_name_is_needed() -> None:
    needed = {name for name, places in homes().items() if len(places) > 1}
    assert SHARED.keys() <= needed


@pytest.fixture(scope="module")
def trees() -> Trees:
    return modules()


def imports(tree: ast.Module, known: set[str]) -> Iterator[str]:
    """The modules that one imports anywhere: in functions and under ``TYPE_CHECKING`` as well."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else str(node.module)


def test_no_modules_import_each_other(trees: Trees) -> None:
    graph = {name: set(imports(tree, set(trees))) - {name} for name, tree in trees.items()}
    assert sum(map(len, graph.values())) > len(graph)
    # The package's front door names its exports for type checkers, and gets them when they are asked for.
    graph["rsdos"] = set()
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"modules import each other: {' -> '.join(error.args[1])}")


def test_a_module_gives_a_name_one_value(trees: Trees) -> None:
    """A second constant of the same name took the place of the first, and writes were cut at odd lengths."""
    for module, tree in trees.items():
        targets = [node.targets for node in tree.body if isinstance(node, ast.Assign)]
        targets += [[node.target] for node in tree.body if isinstance(node, ast.AnnAssign) and node.value]
        names = Counter(name.id for some in targets for name in some if isinstance(name, ast.Name))
        assert set(names.values()) <= {1}, module


REMOVES = {"unlink", "rmdir", "removedirs", "rmtree", "chmod", "fchmod", "lchmod", "chown", "fchown", "lchown"}
"""Methods and functions of ``os``, ``shutil`` and ``pathlib`` that remove a file or directory, or set its mode."""


def test_one_module_removes_files_and_sets_modes(trees: Trees) -> None:
    """Ruff refuses the functions of ``os`` alone, and not in command lines."""
    found = [
        f"{module}:{node.lineno}: {ast.unparse(node)}"
        for module, tree in trees.items()
        if module != "rsdos.storage.directory"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and (node.attr in REMOVES or ast.unparse(node) == "os.remove")
    ]
    assert not found


def functions(trees: Trees) -> Iterator[tuple[str, ast.FunctionDef, str]]:
    """Each function with its module and its docstring."""
    for module, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                yield module, node, ast.get_docstring(node) or ""


def test_an_args_section_names_the_parameters(trees: Trees) -> None:
    wrong, seen = [], 0
    for module, node, text in functions(trees):
        section = re.search(r"^Args:\n((?:    .*\n?)+)", text, re.MULTILINE)
        if section:
            parameters = {one.arg for one in (*node.args.args, *node.args.kwonlyargs)} - {"self", "cls"}
            parameters |= {node.args.vararg.arg} if node.args.vararg else set()
            seen += 1
            named = set(re.findall(r"^    (\w+):", section[1], re.MULTILINE))
            if named - ({node.args.kwarg.arg} if node.args.kwarg else set()) != parameters:
                wrong.append(f"{module}.{node.name}")
    assert not wrong and seen > 30


def test_every_operation_of_maintenance_says_what_it_takes_returns_and_raises(trees: Trees) -> None:
    found = 0
    for module, node, text in functions(trees):
        if module.startswith("rsdos.maintenance.") and node.name == "execute":
            assert all(f"\n{name}:\n" in text for name in ("Args", "Returns", "Raises")), module
            found += 1
    assert found > 12


def test_no_page_and_no_docstring_has_a_word_that_the_page_of_style_takes_out() -> None:
    """Of `stands in` and `stands for`, which mean something, none is one."""
    rule = re.search(r"\*\*No filler\.\*\*(.*?) go, or", (ROOT / "docs/style.md").read_text(), re.DOTALL)
    assert rule is not None
    words = [word.replace(" ", r"\s+") for word in re.findall(r"\*([^*]+)\*", rule[1])]
    assert len(words) > 5
    filler = re.compile(rf"\b({'|'.join(words)})\b(?!\s+(?:in|for)\b)", re.IGNORECASE)
    texts = [*SOURCE.rglob("*.py"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")]
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in texts
        if path.name not in ("style.md", "CHANGELOG.md")
        for match in filler.finditer(path.read_text())
    ]
    assert len(texts) > 300
    assert not found, "see docs/style.md"
