"""Commands for shells and editors: completion, schema."""

from __future__ import annotations

import click

from psdbatch.cli.common import print_json, print_lines

SHELLS = ("bash", "zsh", "fish")
CONFIGURATIONS = ("campaign", "training")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes psdbatch's commands, options and paths in SHELL.

    For good: psdbatch completion bash > ~/.local/share/bash-completion/completions/psdbatch
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"this version of click knows no completion for {shell}")
    print_lines(kind(context.find_root().command, {}, "psdbatch", "_PSDBATCH_COMPLETE").source().splitlines())


@click.command()
@click.argument("file", type=click.Choice(CONFIGURATIONS))
def schema(file: str) -> None:
    """Print the JSON Schema of campaign.toml or training.toml, for editors.

    An editor that knows TOML schemas then completes keys, shows what they mean and marks what is wrong.
    """
    from psdbatch.config.schema import configuration_schema

    print_json(configuration_schema(file))
