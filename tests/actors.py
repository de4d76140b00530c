"""Attempts and coordinators as actors that are stopped in front of every file operation others could notice.

Each actor is a thread, but only one ever runs: whoever directs the play says who makes the next step.  So every
interleaving can be played, repeated, and left half way by a crash.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from typing import Any

from tests.faults import Operations

NOTICEABLE = frozenset(["open", "mkdir", "link", "rename", "replace", "unlink", "rmdir", "scandir"])
"""What an actor does between two of these touches nothing that another one looks at."""


class Killed(BaseException):
    """Ends the thread of an actor that crashed; no code under test catches it."""


class Actor:
    """Does ``work``, step by step."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.result: Any = None
        self.error: Exception | None = None
        self.done = False
        self.history: list[str] = []  # operations it was stopped in front of, and their errors
        self.made: list[str] = []  # names of directories
        self._killed = False
        self._go = threading.Semaphore(0)
        self._waits = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._act, args=(work,), daemon=True)
        self._thread.start()
        self._waits.acquire()

    def _act(self, work: Callable[[], Any]) -> None:
        _current.actor = self
        try:
            self.pause()
            self.result = work()
        except Killed:
            pass
        except Exception as error:
            self.error = error
        finally:
            self.done = True
            self._waits.release()

    def pause(self) -> None:
        """Wait for the next step; called by the actor itself."""
        self._waits.release()
        self._go.acquire()
        if self._killed:
            raise Killed

    @property
    def killed(self) -> bool:
        """Whether it crashed."""
        return self._killed

    def step(self) -> None:
        """Let it go on to the next operation, or to its end."""
        if not self.done:
            self._go.release()
            self._waits.acquire()

    def finish(self) -> None:
        """Let it go on to its end."""
        while not self.done:
            self.step()

    def kill(self) -> None:
        """Let it crash where it stands: it does nothing more, not even tidying up."""
        if not self.done:
            self._killed = True
            self.step()
        self._thread.join()


class Stage(Operations):
    """Stops whoever is an actor in front of its operations; lets everybody else pass.

    Parameters
    ----------
    coarse
        Not in front of the syncing of directories.
    """

    def __init__(self, coarse: bool = False) -> None:
        self.coarse = coarse

    def operate(self, name: str, real: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        actor: Actor | None = getattr(_current, "actor", None)
        if actor is None:
            return real(*args, **kwargs)
        if actor.killed and name != "close":  # a dead process closes its files, and nothing else
            raise Killed
        if name in NOTICEABLE and not (self.coarse and name == "open" and args[1] & os.O_DIRECTORY):
            actor.history.append(name)
            actor.pause()
        if name == "mkdir":
            actor.made.append(os.path.basename(args[0]))  # noqa: PTH119
        try:
            return real(*args, **kwargs)
        except OSError as error:
            if name != "mkdir" or error.errno != errno.EEXIST:  # which makes no difference to anybody
                actor.history.append(errno.errorcode[error.errno])
            raise


_current = threading.local()
