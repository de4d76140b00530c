"""Which engine a worker uses: that of its group, at the group's batch size."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from psdbatch.campaign.model import CampaignModels
from psdbatch.campaign.schema import SignalKind, engine_settings
from psdbatch.cluster.memory import worker_share
from psdbatch.cluster.names import GROUP
from psdbatch.config import CampaignConfig, WorkerGroup
from psdbatch.errors import CampaignError
from psdbatch.models.batching import BatchedEngine, engine_for
from psdbatch.wording import nearest

if TYPE_CHECKING:
    from psdbatch.models.engine_settings import EngineSettings


def worker_group(config: CampaignConfig) -> WorkerGroup | None:
    """The group of this worker process; None: it is a local one.

    Raises
    ------
    CampaignError
        The process was started for a group that the campaign does not have.
    """
    name = os.environ.get(GROUP)
    if not name:
        return None
    groups = {group.name: group for group in config.cluster.workers}
    if name not in groups:
        raise CampaignError(
            f"{GROUP} says that this worker is of the group '{name}', which the campaign does not have{nearest(name, groups)}; "
            f"unset it to work without a group"
        )
    return groups[name]


def group_settings(
    config: CampaignConfig, facts: CampaignModels, kind: SignalKind, group: WorkerGroup | None
) -> EngineSettings:
    """Everything that the group's engine for signals of a kind depends on, the batch size apart."""
    settings = engine_settings(config, facts, kind)
    if group is None or group.xla is None:
        return settings
    return replace(settings, xla=group.xla)


def engine_of(
    config: CampaignConfig, facts: CampaignModels, kind: SignalKind, group: WorkerGroup | None, tuning: Path
) -> BatchedEngine:
    """The process's engine for signals of a kind, made on the first call.

    Parameters
    ----------
    config, facts
        Campaign and models.
    kind
        Raw signals: samples and dtype.
    group
        The worker's group; None on a local worker.
    tuning
        Where measured batch sizes are kept; a group measures its own.

    Raises
    ------
    ModelError
        The model does not fit.
    """
    batch = config.processing.batch
    if group is not None:
        tuning = tuning / group.name
        batch = batch if group.batch is None else group.batch
    return engine_for(group_settings(config, facts, kind, group), batch, tuning, worker_share())
