"""Entry point of the ``psdbatch`` command: errors become one message and an exit code."""

from __future__ import annotations

import io
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

from psdbatch.errors import ExitCode, PsdbatchError

GO_ON = ("run", "train")
"""Commands that go on where they were interrupted; the others begin anew."""

_signals: list[int] = []
"""Signals that asked for an end."""


def main() -> NoReturn:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # no locale's encoding may make a finished command fail
            stream.reconfigure(errors="backslashreplace")
    for number in (signal.SIGTERM, signal.SIGXCPU):
        signal.signal(number, _interrupt)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as shells start what runs in the background
        signal.signal(signal.SIGINT, _interrupt)
    try:
        code = _run()
    except PsdbatchError as error:
        code = _end(str(error), error.exit_code)
    except BaseException as error:
        if not (_signals or isinstance(error, KeyboardInterrupt)):
            raise
        # Compiled code that is interrupted may raise an error of its own instead.
        goes_on = "; the same command goes on" if sys.argv[1:2] and sys.argv[1] in GO_ON else ""
        code = _end(f"interrupted{goes_on}", ExitCode.UNFINISHED)
    sys.exit(int(code))


def _run() -> int:
    """Do what the command line says.  Nothing is imported outside, where an interruption would leave a traceback."""
    import click

    from psdbatch.cli import cli

    try:
        return int(cli.main(standalone_mode=False) or ExitCode.OK)
    except click.ClickException as error:
        error.show()
        return ExitCode.USAGE
    except click.Abort:
        raise KeyboardInterrupt from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.ERROR
    except OSError as error:  # a file or directory that the user named
        if _signals or isinstance(error, PsdbatchError):
            raise
        return _end(f"{error.filename or 'file system'}: {error.strerror or error}", ExitCode.ERROR)


def _end(words: str, code: ExitCode) -> ExitCode:
    if sys.stderr is not None:  # the shell has closed it
        print(f"psdbatch: {words}", file=sys.stderr, flush=True)
    return code


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    _signals.append(number)
    if number != signal.SIGINT:
        # A batch system signals all processes of a job, and its shell hands the signal on: once is enough.
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
