"""The quality of a campaign's signals so far, from its commit records alone."""

from __future__ import annotations

from psdbatch.campaign.directory import CampaignDirectory
from psdbatch.campaign.finalise import records
from psdbatch.campaign.plan import Plan
from psdbatch.errors import CampaignError
from psdbatch.monitor.quality import CampaignQuality, campaign_quality
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
        The campaign has no quality monitor, no such run, or no finished block yet.
    """
    if "quality" not in plan.question:
        raise CampaignError(
            f"{directory.path}: the campaign has no quality monitor; name an auto-encoder in [quality] of another campaign's campaign.toml"
        )
    names = [planned.name for planned in plan.runs]
    if run is not None and run not in names:
        raise CampaignError(f"{directory.path}: has no run '{run}'; its runs: {', '.join(names)}")
    tallies: dict[str, Tally] = {}
    for record in records(directory, plan):
        if record.quarantine is not None or (run is not None and record.run != run):
            continue
        try:
            tally = Tally.decode(record.report["tally"])
        except (KeyError, ValueError) as error:
            raise CampaignError(
                f"{directory.record(record.name)}: has no readable tally ({error}); read the column 'residual' of the store instead"
            ) from error
        if record.run in tallies:
            tallies[record.run].add(tally)
        else:
            tallies[record.run] = tally
    found = campaign_quality(tallies, threshold)
    if found is None:
        raise CampaignError(f"{directory.path}: no signal has a residual yet")
    return found
