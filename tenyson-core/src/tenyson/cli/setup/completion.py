"""tenyson completion: the script that teaches a shell our names, those of plugins included."""

from __future__ import annotations

import click

INSTALL = {
    "bash": 'eval "$(tenyson completion bash)"      # in ~/.bashrc; needs bash 4.4 or newer',
    "zsh": 'eval "$(tenyson completion zsh)"       # in ~/.zshrc, after compinit',
    "fish": "tenyson completion fish > ~/.config/fish/completions/tenyson.fish",
}
EPILOG = "\b\nTo install:\n" + "\n".join(f"  {line}" for line in INSTALL.values())


@click.command(epilog=EPILOG)
@click.argument("shell", type=click.Choice(list(INSTALL)))
def completion(shell: str) -> None:
    """Print the completion script of a shell."""
    from click.shell_completion import ShellComplete, get_completion_class

    from tenyson.cli.main import cli

    cls = get_completion_class(shell)
    assert cls is not None
    complete: ShellComplete = cls(cli, {}, "tenyson", "_TENYSON_COMPLETE")
    # The class itself would run bash to ask its version; the script is the same for every version.
    click.echo(complete.source_template % complete.source_vars())
