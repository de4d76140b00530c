"""What the dashboard page and the metrics say of a campaign at one moment; no server and no browser."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from bokeh.document import Document
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from psdbatch.monitor.dashboard import tables, words
from psdbatch.monitor.dashboard.channel_plot import channel_rows, quantities
from psdbatch.monitor.dashboard.document import Page
from psdbatch.monitor.dashboard.psd_plot import PsdPlot, choices
from psdbatch.monitor.dashboard.residual_plot import ResidualPlot
from psdbatch.monitor.drift import Drift
from psdbatch.monitor.drift_watch import DriftAlarm, DriftWatch, Reference
from psdbatch.monitor.metrics import MOST_BOARDS, Metrics
from psdbatch.monitor.tally import Tally, residual_edges
from psdbatch.monitor.view import BoardView, DamagedFile, FailedAttempt, GroupView, RunView, Throughput, View

NAMES = ("gamma", "neutron")
HOSTILE = '<script>alert("x")</script>'


def tally(signals: int = 20_000, amplitude: float = 500, ratio: float = 0.2, seed: int = 1, classes: int = 2) -> Tally:
    chance = np.random.default_rng(seed)
    long = np.full(signals, 1000, "float32")
    columns = {
        "board": chance.integers(1, 3, signals).astype("uint16"),
        "channel": chance.integers(0, 4, signals).astype("uint16"),
        "label": (chance.random(signals) < 0.3).astype("uint8"),
        "flags": np.zeros(signals, "uint16"),
        "amplitude": np.full(signals, amplitude, "float32"),
        "charge_long": long,
        "charge_short": (long * (1 - ratio + chance.normal(0, 0.01, signals))).astype("float32"),
    }
    return Tally.of(columns, classes)


def view(**changes: Any) -> View:
    """A campaign that is half done, without trouble."""
    given: dict[str, Any] = {
        "campaign": "neda",
        "time": 1e9,
        "classes": NAMES,
        "signals": 40_000,
        "done": 20_000,
        "written": 20_000,
        "blocks": {"waiting": 9, "in flight": 1, "finished": 10, "quarantined": 0},
        "rate": 1000.0,
        "left": 20.0,
        "groups": {"v100": GroupView({"running": 1}, 10, 20_000, 1000.0, 20.0)},
        "boards": {1: BoardView(10_000, {"read": 1.0}), 2: BoardView(10_000, {"read": 2.0})},
        "seconds": {"read": 3.0},
        "tally": tally(),
        "channels": 8,
        "throughput": Throughput(1.0, {"v100": {10**9 - 2: 900.0, 10**9 - 1: 1100.0}}),
        "last_block": 1e9 - 1,
        "version": 1,
    }
    return View(**(given | changes))


def plain(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def test_trouble_is_told_once_and_its_absence_only_when_there_is_a_block() -> None:
    assert "no trouble" in plain(words.header(view()))
    before = view(done=0, written=0, groups={}, blocks={"waiting": 20}, tally=None)
    assert "no trouble" not in plain(words.header(before))
    assert "waiting for the first worker" in plain(words.header(before))
    damaged = (DamagedFile("/data/a.mfm", 2, "byte 7: no frame"),)
    told = view(
        blocks={"waiting": 9, "quarantined": 1, "finished": 10},
        refused={"damaged": 1},
        failed_attempts=1,
        drifting=1,
        unreadable=2,
        damaged_files=damaged,
        damaged_regions=2,
    )
    text = plain(words.header(told))
    for part in (
        "1 block quarantined",
        "1 signal refused (below 0.01 %)",
        "1 failed attempt ",
        "1 channel drifts from the reference",
        "2 commit records unreadable",
        "2 damaged regions in 1 file",
    ):
        assert part in f"{text} "
    assert "no trouble" not in text
    assert "/data/a.mfm 2 damaged, the first at byte 7: no frame" in plain(tables.refused_table(told))


def test_an_end_and_a_stall_show_no_time_left() -> None:
    stalled = plain(words.header(view(stalled=True, left=None, last_block=1e9 - 50)))
    assert "stalled: the last block was finished 50 s ago" in stalled
    stopped = plain(words.header(view(state="stopped", end="interrupted")))
    assert "stopped: interrupted; the same command goes on" in stopped
    assert "– time left at this rate" in stalled
    finished = plain(words.header(view(state="finished", done=40_000, written=40_000)))
    assert "finished; report.html" in finished
    for text in (stopped, finished):
        assert "time left" not in text
        assert "rate" not in text


def test_comparisons_that_cannot_be_made_are_no_good_news() -> None:
    reference = Reference("old", "", tally(seed=2))
    few = view(reference=reference, compared=0)
    assert "0 of 8 channels compared; the others have fewer than 100 signals" in plain(tables.alarms_table(few))
    assert "nothing compared yet" in plain(tables.alarms_table(few))
    all_of_them = plain(tables.alarms_table(view(reference=reference, compared=8)))
    assert "8 of 8 channels compared none differs" in all_of_them


def test_runs_boards_and_failures_are_tables_with_errors_of_their_fractions() -> None:
    run = RunView("run_7", 40_000, 20_000, 3, (14_000, 5_997, 3), (100.0, 20.0, 5.0))
    told = view(runs=(run,), failures=(FailedAttempt(1e9, "tcp://n1:1", "disk full"),), failed_attempts=1)
    assert "run_7 50 % 20,000 3 29.99 ± 0.32 0.2000 ± 0.0100" in plain(tables.runs_table(told))
    assert "tcp://n1:1 disk full" in plain(tables.failures_table(told))
    silent = Drift(1, 2, "silent", "signals", 3, 12_345.6, math.inf, 3)
    assert "1 2 signals (silent) 3 12,346 – all" in plain(
        tables.alarms_table(view(reference=Reference("old", "", tally()), alarms=(DriftAlarm("", silent),)))
    )
    physics = plain(tables.physics_table(replace(told, reference=Reference("old", "", tally(seed=2)))))
    assert physics.startswith(
        "Acquisition boards board signals refused neutron [%] reference mean charge ratio reference"
    )
    assert physics.count(" ± ") == 8


def test_names_from_files_are_words() -> None:
    hostile = view(
        campaign=HOSTILE,
        classes=("gamma", HOSTILE),
        runs=(RunView(HOSTILE, 10, 10, 0, (1, 1, 0)),),
        failures=(FailedAttempt(1e9, HOSTILE, HOSTILE),),
        damaged_files=(DamagedFile(HOSTILE, 1, HOSTILE),),
        seconds={HOSTILE: 1.0},
        end=HOSTILE,
        state="stopped",
    )
    for told in (words.header, *(getattr(tables, name) for name in dir(tables) if name.endswith("_table"))):
        if told is not tables._table:
            assert "<script" not in told(hostile), told


def test_later_signals_are_seen_unless_the_reader_has_zoomed() -> None:
    plot = PsdPlot()
    plot.show(view(tally=tally(2_000, 100, 0.1)), 0)
    x, y = plot.figure.x_range, plot.figure.y_range
    both = tally(2_000, 100, 0.1)
    both.add(tally(500_000, 5_000, 0.4))
    narrow = x.end, y.end
    plot.show(view(tally=both), 0)
    assert x.end > narrow[0]
    assert y.end > narrow[1]
    x.start, x.end = 3.0, 5.0
    both.add(tally(500_000, 20_000, 0.4))
    plot.show(view(tally=both), 0)
    assert (x.start, x.end) == (3.0, 5.0)
    assert x.reset_end > narrow[0]


def test_residuals_are_drawn_where_there_is_a_quality_monitor() -> None:
    plot = ResidualPlot(300)
    plot.show(view())
    assert not plot.figure.visible
    told = tally()
    told.residuals[:, 20] = 100
    plot.show(view(tally=told))
    assert plot.figure.visible
    assert plot.figure.x_range.start < residual_edges()[20] < plot.figure.x_range.end
    drawn = [renderer.data_source.data for renderer in plot.figure.renderers]
    assert [float(max(data["y"], default=0)) for data in drawn] == [0, 100], "the reference has none"


def test_what_has_not_changed_is_not_sent() -> None:
    shown = [view()]
    page = Page(lambda: shown[0])
    document = Document()
    sent: list[Any] = []
    document.add_root(page.root)
    document.on_change(sent.append)
    page.update()
    assert sent == []
    shown[0] = view(time=1e9 + 5)
    page.update()
    assert {event.attr for event in sent} == {"text", "end"}, "the clock, and the end of the axis of time"
    sent.clear()
    shown[0] = view(version=2, tally=tally(30_000))
    page.update()
    assert sent


def test_a_class_may_be_called_as_a_choice_is() -> None:
    told = view(classes=("all", "no answer"))
    assert choices(told) == ["all", "all", "no answer", "no answer"]
    plot = PsdPlot()
    plot.show(told, 1)
    only = int(told.tally.psd[0].sum()) if told.tally else 0
    assert plot.figure.title.text == f"Pulse shape: {only:,} signals"


def test_an_alarm_rings_its_own_quantity_and_hints_at_others() -> None:
    reference = Reference("old", "", tally(100_000, ratio=0.3, seed=2))
    watch = DriftWatch(reference, NAMES, several=False)
    told = view(reference=reference, alarms=tuple(watch.alarms(tally())))
    assert "mean charge ratio" in quantities(told)
    assert set(channel_rows(told, "mean charge ratio")["ring"]) == {2}
    assert set(channel_rows(told, "mean amplitude")["ring"]) == {1}
    signals = channel_rows(told, "signals")
    assert signals["known"].sum() == pytest.approx(20_000)  # the reference for as many signals
    assert np.allclose(channel_rows(told, "fraction saturated")["value"], 0)
    assert {alarm.drift.kind for alarm in told.alarms if isinstance(alarm, DriftAlarm)} == {"charge ratio"}


def samples(told: View) -> dict[tuple[str, tuple[str, ...]], float]:
    registry = CollectorRegistry()
    registry.register(Metrics(lambda: told))
    text = generate_latest(registry).decode()
    lines = [line.rsplit(" ", 1)[0] for line in text.splitlines() if not line.startswith("#")]
    assert len(lines) == len(set(lines)), "a series stands twice"
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_name_each_series_once_and_few_of_them() -> None:
    named = samples(view(classes=("none", "neutron")))
    answered = [value for (name, _), value in named.items() if name == "psdbatch_classified_signals_total"]
    assert sum(answered) == 20_000
    assert named["psdbatch_unanswered_signals_total", ("1",)] == 0
    assert named["psdbatch_campaign_state", ("running",)] == 1
    assert named["psdbatch_last_block_timestamp_seconds", ()] == 1e9 - 1
    unclassified = samples(view(classes=(), tally=tally(classes=0)))
    assert not [name for name, _ in unclassified if "classified" in name or "unanswered" in name]
    many = samples(view(boards={number: BoardView(2, {"read": 1.0}) for number in range(4096)}))
    assert many["psdbatch_board_signals_total", ("other",)] == 2 * (4096 - MOST_BOARDS)
    assert len([name for name, _ in many if name == "psdbatch_board_signals_total"]) == MOST_BOARDS + 1
