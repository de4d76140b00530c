"""What the commands share: options, reading of arguments, printing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

PATH = click.Path(path_type=Path)
JSON = click.option("--json", "as_json", is_flag=True, help="Print facts as JSON.")


def read_options(pairs: tuple[str, ...]) -> dict[str, Any]:
    """``KEY=VALUE`` pairs; values are read as TOML where they are (``5``, ``true``), else as text."""
    import tomllib

    options: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise click.UsageError(f"'{pair}' is not KEY=VALUE")
        try:
            options[key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            options[key] = value
    return options


def open_console(quiet: bool = False) -> Console:
    from rich.console import Console

    console = Console(stderr=quiet)
    if not console.is_terminal:  # a log or a pipe: nobody wants file names cut to 80 columns
        console.width = max(console.width, 200)
    return console


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=1, default=str))
