"""Writes the pages of the site into ``build/pages``: those of the checkout, and four that are generated.

Run by `make docs`, which builds the site from them, strictly. What fails: a link or an anchor that leads nowhere, and a
public name without a docstring.
"""

from __future__ import annotations

import inspect
import json
import re
import shutil
from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path
from pydoc import locate
from typing import Any

import click

import rsdos
from rsdos import errors
from rsdos.cli.json_documents import DOCUMENTS
from rsdos.cli.json_schema import commands_with_json, schema_of_command
from rsdos.cli.main import rsdos as command_line

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "build" / "pages"
SOURCE = ROOT / "src" / "rsdos"

TAKEN = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "benchmarks/README.md": "benchmarks.md",
    "examples/README.md": "examples.md",
}
"""Pages that are elsewhere in the checkout, and their names on the site."""

REACHED = (
    "rsdos.facade.snapshots.Snapshots",
    "rsdos.facade.snapshot_path.SnapshotPath",
    "rsdos.facade.draft.Draft",
    "rsdos.facade.remotes.RemoteContainers",
)
"""Classes that users get from a container, and do not import."""

DESCRIPTORS = (classmethod, staticmethod, property, cached_property)

HELP_WIDTH = 84
"""Characters of a line of code that a page shows without a bar to scroll."""

ERRORS = "Errors"
GROUPS = {
    "Containers": ("Container", "Snapshot"),
    "What is set": ("Durability", "Place", "Policy", "Verify", "WhenBusy", "Readers", "ReadableBy", "Sharing", "Trust"),
}
"""The first groups of the page of names. Errors are the last one, and between them is what is in none."""

ERRORS_BEGIN = """# Errors

Generated from `rsdos.errors`, grouped by what a caller should do. Each is an `RsdosError` and also a builtin one,
so that `except KeyError` or `except OSError` work. The command line prints the message in one line that begins with
`rsdos: error:`, and ends with an [exit code](command-line.md#exit-codes).
"""

JSON_BEGIN = """# JSON output

Generated from the types that commands print with `--json`. Each command has a JSON Schema (draft 2020-12) as a file:
of its documents, or of each line if it prints one document a line. A later release may add members, and
[keeps those that are here](compatibility.md).

Sizes and lengths are bytes, **size** is raw and **length** is stored; times without a date are seconds. Keys are hex. A
path that is no UTF-8 has its bytes in base64 besides, as `path_base64`. A member without a text of its own is explained
above its table. What is printed on standard error, and the [exit code](command-line.md#exit-codes), is no part of a
document.
"""

ROW = re.compile(r"^\|.*$", re.MULTILINE)
SPAN = re.compile(r"`[^`\n]*`")

LINK = re.compile(r"(?<=\]\()([^)#\s]+)")


def page_link(target: str, source: Path) -> str:
    """Return a link of a page as the site has it. ``source`` is the page, relative to the checkout.

    End the run when it leads to nothing that the site can have: a page or a file of the checkout.
    """
    if "://" in target or target.startswith("mailto:"):
        return target
    aimed = (ROOT / source.parent / target).resolve().relative_to(ROOT).as_posix()
    if aimed in TAKEN:
        page = TAKEN[aimed]
    elif (ROOT / aimed).is_file() and (aimed.startswith("docs/") or not aimed.endswith(".md")):
        page = aimed.removeprefix("docs/")
    else:
        raise SystemExit(f"{source}: no page and no file of the site is {target}")
    depth = len(place_of(source).parent.parts)
    return "../" * depth + page


