"""The page on a campaign: its numbers, its bounds, and that it never stands in a campaign's way."""

from __future__ import annotations

import json
import re
import sys
import time
import tracemalloc
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from click.testing import CliRunner
from rich.console import Console

from psdbatch.campaign.account import Account
from psdbatch.campaign.commit import Attempt, CommitRecord, quarantine
from psdbatch.campaign.finalise import count_records, finalise
from psdbatch.campaign.history import RUNNING, SILENT, STOPPED, History
from psdbatch.campaign.journal import Journal
from psdbatch.campaign.plan import Block
from psdbatch.campaign.throughput import MOST_BUCKETS, RecentPace, Throughput
from psdbatch.cli import cli
from psdbatch.coordination import coordinator
from psdbatch.coordination.lock import hold
from psdbatch.coordination.status import read_status
from psdbatch.monitor.figure_of_merit import Gates
from psdbatch.monitor.progress import Progress
from psdbatch.monitor.tally import Tally
from psdbatch.report import physics
from psdbatch.report.channels import channel_maps
from psdbatch.report.content import read_content
from psdbatch.report.merit import figures_of_merit, octaves
from psdbatch.report.write import write_report
from tests.small_campaign import SmallCampaign, answers, configuration, small_campaign

HOSTILE = "<script>alert('$x$')</script>"


