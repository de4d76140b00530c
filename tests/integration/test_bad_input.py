"""Bad input, as a user meets it: one clear message, an exit code, nothing written, no traceback."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.campaigns import facts, psdbatch, pulses, write_config, write_file, write_network


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(tmp_path_factory.mktemp("model") / "psd.pb")


def refused(config: Path) -> str:
    """Message of a campaign that is refused before anything is written."""
    message = psdbatch("run", config, check=1).stderr
    assert not (config.parent / "campaign").exists()
    return message


def test_every_unusable_file_is_named_at_once(tmp_path: Path, network: Path) -> None:
    write_file(tmp_path / "data/run_1.psdz", pulses(100))
    (tmp_path / "data/run_2.psdz").write_bytes(b"")
    (tmp_path / "data/run_3.psdz").write_text("not a detector\n" * 100)
    (tmp_path / "data/run_4.psdz.gz").write_bytes(b"\x1f\x8bnot gzip at all")
    message = refused(write_config(tmp_path / "campaign.toml", "data/*", network))
    assert "run_2.psdz: the file is empty" in message
    assert "run_3.psdz: no known format recognises" in message
    assert "run_4.psdz.gz" in message
    assert "run_1" not in message


def test_a_pattern_without_files_and_a_missing_model_are_named(tmp_path: Path, network: Path) -> None:
    assert "no file matches" in refused(write_config(tmp_path / "campaign.toml", "nothing/*", network))
    write_file(tmp_path / "run_1.psdz", pulses(100))
    assert "missing.pb" in refused(write_config(tmp_path / "campaign.toml", "*.psdz", tmp_path / "missing.pb"))


def test_a_wrong_key_is_answered_with_the_nearest_known_one(tmp_path: Path, network: Path) -> None:
    config = write_config(tmp_path / "campaign.toml", "*", network, processing={"blocks": 3})
    assert "unknown key 'processing.blocks'; did you mean 'block'?" in refused(config)
    config.write_text("campaign = ")
    assert "is not valid TOML" in refused(config)
    assert "cannot be read" in psdbatch("run", tmp_path / "absent.toml", check=1).stderr


def test_a_block_must_be_whole_chunks(tmp_path: Path, network: Path) -> None:
    write_file(tmp_path / "run_1.psdz", pulses(100))
    config = write_config(tmp_path / "campaign.toml", "*.psdz", network, processing={"block": 1250})
    assert "must be a multiple of 'results.chunk'" in refused(config)


def test_signals_shorter_than_the_models_input_are_refused_with_both_lengths(tmp_path: Path, network: Path) -> None:
    write_file(tmp_path / "run_1.psdz", pulses(100, samples=60))
    message = refused(write_config(tmp_path / "campaign.toml", "*.psdz", network))
    assert "takes 75 samples" in message
    assert "60" in message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\x00\x01\x02 this is no graph", "is not a frozen GraphDef"),
    ],
)
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    write_file(tmp_path / "run_1.psdz", pulses(100))
    (tmp_path / "bad.pb").write_bytes(content)
    assert said in refused(write_config(tmp_path / "campaign.toml", "*.psdz", tmp_path / "bad.pb"))


def test_class_names_must_fit_the_models_output(tmp_path: Path, network: Path) -> None:
    write_file(tmp_path / "run_1.psdz", pulses(100))
    config = write_config(tmp_path / "campaign.toml", "*.psdz", network, model={"classes": ["a", "b", "c"]})
    message = refused(config)
    assert "2 classes" in message
    assert "names 3" in message


def test_files_of_one_run_must_go_together(tmp_path: Path, network: Path) -> None:
    write_file(tmp_path / "run_1/a.psdz", pulses(100))
    np.save(tmp_path / "run_1/b.npy", pulses(100).samples)
    message = refused(write_config(tmp_path / "campaign.toml", "run_1/*", network))
    assert "of the same run 'run_1'" in message


def test_a_truncated_file_is_processed_up_to_its_end_and_the_rest_is_listed(tmp_path: Path, network: Path) -> None:
    path = write_file(tmp_path / "run_1.psdz", pulses(5_000), packet=1000)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.7)])
    (index,) = facts("index", path)["files"]
    readable = index["scan"]["signals"]
    assert 3_000 <= readable < 5_000
    assert index["scan"]["damage"]
    summary = facts("run", write_config(tmp_path / "campaign.toml", "*.psdz", network), check=None)
    assert summary["signals"] == readable
    assert summary["missing"] == 0
    assert summary["damaged_regions"] == len(index["scan"]["damage"])
    assert "damaged regions: signals in them" in (tmp_path / "campaign/report.html").read_text()
    assert "run_1.psdz" in psdbatch("index", path, "--show").stdout


def test_a_directory_that_is_no_campaign_is_said(tmp_path: Path) -> None:
    for name in ("status", "audit"):
        assert "is not a campaign directory" in psdbatch(name, tmp_path, check=1).stderr
    assert "holds no results" in psdbatch("plot", tmp_path, check=1).stderr


def test_a_wrong_command_line_has_its_own_exit_code() -> None:
    assert "No such command" in psdbatch("rnu", check=2).stderr
    assert "Missing argument" in psdbatch("run", check=2).stderr


def test_audit_finds_a_changed_byte_a_missing_shard_and_a_lost_record(tmp_path: Path, network: Path) -> None:
    write_file(tmp_path / "run_1.psdz", pulses(5_000))
    facts("run", write_config(tmp_path / "campaign.toml", "*.psdz", network))
    campaign = tmp_path / "campaign"
    shard = campaign / "results.zarr/run_1/label/c.1"
    good = shard.read_bytes()
    shard.write_bytes(good[:20] + bytes([good[20] ^ 1]) + good[21:])
    assert "checksum" in " ".join(facts("audit", campaign, check=5)["problems"])
    shard.unlink()
    assert "cannot be read" in " ".join(facts("audit", campaign, check=5)["problems"])
    shard.write_bytes(good)
    record = next(campaign.glob("commits/run_1/*/*0.json"))
    kept = record.read_bytes()
    record.unlink()
    assert "not finished" in " ".join(facts("audit", campaign, check=5)["problems"])
    record.write_bytes(kept)
    assert facts("audit", campaign)["passed"]


def test_what_a_start_without_a_plan_left_behind_is_made_again(tmp_path: Path, network: Path) -> None:
    write_file(tmp_path / "run_1.psdz", pulses(5_000))
    other = write_network(tmp_path / "other.pb", hidden=(12,))
    facts("run", write_config(tmp_path / "campaign.toml", "*.psdz", other))
    campaign = tmp_path / "campaign"
    for path in (
        campaign / "plan.json",
        campaign / "metadata.json",
        *campaign.glob("commits/*/*/*.json"),
        *campaign.glob("*.zarr/*/*/c.*"),
    ):
        path.unlink()  # as a start leaves it that is killed before it writes its plan
    config = write_config(tmp_path / "campaign.toml", "*.psdz", network, processing={"block": 2500})
    assert facts("run", config)["written"] == 5_000
    assert facts("audit", campaign)["passed"]
    digest = facts("inspect", network)["digest"]
    assert digest in (campaign / "model/model.json").read_text()


def test_one_file_under_two_names_is_processed_once(tmp_path: Path, network: Path) -> None:
    write_file(tmp_path / "data/run_1.psdz", pulses(1_000))
    (tmp_path / "data/run_2.psdz").symlink_to("run_1.psdz")
    expected = facts("plan", write_config(tmp_path / "campaign.toml", "data/*", network), "--no-probe")
    assert (expected["signals"], expected["files"]) == (1_000, 1)
