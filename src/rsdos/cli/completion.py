"""``rsdos completion``."""

from __future__ import annotations

import click

from rsdos.cli.render import echo


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    For bash, put eval "$(rsdos completion bash)" in ~/.bashrc; for zsh likewise in ~/.zshrc. For fish, run
    rsdos completion fish | source.

    \b
    Example: eval "$(rsdos completion bash)"
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    echo(kind(ctx.find_root().command, {}, "rsdos", "_RSDOS_COMPLETE").source())
