"""The main job as a user runs it: one command, real files, a real network, real worker processes."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import zarr

import psdbatch as package
from psdbatch.campaign.directory import CampaignDirectory
from psdbatch.columns import Flag
from psdbatch.report.content import read_content
from tests.campaigns import (
    WINDOW,
    children,
    facts,
    kill_group,
    psdbatch,
    pulses,
    start,
    store_digests,
    wait_for_commits,
    write_config,
    write_file,
    write_network,
)

SIGNALS = 21_000


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(tmp_path_factory.mktemp("model") / "psd.pb")


@pytest.fixture(scope="session")
def slow_network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that takes about half a second per block, so that there is time to kill something."""
    return write_network(tmp_path_factory.mktemp("model") / "slow.pb", hidden=(2000, 2000))


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, the first of two files."""
    folder = tmp_path_factory.mktemp("archive")
    write_file(folder / "run_1/board1.psdz", pulses(9_000, 1))
    write_file(folder / "run_1/board2.psdz", pulses(7_000, 2))
    write_file(folder / "run_2/board1.psdz", pulses(5_000, 3))
    return folder


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, archive: Path, slow_network: Path) -> Path:
    """Finished campaign of the slow network, to compare interrupted ones with."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    psdbatch("run", write_config(folder / "campaign.toml", f"{archive}/*/*.psdz", slow_network))
    return folder / "campaign"


def slow_config(folder: Path, archive: Path, slow_network: Path, **sections: dict[str, object]) -> Path:
    return write_config(folder / "campaign.toml", f"{archive}/*/*.psdz", slow_network, **sections)


def test_every_signal_gets_its_answer_in_its_place(tmp_path: Path, archive: Path, network: Path) -> None:
    config = write_config(tmp_path / "campaign.toml", f"{archive}/*/*.psdz", network)
    summary = facts("run", config)
    assert summary["written"] == summary["signals"] == SIGNALS
    assert summary["finished"] == summary["blocks"] == 11
    results = package.open_results(tmp_path / "campaign", run="run_1").load()
    given = [pulses(9_000, 1), pulses(7_000, 2)]
    for name in ("timestamp", "board", "channel"):
        expected = np.concatenate([getattr(signals, name) for signals in given])
        assert np.array_equal(results[name].values, expected)
    samples = np.concatenate([signals.samples for signals in given])
    probability = reference_answers(samples, network)
    assert np.allclose(results.probability.values, probability, atol=2e-5)
    assert np.array_equal(results.label.values, probability.argmax(axis=1))
    assert list(results["class"].values) == ["gamma", "neutron"]
    assert results.timestamp.attrs["units"] == "10 ns"


def reference_answers(samples: np.ndarray, network: Path) -> np.ndarray:
    """Preparation and network in plain NumPy, signal by signal in double precision."""
    import tensorflow as tf

    graph = tf.compat.v1.GraphDef.FromString(network.read_bytes())
    first, second = [tf.make_ndarray(node.attr["value"].tensor) for node in graph.node if node.op == "Const"]
    height = samples[:, :16].mean(axis=1, keepdims=True) - samples
    amplitude = height.max(axis=1, keepdims=True)
    start_sample = (height >= 0.2 * amplitude).argmax(axis=1) - 5
    window = np.clip(start_sample[:, None] + np.arange(WINDOW), 0, samples.shape[1] - 1)
    prepared = np.take_along_axis(height, window, axis=1) / amplitude
    scores = np.maximum(prepared @ first, 0) @ second
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)


def test_audit_proves_a_finished_campaign_and_status_reads_it(uninterrupted: Path) -> None:
    result = facts("audit", uninterrupted, "--deep")
    assert result["passed"]
    assert result["indexed"] == result["written"] == SIGNALS
    assert facts("status", uninterrupted)["summary"]["finished"] == 11


@pytest.mark.parametrize("victim", [pytest.param("coordinator", marks=pytest.mark.long), "everything"])
def test_killed_and_resumed_equals_uninterrupted(
    victim: str, tmp_path: Path, archive: Path, slow_network: Path, uninterrupted: Path
) -> None:
    config = slow_config(tmp_path, archive, slow_network)
    for commits in (2, 5):
        process = start("run", config)
        wait_for_commits(tmp_path / "campaign", commits, process)
        if victim == "coordinator":
            process.kill()
            process.wait(30)
        else:
            kill_group(process)
        assert facts("status", tmp_path / "campaign")["summary"]["missing"] > 0
    done = facts("run", config)
    assert done["written"] == SIGNALS
    assert all(one["elapsed"] > 1 for one in done["passes"])  # they lasted until their last commits, and wrote no line
    (use,) = read_content(CampaignDirectory(tmp_path / "campaign")).groups
    assert use.busy is not None
    assert store_digests(tmp_path / "campaign") == store_digests(uninterrupted)
    assert facts("audit", tmp_path / "campaign", "--deep")["passed"]
    assert not list((tmp_path / "campaign/staging").iterdir())