class Page(HTMLParser):
    """Words of a page outside its pictures, its links, and whether every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        self.addresses += [value for name, value in attrs if name in ("href", "src", "xlink:href")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("meta", "br"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "svg" not in self.open and "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        """All words."""
        return " ".join(" ".join(self.words).split())


def tally(block: Block, board: int = 3) -> str:
    """Tally of a block of ``small_campaign``, with made-up pulse shapes."""
    values = answers(block.name, block.signals)
    numbers = np.random.default_rng(block.name.number)
    columns = {
        "board": np.full(block.signals, board, "uint16"),
        "channel": numbers.integers(0, 4, block.signals).astype("uint16"),
        "amplitude": numbers.uniform(50, 5000, block.signals).astype("float32"),
        "charge_long": np.full(block.signals, 1000, "float32"),
        "charge_short": numbers.uniform(600, 900, block.signals).astype("float32"),
    }
    return Tally.of({**columns, "label": values["label"], "flags": values["flags"]}, 2).encode()


def report_of(block: Block, when: float, physics: bool = True) -> dict[str, Any]:
    """What a worker tells of a block."""
    told = {
        "started": when,
        "finished": when + 2.0,
        "group": "v100",
        "host": "node1",
        "device": "Tesla V100",
        "batch": 512,
        "seconds": {"read": 0.5, "infer": 1.0},
        "boards": {"3": block.signals},
        "versions": {"psdbatch": "1.2.3"},
        "peak_memory": 10**9,
    }
    return {**told, "tally": tally(block)} if physics else told


def work(campaign: SmallCampaign, blocks: list[Block], physics: bool = True) -> None:
    """Commit blocks with what a worker tells of them; a block a second."""
    for number, block in enumerate(blocks):
        report = report_of(block, 1e9 + number, physics)
        Attempt(campaign.directory, block.name).commit(**campaign.record(block), report=report)


def passed(campaign: SmallCampaign, **facts: Any) -> None:
    """A pass in the journal: it took 100 s, of 10 workers with 2 threads."""
    journal = Journal(campaign.directory.journal)
    journal.write("started", left=4, threads={"v100": 2}, expected={"bytes": [1.0, 2.0], "seconds": [1.0, 1e6]})
    groups = {"v100": {"jobs": 10, "worker_seconds": 1000.0, "lost_seconds": 50.0}}
    journal.write("failed", blocks=["run_1/000000"], worker="w", reason="node 17 & its disk", verdict="retry")
    journal.write("failed", blocks=["run_1/000001"], worker="w", reason="node 18 & its disk", verdict="retry")
    journal.write("finished", elapsed=100.0, processed=53, groups=groups, **facts)


def page_of(campaign: SmallCampaign) -> Page:
    text = write_report(campaign.directory).read_text()
    page = Page(text)
    assert page.open == []
    assert "script" not in page.tags
    assert all(address.startswith(("#", "data:")) for address in page.addresses)
    assert not re.search(r"url\((?!#)|@import|src=\"http", text)
    return page


def test_the_numbers_of_the_page_are_those_of_the_summary(tmp_path: Path) -> None:
    campaign = small_campaign(tmp_path / "campaign")
    work(campaign, campaign.blocks())
    passed(campaign)
    summary = finalise(campaign.directory, campaign.plan)
    text = page_of(campaign).text
    refused = sum(summary.refused.values())
    assert refused > 0
    assert f"{summary.signals} signals = {summary.written} written + {refused} refused + 0 missing" in text
    assert "node 17 & its disk 2 retry 2" in text
    assert "v100 10 0.278 " in text
    assert "psdbatch 1.2.3" in text
    content = read_content(campaign.directory)
    assert content.summary.written == summary.written
    (use,) = content.groups
    assert (use.jobs, use.hours, use.signals) == (10, pytest.approx(1000 / 3600), summary.signals)
    assert use.busy == pytest.approx(2.0 * summary.blocks / (2 * 1000))
    counted = content.account.tally
    assert counted is not None
    assert counted.signals == summary.signals
    assert counted.answers[:, -1].sum() == refused
    assert sum(run.answers.sum() for run in content.account.runs.values() if run.answers is not None) == summary.signals


def test_channels_that_differ_from_the_reference_are_listed(tmp_path: Path) -> None:
    for name, boards in (("old", (3,)), ("new", (3, 4)), ("same", (3,))):
        campaign = small_campaign(tmp_path / name, {"run_1": (1200,)})
        for number, block in enumerate(campaign.blocks()):
            told = report_of(block, 1e9 + number)
            told["tally"] = tally(block, boards[number % len(boards)])
            Attempt(campaign.directory, block.name).commit(**campaign.record(block), report=told)
        config = configuration(monitor={"reference": str(tmp_path / "old")})
        campaign.directory.config.write_text(tomli_w.dumps(config.model_dump(mode="json", exclude_none=True)))
        page = page_of(campaign).text
        if name == "old":
            assert "Not compared with old: 'monitor.reference'" in page  # it would be its own
        elif name == "same":
            assert "No channel drifts: the run compared with old" in page
        else:
            assert "alarms: the run compared with old" in page
            assert re.search(r"4 [0-3] signals \(new\)", page)
            assert " inf " not in page


def test_an_unfinished_campaign_with_a_block_given_up_says_so(tmp_path: Path) -> None:
    campaign = small_campaign(tmp_path / "campaign")
    first, second, *left = campaign.blocks()
    work(campaign, [first])
    fields = {**campaign.record(second), "refused": {"the block was given up": second.signals}}
    quarantine(campaign.directory, second.name, **fields, quarantine="disk <gone>")
    text = page_of(campaign).text
    assert f"{len(left)} blocks are left" in text
    assert f"{sum(block.signals for block in left)} missing" in text
    assert "disk <gone>" in text
    assert "/data/run_1/board0.npy, /data/run_1/board1.npy" in text


def test_a_campaign_of_a_version_without_tallies_and_one_without_a_block_have_a_page(tmp_path: Path) -> None:
    campaign = small_campaign(tmp_path / "campaign")
    assert "no finished block" in page_of(campaign).text
    work(campaign, campaign.blocks(), physics=False)
    assert "before psdbatch counted the physics" in page_of(campaign).text


def test_the_command_takes_the_configuration_as_run_does(tmp_path: Path) -> None:
    campaign = small_campaign(tmp_path / "campaign")
    config = tmp_path / "campaign.toml"
    config.write_text(
        'campaign = "campaign"\n[input]\nfiles = ["*.npy"]\n[model]\npath = "network.pb"\n', encoding="utf-8"
    )
    done = CliRunner().invoke(cli, ["report", str(config)])
    assert (done.exit_code, done.output.strip()) == (0, str(campaign.directory.report))


def test_a_campaign_whose_blocks_were_all_given_up_is_not_called_whole(tmp_path: Path) -> None:
    campaign = small_campaign(tmp_path / "campaign")
    for block in campaign.blocks():
        fields = {**campaign.record(block), "refused": {"the block was given up": block.signals}}
        quarantine(campaign.directory, block.name, **fields, quarantine="no disk")
    text = page_of(campaign).text
    assert "Whole:" not in text
    assert "4 of 4 blocks were given up" in text
    assert "None to show: no finished block" in text


def test_a_damaged_record_is_named_and_stops_no_report(tmp_path: Path) -> None:
    campaign = small_campaign(tmp_path / "campaign")
    work(campaign, campaign.blocks())
    path = campaign.directory.record(campaign.blocks()[1].name)
    path.write_text("{}")
    text = page_of(campaign).text
    assert "1 commit records are damaged" in text
    assert f"{path}: damaged commit record" in text
    assert f"{campaign.blocks()[1].signals} missing" in text
    assert len(read_content(campaign.directory).facts()["damaged_records"]) == 1


def test_damaged_files_are_named_with_their_first_damage(tmp_path: Path) -> None:
    campaign = small_campaign(tmp_path / "campaign")
    first = campaign.blocks()[0]
    path = "/data/run_1/board0.npy"
    damage = {"first": 3, "signals": 1, "offset": 680, "reason": f"{path}: bytes are missing"}
    fields = {**campaign.record(first), "refusals": (damage,)}
    Attempt(campaign.directory, first.name).commit(**fields, report=report_of(first, 1e9))
    text = page_of(campaign).text
    assert f"damaged file regions first damage {path} 0 byte 680: bytes are missing" in text


def test_boards_that_share_all_blocks_have_no_time_of_their_own_and_blocks_without_boards_keep_theirs(
    tmp_path: Path,
) -> None:
    campaign = small_campaign(tmp_path / "campaign")
    for block, boards in zip(campaign.blocks(), ({"3": 8, "4": 8}, {"3": 16}, {}, {"3": 8, "4": 8}), strict=True):
        told = {**report_of(block, 1e9), "boards": boards}
        if not boards:
            del told["boards"]
        Attempt(campaign.directory, block.name).commit(**campaign.record(block), report=told)
    text = page_of(campaign).text
    unnamed = campaign.blocks()[2].signals
    assert re.search(r"all boards 53 2\.00 4\.00 6\.00 113207\.55", text.replace("113,207", "113207"))
    assert re.search(r"board 4 16 \S+ \S+ \S+ shared", text)
    assert not re.search(r"board 3 32 \S+ \S+ \S+ shared", text)
    assert f"boards not recorded {unnamed} 0.50 1.00 1.50" in text


def test_the_quality_of_runs_and_the_monitor_stand_in_the_report_and_its_numbers(tmp_path: Path) -> None:
    campaign = small_campaign(tmp_path / "campaign")
    numbers = np.random.default_rng(4)
    for block in campaign.blocks():
        size = 4000
        columns = {
            "board": np.zeros(size, "uint16"),
            "channel": (np.arange(size) % 8).astype("uint16"),
            "flags": np.zeros(size, "uint16"),
            "label": numbers.integers(0, 2, size).astype("uint8"),
            "amplitude": np.full(size, 500, "float32"),
            "charge_long": np.full(size, 1000, "float32"),
            "charge_short": numbers.uniform(600, 900, size).astype("float32"),
            "residual": (0.01 * numbers.lognormal(0, 0.3, size)).astype("float32"),
        }
        columns["residual"][5::8] *= 3
        told = {**report_of(block, 1e9), "tally": Tally.of(columns, 2).encode()}
        Attempt(campaign.directory, block.name).commit(**campaign.record(block), report=told)
    text = page_of(campaign).text
    assert "1 of 8 channels stand out" in text
    assert "board 0, 5" in text
    assert re.search(r"run_1 12,000 0\.0\d+ 0\.0\d+ [\d.]+ %", text)
    facts = json.loads(json.dumps(read_content(campaign.directory).facts()))
    assert [one["mean_residual"] for one in facts["channels"]][5] == pytest.approx(0.0314, rel=0.05)
    assert [run["run"] for run in facts["runs"]] == ["run_1", "run_2"]
    assert facts["boards"][0]["by_class"] == [sum(one["by_class"][k] for one in facts["channels"]) for k in (0, 1)]
    assert facts["figures_of_merit"][0]["signals"] == 16_000


def test_only_the_configuration_opens_on_paper_and_nothing_is_cut_off(tmp_path: Path) -> None:
    campaign = small_campaign(tmp_path / "campaign", {f"run_{number}": (16,) for number in range(50)})
    write_report(campaign.directory)
    text = campaign.directory.report.read_text()
    assert re.findall(r"<details( class=printed)?><summary>(\w+)", text) == [
        ("", "and"),
        (" class=printed", "Configuration"),
        ("", "Acquisition"),
    ]
    printed = text[text.index("@media print") : text.index("</style>")]
    assert ".wide { overflow: visible; }" in printed
    assert "details.printed::details-content" in printed


def test_names_and_reasons_are_words_and_not_html(tmp_path: Path) -> None:
    campaign = small_campaign(tmp_path / "campaign")
    for block in campaign.blocks():
        report = {**report_of(block, 1e9), "group": HOSTILE, "device": HOSTILE}
        Attempt(campaign.directory, block.name).commit(**campaign.record(block), report=report)
    Journal(campaign.directory.journal).write("failed", reason=HOSTILE, verdict=HOSTILE)
    assert page_of(campaign).text.count(HOSTILE) == 5  # a group twice, its device, a reason, a verdict


def test_names_of_classes_are_words_in_the_plots_too(tmp_path: Path) -> None:
    names = [r"_$\frac{$", "5$ and 6$"]
    model = {"path": "/models/network.pb", "classes": names}
    campaign = small_campaign(tmp_path / "campaign", changes={"model": model})
    work(campaign, campaign.blocks())
    page_of(campaign)
    drawn = [
        unescape(words) for words in re.findall(r"<text[^>]*>([^<]*)</text>", campaign.directory.report.read_text())
    ]
    for name in names:
        assert any(name in words for words in drawn)
    assert any(words.startswith(f" {names[0]} (") for words in drawn)  # in a legend, its share behind it
    assert "10⁰" in drawn  # the powers of ten, which matplotlib would write as a formula
    assert not any("math" in words for words in drawn)


def test_identifiers_of_a_page_are_not_used_twice(tmp_path: Path) -> None:
    campaign = small_campaign(tmp_path / "campaign")
    work(campaign, campaign.blocks())
    page_of(campaign)
    text = campaign.directory.report.read_text()
    known = re.findall(r' id="([^"]*)"', text)
    assert len(known) == len({*known}) > 100
    used = {*re.findall(r'xlink:href="#([^"]*)"', text), *re.findall(r"url\(#([^)]*)\)", text)}
    assert used <= {*known}
    assert len(re.findall(r'<svg role="img" aria-label="[^"]+"', text)) == text.count("<svg")


def test_many_classes_lose_neither_the_residuals_nor_their_colours() -> None:
    numbers = np.random.default_rng(1)
    names = [f"class{number}" for number in range(12)]
    size = 4000
    columns = {
        "board": np.zeros(size, "uint16"),
        "channel": numbers.integers(0, 4, size).astype("uint16"),
        "flags": np.zeros(size, "uint16"),
        "label": numbers.integers(0, 12, size).astype("uint8"),
        "amplitude": numbers.uniform(50, 5000, size).astype("float32"),
        "charge_long": np.full(size, 1000, "float32"),
        "charge_short": numbers.uniform(600, 900, size).astype("float32"),
        "residual": numbers.lognormal(-3, 0.2, size).astype("float32"),
    }
    counted = Tally.of(columns, 12)
    page = "".join(channel_maps(counted, names))
    assert "mean residual of each channel" in page
    assert "residual [amplitude of the signal]" in page
    assert "and 6 more classes" in page
    assert "4 more classes (" in physics.psd_plot(counted, names)
    assert "4 more classes" in physics.ratio_plot(counted, names)


def test_the_page_of_many_runs_boards_and_reasons_is_bounded(tmp_path: Path) -> None:
    campaign = small_campaign(tmp_path / "campaign", {f"run_{number}": (16,) for number in range(300)})
    account = Account(campaign.plan, physics=True)
    for number, block in enumerate(campaign.blocks()):
        boards = {str(100 * number + one): 1 for one in range(16)}
        account.add(_record(campaign, block, {**report_of(block, 1e9 + number), "boards": boards}))
    journal = Journal(campaign.directory.journal)
    for number in range(600):
        journal.write("failed", reason=f"{'x' * (number + 1)} is broken", verdict="retry")
    path = write_report(campaign.directory, account)
    text = Page(path.read_text()).text
    assert path.stat().st_size < 1_000_000
    assert "and 260 more runs" in text
    assert "and 4,760 more boards" in text
    assert "and 461 more reasons" in text


def _record(campaign: SmallCampaign, block: Block, report: dict[str, Any]) -> CommitRecord:
    fields = campaign.record(block)
    return CommitRecord(run=block.name.run, block=block.name.number, attempt="a", shards=(), report=report, **fields)


def test_an_account_does_not_grow_with_the_blocks(tmp_path: Path) -> None:
    campaign = small_campaign(tmp_path / "campaign", {"run_1": (16 * 1000,)})
    records = [_record(campaign, block, report_of(block, 0.0, physics=False)) for block in campaign.blocks()]
    account = Account(campaign.plan)

    def add(first: int, count: int) -> int:
        for number in range(first, first + count):
            record = records[number % len(records)]
            report = {**record.report, "started": 7.0 * number, "finished": 7.0 * number + 30, "host": f"node{number}"}
            account.add(_with_report(record, report))
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        few = add(0, 10_000)
        many = add(10_000, 90_000)
    finally:
        tracemalloc.stop()
    assert account.totals["finished"] == 100_000
    assert many < 1.5 * few
    assert len(account.throughput.buckets()) <= MOST_BUCKETS


def _with_report(record: CommitRecord, report: dict[str, Any]) -> CommitRecord:
    return CommitRecord(**{**vars(record), "report": report})


def shapes(*peaks: tuple[int, float, float]) -> Tally:
    """A tally of one class whose charge ratios, at one amplitude, are normal: numbers, means, widths."""
    random = np.random.default_rng(5)
    ratio = np.concatenate([random.normal(mean, width, number) for number, mean, width in peaks])
    plain = np.zeros(len(ratio), np.uint16)
    long = np.full(len(ratio), 1000, np.float32)
    columns = {"board": plain, "channel": plain, "flags": plain, "amplitude": long, "charge_long": long}
    return Tally.of({**columns, "charge_short": (long * (1 - ratio)).astype(np.float32)}, 0)


def test_outliers_beside_merged_classes_are_no_second_peak() -> None:
    gates = Gates("the maximum", -3, 10, 60)
    (clear,) = figures_of_merit(shapes((5000, 0.12, 0.02), (2000, 0.25, 0.02)), gates)
    assert clear.value == pytest.approx(0.13 / (2.3548 * 0.04), rel=0.05)
    assert figures_of_merit(shapes((7000, 0.23, 0.05), (300, 0.94, 0.01)), gates) == []


def test_a_small_peak_behind_a_valley_is_one_and_a_tail_is_none() -> None:
    (few,) = figures_of_merit(shapes((20_000, 0.10, 0.018), (600, 0.21, 0.018)), None)
    assert few.value == pytest.approx(0.11 / (2.3548 * 0.036), rel=0.1)
    assert few.neutron.mean == pytest.approx(0.21, abs=0.005)
    random = np.random.default_rng(3)
    tail = tuple((1, float(0.1 + random.exponential(0.08)), 0.0001) for _ in range(1000))
    (none,) = octaves(shapes((20_000, 0.10, 0.018), *tail), None)
    assert none.found is None
    assert none.reason
    (one,) = octaves(shapes((20_000, 0.10, 0.018), (20, 0.21, 0.018)), None)
    assert (one.found, one.signals) == (None, 20_020)


def test_octaves_without_a_figure_of_merit_say_why_and_the_gates_stand_in_the_plan(tmp_path: Path) -> None:
    campaign = small_campaign(tmp_path / "campaign")
    work(campaign, campaign.blocks())
    text = page_of(campaign).text  # there is no campaign.toml
    assert "fewer than 1,000 signals" in text
    assert "short 10, long 60 samples from" in text


def test_a_drift_of_a_few_standard_deviations_is_seen_and_counting_noise_is_no_pattern() -> None:
    answers = [np.array([700_000 - 100 * k, 300_000 + 100 * k, 0]) for k in range(20)]
    svg = physics.run_plot([f"run_{k}" for k in range(20)], answers, ["gamma", "neutron"])
    labels = {float(one) for one in re.findall(r"<text[^>]*>(\d\d\.\d+)</text>", svg)}
    assert 29.5 < min(labels) < max(labels) < 30.7
    values = np.array([1000.0, 1010.0, 990.0])
    span = physics._span(values, np.sqrt(values))
    assert span["vmin"] == pytest.approx(1000 - 3 * 1000**0.5)
    assert span["vmax"] == pytest.approx(1000 + 3 * 1000**0.5)


def test_peaks_narrower_than_a_bin_are_no_reason_to_fail() -> None:
    for one in figures_of_merit(shapes((2418, 0.375, 0.0001), (29, 0.365, 0.0001), (2422, 0.555, 0.0001)), None):  # type: ignore[arg-type]
        assert one.value > 1


def test_throughput_keeps_every_signal_whatever_the_order_and_the_pauses() -> None:
    numbers = np.random.default_rng(1)
    throughput = Throughput()
    blocks = [
        (float(start), float(numbers.uniform(0, 500)), int(numbers.integers(1, 10**6)))
        for start in numbers.uniform(0, 1e7, 2000)
    ]
    for start, length, signals in blocks:
        throughput.add("a" if signals % 2 else "b", start, start + length, signals)
    throughput.add("a", 100.0, 50.0, 7)  # a clock that was set back
    assert throughput.worked.keys() == throughput.buckets()
    assert all(0 < throughput.seconds(bucket) <= throughput.width for bucket in throughput.buckets())
    for group, odd in (("a", True), ("b", False)):
        expected = sum(signals for _, _, signals in blocks if bool(signals % 2) == odd) + 7 * odd
        assert sum(throughput.groups[group].values()) == pytest.approx(expected)
    assert len(throughput.buckets()) <= MOST_BUCKETS


def test_a_rate_is_that_of_the_time_in_which_blocks_were_treated() -> None:
    throughput = Throughput()
    for start in (1000.9, 1001.2, 1001.7):
        throughput.add("", start, start + 0.3, 300)
    rates = {bucket: throughput.groups[""][bucket] / throughput.seconds(bucket) for bucket in throughput.buckets()}
    assert rates == pytest.approx({1000: 1000, 1001: 800})
    assert sum(map(throughput.seconds, throughput.buckets())) == pytest.approx(1.1)


def test_the_recent_pace_forgets_what_is_older_than_ten_minutes() -> None:
    pace = RecentPace()
    assert pace.rate is None
    for start in (0.0, 10_000.0, 10_100.0, 50.0):
        pace.add(start, start + 100, 1000)
    assert pace.newest == 10_200.0
    assert pace.rate == pytest.approx(2000 / 200)


def test_a_killed_pass_is_told_by_its_jobs() -> None:
    events: list[dict[str, Any]] = [
        {"time": 100.0, "event": "started", "left": 5, "threads": {"k80": 4}},
        {"time": 110.0, "event": "job submitted", "group": "k80", "worker": "k80-0", "job": "1"},
        {"time": 110.0, "event": "job submitted", "group": "k80", "worker": "k80-1", "job": "2"},
        {"time": 150.0, "event": "worker admitted", "name": "k80-0", "group": "k80"},
        {"time": 160.0, "event": "worker admitted", "name": "k80-1", "group": "k80"},
        {"time": 250.0, "event": "job ended", "group": "k80", "worker": "k80-0", "job": "1", "reason": "preempted"},
        {"time": 300.0, "event": "cluster", "message": "last word"},
        {"time": 900.0, "event": "started", "left": 3, "threads": {"k80": 4}},
        {
            "time": 950.0,
            "event": "stopped",
            "reason": "KeyboardInterrupt: ",
            "groups": {"k80": {"jobs": 1, "worker_seconds": 9.0}},
        },
        {"time": 960.0},
        {"event": "job ended"},
    ]
    history = History(events)
    killed, stopped = history.passes
    assert (killed.end, killed.elapsed) == (SILENT, 200.0)
    assert killed.groups["k80"] == {"jobs": 2, "worker_seconds": 100.0 + 140.0, "lost_seconds": 0.0}
    assert killed.thread_seconds("k80") == 960.0
    assert (stopped.end, stopped.elapsed, stopped.groups["k80"]["worker_seconds"]) == (STOPPED, 50.0, 9.0)


def test_a_pass_that_said_nothing_for_hours_and_was_killed_lasted_until_its_last_commit(tmp_path: Path) -> None:
    campaign = small_campaign(tmp_path / "campaign")
    lines = [{"time": 1e9, "event": "started", "host": "login", "pid": 7, "threads": {"v100": 2}}]
    for number in range(24):
        told = {"name": f"w{number}", "group": "v100", "host": "login", "pid": 7}
        lines.append({"time": 1e9 + 100 + number, "event": "worker admitted", **told})
    lines.append({"time": 1e9 + 90_000, "event": "coordinator submitted", "host": "login", "pid": 8})
    lines.append({"time": 1e9 + 95_000, "event": "started", "host": "login", "pid": 9, "threads": {"v100": 2}})
    campaign.directory.journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for block, when in zip(campaign.blocks(), (200.0, 35_898.0, 95_010.0, 95_020.0), strict=True):
        Attempt(campaign.directory, block.name).commit(**campaign.record(block), report=report_of(block, 1e9 + when))
    content = read_content(campaign.directory)
    killed, newest = content.history.passes
    assert (killed.end, killed.elapsed, newest.elapsed) == (SILENT, 35_900.0, 22.0)
    there = sum(35_900 - 100 - number for number in range(24))
    assert killed.groups["v100"]["worker_seconds"] == there
    (use,) = content.groups
    assert use.hours == pytest.approx(there / 3600)
    assert content.summary.passes[0].elapsed == 35_900.0


def test_a_pass_at_work_says_so_and_lasts_until_now(tmp_path: Path) -> None:
    campaign = small_campaign(tmp_path / "campaign")
    with hold(campaign.directory):
        Journal(campaign.directory.journal).write("started", left=4, threads={"": 2})
        first = campaign.blocks()[0]
        now = time.time()
        told = {**report_of(first, now), "started": now, "finished": now + 0.01, "group": ""}
        Attempt(campaign.directory, first.name).commit(**campaign.record(first), report=told)
        time.sleep(0.05)
        (one,) = read_content(campaign.directory).history.passes
        assert one.end == RUNNING
        assert one.elapsed >= 0.05
        assert "running" in page_of(campaign).text
        (one,) = read_status(campaign.directory).summary.passes  # type: ignore[union-attr]
        assert one.end == RUNNING
    assert read_content(campaign.directory).history.passes[0].end == SILENT


def test_nobody_is_at_work_for_more_than_all_of_his_time(tmp_path: Path) -> None:
    campaign = small_campaign(tmp_path / "campaign")
    work(campaign, campaign.blocks())
    journal = Journal(campaign.directory.journal)
    journal.write("started", left=4, threads={"v100": 2})  # of the pass before, which did the work, nothing is known
    journal.write("finished", elapsed=1.0, processed=53, groups={"v100": {"jobs": 1, "worker_seconds": 1.0}})
    (use,) = read_content(campaign.directory).groups
    assert use.busy is None


def test_a_summary_keeps_earlier_passes(tmp_path: Path) -> None:
    campaign = small_campaign(tmp_path / "campaign")
    passed(campaign)
    Journal(campaign.directory.journal).write("started", left=0)
    summary = finalise(campaign.directory, campaign.plan, processed=7, elapsed=3.0)
    assert [(one.end, one.processed) for one in summary.passes] == [("finished", 53), ("finished", 7)]
    assert summary.passes[0].groups["v100"]["worker_seconds"] == 1000.0


def test_a_report_that_cannot_be_drawn_harms_no_campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    campaign = small_campaign(tmp_path / "campaign")
    work(campaign, campaign.blocks())
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    journal = Journal(campaign.directory.journal)
    account = count_records(campaign.directory, campaign.plan, physics=True)
    coordinator._report(campaign.directory, account, journal, Progress(Console(quiet=True)))
    (event,) = journal.read()
    assert event["event"] == "report failed"
    assert "matplotlib" in event["reason"]
    assert not campaign.directory.report.exists()
