"""Sizes as people write them."""

from __future__ import annotations

import re

import click

from rsdos.cli.parameter import Parameter

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKMGT]i?B?|B)?")
_EXPONENTS = {"k": 1, "K": 1, "M": 2, "G": 3, "T": 4}


class Size(Parameter):
    """``512`` (MiB), ``4GiB``, ``500MB``, ``100B``; gives bytes."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = _SIZE.fullmatch(str(value).strip())
        if match is None:
            self.fail(f"{value!r} is not a size such as 512 (MiB), 4GiB or 500MB", param, ctx)
        number, unit = float(match[1]), match[2]
        if unit is None:
            scale = 1 << 20
        elif unit == "B":
            scale = 1
        else:
            scale = (1024 if "i" in unit else 1000) ** _EXPONENTS[unit[0]]
        size = int(number * scale)
        if size <= 0:
            self.fail("a pack size is more than zero", param, ctx)
        return size
