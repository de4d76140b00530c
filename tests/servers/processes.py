"""Daemons in the foreground, found again by a mark in their environment; ports; the end of a log."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

MARK = "PSDBATCH_TEST_SERVER"  # names the state directory in the environment of every daemon
SYSTEM_PROGRAMS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ServerError(RuntimeError):
    """A test server did not start, or did not do what it was asked."""


def missing_programs(names: Iterable[str], directory: str = "") -> list[str]:
    """Those of `names` that are neither in `directory` nor among the system's programs."""
    path = f"{directory}:{os.environ.get('PATH', '')}:{SYSTEM_PROGRAMS}"
    return [name for name in names if shutil.which(name, path=path) is None]


def why_not_here(programs: Iterable[str], directory: str = "") -> str | None:
    """The reason why a server with these programs cannot run on this machine, or None."""
    if sys.platform != "linux":
        return f"needs Linux, this is {sys.platform}"
    if os.geteuid() != 0:
        return "needs root: the servers start jobs for other users"
    missing = missing_programs(programs, directory)
    if missing:
        return f"not installed: {', '.join(missing)} (.ci/install-servers installs it)"
    return None


FIRST_PORT = 20_000
"""From here to 32,000: below the ports that the kernel gives to outgoing connections."""


def free_ports(count: int) -> list[int]:
    """TCP ports nobody listens at; tests that run at the same time in several processes take different hundreds."""
    first = FIRST_PORT + os.getpid() % 120 * 100
    sockets: list[socket.socket] = []
    try:
        while len(sockets) < count:
            candidate = socket.socket()
            try:
                candidate.bind(("", random.randrange(first, first + 100)))
            except OSError:
                candidate.close()
                continue
            sockets.append(candidate)
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


def environment_of(process: int) -> dict[str, str]:
    """The environment a process was started with; empty when it is gone."""
    try:
        entries = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
    except OSError:
        return {}
    return dict(entry.decode(errors="replace").split("=", 1) for entry in entries if b"=" in entry)


def processes_where(condition: Callable[[dict[str, str]], bool]) -> list[int]:
    """Processes, without zombies and this one, whose environment fulfils `condition`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            environment = environment_of(int(entry.name))  # a zombie's is empty
            if environment and condition(environment):
                found.append(int(entry.name))
    return sorted(found)


def wait_until(condition: Callable[[], bool], timeout: float, pause: float = 0.1) -> bool:
    """Whether `condition` came true within `timeout` seconds."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
    return True


def end_processes(condition: Callable[[dict[str, str]], bool], patience: float = 5.0) -> None:
    """End all processes with such an environment: politely, and after `patience` seconds for certain."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in processes_where(condition):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)
        if wait_until(lambda: not processes_where(condition), patience):
            return


def end_of(log: Path, lines: int = 8) -> str:
    """The last lines of a log, indented under its name."""
    text = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join([f"{log}:", *(f"    {line}" for line in text[-lines:] or ["(empty)"])])


class Daemon:
    """One server program in the foreground; ends with the process that started it.

    Parameters
    ----------
    name : str
        What messages and its log file call it.
    command : list of str
        The program and its arguments, in the form that does not go to the background.
    log : Path
        Receives what it prints.
    environment : mapping
        Its whole environment.
    patience : float
        Seconds it may take to end by itself; then it is killed.
    """

    def __init__(
        self, name: str, command: list[str], log: Path, environment: Mapping[str, str], patience: float = 10.0
    ) -> None:
        self.name, self.command, self.log, self.patience = name, command, log, patience
        self.environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it unless it runs."""
        if self.running:
            return
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                # the kernel ends it when the tests are killed; setpriv is a part of util-linux
                ["setpriv", "--pdeathsig", "TERM", *self.command],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                start_new_session=True,  # Ctrl-C in pytest ends the test first, then the server
            )

    @property
    def running(self) -> bool:
        """Whether its process exists."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process number."""
        if self._process is None:
            raise ServerError(f"{self.name} was not started")
        return self._process.pid

    def stop(self) -> None:
        """End it and wait for its end."""
        if self._process is None:
            return
        for end in (self._process.terminate, self._process.kill):
            end()
            try:
                self._process.wait(self.patience)
                break
            except subprocess.TimeoutExpired:
                continue
        self._process = None

    def report(self) -> str:
        """Its state and the end of its log."""
        state = "runs" if self.running else f"ended with {self._process.returncode}" if self._process else "not started"
        return f"{self.name} {state}; the end of {end_of(self.log)}"
