"""Print the script that completes commands, options and names in a shell."""

from __future__ import annotations

import click

EXAMPLES = """\b
Examples:
  eval "$(codeprompt completion bash)"                                # in ~/.bashrc
  eval "$(codeprompt completion zsh)"                                 # in ~/.zshrc
  codeprompt completion fish > ~/.config/fish/completions/codeprompt.fish
"""
VARIABLE = "_CODEPROMPT_COMPLETE"


@click.command("completion", epilog=EXAMPLES)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that completes commands, options and names in a shell.

    Names of tasks, methods, metrics, recipes and packs are completed too.
    """
    from click.shell_completion import get_completion_class

    from codeprompt.cli.app import APP

    completes = get_completion_class(shell)
    assert completes is not None  # the choice above holds what click has
    click.echo(completes(APP, {}, "codeprompt", VARIABLE).source())


COMMAND = completion
