"""JSON Schemas of what commands print with ``--json``, made from the types of the documents.

Nothing is written here that the types do not say; `rsdos.cli.render.echo_json` prints them by the same rules. No
command imports this module.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from enum import Enum
from itertools import pairwise
from pathlib import Path
from pydoc import locate
from typing import Any, Literal

import click

from rsdos.cli.json_documents import DOCUMENTS, JsonDocument
from rsdos.cli.options import STATS

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]

PEAK_MEMORY: Schema = {"type": "integer", "description": "With `--stats`: bytes, of the largest process."}

_PLAIN: dict[object, Schema] = {
    Any: {},
    object: {},
    type(None): {"type": "null"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    bytes: {"type": "string"},
}
_SOURCE = Path(__file__).parents[1]


def commands_with_json(group: click.Group) -> dict[str, click.Command]:
    """Return the commands that have ``--json``, by names such as "optimize pack"."""

    def below(name: str, command: click.Command, context: click.Context) -> Iterator[tuple[str, click.Command]]:
        if any("--json" in parameter.opts for parameter in command.params):
            yield name, command
        if isinstance(command, click.Group):
            for part in command.list_commands(context):
                found = command.get_command(context, part)
                assert found is not None
                yield from below(f"{name} {part}".strip(), found, context)

    return dict(below("", group, click.Context(group)))


def has_stats(command: click.Command) -> bool:
    """Return whether a command adds ``peak_memory`` with ``--stats``."""
    return any(getattr(parameter, "help", "") == STATS for parameter in command.params)


def schema_of_command(name: str, command: click.Command) -> Schema:
    """Return the schema of the documents of a command; of each line if it prints lines."""
    writer = SchemaWriter()
    documents = [writer.document(document, has_stats(command)) for document in DOCUMENTS[name]]
    title = {"$schema": DIALECT, "title": f"rsdos {name} --json"}
    whole = {**documents[0], **title} if len(documents) == 1 else {**title, "anyOf": documents}
    return {**whole, "$defs": dict(sorted(writer.definitions.items()))} if writer.definitions else whole


class SchemaWriter:
    """Makes schemas of types. Those of the objects inside are collected in ``definitions``, by the names of types.

    A ``closed`` one refuses members that it does not know. Others let them pass: releases add members.
    """

    def __init__(self, closed: bool = False) -> None:
        self.definitions: dict[str, Schema] = {}
        self._closed = closed

    def document(self, document: JsonDocument, has_stats: bool = False) -> Schema:
        """Return the schema of a whole document."""
        more = _members(document.more) if document.more else []
        names = document.members or _members(document.source)
        schema = self._object(document.source, [name for name in names if name not in more])
        if document.more is not None:
            beside = self._object(document.more, more)
            schema["properties"] |= beside["properties"]
            schema["required"] += beside["required"]
        if has_stats:
            schema["properties"]["peak_memory"] = PEAK_MEMORY
        return {"title": document.when, **schema} if document.when else schema

    def _object(self, kind: type, names: Sequence[str]) -> Schema:
        described = _descriptions(kind)
        hints = _hints(kind)
        members = {}
        for name in names:
            described_as = {"description": described[name]} if name in described else {}
            members[name] = {**self._of(hints[name]), **described_as}
        required = [name for name in members if name in getattr(kind, "__required_keys__", members)]
        schema: Schema = {"description": _plain_text(inspect.getdoc(kind) or ""), "type": "object"}
        schema |= {"properties": members, "required": required}
        return {**schema, "additionalProperties": False} if self._closed else schema

    def _of(self, hint: Any) -> Schema:
        """Return the schema of a member, of the type ``hint``."""
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if hint in _PLAIN:
            return dict(_PLAIN[hint])
        if origin is Literal:
            return {"enum": list(arguments)}
        if origin in (types.UnionType, typing.Union):
            return self._any_of(arguments)
        kind = origin or hint
        if isinstance(kind, type) and issubclass(kind, Enum):
            return {"enum": [str(member.name).lower() for member in kind]}
        if isinstance(kind, type) and (members := _members(kind)):
            if kind.__name__ not in self.definitions:
                self.definitions[kind.__name__] = {}  # A circle would end here.
                self.definitions[kind.__name__] = self._object(kind, members)
            return {"$ref": f"#/$defs/{kind.__name__}"}
        return self._container(kind, arguments)

    def _container(self, kind: Any, arguments: tuple[Any, ...]) -> Schema:
        """Return the schema of an array, or of an object with any members."""
        if kind is tuple and arguments[-1] is not Ellipsis:
            each = [self._of(argument) for argument in arguments]
            return {"type": "array", "prefixItems": each, "minItems": len(each), "maxItems": len(each)}
        if isinstance(kind, type) and issubclass(kind, Mapping):
            return {"type": "object", "additionalProperties": self._of(arguments[1])}
        if isinstance(kind, type) and issubclass(kind, Sequence):
            return {"type": "array", "items": self._of((arguments or _arguments_of_base(kind))[0])}
        raise TypeError(f"{kind}: there is no schema of it")

    def _any_of(self, arguments: tuple[Any, ...]) -> Schema:
        """Return the schema of a union: a list of types where all of them are plain."""
        # An executor comes from Python alone: what commands print has a number in its place.
        parts = [self._of(argument) for argument in arguments if argument is not Executor]
        if all(part.keys() == {"type"} for part in parts):
            return {"type": [part["type"] for part in parts]}
        if all(part.keys() == {"enum"} or part == {"type": "null"} for part in parts):
            return {"enum": [value for part in parts for value in part.get("enum", (None,))]}
        return {"anyOf": parts}


def _members(kind: type) -> list[str]:
    """Return the members of an object; none for a type that is no object of named members."""
    if dataclasses.is_dataclass(kind):
        # Those that `repr` hides are for the execution of a plan.
        return [field.name for field in dataclasses.fields(kind) if field.repr]
    if typing.is_typeddict(kind):
        return list(kind.__annotations__)
    return list(getattr(kind, "_fields", ()))


def _hints(kind: type) -> dict[str, Any]:
    """Return the types of members. What a module imports for type checkers alone is found by its name."""
    names: dict[str, Any] = {"Executor": Executor}
    while True:
        try:
            return typing.get_type_hints(kind, localns=names)
        except NameError as error:
            if error.name is None or error.name in names:
                raise
            names[error.name] = _found(error.name)


def _found(name: str) -> type:
    """Return the class of this name. A public name has one meaning in the whole package."""
    for path in _SOURCE.rglob("*.py"):
        if re.search(rf"^class {name}\b", path.read_text(), re.MULTILINE):
            module = ".".join(("rsdos", *path.relative_to(_SOURCE).with_suffix("").parts))
            found = locate(f"{module}.{name}")
            if isinstance(found, type):
                return found
    raise TypeError(f"{name}: there is no such class")


def _arguments_of_base(kind: type) -> tuple[Any, ...]:
    """Return what a class of the package is a sequence of."""
    for base in getattr(kind, "__orig_bases__", ()):
        if arguments := typing.get_args(base):
            return arguments
    raise TypeError(f"{kind}: it does not say what it is a sequence of")


def _descriptions(kind: type) -> dict[str, str]:
    """Return the texts that are below the members of a class."""
    found: dict[str, str] = {}
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    except (OSError, SyntaxError):
        return found
    if not isinstance(tree.body[0], ast.ClassDef):
        return found
    for member, text in pairwise(tree.body[0].body):
        match member, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(told))):
                found[name] = _plain_text(told)
    return found


def _plain_text(text: str) -> str:
    """Return a docstring as Markdown, without line breaks."""
    return " ".join(text.replace("``", "`").split())
