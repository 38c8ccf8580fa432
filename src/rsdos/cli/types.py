"""Times, shares and sizes as options."""

from __future__ import annotations

import re

import click

from rsdos.cli.parameter import Parameter

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d)?")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*(%)?")


class Duration(Parameter):
    """``90`` (seconds), ``90s``, ``10m``, ``2h``, ``7d``, as seconds."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        match = _DURATION.fullmatch(str(value).strip())
        if match is None:
            self.fail(f"{value!r} is not a time such as 90s, 10m, 2h or 7d", param, ctx)
        return float(match[1]) * _SECONDS[match[2] or "s"]


class Share(Parameter):
    """``20%`` or ``0.2``, as a number from 0 to 1."""

    name = "share"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        match = _SHARE.fullmatch(str(value).strip())
        share = float(match[1]) / (100 if match[2] else 1) if match else -1.0
        if not 0 <= share <= 1:
            self.fail(f"{value!r} is not a share such as 20% or 0.2", param, ctx)
        return share


_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKMGT]i?B?|B)?")
_EXPONENTS = {"k": 1, "K": 1, "M": 2, "G": 3, "T": 4}


class Size(Parameter):
    """``512`` (MiB), ``4GiB``, ``500MB``, ``100B``, as bytes."""

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
            self.fail("a pack size must be more than zero", param, ctx)
        return size
