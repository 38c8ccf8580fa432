"""Every public name of disk-objectstore 1.5.0 is there, with its signature."""

from __future__ import annotations

from tests.compat.conftest import Side

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
