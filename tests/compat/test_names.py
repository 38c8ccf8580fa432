"""Every public name of disk-objectstore 1.5.0 is there, with its signature."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compat.conftest import PEERS, Side
from tests.helpers import ROOT

OTHERWISE = (
    # SQLAlchemy's: drop-in/disk_objectstore/database.py.
    ".container.Obj",
    ".container.get_session",
    # The standard library's.
    ".utils.nullcontext",
    ".container.nullcontext",
    ".utils.TYPE_CHECKING",
    ".utils.F_FULLFSYNC",
    # Declared by the base class, given by its subclass.
    ".utils.ZlibLikeBaseStreamDecompresser.decompress_error",
    ".utils.ZlibLikeBaseStreamDecompresser.decompressobj_class",
)


def test_all_names_are_there_with_their_signatures(real: Side, ours: Side) -> None:
    theirs, mine = real.do("names"), ours.do("names")
    wanted = {name: theirs[name] for name in theirs if not name.startswith(OTHERWISE) and is_home(name, theirs)}
    assert len(wanted) > 200
    assert sorted(set(wanted) - set(mine)) == []
    assert {name: mine[name] for name, signature in wanted.items() if signature is not None} == {
        name: signature for name, signature in wanted.items() if signature is not None
    }


def is_home(name: str, names: dict[str, object]) -> bool:
    """Whether a name stands in the module that defines it: others only import it."""
    module, _, member = name[1:].partition(".")
    homes = ("exceptions", "dataclasses", "utils", "container", "backup_utils")
    return module not in homes or next(home for home in homes if f".{home}.{member}" in names) == module


MODULES = ("", "backup_utils", "cli", "container", "database", "dataclasses", "examples", "exceptions", "utils")


def owned(source: Path) -> Iterator[str]:
    """The public names that a module makes, or takes from another module of its package.

    Those that it takes from the standard library, click or SQLAlchemy are not among them.
    """
    for node in ast.parse(source.read_text()).body:
        for part in node.body if isinstance(node, ast.Try) else [node]:
            match part:
                case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                    yield name
                case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                    yield name
                case ast.ImportFrom(module=module, names=names, level=level):
                    if level or (module or "").startswith("disk_objectstore"):
                        yield from (alias.asname or alias.name for alias in names)


@pytest.mark.parametrize("module", MODULES)
def test_every_name_of_every_module_can_be_imported_from_the_drop_in(module: str) -> None:
    """Also those that a module only takes from another, and a command's function. SQLAlchemy is looked up there."""
    packages = [*(PEERS.parents[1] / "lib").glob("python3*/site-packages")]
    if not packages:
        pytest.skip("needs .venv-peers, which make sets up")
    home = packages[0] / "disk_objectstore" / module
    source = home / "__init__.py" if home.is_dir() else home.with_suffix(".py")
    names = sorted({name for name in owned(source) if not name.startswith("_") and name != "TYPE_CHECKING"})
    assert names or module == "examples"
    code = f"import sys; sys.path[:0] = [{str(ROOT / 'drop-in')!r}]; sys.path.append({str(packages[0])!r})\n"
    code += f"from disk_objectstore{module and '.' + module} import {', '.join(names) or '__doc__'}\n"
    code += "import disk_objectstore; assert '+rsdos.' in disk_objectstore.__version__"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
