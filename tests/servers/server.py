"""What SLURM and Grid Engine have in common as test servers."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NoReturn

from tests.servers.processes import (
    MARK,
    SYSTEM_PROGRAMS,
    Daemon,
    ServerError,
    end_processes,
    processes_where,
    wait_until,
)

STARTED_WITHIN = 60.0
"""Seconds for all daemons; the last resort of a busy machine, usually it takes three."""


class Server(ABC):
    """A batch system of one machine in one directory.

    Parameters
    ----------
    directory : Path
        Holds everything; other users may have to look into it, so not below a private folder. Kept by `stop`, and
        used again, with the jobs in it, by the next `start`.
    """

    name: str

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()
        self._daemons: dict[str, Daemon] = {}

    @property
    @abstractmethod
    def environment(self) -> dict[str, str]:
        """What the commands of this system need to find it."""

    @staticmethod
    @abstractmethod
    def unavailable() -> str | None:
        """Why it cannot run on this machine, or None."""

    @abstractmethod
    def jobs(self) -> list[str]:
        """Numbers of the jobs that wait, run or end just now."""

    @abstractmethod
    def cancel_all(self) -> None:
        """Cancel every job and wait, not for ever, until they are gone."""

    @abstractmethod
    def reset(self) -> None:
        """Cancel all jobs and take all jobs again: the state the next test expects."""

    @abstractmethod
    def _start(self) -> None:
        """Start the daemons and wait until jobs can run."""

    @abstractmethod
    def _is_job_of_ours(self, environment: dict[str, str]) -> bool:
        """Whether a process with this environment belongs to a job of this server."""

    def start(self) -> None:
        """Start what does not run yet and wait until jobs can run.

        Raises
        ------
        ServerError
            With the end of each daemon's log, if one ends or does not answer in time.
        """
        if self.running:
            return
        reason = self.unavailable()
        if reason:
            raise ServerError(f"{self.name} cannot run here: {reason}")
        self.stop()  # the rest of a cluster that lost a daemon, or of a process that was killed and had this directory
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o755)
        (self.directory / "log").mkdir(exist_ok=True)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Cancel all jobs and end every process of this server; the directory stays."""
        if self.running:
            with contextlib.suppress(ServerError):  # what cannot be cancelled is ended below
                self.cancel_all()
        self.stop_daemons()

    def stop_daemons(self) -> None:
        """End every process of this server, jobs too, but leave the jobs in the queue on disk."""
        for daemon in reversed(self._daemons.values()):
            daemon.stop()
        self._daemons = {}
        end_processes(self._is_ours)

    def remove(self) -> None:
        """Stop it and delete its directory."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether every daemon runs."""
        return bool(self._daemons) and not self._ended()

    def processes(self) -> list[int]:
        """Daemons and job processes of this server, whoever started it."""
        return processes_where(self._is_ours)

    def report(self) -> str:
        """Every daemon's state and the end of its log."""
        return "\n".join(daemon.report() for daemon in self._daemons.values())

    def run(self, *command: str) -> str:
        """What a command of this system prints.

        Raises
        ------
        ServerError
            With its message, if it fails.
        """
        done = subprocess.run(
            command, env={**os.environ, **self.environment}, capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode != 0:
            raise ServerError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def wait_empty(self, timeout: float = 60.0) -> None:
        """Wait until no job waits or runs."""
        if not wait_until(lambda: not self.jobs(), timeout):
            raise ServerError(f"{self.name}: still queued after {timeout} s: {' '.join(self.jobs())}")

    def _launch(self, name: str, command: list[str], patience: float = 10.0, **environment: str) -> None:
        base = {"PATH": SYSTEM_PROGRAMS, "LC_ALL": "C.UTF-8", MARK: str(self.directory)}
        log = self.directory / "log" / f"{name}.out"
        daemon = Daemon(name, command, log, {**base, **self.environment, **environment}, patience)
        self._daemons[name] = daemon
        daemon.start()

    def _wait_up(self, answers: Callable[[], bool], what: str) -> None:
        """Wait until `answers`; a ServerError in it means not yet."""

        def settled() -> bool:
            if self._ended():
                return True
            with contextlib.suppress(ServerError):
                return answers()
            return False

        came = wait_until(settled, STARTED_WITHIN)
        if self._ended():
            self._give_up(f"{', '.join(self._ended())} ended at once")
        if not came:
            self._give_up(what)

    def _ended(self) -> list[str]:
        return [name for name, daemon in self._daemons.items() if not daemon.running]

    def _is_ours(self, environment: dict[str, str]) -> bool:
        return environment.get(MARK) == str(self.directory) or self._is_job_of_ours(environment)

    def _give_up(self, what: str) -> NoReturn:
        raise ServerError(f"{self.name} in {self.directory}: {what}\n{self.report()}")
