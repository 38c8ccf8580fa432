"""Groups of commands, which say what a mistyped command may mean."""

from __future__ import annotations

import click

_ALIKE = 0.7
"""How much of two names must be the same, from 0 to 1. With 0.6, difflib's default, "pack" would be like "backup"."""


class CommandGroup(click.Group):
    """Names the commands that a mistyped one may mean.

    click 8.1 does this only for options, and click 8.5 not for commands that are imported when they are used.
    """

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        wanted = args[0]
        if self.get_command(ctx, wanted) is None and not wanted.startswith("-") and not ctx.resilient_parsing:
            from difflib import get_close_matches

            alike = get_close_matches(wanted, self.list_commands(ctx), cutoff=_ALIKE)
            hint = f" Did you mean {' or '.join(map(repr, alike))}?" if alike else ""
            ctx.fail(f"No such command {wanted!r}.{hint}")
        return super().resolve_command(ctx, args)
