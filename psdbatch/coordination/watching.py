"""Puts a running campaign onto the dashboard."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from urllib.parse import urljoin

from psdbatch.campaign.commit import CommitRecord
from psdbatch.campaign.directory import BlockName
from psdbatch.campaign.prepare import Campaign
from psdbatch.campaign.reference import open_reference
from psdbatch.cluster.farm import Farm
from psdbatch.coordination.live import Live
from psdbatch.errors import ConfigurationError
from psdbatch.monitor.dashboard import PAGE


@contextmanager
def on_dashboard(
    campaign: Campaign,
    farm: Farm,
    signals: int,
    blocks: int,
    earlier: Collection[BlockName],
    note: Callable[[str], None],
) -> Iterator[Live]:
    """Numbers of a campaign that its dashboard's page and metrics show until the end of the block.

    Parameters
    ----------
    signals, blocks
        Asked for.
    earlier
        Those of the blocks that earlier passes have finished.
    note
        Tells the user something.
    """
    from prometheus_client import REGISTRY

    from psdbatch.monitor.dashboard.attach import attach
    from psdbatch.monitor.metrics import Metrics

    directory, first = campaign.directory, campaign.plan.runs[0].name
    try:
        reference = open_reference(campaign.config)
    except ConfigurationError as error:  # it was there when the campaign was planned
        reference = None
        note(f"no comparison with the reference: {error}")
    live = Live(
        plan=campaign.plan,
        name=directory.path.name,
        classes=campaign.schema(first).classes,
        signals=signals,
        blocks=blocks,
        earlier=(CommitRecord.read(directory.record(name)) for name in sorted(earlier)),
        unread=len(earlier),
        reference=reference,
        jobs=farm.jobs,
        in_flight=farm.in_flight,
    )
    metrics = Metrics(lambda: live.view)
    with live:
        detach = farm.at_scheduler(lambda scheduler: attach(scheduler, lambda: live.view))
        REGISTRY.register(metrics)
        try:
            yield live
        finally:
            REGISTRY.unregister(metrics)
            farm.at_scheduler(lambda scheduler: detach())


def page_link(dashboard: str) -> str:
    """Address of the page, beside that of the dashboard's own first page."""
    return urljoin(dashboard, PAGE)
