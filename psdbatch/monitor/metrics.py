"""The numbers of the dashboard page for Prometheus, at the scheduler's ``/metrics``.

Labels are worker groups, boards, stages, classes, reasons and states, of which there are few; a channel is no label, for
thousands of them would be thousands of time series.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from psdbatch.monitor.view import View, group_name

MOST_BOARDS = 256
"""Boards with a time series of their own."""

Family = CounterMetricFamily | GaugeMetricFamily


class Metrics(Collector):
    """Tells a Prometheus registry about a campaign.

    Parameters
    ----------
    look
        Gives the campaign as it is now.
    """

    def __init__(self, look: Callable[[], View]) -> None:
        self._look = look

    def collect(self) -> Iterator[Family]:
        """Called for every scrape."""
        view = self._look()
        yield from _signals(view)
        yield from _work(view)
        yield from _physics(view)

    def describe(self) -> list[Any]:
        """Nothing, so that registering does not collect."""
        return []


def _counter(name: str, words: str, label: str, values: Any) -> CounterMetricFamily:
    family = CounterMetricFamily(f"psdbatch_{name}", words, labels=[label])
    for key, value in values:
        family.add_metric([str(key)], value)
    return family


def _gauge(name: str, words: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"psdbatch_{name}", words, value=value)


def _by_board(values: Iterable[tuple[int, float]]) -> list[tuple[str, float]]:
    """By number of the board; a damaged file may invent thousands of them, so those after the first ones are added up."""
    ordered = sorted(values)
    rest = [("other", sum(value for _, value in ordered[MOST_BOARDS:]))] if len(ordered) > MOST_BOARDS else []
    return [(str(number), value) for number, value in ordered[:MOST_BOARDS]] + rest


def _signals(view: View) -> Iterator[Family]:
    groups = [(group_name(name), group) for name, group in view.groups.items()]
    yield _counter("signals", "Signals in finished blocks", "group", [(name, group.signals) for name, group in groups])
    yield _counter("refused_signals", "Signals without an answer", "reason", view.refused.items())
    yield _counter(
        "board_signals", "Signals of each board", "board", _by_board((n, b.signals) for n, b in view.boards.items())
    )
    yield _gauge("planned_signals", "Signals that the campaign is asked for", view.signals)
    yield _gauge("done_signals", "Signals of the campaign in finished and in quarantined blocks", view.done)
    rate = GaugeMetricFamily("psdbatch_signals_per_second", "Signals a second over the last minutes", labels=["group"])
    for name, group in groups:
        rate.add_metric([name], group.rate)
    yield rate
    if view.left is not None:
        yield _gauge("left_seconds", "Time left at this rate", view.left)


def _work(view: View) -> Iterator[Family]:
    blocks = GaugeMetricFamily("psdbatch_blocks", "Blocks of the campaign", labels=["state"])
    for state, count in view.blocks.items():
        blocks.add_metric([state.replace(" ", "_")], count)
    yield blocks
    jobs = GaugeMetricFamily("psdbatch_jobs", "Worker jobs", labels=["group", "state"])
    for name, group in view.groups.items():
        for job_state, count in group.jobs.items():
            jobs.add_metric([group_name(name), job_state], count)
    yield jobs
    failed = CounterMetricFamily("psdbatch_failed_attempts", "Failed attempts at blocks", value=view.failed_attempts)
    yield failed
    yield _counter("stage_seconds", "Time of all blocks", "stage", view.seconds.items())
    boards = CounterMetricFamily("psdbatch_board_seconds", "Share of each stage's time", labels=["board", "stage"])
    for stage in view.seconds:
        for number, seconds in _by_board((n, b.stages.get(stage, 0.0)) for n, b in view.boards.items()):
            boards.add_metric([number, stage], seconds)
    yield boards
    campaign = GaugeMetricFamily("psdbatch_campaign_state", "1 for the present state", labels=["state"])
    for now in ("running", "finished", "stopped"):
        campaign.add_metric([now], float(view.state == now))
    yield campaign
    if view.last_block is not None:
        yield _gauge("last_block_timestamp_seconds", "When the newest block was finished", view.last_block)
    yield _gauge("damaged_regions", "Places of the acquisition files that cannot be read", view.damaged_regions)


def _physics(view: View) -> Iterator[Family]:
    if view.tally is not None and view.classes:
        boards, rows = np.unique(view.tally.boards, return_inverse=True)
        sums = np.zeros((len(boards), view.tally.classes + 1), np.int64)
        np.add.at(sums, rows, view.tally.answers)
        counts = dict(zip(boards.tolist(), sums.tolist(), strict=True))
        answers = CounterMetricFamily("psdbatch_classified_signals", "Signals by class", labels=["board", "class"])
        for k, name in enumerate(view.classes):
            for number, count in _by_board((board, row[k]) for board, row in counts.items()):
                answers.add_metric([number, name], count)
        yield answers
        without = _by_board((board, row[-1]) for board, row in counts.items())
        yield _counter("unanswered_signals", "Signals without an answer", "board", without)
    if view.reference is not None:
        yield _gauge("drift_alarms", "Alarms of channels that differ from the reference", view.all_alarms)
