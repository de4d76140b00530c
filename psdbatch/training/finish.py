"""After the last epoch: the best network under its name, frozen, and evaluated on the test part."""

from __future__ import annotations

from psdbatch.campaign import files
from psdbatch.config.training import TrainingConfig
from psdbatch.errors import PsdbatchError, TrainingError
from psdbatch.evaluation.evaluating import evaluate_model
from psdbatch.training.directory import TrainingDirectory
from psdbatch.training.freeze_request import FreezeRequest, freeze_in_subprocess
from psdbatch.training.progress import TrainingProgress
from psdbatch.training.records import best_checkpoint
from psdbatch.training_set.store import StoredSet


def conclude(
    directory: TrainingDirectory, config: TrainingConfig, stored: StoredSet, progress: TrainingProgress
) -> None:
    """Write ``model.keras``, ``model.pb`` and ``evaluation/``.

    Raises
    ------
    TrainingError
        There is no network: no epoch had a validation loss.
    PsdbatchError
        The network cannot be frozen; ``model.keras`` is there.
    """
    best = best_checkpoint(directory)
    if best is None:
        raise TrainingError(f"{directory.checkpoints}: does not hold the best network; was it removed by hand?")
    files.replace_durably(directory.model, best.read_bytes())
    progress.note(f"best network: {directory.model}")
    frozen = freeze_in_subprocess(FreezeRequest(source=str(directory.path), target=str(directory.frozen)))
    progress.note(f"frozen with its preparation: {frozen.path}")
    if "test" not in stored.parts:
        progress.note("the set has no test part: nothing to evaluate on")
        return
    try:
        evaluation = evaluate_model(directory.path, stored.path)
    except PsdbatchError as error:  # the training is over all the same
        progress.note(
            f"cannot be evaluated: {error}\n'psdbatch evaluate {directory.path} --set {stored.path}' tries again"
        )
    else:
        progress.note(f"evaluated on the test part: {evaluation.directory}")
