"""Nodes with files, through AiiDA's own interface: fill a profile, check it, delete some of it, count its objects."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import asdict

from aiida import load_profile, orm
from aiida.manage import get_manager

FILES = 5


def content(number: int, at: int) -> bytes:
    """The bytes of a file, which its node's label tells: text of up to 30 KB, every fourth incompressible."""
    seed = number * FILES + at
    text = b"%d %d\n" % (number, at) * (seed % 3000 + 1)
    if seed % 4 == 0:
        return bytes((byte * 167 + position * position * 31) % 251 for position, byte in enumerate(text[:2000]))
    return text


def fill(count: int) -> None:
    """Store ``count`` nodes of one file, and every tenth a folder of five."""
    begin = orm.QueryBuilder().append(orm.Data).count()
    for number in range(begin, begin + count):
        node: orm.Data
        if number % 10 == 0:
            node = orm.FolderData(label=str(number))
            for at in range(FILES):
                node.base.repository.put_object_from_filelike(io.BytesIO(content(number, at)), f"inner/{at}")
        else:
            node = orm.SinglefileData(io.BytesIO(content(number, 0)), filename="0", label=str(number))
        node.store()


def check() -> None:
    """Read every file, whole, and some of them by seeking."""
    files = 0
    for (node,) in orm.QueryBuilder().append(orm.Data).iterall():
        for root, _, names in node.base.repository.walk():
            for name in names:
                path = str(root / name)
                expected = content(int(node.label), int(name))
                assert node.base.repository.get_object_content(path, mode="rb") == expected, (node.label, path)
                with node.base.repository.open(path, mode="rb") as stream:
                    middle = len(expected) // 2
                    stream.seek(middle)
                    assert stream.read() == expected[middle:], (node.label, path)
                files += 1
    assert files
    print(files, "files are right")


def delete(count: int) -> None:
    """Delete the first ``count`` nodes."""
    from aiida.tools import delete_nodes

    query = orm.QueryBuilder().append(orm.Data, project="id").order_by({orm.Data: "id"}).limit(count)
    delete_nodes(query.all(flat=True), dry_run=False)


def count() -> None:
    backend = get_manager().get_profile_storage()
    with backend.get_repository()._container as container:
        print(json.dumps(asdict(container.count_objects())))


def main() -> None:
    load_profile(sys.argv[1])
    match sys.argv[2:]:
        case ["fill", number]:
            fill(int(number))
        case ["check"]:
            check()
        case ["delete", number]:
            delete(int(number))
        case ["count"]:
            count()


if __name__ == "__main__":
    main()
