"""Which source a section of the configuration describes."""

from __future__ import annotations

from psdbatch.config.training_set import Source
from psdbatch.training_set.from_campaign import CampaignSource
from psdbatch.training_set.from_files import FileSource
from psdbatch.training_set.from_simulation import SimulationSource
from psdbatch.training_set.sources import SignalSource


def open_source(settings: Source, run_pattern: str) -> SignalSource:
    """The source that ``settings`` describe, its files found and indexed.

    Raises
    ------
    PsdbatchError
        Files are missing, in no known format, or not what they were.
    """
    if settings.files is not None:
        return FileSource(settings, run_pattern)
    if settings.campaign is not None:
        return CampaignSource(settings)
    return SimulationSource(settings)