def sources() -> list[Path]:
    """Return the pages of the checkout that the site has."""
    return [path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*.md")] + [Path(name) for name in TAKEN]


def place_of(source: Path) -> Path:
    """Return where a page of the checkout is on the site."""
    name = source.as_posix()
    return Path(TAKEN[name]) if name in TAKEN else source.relative_to("docs")


def copy_pages() -> None:
    """Copy all pages, with their links changed, and the files that they link to."""
    for source in sources():
        target = PAGES / place_of(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = ROW.sub(_plain_bars, (ROOT / source).read_text())
        target.write_text(LINK.sub(partial(_changed, source), text))


def _plain_bars(row: re.Match[str]) -> str:
    """Return a row of a table whose code has plain bars: the site would show the backslash that GitHub needs."""
    return SPAN.sub(lambda span: span[0].replace("\\|", "|"), row[0])


def _changed(source: Path, link: re.Match[str]) -> str:
    """Return the link as the site has it; copy the file that it leads to, where that is no page."""
    found = page_link(link[1], source)
    aimed = (ROOT / source.parent / link[1]).resolve()
    if aimed.is_file() and aimed.suffix != ".md":
        copy = PAGES / aimed.relative_to(ROOT).as_posix().removeprefix("docs/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(aimed, copy)
    return found


def help_pages(command: click.Command, name: str, above: click.Context | None = None) -> Iterator[str]:
    """Yield the help of a command, and of the commands below it."""
    context = click.Context(command, info_name=name, parent=above, terminal_width=HELP_WIDTH)
    level = "##" if context.command_path.count(" ") < 2 else "###"
    yield f"{level} {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            assert found is not None
            yield from help_pages(found, below, context)


def api_page() -> str:
    """Return the page of all public names, and of what they lead to."""
    names = [name for name in rsdos.__all__ if not name.startswith("__")]
    groups: dict[str, list[str]] = {title: list(members) for title, members in GROUPS.items()}
    groups["Containers"] += (path.removeprefix("rsdos.") for path in REACHED)
    for name in names:
        if not any(name in members for members in groups.values()):
            value = getattr(rsdos, name)
            is_error = isinstance(value, type) and issubclass(value, Exception)
            groups.setdefault(ERRORS if is_error else "Others", []).append(name)
    groups[ERRORS] = ["RsdosError", *(name for name in groups.pop(ERRORS) if name != "RsdosError")]
    parts = ["# Python API\n\nGenerated from the docstrings of `rsdos.__all__`, and of what `Container` leads to.\n"]
    groups["What operations return"] = [path.removeprefix("rsdos.") for path in reports()]
    for title, members in groups.items():
        parts += [f"## {title}\n", *(f"::: rsdos.{name}\n" for name in members)]
    return "\n".join(parts)


def reports() -> list[str]:
    """Return the paths of the reports of all operations."""
    modules = {path: ".".join(path.relative_to(ROOT / "src").with_suffix("").parts) for path in SOURCE.rglob("*.py")}
    found = ((module, re.findall(r"^class (\w+Report)\b", path.read_text(), re.M)) for path, module in modules.items())
    return sorted(f"{module}.{name}" for module, names in found for name in names if not name.startswith("_"))


def undocumented() -> Iterator[str]:
    """Yield the public names without a docstring: they would be left out of the page, or be empty there."""
    names = (f"rsdos.{name}" for name in rsdos.__all__ if not name.startswith("__"))
    for path in (*names, *REACHED, *reports()):
        value = locate(path)
        yield from _undocumented(path, value)
        if isinstance(value, type):
            for base in value.__mro__:
                if base.__module__.startswith("rsdos."):
                    for name, member in vars(base).items():
                        if not name.startswith("_") and (callable(member) or isinstance(member, DESCRIPTORS)):
                            yield from _undocumented(f"{path}.{name}", member)


def _undocumented(path: str, value: object) -> Iterator[str]:
    if not (inspect.getdoc(value) or "").strip():
        yield path


def errors_page() -> str:
    """Return the page of all errors, grouped as in `rsdos.errors`: what each means, is besides, and carries."""
    listed = {name: re.findall(r"`(\w+)`", row) for name, row in _rows(errors.__doc__ or "")}
    named = [name for names in listed.values() for name in names]
    public = [name for name, value in vars(errors).items() if isinstance(value, type) and name in rsdos.__all__]
    if sorted(named) != sorted(set(public) - {"RsdosError"}):
        raise SystemExit(f"the table of rsdos.errors is not of its public classes: {set(named) ^ set(public)}")
    parts = [ERRORS_BEGIN]
    for title, names in listed.items():
        parts.append(f"## {title.capitalize()}\n\n| error | is also | means | carries |\n|---|---|---|---|")
        parts += [_error_row(getattr(errors, name)) for name in names]
        parts.append("")
    return "\n".join(parts)


def _error_row(kind: type[errors.RsdosError]) -> str:
    bases = ", ".join(f"`{base.__name__}`" for base in kind.__bases__ if base is not errors.RsdosError)
    means = " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split())
    carried = sorted(set(re.findall(r"self\.(\w+) = ", inspect.getsource(kind))))
    names = ", ".join(f"`{name}`" for name in carried)
    return f"| `{kind.__name__}` | {bases} | {means.replace('``', '`')} | {names} |"


def _rows(text: str) -> Iterator[tuple[str, str]]:
    """Yield the rows of the table of a docstring, of two columns; a row whose first one is empty continues the last."""
    begun: list[str] = []
    for line in text.split("\n====")[2].splitlines()[1:]:
        if begun and line[:1] != " ":
            yield begun[0], begun[1]
            begun = []
        begun = [begun[0], f"{begun[1]} {line}"] if begun else [line[:21].strip(), line[21:]]
    yield begun[0], begun[1]


def json_page(schemas: dict[str, dict[str, Any]]) -> str:
    """Return the page of what commands print with ``--json``: tables of the schemas of `json_schemas`."""
    parts = [JSON_BEGIN]
    inside: dict[str, dict[str, Any]] = {}
    for name, schema in schemas.items():
        inside |= schema.get("$defs", {})
        parts.append(f"## rsdos {name}\n\n[Schema](schemas/{_schema_name(name)})\n")
        for document, described in zip(schema.get("anyOf", [schema]), DOCUMENTS[name], strict=True):
            when = re.sub(r"(--[a-z-]+|DIR)", r"`\1`", described.when)
            parts.append((f"**{when}**: " if when else "") + _table_of(document))
    parts += ["## Objects inside of documents\n"]
    parts += [f"### {name}\n\n{_table_of(schema)}" for name, schema in sorted(inside.items())]
    return "\n".join(parts)


def json_schemas() -> dict[str, dict[str, Any]]:
    """Return the schemas of all commands that have ``--json``."""
    return {name: schema_of_command(name, command) for name, command in commands_with_json(command_line).items()}


def _schema_name(command: str) -> str:
    return f"{command.replace(' ', '-')}.json"


def _table_of(schema: dict[str, Any]) -> str:
    """Return the text and the members of an object."""
    rows = [f"{schema['description']}\n\n| member | type | |\n|---|---|---|"]
    for name, member in schema["properties"].items():
        optional = "" if name in schema["required"] else "; may be absent"
        rows.append(f"| `{name}` | {_type_of(member)}{optional} | {member.get('description', '')} |")
    return "\n".join(rows) + "\n"


def _type_of(schema: dict[str, Any]) -> str:
    """Return the type of a member as text, with links to the objects inside."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(map(_type_of, schema["anyOf"]))
    if "prefixItems" in schema:
        return f"array: {', '.join(map(_type_of, schema['prefixItems']))}"
    if schema.get("type") == "array":
        return f"array of {_type_of(schema['items'])}"
    if isinstance(schema.get("type"), list):
        return " or ".join(schema["type"])
    return str(schema.get("type", "any"))


def main() -> None:
    """Write everything anew."""
    if missing := sorted(set(undocumented())):
        raise SystemExit(f"without a docstring: {', '.join(missing)}")
    shutil.rmtree(PAGES, ignore_errors=True)
    copy_pages()
    shutil.copy(Path(__file__).with_name("site.css"), PAGES)
    helps = "\n".join(help_pages(command_line, "rsdos"))
    (PAGES / "commands.md").write_text(f"# Commands\n\nThe help of every command, as `--help` prints it.\n\n{helps}")
    (PAGES / "api.md").write_text(api_page())
    (PAGES / "errors.md").write_text(errors_page())
    schemas = json_schemas()
    (PAGES / "json.md").write_text(json_page(schemas))
    (PAGES / "schemas").mkdir()
    for name, schema in schemas.items():
        (PAGES / "schemas" / _schema_name(name)).write_text(json.dumps(schema, indent=1) + "\n")


if __name__ == "__main__":
    main()
