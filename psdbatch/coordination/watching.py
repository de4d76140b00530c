"""Puts a running campaign onto the dashboard."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from urllib.parse import urljoin

from psdbatch.acquisition.index import FileIndex
from psdbatch.campaign.commit import CommitRecord
from psdbatch.campaign.directory import BlockName
from psdbatch.campaign.prepare import Campaign
from psdbatch.campaign.reference import open_reference
from psdbatch.cluster.farm import Farm
from psdbatch.coordination.live import Live
from psdbatch.errors import ConfigurationError
from psdbatch.monitor.dashboard import PAGE
from psdbatch.monitor.view import DamagedFile

LAST_LOOK = 2.5
"""Seconds that open pages have to show how the pass ended, before the scheduler takes them away."""


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
        earlier=sorted(earlier),
        read=lambda name: CommitRecord.read(directory.record(name)),
        damaged=tuple(_damaged(campaign.indexes)),
        reference=reference,
        jobs=farm.jobs,
        in_flight=farm.in_flight,
    )
    metrics = Metrics(lambda: live.view)
    page = farm.at_scheduler(lambda scheduler: attach(scheduler, lambda: live.view))
    REGISTRY.register(metrics)
    try:
        with live:
            yield live
    finally:
        if page.tabs():
            time.sleep(LAST_LOOK)
        REGISTRY.unregister(metrics)
        farm.at_scheduler(lambda scheduler: page.detach())


def _damaged(indexes: Iterable[FileIndex]) -> Iterator[DamagedFile]:
    for index in indexes:
        if index.scan.damage:
            first = index.scan.damage[0]
            yield DamagedFile(index.path, len(index.scan.damage), f"byte {first.offset:,}: {first.reason}")


def page_link(dashboard: str) -> str:
    """Address of the page, beside that of the dashboard's own first page."""
    return urljoin(dashboard, PAGE)
