"""``conclave completion``: the script that completes verbs and options in a shell."""

from __future__ import annotations

import click

from conclave.command import Session, verb


@verb(
    "completion",
    "conclave completion bash > ~/.local/share/bash-completion/completions/conclave",
    'conclave completion zsh > "${fpath[1]}/_conclave"',
    "conclave completion fish > ~/.config/fish/completions/conclave.fish",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(session: Session, shell: str) -> None:
    """Print the shell's completion script."""
    from click.shell_completion import get_completion_class

    from conclave.__main__ import cli

    del session
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "conclave", "_CONCLAVE_COMPLETE").source())
