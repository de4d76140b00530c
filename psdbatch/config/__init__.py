"""Configuration files as typed models: every key, its unit, its default and its meaning."""

from psdbatch.config.campaign import (
    Alignment,
    CampaignConfig,
    Charge,
    Input,
    ModelSource,
    Monitor,
    PileUp,
    Preparation,
    Processing,
    Quality,
    Results,
    SignalShape,
    read_config,
)
from psdbatch.config.cluster import Cluster, CoordinatorJob, WorkerGroup
from psdbatch.config.section import Section, validated

__all__ = [
    "Alignment",
    "CampaignConfig",
    "Charge",
    "Cluster",
    "CoordinatorJob",
    "Input",
    "ModelSource",
    "Monitor",
    "PileUp",
    "Preparation",
    "Processing",
    "Quality",
    "Results",
    "Section",
    "SignalShape",
    "WorkerGroup",
    "read_config",
    "validated",
]