def test_a_killed_worker_costs_some_blocks_and_its_death_is_told(
    tmp_path: Path, archive: Path, slow_network: Path, uninterrupted: Path
) -> None:
    process = start("run", slow_config(tmp_path, archive, slow_network))
    wait_for_commits(tmp_path / "campaign", 2, process)
    os.kill(children(process)[0], signal.SIGKILL)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert "killed by signal 9" in output
    assert store_digests(tmp_path / "campaign") == store_digests(uninterrupted)
    assert "worker died" in (tmp_path / "campaign/journal.jsonl").read_text()


def test_an_interrupted_campaign_says_so_and_goes_on(tmp_path: Path, archive: Path, slow_network: Path) -> None:
    config = slow_config(tmp_path, archive, slow_network)
    process = start("run", config)
    wait_for_commits(tmp_path / "campaign", 1, process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: workers get it, too
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 4, output
    assert "the same command goes on" in output
    assert "Traceback" not in output
    assert facts("run", tmp_path / "campaign")["written"] == SIGNALS


def test_a_coordinator_whose_time_is_nearly_over_lets_blocks_end(
    tmp_path: Path, archive: Path, slow_network: Path
) -> None:
    campaign = tmp_path / "campaign"
    process = start("run", slow_config(tmp_path, archive, slow_network))
    wait_for_commits(campaign, 1, process)
    process.send_signal(signal.SIGXCPU)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 4, output
    assert "its time is over; the same command goes on" in output
    begun = {path.name for path in campaign.glob("staging/*/*")}
    assert not begun  # what had been begun was committed
    events = [json.loads(line)["event"] for line in (campaign / "journal.jsonl").read_text().splitlines()]
    assert events == ["started", "stopped"]  # nothing failed
    assert facts("run", campaign)["written"] == SIGNALS


def test_of_two_coordinators_at_once_one_works_and_one_is_told(
    tmp_path: Path, archive: Path, slow_network: Path, uninterrupted: Path
) -> None:
    config = slow_config(tmp_path, archive, slow_network, cluster={"threads": 1})
    both = [start("run", config), start("run", config)]
    said = {process.communicate(timeout=240)[0]: process.returncode for process in both}
    assert sorted(said.values()) == [0, 1], said
    assert any("is being run by process" in output for output, code in said.items() if code == 1)
    assert store_digests(tmp_path / "campaign") == store_digests(uninterrupted)
    assert facts("audit", tmp_path / "campaign")["passed"]


def test_new_runs_are_added_without_touching_finished_blocks(tmp_path: Path, network: Path) -> None:
    write_file(tmp_path / "data/run_1/a.psdz", pulses(5_000, 1))
    config = write_config(tmp_path / "campaign.toml", "data/*/*.psdz", network)
    facts("run", config)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "campaign/results.zarr/run_1").rglob("c.*")}
    write_file(tmp_path / "data/run_2/a.psdz", pulses(3_000, 2))
    summary = facts("run", config)
    assert summary["written"] == 8_000
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert facts("audit", tmp_path / "campaign")["passed"]
    joined = package.open_results(tmp_path / "campaign")
    assert joined.sizes["signal"] == 8_000
    assert joined.run.values.sum() == 3_000


def test_what_changed_is_named_and_refused(tmp_path: Path, network: Path) -> None:
    write_file(tmp_path / "data/run_1/a.psdz", pulses(5_000, 1))
    config = write_config(tmp_path / "campaign.toml", "data/*/*.psdz", network)
    facts("run", config)
    before = store_digests(tmp_path / "campaign")
    write_config(config, "data/*/*.psdz", network, charge={"long": 50})
    assert "charge.long: was 60, is now 50" in psdbatch("run", config, check=1).stderr
    other = write_network(tmp_path / "other.pb", hidden=(12,))
    write_config(config, "data/*/*.psdz", other)
    assert "model.digest" in psdbatch("run", config, check=1).stderr
    write_config(config, "data/*/*.psdz", network)
    write_file(tmp_path / "data/run_1/a.psdz", pulses(5_001, 1))
    assert "a.psdz: has" in psdbatch("run", config, check=1).stderr
    write_file(tmp_path / "data/run_1/a.psdz", pulses(5_000, 1))
    write_file(tmp_path / "data/run_1/b.psdz", pulses(10, 1))
    assert "b.psdz is new" in psdbatch("run", config, check=1).stderr
    assert store_digests(tmp_path / "campaign") == before


