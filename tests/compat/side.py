"""One side of a comparison: does what it is told to a container, by the names of disk-objectstore, and answers.

Run by the interpreter of .venv-peers it is the real disk-objectstore, by ours with the argument "ours" the drop-in.
Orders and answers are lines of JSON; bytes travel as hex.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import io
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

NAME = "rsdos.compat.disk_objectstore" if sys.argv[1:] == ["ours"] else "disk_objectstore"
PACKAGE = importlib.import_module(NAME)
MODULES = ("", ".container", ".utils", ".exceptions", ".dataclasses", ".backup_utils")

containers: dict[str, Any] = {}


def container(path: str) -> Any:
    if path not in containers:
        containers[path] = PACKAGE.Container(path)
    return containers[path]


def init(path: str, **options: Any) -> None:
    container(path).init_container(**options)


def add(path: str, data: str, streamed: bool = False) -> str:
    if streamed:
        return str(container(path).add_streamed_object(io.BytesIO(bytes.fromhex(data))))
    return str(container(path).add_object(bytes.fromhex(data)))


def add_to_pack(path: str, data: list[str], streamed: bool = False, **options: Any) -> Any:
    contents = list(map(bytes.fromhex, data))
    events: list[Any] = []
    options["callback"] = lambda action, value: events.append([action, value])
    if streamed:
        keys = container(path).add_streamed_objects_to_pack(list(map(io.BytesIO, contents)), **options)
    else:
        keys = container(path).add_objects_to_pack(contents, **options)
    return {"keys": keys, "events": summary(events)}


def summary(events: list[Any]) -> list[Any]:
    """What a callback was told: description, total, sum of the updates, and whether it was closed, of each step."""
    steps: list[Any] = []
    for action, value in events:
        if action == "init":
            steps.append([value["description"], value["total"], 0, False])
        elif action == "update":
            steps[-1][2] += value
        else:
            steps[-1][3] = True
    return steps


def get(path: str, key: str) -> Any:
    return container(path).get_object_content(key).hex()


def get_many(path: str, keys: list[str], skip: bool = True) -> Any:
    found = container(path).get_objects_content(keys, skip_if_missing=skip)
    return {key: None if data is None else data.hex() for key, data in found.items()}


def read(path: str, key: str, moves: list[list[Any]]) -> Any:
    """Read and seek in one stream; what each call answered."""
    answers: list[Any] = []
    with container(path).get_object_stream(key) as stream:
        for name, *arguments in moves:
            answer = getattr(stream, name)(*arguments)
            answers.append(answer.hex() if isinstance(answer, bytes) else answer)
        answers += [stream.readable(), stream.writable(), stream.seekable(), stream.closed, stream.mode]
    return answers


def metas(path: str, keys: list[str], skip: bool = True) -> Any:
    """Type, size and whether compressed, by key; and whether packed ones came in storage order, before loose ones."""
    found = list(container(path).get_objects_meta(keys, skip_if_missing=skip))
    order = [["packed", "loose", "missing"].index(meta.type.value) for _, meta in found]
    places = [(meta.pack_id, meta.pack_offset) for _, meta in found if meta.type.value == "packed"]
    by_pack: dict[int, list[int]] = {}
    for pack_id, offset in places:
        by_pack.setdefault(pack_id, []).append(offset)
    return {
        "metas": {key: [meta.type.value, meta["size"], meta.pack_compressed] for key, meta in found},
        "sorted": order == sorted(order) and all(offsets == sorted(offsets) for offsets in by_pack.values()),
    }


def streams(path: str, keys: list[str], skip: bool = True) -> Any:
    with container(path).get_objects_stream_and_meta(keys, skip_if_missing=skip) as triplets:
        return {key: [stream and stream.read().hex(), meta.size] for key, stream, meta in triplets}


def has(path: str, keys: list[str]) -> Any:
    return container(path).has_objects(keys)


def listed(path: str) -> Any:
    with container(path) as opened:
        keys = opened.list_all_objects()
    return sorted(keys)


def counts(path: str) -> Any:
    return asdict(container(path).count_objects())


def sizes(path: str) -> Any:
    return asdict(container(path).get_total_size())


def pack(path: str, **options: Any) -> Any:
    events: list[Any] = []
    mode = options.pop("mode", None)
    if mode:
        options["compress"] = PACKAGE.CompressMode[mode]
    container(path).pack_all_loose(callback=lambda action, value: events.append([action, value]), **options)
    return summary(events)


def clean(path: str, vacuum: bool = False) -> None:
    container(path).clean_storage(vacuum=vacuum)


def repack(path: str, mode: str = "KEEP") -> Any:
    events: list[Any] = []
    container(path).repack(PACKAGE.CompressMode[mode], callback=lambda action, value: events.append([action, value]))
    return [[total, done, closed] for _, total, done, closed in summary(events)]


def delete(path: str, keys: list[str]) -> Any:
    return sorted(container(path).delete_objects(keys))


def validate(path: str) -> Any:
    events: list[Any] = []
    issues = container(path).validate(callback=lambda action, value: events.append([action, value]))
    return {**{name: sorted(keys) for name, keys in asdict(issues).items()}, "valid": issues.is_valid()}


def imported(path: str, source: str, keys: list[str], **options: Any) -> Any:
    return container(path).import_objects(keys, container(source), **options)


def loosen(path: str, key: str) -> Any:
    return container(path).loosen_object(key).read_bytes().hex()


def settings(path: str) -> Any:
    opened = container(path)
    names = ("is_initialised", "loose_prefix_len", "pack_size_target", "hash_type", "compression_algorithm")
    return [getattr(opened, name) for name in names]


def close(path: str) -> None:
    container(path).close()


def hash_all(path: str) -> Any:
    """The keys whose contents are not what they say: read one by one, as a long reader does."""
    opened = container(path)
    return [
        key
        for key in list(opened.list_all_objects())
        if hashlib.sha256(opened.get_object_content(key)).hexdigest() != key
    ]


def names() -> Any:
    """Every public name of every module, and the signatures of what can be called."""
    found: dict[str, Any] = {}
    for name in MODULES:
        module = importlib.import_module(NAME + name)
        for member, value in vars(module).items():
            if member.startswith("_") or inspect.ismodule(value):
                continue
            if not getattr(value, "__module__", NAME).startswith(NAME.partition(".")[0]):
                continue
            found[f"{name}.{member}"] = signature(value)
            if inspect.isclass(value):
                for inner in dir(value):
                    if not inner.startswith("_"):
                        found[f"{name}.{member}.{inner}"] = signature(inspect.getattr_static(value, inner))
    return found


def signature(value: Any) -> Any:
    if isinstance(value, (staticmethod, classmethod)):
        value = value.__func__
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return None
    return [
        [one.name, one.kind.name, "" if one.default is one.empty else str(one.default)]
        for one in parameters
        if one.name not in ("self", "cls")
    ]


ORDERS: dict[str, Callable[..., Any]] = {
    order.__name__: order
    for order in (init, add, add_to_pack, get, get_many, read, metas, streams, has, listed, counts, sizes, pack, clean)
    + (repack, delete, validate, imported, loosen, settings, close, hash_all, names)
}


def main() -> None:
    for line in sys.stdin:
        name, options = json.loads(line)
        try:
            answer: Any = {"answer": ORDERS[name](**options)}
        except Exception as error:  # noqa: BLE001  told to the other process
            answer = {"error": [kind.__name__ for kind in type(error).__mro__], "text": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
