"""Entry point of the ``psdbatch`` command: errors become one message and an exit code."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

import click

from psdbatch.errors import ExitCode, PsdbatchError


def main() -> NoReturn:
    """Run the command line."""
    from psdbatch.cli import cli

    for number in (signal.SIGTERM, signal.SIGXCPU):
        signal.signal(number, _interrupt)
    try:
        code = cli.main(standalone_mode=False)
    except PsdbatchError as error:
        click.echo(f"psdbatch: {error}", err=True)
        code = error.exit_code
    except click.ClickException as error:
        error.show()
        code = ExitCode.USAGE
    except (KeyboardInterrupt, click.Abort):
        click.echo("psdbatch: interrupted; the same command goes on", err=True)
        code = ExitCode.UNFINISHED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = ExitCode.ERROR
    except OSError as error:  # a file or directory that the user named
        click.echo(f"psdbatch: {error.filename or 'file system'}: {error.strerror or error}", err=True)
        code = ExitCode.ERROR
    sys.exit(int(code or 0))


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    # A batch system signals all processes of a job, and its shell hands the signal on: once is enough.
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