def test_damaged_packets_keep_their_places(tmp_path: Path, network: Path) -> None:
    path = write_file(tmp_path / "run_7.psdz", pulses(9_000, 4), packet=1000)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)
    config = write_config(tmp_path / "campaign.toml", str(path), network)
    summary = facts("run", config, check=3)
    assert summary["refused"] == {"damaged in the acquisition file": 1000}
    assert summary["written"] == 8_000
    results = package.open_results(tmp_path / "campaign").load()
    lost = results.label.values == 255
    assert lost.sum() == 1000
    assert np.isnan(results.probability.values[lost]).all()
    assert np.array_equal(results.timestamp.values[~lost], pulses(9_000, 4).timestamp[~lost])
    assert facts("audit", tmp_path / "campaign", "--deep", check=None)["refused"] == summary["refused"]
    records = [path.read_text() for path in (tmp_path / "campaign").glob("commits/*/*/*.json")]
    assert sum("run_7.psdz: the checksum of the packet is wrong" in record for record in records) == 1
    boards = {board: told["signals"] for board, told in summary["boards"].items()}
    assert sum(boards.values()) == 8_000
    assert "0" not in boards  # nobody knows which board the lost signals are of


def test_a_model_that_answers_nan_is_told_signal_by_signal(tmp_path: Path, archive: Path) -> None:
    poisoned = write_network(tmp_path / "poison.pb", poison=True)
    config = write_config(tmp_path / "campaign.toml", f"{archive}/run_2/*.psdz", poisoned)
    summary = facts("run", config, check=3)
    (reason,) = summary["refused"]
    assert reason == "the model answered NaN or infinity"
    results = package.open_results(tmp_path / "campaign").load()
    refused = (results.flags.values & Flag.BAD_ANSWER) != 0
    assert 0 < refused.sum() == summary["refused"][reason] < 5_000
    assert np.array_equal(results.label.values == 255, refused)
    assert facts("audit", tmp_path / "campaign")["passed"]


def test_a_file_compressed_as_a_whole_is_one_chain_with_the_same_answers(
    tmp_path: Path, archive: Path, network: Path
) -> None:
    plain = write_config(tmp_path / "plain.toml", f"{archive}/run_2/*.psdz", network, campaign="plain")
    facts("run", plain)
    (tmp_path / "run_2").mkdir()
    with gzip.open(tmp_path / "run_2/board1.psdz.gz", "wb") as packed:
        packed.write((archive / "run_2/board1.psdz").read_bytes())
    config = write_config(tmp_path / "gz.toml", "run_2/*.gz", network, campaign="gz")
    facts("run", config)
    tasks = (tmp_path / "gz/journal.jsonl").read_text()
    assert "finished" in tasks
    same, other = store_digests(tmp_path / "plain"), store_digests(tmp_path / "gz")
    assert {name: same[name] for name in same if "/c." in name} == {
        name: other[name] for name in other if "/c." in name
    }


@pytest.mark.long  # a worker that ends itself: test_worker_deaths
def test_a_block_over_its_time_limit_is_given_up_with_the_reason(tmp_path: Path, archive: Path) -> None:
    endless = write_network(tmp_path / "endless.pb", hidden=(3500, 3500, 3500))
    config = write_config(
        tmp_path / "campaign.toml",
        f"{archive}/run_2/*.psdz",
        endless,
        processing={"time_limit": "1 s", "attempts": 2, "block": 5000, "batch": 5000},
        results={"chunk": 5000},
    )
    summary = facts("run", config, check=3)
    assert summary["quarantined"] == 1
    (record,) = (tmp_path / "campaign").glob("commits/*/*/*.json")
    assert "longer than its time limit of 1 s" in record.read_text()
    results = package.open_results(tmp_path / "campaign").load()
    assert (results.label.values == 255).all()
    audit = facts("audit", tmp_path / "campaign")
    assert audit["passed"]
    assert sum(audit["refused"].values()) == 5_000
    patient = config.read_text().replace('time_limit = "1 s"', 'time_limit = "5 min"')
    config.write_text(patient)
    assert facts("run", config, "--retry-quarantined")["written"] == 5_000


