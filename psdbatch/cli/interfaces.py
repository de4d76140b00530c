"""Commands for shells and editors: completion, schema."""

from __future__ import annotations

import click

from psdbatch.cli.common import print_json, print_lines
from psdbatch.cli.completion import SHELLS

CONFIGURATIONS = ("campaign", "training")


@click.command(short_help="Print the completion script of a shell")
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes psdbatch's commands, options and paths in SHELL.

    For good: psdbatch completion bash > ~/.local/share/bash-completion/completions/psdbatch
    """
    script = SHELLS[shell](context.find_root().command, {}, "psdbatch", "_PSDBATCH_COMPLETE").source()
    print_lines(script.splitlines())


@click.command(short_help="Print a JSON Schema for editors")
@click.argument("file", type=click.Choice(CONFIGURATIONS))
def schema(file: str) -> None:
    """Print the JSON Schema of campaign.toml or training.toml, for editors.

    An editor that knows TOML schemas then completes keys, shows what they mean and marks what is wrong.
    """
    from psdbatch.config.schema import configuration_schema

    print_json(configuration_schema(file))
