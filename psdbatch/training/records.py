"""What the chief writes: restart state, best networks, history, and what TensorBoard shows."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from psdbatch.campaign import files
from psdbatch.errors import TrainingError
from psdbatch.training.course import Course
from psdbatch.training.directory import TrainingDirectory
from psdbatch.training.restart import RestartState, recorded_course

if TYPE_CHECKING:
    from psdbatch.training.board import Board
    from psdbatch.training.learner import Learner

KEPT = 3
"""Best networks that stay on disk, the newest ones: each is better than those before it."""

_CHECKPOINT = re.compile(r"epoch-(\d+)-loss-(.+)\.keras")


class Records:
    """Files of the training; those of a replica that is not the chief stay unwritten.

    Parameters
    ----------
    directory
        Of the training.
    round_
        Number of this start of the replicas; once there is a later one, nothing more is written.
    board
        For TensorBoard; None on a replica that writes nothing.
    """

    def __init__(self, directory: TrainingDirectory, round_: int, board: Board | None) -> None:
        self.directory, self._round, self._board = directory, round_, board

    def begin(self, state: RestartState) -> None:
        """Write the first restart state of all, so that every later round begins with the same network.

        Networks and history of a training whose state was removed are no part of this one.
        """
        if self._board is None:
            return
        self._check_round()
        for stale in [*self.directory.checkpoints.glob("*.keras"), self.directory.history]:
            files.remove_file(stale)
        state.write(self.directory.restart)

    def checkpoint(self, state: RestartState) -> None:
        """Replace the restart state."""
        if self._board is None:
            return
        self._check_round()
        state.write(self.directory.restart)

    def epoch(self, state: RestartState, course: Course, learner: Learner, better: bool) -> None:
        """An epoch is complete; ``state`` is the one behind it.  The state comes last: what a crash tears is made again."""
        if self._board is None:
            return
        self._check_round()
        if better:
            self._keep(learner, course)
        files.replace_durably(self.directory.history, history_table(course.history))
        self._board.epoch(course.history[-1], better, learner)
        state.write(self.directory.restart)

    def _keep(self, learner: Learner, course: Course) -> None:
        """Keep the network as the best one so far, in place of the oldest of its predecessors."""
        folder = self.directory.checkpoints
        path = folder / checkpoint_name(course.best_epoch, course.best_loss)
        partial = folder / f".partial-{self._round}.keras"
        learner.model.save(partial)
        files.sync_file(partial)
        files.rename(partial, path)
        files.sync_directory(folder)
        for old in checkpoints(folder)[:-KEPT]:
            files.remove_file(old)

    def _check_round(self) -> None:
        newest = newest_round(self.directory)
        if newest != self._round:
            raise TrainingError(f"round {newest} has begun; this replica is of round {self._round} and must not write")


def checkpoint_name(epoch: int, loss: float) -> str:
    """``epoch-007-loss-0.1234.keras``."""
    return f"epoch-{epoch:03d}-loss-{loss:.4f}.keras"


def best_checkpoint(directory: TrainingDirectory) -> Path | None:
    """The best network so far, by the recorded course; None if there is none, or if it was removed.

    A crash may leave a network of an epoch that was done again.  Where the restart state was removed, the newest is the best.
    """
    course = recorded_course(directory.restart)
    if course is None:
        kept = checkpoints(directory.checkpoints)
        return kept[-1] if kept else None
    path = directory.checkpoints / checkpoint_name(course.best_epoch, course.best_loss)
    return path if path.exists() else None


def checkpoints(folder: Path) -> list[Path]:
    """Networks kept in ``folder``, in the order of their epochs."""
    found = ((_CHECKPOINT.fullmatch(path.name), path) for path in folder.glob("epoch-*.keras"))
    return [path for _, path in sorted((int(match.group(1)), path) for match, path in found if match)]


def newest_round(directory: TrainingDirectory) -> int:
    """Number of the last start of the replicas; 0 before the first."""
    return max((int(path.stem) for path in directory.rounds.glob("[0-9]*.json")), default=0)


def history_table(history: Sequence[Mapping[str, float]]) -> bytes:
    """The history as CSV with a header."""
    text = io.StringIO()
    if history:
        writer = csv.DictWriter(text, list(history[0]))
        writer.writeheader()
        writer.writerows(history)
    return text.getvalue().encode()
