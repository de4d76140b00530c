"""The quality of a campaign's signals so far, from its commit records alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from psdbatch.campaign.commit import CommitRecord
from psdbatch.campaign.directory import CampaignDirectory
from psdbatch.campaign.finalise import records
from psdbatch.campaign.plan import Plan
from psdbatch.errors import CampaignError
from psdbatch.monitor.quality import CampaignQuality, campaign_quality
from psdbatch.monitor.residuals import Residuals
from psdbatch.monitor.tally import Tally


def read_quality(
    directory: CampaignDirectory, plan: Plan, run: str | None = None, threshold: float | None = None
) -> CampaignQuality:
    """Residuals by run, board and channel, of the blocks that are finished.

    Parameters
    ----------
    run
        This run only.
    threshold
        As of :func:`psdbatch.monitor.quality.campaign_quality`.

    Raises
    ------
    CampaignError
        The campaign has no quality monitor, no such run, or no block with residuals yet.
    """
    if "quality" not in plan.question:
        raise CampaignError(
            f"{directory.path}: the campaign has no quality monitor; name an auto-encoder in [quality] of another campaign's campaign.toml"
        )
    names = [planned.name for planned in plan.runs]
    if run is not None and run not in names:
        raise CampaignError(f"{directory.path}: has no run '{run}'; its runs: {', '.join(names)}")
    reading = _Reading(directory, run)
    found = campaign_quality(reading.runs(plan), threshold)
    if found is not None:
        return replace(found, unread=reading.unread)
    if reading.unread:
        raise CampaignError(
            f"{directory.path}: none of {reading.unread:,} finished blocks has a readable tally; "
            "read the column 'residual' of the store instead"
        )
    raise CampaignError(f"{directory.path}: no signal has a residual yet")


@dataclass
class _Reading:
    """Goes through the commit records, which come in the order of the plan; a run's tally is held at a time.

    ``unread`` counts the records that have no readable tally, or cannot be read themselves.
    """

    directory: CampaignDirectory
    only: str | None
    unread: int = 0

    def runs(self, plan: Plan) -> Iterator[Residuals]:
        chosen = replace(plan, runs=tuple(run for run in plan.runs if self.only in (None, run.name)))
        for name, of_run in groupby(records(self.directory, chosen, self._damaged), lambda record: record.run):
            tallies = filter(None, map(self._tally, of_run))
            whole = next(tallies, None)
            if whole is None:
                continue
            for tally in tallies:
                whole.add(tally)
            yield Residuals.of(name, whole)

    def _tally(self, record: CommitRecord) -> Tally | None:
        if record.quarantine is not None:
            return None
        try:
            return Tally.decode(record.report["tally"])
        except (ValueError, KeyError, TypeError, AttributeError):
            self.unread += 1
            return None

    def _damaged(self, error: CampaignError) -> None:
        self.unread += 1
