"""The campaign that another one is compared with: ``[monitor] reference``."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import zarr

from psdbatch.campaign.commit import CommitRecord
from psdbatch.campaign.directory import CampaignDirectory
from psdbatch.campaign.finalise import count_records, records
from psdbatch.campaign.physics import kept_physics
from psdbatch.campaign.plan import Plan
from psdbatch.config import CampaignConfig
from psdbatch.errors import CampaignError, ConfigurationError, PsdbatchError
from psdbatch.monitor.drift_watch import DriftWatch, Reference
from psdbatch.monitor.tally import Tally

LOOKED_AT = 100
"""Blocks that are looked at for physics before a reference is refused; quarantined ones have none."""


@dataclass(frozen=True)
class ReferenceCampaign:
    """An existing campaign to compare with."""

    directory: CampaignDirectory
    plan: Plan
    classes: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of its directory."""
        return self.directory.path.name

    def records(self) -> Iterator[CommitRecord]:
        """Commit records of its finished blocks."""
        return records(self.directory, self.plan)

    def physics(self) -> Tally | None:
        """The physics of all its blocks as its last pass left it; None if its records must be added up."""
        return kept_physics(self.directory, self.plan)

    def compared_with(self, tally: Tally | None, classes: tuple[str, ...]) -> Reference:
        """What a campaign with these classes is compared with; ``tally`` is of all its blocks."""
        return Reference.of(self.name, tally, self.classes, classes)


def open_reference(config: CampaignConfig) -> ReferenceCampaign | None:
    """The reference that the configuration names; None if it names none.

    Raises
    ------
    ConfigurationError
        There is no such campaign, it is this one, it is damaged, or none of its blocks tells its physics.
    """
    if config.monitor.reference is None:
        return None
    directory = CampaignDirectory(Path(config.monitor.reference))
    what = f"'monitor.reference': {directory.path}"
    if directory.path.resolve() == Path(config.campaign).resolve():
        raise ConfigurationError(f"{what}: is this campaign itself; name another one")
    try:
        plan = Plan.read(directory.plan)
        looked_at = itertools.islice(directory.committed(), LOOKED_AT)
        if not any("tally" in CommitRecord.read(directory.record(name)).report for name in looked_at):
            raise ConfigurationError(
                f"{what}: none of its finished blocks tells its physics; let it get on, or run it again with this version"
            )
        named = zarr.open_group(directory.store, mode="r").attrs.get("classes")
    except (CampaignError, OSError) as error:
        raise ConfigurationError(f"{what}: cannot be used: {error}") from error
    return ReferenceCampaign(directory, plan, tuple(str(name) for name in named) if isinstance(named, list) else ())


def watch_drift(config: CampaignConfig, plan: Plan, classes: tuple[str, ...]) -> DriftWatch | None:
    """Compares the blocks of ``plan`` with the reference, read here; None if the configuration names none.

    What is wrong with the reference stands in its state: nothing that is drawn of a campaign fails for it.
    """
    if config.monitor.reference is None:
        return None
    try:
        campaign = open_reference(config)
        assert campaign is not None
        tally = campaign.physics() or count_records(campaign.directory, campaign.plan, physics=True).tally
        reference = campaign.compared_with(tally, classes)
    except PsdbatchError as error:
        reference = Reference(Path(config.monitor.reference).name, str(error))
    return DriftWatch(reference, classes, len(plan.runs) > 1)
