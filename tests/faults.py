"""Stand-ins for ``os`` inside the modules that write: they see every single file operation, and may stop or spoil it."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

from psdbatch.campaign import files
from psdbatch.results import store

OPERATIONS = frozenset(
    [
        "open",
        "write",
        "close",
        "fsync",
        "mkdir",
        "link",
        "rename",
        "replace",
        "unlink",
        "rmdir",
        "scandir",
        "stat",
        "fstat",
        "pread",
    ]
)
"""Functions of ``os`` that count as one file operation each."""


class Operations:
    """Forwards to ``os``; every file operation goes through :meth:`operate`."""

    def operate(self, name: str, real: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Do one operation; ``real`` is the function of ``os``."""
        return real(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in OPERATIONS:
            return real
        return lambda *args, **kwargs: self.operate(name, real, *args, **kwargs)


@contextmanager
def operations(instead: Operations) -> Iterator[None]:
    """Let the modules that write do their file operations through ``instead``."""
    before = files.os, store.os
    files.os = store.os = instead  # type: ignore[attr-defined, assignment]
    try:
        yield
    finally:
        files.os, store.os = before  # type: ignore[attr-defined]


class Counting(Operations):
    """Counts the operations and keeps their names."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def operate(self, name: str, real: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.names.append(name)
        return real(*args, **kwargs)


class Fault(StrEnum):
    """What happens at one operation."""

    KILLED = "the process is killed in front of it"
    HALF_DONE = "the process is killed behind it; a write has written half of its bytes"
    EIO = "it fails with EIO"
    ENOSPC = "it fails with ENOSPC"
    REPLY_LOST = "it is done, but fails with EIO all the same"
    DEVICE_LOST = "it is done, but fails with EIO, and so do all that follow, undone"


DEADLY = (Fault.KILLED, Fault.HALF_DONE)


class Faulty(Operations):
    """Has ``fault`` happen at operation number ``at``, counted from 0."""

    def __init__(self, at: int, fault: Fault) -> None:
        self.at = at
        self.fault = fault
        self.done = 0

    def operate(self, name: str, real: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        number, self.done = self.done, self.done + 1
        if number == self.at:
            return self._spoil(name, real, *args, **kwargs)
        if number > self.at and self.fault is Fault.DEVICE_LOST:
            return self._fail(name, errno.EIO, real, *args)
        return real(*args, **kwargs)

    def _spoil(self, name: str, real: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self.fault is Fault.KILLED:
            die()
        if self.fault is Fault.HALF_DONE:
            if name == "write":
                args = (args[0], bytes(args[1])[: len(args[1]) // 2])
            real(*args, **kwargs)
            die()
        if (
            self.fault in (Fault.REPLY_LOST, Fault.DEVICE_LOST) and name != "open"
        ):  # nobody could close what it has opened
            real(*args, **kwargs)
        return self._fail(name, errno.ENOSPC if self.fault is Fault.ENOSPC else errno.EIO, real, *args)

    @staticmethod
    def _fail(name: str, code: int, real: Callable[..., Any], *args: Any) -> Any:
        if name == "close":
            with suppress(OSError):
                real(*args)  # a descriptor is free whatever close says
        raise OSError(code, os.strerror(code), str(args[0]))


def die() -> None:
    """End this process at once, as ``kill -9`` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_at_event(number: int, folder: Path) -> None:
    """Kill this process in front of the file operation of that number below ``folder``, whichever library makes it.

    Python's audit events tell of every ``open``, ``rename``, ``mkdir``, ``link``, ``remove`` and ``rmdir``.  The hook stays, so
    this is for a forked process.
    """
    left = number

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event == "open" or event.startswith("os."):
            path = arguments[0] if arguments else None
            if isinstance(path, (str, os.PathLike)) and str(path).startswith(str(folder)):
                if left == 0:
                    die()
                left -= 1

    sys.addaudithook(hook)


def in_a_process(work: Callable[[], Any]) -> int:
    """Do ``work`` in a forked process; its return code: 0 done, 1 an exception, -9 killed."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def copy_tree(source: Path, target: Path) -> None:
    """Copy a small directory, faster than the library does."""
    target.mkdir()
    for entry in os.scandir(source):
        if entry.is_dir():
            copy_tree(source / entry.name, target / entry.name)
        else:
            (target / entry.name).write_bytes((source / entry.name).read_bytes())