def test_a_full_disk_stops_the_campaign_and_room_lets_it_go_on(tmp_path: Path, archive: Path, network: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", disk], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        config = write_config(tmp_path / "campaign.toml", f"{archive}/*/*.psdz", network, campaign=f"{disk}/campaign")
        done = psdbatch("run", config, check=1)
        assert "No space left" in done.stderr
        assert "make room" in done.stderr
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        assert facts("run", config)["written"] == SIGNALS
        assert facts("audit", disk / "campaign")["passed"]
    finally:
        subprocess.run(["umount", "-l", disk], check=False)


def test_an_output_directory_that_cannot_be_written_is_said(tmp_path: Path, archive: Path, network: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    config = write_config(tmp_path / "campaign.toml", f"{archive}/*/*.psdz", network, campaign="taken/campaign")
    assert "cannot be written" in psdbatch("run", config, check=1).stderr


def test_a_vanished_output_directory_is_said_and_nothing_hangs(
    tmp_path: Path, archive: Path, slow_network: Path
) -> None:
    process = start("run", slow_config(tmp_path, archive, slow_network))
    wait_for_commits(tmp_path / "campaign", 1, process)
    (tmp_path / "campaign").rename(tmp_path / "moved")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1, output
    assert "Traceback" not in output
    (tmp_path / "moved").rename(tmp_path / "campaign")
    assert facts("run", tmp_path / "campaign")["written"] == SIGNALS


def test_plan_predicts_and_writes_nothing(tmp_path: Path, archive: Path, network: Path) -> None:
    config = write_config(tmp_path / "campaign.toml", f"{archive}/*/*.psdz", network)
    expected = facts("plan", config)
    assert (expected["signals"], expected["blocks"], expected["runs"], expected["files"]) == (SIGNALS, 11, 2, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["campaign.toml"]
    summary = facts("run", config)
    assert expected["bytes"][0] * 0.8 < summary["bytes"] < expected["bytes"][1] * 1.2
    assert expected["caution"] is None
    assert expected["inodes"] == sum(1 for _ in (tmp_path / "campaign").rglob("*"))


@pytest.mark.long
def test_plan_for_a_batch_system_says_on_which_machine_it_measured(
    tmp_path: Path, archive: Path, network: Path
) -> None:
    slurm = {"kind": "slurm", "workers": [{"name": "v100", "jobs": 9}]}
    config = write_config(tmp_path / "campaign.toml", f"{archive}/*/*.psdz", network, cluster=slurm)
    expected = facts("plan", config)
    assert f"measured on this machine ({socket.gethostname()}, 2 threads)" in expected["caution"]
    assert "workers of the batch system may differ" in " ".join(psdbatch("plan", config).stdout.split())
    assert facts("plan", "--no-probe", config)["caution"] is None  # nothing was measured


def test_the_dashboard_answers_while_the_campaign_runs(tmp_path: Path, archive: Path, slow_network: Path) -> None:
    from urllib.request import urlopen

    process = start("run", slow_config(tmp_path, archive, slow_network, cluster={"dashboard": "127.0.0.1:0"}))
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(process.stdout or ()), daemon=True)
    reader.start()
    wait_for_commits(tmp_path / "campaign", 1, process)
    address = next(line for line in lines if "dashboard:" in line).split()[1].removesuffix("/psdbatch")
    info = urlopen(f"{address}/info/main/workers.html", timeout=20).read().decode()
    assert "127.0.0.1" in info
    metrics = urlopen(f"{address}/metrics", timeout=20).read().decode()
    assert 'task_prefix_name="process run_' in metrics or "dask_scheduler" in metrics
    process.wait(240)
    reader.join(10)
    assert process.returncode == 0, lines


def test_plain_zarr_reads_the_store(uninterrupted: Path) -> None:
    group = zarr.open_group(uninterrupted / "results.zarr", mode="r")
    assert group["run_2/label"].shape == (5_000,)  # type: ignore[union-attr]
    assert dict(group.attrs)["classes"] == ["gamma", "neutron"]


def test_the_coordinator_never_imports_tensorflow(tmp_path: Path, uninterrupted: Path) -> None:
    code = (
        "import sys, psdbatch.coordination.coordinator, psdbatch.campaign.audit, psdbatch.coordination.status, psdbatch.cli;"
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_help_answers_without_loading_anything_heavy() -> None:
    code = (
        "import sys, psdbatch.cli;"
        "heavy = {'tensorflow', 'dask', 'distributed', 'bokeh', 'zarr', 'numpy', 'numba', 'pydantic', 'matplotlib'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_workers_do_not_outlive_a_killed_coordinator(tmp_path: Path, archive: Path, slow_network: Path) -> None:
    process = start("run", slow_config(tmp_path, archive, slow_network))
    wait_for_commits(tmp_path / "campaign", 1, process)
    workers = children(process)
    process.kill()
    process.wait(30)
    end = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < end:
        time.sleep(0.2)
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
