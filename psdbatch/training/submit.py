"""The coordinator of a training as a batch job."""

from __future__ import annotations

from pathlib import Path

from psdbatch.config.training import TrainingConfig
from psdbatch.coordination.jobs import CampaignJob
from psdbatch.coordination.submit import Errand, check_images, submit_errand
from psdbatch.errors import ModelError, TrainingSetError
from psdbatch.networks.own import file_of
from psdbatch.training.directory import TrainingDirectory
from psdbatch.training.prepare import check_directory, write_config
from psdbatch.training_set.from_files import source_paths
from psdbatch.training_set.question import check_same
from psdbatch.training_set.store import open_set


def submit_training(config: TrainingConfig) -> CampaignJob:
    """Check what can be checked quickly, write the job script into the training's directory, and submit it.

    Raises
    ------
    PsdbatchError
        Something is wrong with the configuration, a coordinator is at work or waits already, or the batch system
        refuses the job.
    """
    directory = TrainingDirectory(Path(config.training))
    errand = Errand("training", directory, config, "train")
    job = submit_errand(errand, lambda: check(config))
    write_config(directory, config)  # tells what the directory is, until the coordinator starts
    return job


def check(config: TrainingConfig) -> None:
    """See now what would let the job fail at its start, as far as it costs no reading.

    Raises
    ------
    PsdbatchError
        Something is missing, or does not fit to what is there.
    """
    check_directory(TrainingDirectory(Path(config.training)), config)
    check_images(config.cluster)
    function = config.network.function
    if function and ".py:" in function and file_of(function) is None:
        raise ModelError(f"{function.rpartition(':')[0]}: there is no such file ('network.function')")
    assert config.set.path is not None
    if Path(config.set.path).exists():
        check_same(open_set(Path(config.set.path)), config)
        return
    if not config.set.sources:
        raise TrainingSetError(
            f"{config.set.path}: there is no training set, and [set] names no sources to build it from"
        )
    for settings in config.set.sources:
        if settings.files is not None:
            source_paths(settings)
