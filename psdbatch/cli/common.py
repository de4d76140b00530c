"""What the commands share: options, reading of arguments, printing."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from psdbatch.cli import candidates

if TYPE_CHECKING:
    from rich.console import Console

PATH = click.Path(path_type=Path)
DIRECTORY = click.Path(path_type=Path, file_okay=False)
"""A directory, such as a campaign's; shells complete to directories only."""
PICTURE = (".png", ".pdf", ".svg")
"""Endings of pictures."""
JSON = click.option("--json", "as_json", is_flag=True, help="Print facts as JSON.")

LOG_WIDTH = 200
"""Columns of a line in a log or a pipe, where nobody wants file names cut to 80."""

TABLE_WIDTH = 80
"""Least columns of a table."""


class OutputFile(click.Path):
    """A file to write; that its directory is there and its name ends as it must is said before anything is done.

    Parameters
    ----------
    endings
        Of the names that it may have; default: any.
    """

    def __init__(self, *endings: str) -> None:
        super().__init__(path_type=Path)
        self._endings = endings

    def convert(
        self, value: str | os.PathLike[str], parameter: click.Parameter | None, context: click.Context | None
    ) -> Any:
        """The path."""
        path = Path(os.fsdecode(super().convert(value, parameter, context)))
        if not path.parent.is_dir():
            self.fail(f"'{path}': there is no directory '{path.parent}'.", parameter, context)
        if self._endings and path.suffix not in self._endings:
            self.fail(f"'{path}' must end with {' or '.join(self._endings)}.", parameter, context)
        return path


class FiniteRange(click.FloatRange):
    """A number in a range; 'nan' and 'inf', which click lets through, lie in none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is not in the range {self._describe_range()}.", param, ctx)
        return number


FORMAT = click.option(
    "--format",
    "format_name",
    default="auto",
    show_default=True,
    shell_complete=candidates.formats,
    help="Acquisition format of all files.",
)
FORMAT_OPTIONS = click.option(
    "--option",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    shell_complete=candidates.format_options,
    help="Option of the format; may be repeated.",
)


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
    """Console for people: standard output, or standard error where that is for JSON.

    Bars and other things that move are for terminals only, even where FORCE_COLOR asks for colours in a log.  Whoever
    reads may leave (``| head -1``): the command goes on without.
    """
    from rich.console import Console

    class Patient(Console):
        def on_broken_pipe(self) -> None:
            self.quiet = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())

        def print(self, *objects: Any, **options: Any) -> None:
            width = self.width
            if width < TABLE_WIDTH and any(not isinstance(one, str) for one in objects):
                self.width = TABLE_WIDTH  # the terminal breaks the lines; a table of its width would leave figures out
            super().print(*objects, **options)
            if self.width != width:
                self.width = width

    stream = sys.stderr if quiet else sys.stdout  # None where the shell has closed it
    terminal = stream is not None and stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
    # Names of files are no markup: '[red]' is a name, and so is ':b:'.
    console = Patient(stderr=quiet, force_interactive=terminal, markup=False, emoji=False, highlight=False)
    if not terminal:
        console.width = max(console.width, LOG_WIDTH)
    return console


def campaign_at(path: Path) -> Path:
    """A campaign's directory, named by itself or by the campaign.toml that it is run with.

    Raises
    ------
    ConfigurationError
        The file is no campaign's configuration.
    """
    if not path.is_file():
        return path
    from psdbatch.config import read_config

    return Path(read_config(path).campaign)


def print_lines(lines: Iterable[str]) -> None:
    """Lines as they are, on standard output; a reader that has seen enough (``| head -1``) ends them, which is no error."""
    try:
        for line in lines:
            click.echo(line)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_json(value: Any) -> None:
    """One JSON value on standard output; numbers that JSON does not know (NaN, infinity) become null."""
    click.echo(json.dumps(_plain(value), indent=1, allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(entry) for entry in value]
    if hasattr(value, "tolist"):  # a NumPy number or array
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (str, int, bool)) else str(value)
