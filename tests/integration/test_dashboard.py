"""The page of a running campaign in a real browser, directly and behind Jupyter's proxy, and its metrics."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.campaigns import (
    children,
    kill_group,
    psdbatch,
    pulses,
    start,
    wait_for_commits,
    write_config,
    write_file,
    write_network,
)
from tests.servers.browser import Browser
from tests.servers.ssh import SshServer

SIGNALS, BLOCK = 40_000, 1000
HALF = 8


@dataclass
class Running:
    """A campaign whose workers are stopped half way."""

    port: int
    metrics: str

    @property
    def address(self) -> str:
        """Of the page."""
        return f"http://127.0.0.1:{self.port}/psdbatch"


def free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return int(place.getsockname()[1])


def fetch(address: str) -> str:
    with urllib.request.urlopen(address, timeout=30) as answer:
        return str(answer.read().decode())


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A campaign that is compared with one of other pulses, stopped after some blocks."""
    folder = tmp_path_factory.mktemp("dashboard")
    network = write_network(folder / "net.pb")
    for number in range(2):
        write_file(folder / f"run_{number}.pkt", pulses(SIGNALS // 2, seed=number))
    other = pulses(SIGNALS, seed=5)
    other.samples[(other.board == 2) & (other.channel == 3), 40:] -= 400  # this channel had longer tails then
    write_file(folder / "other" / "run_9.pkt", other)
    shape = {"processing": {"block": BLOCK}, "cluster": {"threads": 2}}
    psdbatch("run", write_config(folder / "reference.toml", "other/*.pkt", network, "reference", **shape))
    port = free_port()
    shape["cluster"] = {"dashboard": f"127.0.0.1:{port}", "threads": 1}
    config = write_config(folder / "c.toml", "*.pkt", network, monitor={"reference": "reference"}, **shape)
    process = start("run", config)
    try:
        wait_for_commits(folder / "campaign", HALF, process)
        stopped = children(process)
        for worker in stopped:
            os.kill(worker, signal.SIGSTOP)
        yield Running(port, settled(f"http://127.0.0.1:{port}/metrics"))
        for worker in stopped:
            os.kill(worker, signal.SIGCONT)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
        assert f"127.0.0.1:{port}/psdbatch" in output
    finally:
        if process.poll() is None:
            kill_group(process)


def settled(address: str) -> str:
    """Metrics once the reports of all blocks have come and were compared with the reference."""
    end = time.monotonic() + 60
    before = ""
    while time.monotonic() < end:
        text = "".join(line for line in fetch(address).splitlines(True) if line.startswith(("psdbatch", "# ")))
        alarms = "psdbatch_drift_alarms" in text and "psdbatch_drift_alarms 0.0" not in text
        now = values(text, "psdbatch_done_signals")
        if alarms and now == before:
            return text
        before = now
        time.sleep(1.5)
    raise AssertionError(text)


def values(text: str, name: str) -> dict[tuple[str, ...], float]:
    return {
        tuple(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    }


def test_metrics_of_a_running_campaign_add_up(running: Running) -> None:
    done = values(running.metrics, "psdbatch_done_signals")[()]
    assert done % BLOCK == 0
    assert (HALF - 1) * BLOCK <= done < SIGNALS  # the last one may have been committed and not yet told
    blocks = values(running.metrics, "psdbatch_blocks")
    assert blocks[("finished",)] == done / BLOCK
    assert sum(blocks.values()) == SIGNALS / BLOCK
    assert values(running.metrics, "psdbatch_signals_total") == {("this machine",): done}
    assert sum(values(running.metrics, "psdbatch_board_signals_total").values()) == done
    classified = values(running.metrics, "psdbatch_classified_signals_total")
    assert sum(classified.values()) == done
    assert {board for board, _ in classified} == {"1", "2", "3", "4"}
    assert values(running.metrics, "psdbatch_jobs") == {("this machine", "running"): 1.0}
    assert {stage for (stage,) in values(running.metrics, "psdbatch_stage_seconds_total")} >= {"read", "infer", "write"}
    seconds = values(running.metrics, "psdbatch_stage_seconds_total")
    boards = values(running.metrics, "psdbatch_board_seconds_total")
    for (stage,), spent in seconds.items():
        assert sum(boards[str(board), stage] for board in range(1, 5)) == pytest.approx(spent)
    assert not values(running.metrics, "psdbatch_refused_signals_total")


def test_page_shows_progress_physics_and_drift(running: Running, browser: Browser, tmp_path: Path) -> None:
    browser.hosts()
    browser.complaints()
    browser.open(running.address)
    text = browser.wait_for("against reference")
    done = int(values(running.metrics, "psdbatch_done_signals")[()])
    assert f"{done:,} of {SIGNALS:,} signals" in text
    for words in ("Worker groups", "this machine", "1 running", "Time per stage", "infer", "Acquisition boards"):
        assert words in text
    assert "1 channel drifts from the reference" in text
    assert "2 3 mean charge ratio" in text
    picture = wait_for_colours(browser)
    assert browser.complaints() == []
    assert browser.hosts() == {"127.0.0.1"}, "a compute node has no internet"
    assert picture.shape[1] == 1440


@pytest.mark.parametrize("width", [820, 1024, 1440])
def test_page_fits_the_window(running: Running, browser: Browser, width: int) -> None:
    browser.driver.set_window_size(width, 1400)
    try:
        browser.open(running.address)
        browser.wait_for("1 channel drifts from the reference")
        wait_for_colours(browser)
        (menu,), (title,) = browser.boxes("#myTopnav"), browser.boxes("h1")
        assert title.top >= menu.top + menu.height, "the menu covers the campaign's name"
        pulse_shapes, projection, *_ = (box for box in browser.boxes(".bk-Figure") if box.width)
        assert pulse_shapes.width >= 460
        assert projection.width >= 250
        for kind in (".bk-Figure", "td", "th"):
            assert all(box.left + box.width <= width for box in browser.boxes(kind)), f"{kind} beyond the window"
        assert not [box for box in browser.boxes(".scroll") if box.cut]
    finally:
        browser.driver.set_window_size(1440, 1400)


def test_page_is_linked_from_the_menu(running: Running, browser: Browser) -> None:
    browser.open(f"http://127.0.0.1:{running.port}/status")
    links = browser.driver.find_elements("css selector", "#myTopnav a")
    link = next(link for link in links if link.get_attribute("href") == running.address)
    link.click()
    browser.wait_for("Worker groups")


def test_page_works_through_an_ssh_tunnel(running: Running, browser: Browser, ssh: SshServer) -> None:
    browser.complaints()
    tunnel = ssh.tunnel(running.port)
    browser.open(f"http://localhost:{tunnel}/psdbatch")
    browser.wait_for("1 channel drifts from the reference")
    wait_for_colours(browser)
    assert browser.complaints() == []
    ssh.close(tunnel)
    browser.wait_for("no connection since")
    ssh.tunnel(running.port, tunnel)
    browser.wait_until_gone("no connection since")
    browser.wait_for("1 channel drifts from the reference")
    browser.open("about:blank")  # a page left open would complain about the end of its tunnel
    browser.complaints()


def test_page_works_behind_the_proxy_of_jupyter(running: Running, browser: Browser, tmp_path: Path) -> None:
    port = free_port()
    options = [f"--ServerApp.port={port}", "--ServerApp.ip=127.0.0.1", "--IdentityProvider.token=", "--no-browser"]
    options += ["--ServerApp.base_url=/hub/user", "--allow-root", f"--ServerApp.root_dir={tmp_path}"]
    environment = {**os.environ, "HOME": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-m", "jupyter_server", *options], env=environment) as server:
        try:
            address = f"http://127.0.0.1:{port}/hub/user/proxy/{running.port}/psdbatch"
            wait_until_there(address)
            browser.complaints()
            browser.open(address)
            browser.wait_for("1 channel drifts from the reference")
            wait_for_colours(browser)
            assert browser.complaints() == []
        finally:
            server.terminate()


def wait_until_there(address: str) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            fetch(address)
            return
        except OSError:
            assert time.monotonic() < end, f"{address} does not answer"
            time.sleep(0.2)


def wait_for_colours(browser: Browser) -> np.ndarray:
    """The picture, once the histogram is drawn: dozens of colours of the scale stand in the left part of the page."""
    end = time.monotonic() + 30
    while True:
        picture = browser.picture()
        left = picture[200:700, 60:500].reshape(-1, 3).astype(int)
        colours = np.unique(left[left.max(axis=1) - left.min(axis=1) > 60], axis=0)
        if len(colours) > 30:
            return picture
        assert time.monotonic() < end, f"{len(colours)} colours: the histogram is not drawn"
        time.sleep(0.3)
