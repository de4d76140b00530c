"""``campaign.toml``: what is read, what is refused, and with which words."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import tomli_w

from psdbatch.acquisition.registry import format_named, formats
from psdbatch.config import CampaignConfig, CoordinatorJob, WorkerGroup, read_config, validated
from psdbatch.config.schema import settings_facts
from psdbatch.errors import ConfigurationError

LEAST = {"campaign": "out", "input": {"files": ["data/*.mfm"]}, "model": {"path": "psd.pb"}}


def written(tmp_path: Path, **sections: object) -> Path:
    path = tmp_path / "campaign.toml"
    path.write_bytes(tomli_w.dumps({**LEAST, **sections}).encode())
    return path


def test_paths_count_from_the_files_own_directory(tmp_path: Path) -> None:
    config = read_config(written(tmp_path))
    assert config.campaign == str(tmp_path / "out")
    assert config.input.files == (str(tmp_path / "data/*.mfm"),)
    assert config.model.path == str(tmp_path / "psd.pb")


def test_units_are_read_and_written_back(tmp_path: Path) -> None:
    config = read_config(
        written(
            tmp_path,
            signals={"sampling_period": "4 ns"},
            processing={"time_limit": "2h", "backoff": "500 ms"},
            cluster={"memory": "16 GB"},
        )
    )
    assert config.signals.sampling_period == 4.0
    assert (config.processing.time_limit, config.processing.backoff) == (7200.0, 0.5)
    assert config.cluster.memory == 16_000_000_000
    again = validated(
        CampaignConfig, tomllib.loads(tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))), ""
    )
    assert again == config


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"proccessing": {}}, "unknown key 'proccessing'; did you mean 'processing'?"),
        ({"charge": {"gate": 3}}, "unknown key 'charge.gate'; known: align, threshold, offset, short, long"),
        ({"processing": {"time_limit": 30}}, "'processing.time_limit': a time needs a unit"),
        ({"processing": {"time_limit": "30 parsec"}}, "'30 parsec' is not a time"),
        ({"cluster": {"memory": "lots"}}, "'lots' is not an amount of memory"),
        ({"charge": {"short": 60, "long": 10}}, "must be shorter than the long one"),
        ({"processing": {"block": 0}}, "'processing.block'"),
        (
            {"processing": {"batch": -5}},
            "'processing.batch': Input should be greater than or equal to 1, or 'auto', got -5",
        ),
        (
            {"cluster": {"kind": "sge", "workers": [{"name": "a", "batch": 0}]}},
            "'cluster.workers[1].batch': Input should be greater than or equal to 1, or 'auto', got 0",
        ),
        ({"processing": {"batch": "many"}}, "as an integer, or 'auto', got 'many'"),
        ({"signals": {"polarity": "up"}}, "'signals.polarity'"),
        ({"input": {}}, "'input.files' is missing"),
        ({"cluster": {"kind": "slurm"}}, "needs at least one worker group"),
        ({"cluster": {"workers": [{"name": "v100"}]}}, "kind = 'local' has no worker groups"),
        ({"cluster": {"kind": "sge", "workers": [{"name": "a"}, {"name": "a"}]}}, "two worker groups are named 'a'"),
        (
            {"cluster": {"kind": "sge", "workers": [{"name": "a"}, {"name": "b", "quueue": "x"}]}},
            "unknown key 'cluster.workers[2].quueue'; did you mean 'queue'?",
        ),
        ({"cluster": {"kind": "sge", "workers": [{"name": "a-b"}]}}, "'cluster.workers[1].name'"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_key(tmp_path: Path, sections: dict[str, object], said: str) -> None:
    path = written(tmp_path, **sections)
    with pytest.raises(ConfigurationError) as refused:
        read_config(path)
    assert said in str(refused.value)
    assert str(path) in str(refused.value)


def test_every_key_of_the_documentation_exists_and_every_key_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs/reference/campaign.md").read_text()
    for section, field in CampaignConfig.model_fields.items():
        assert f"[{section}]" in text or f"`{section}`" in text, section
        annotation = field.annotation
        for key in getattr(annotation, "model_fields", {}):
            assert f"`{key}`" in text or f"[{section}.{key}]" in text, f"{section}.{key}"
    for job in (WorkerGroup, CoordinatorJob):
        for key in job.model_fields:
            assert f"`{key}`" in text, f"{job.__name__}.{key}"


def test_configurations_are_utf_8_whatever_the_locale_says(tmp_path: Path) -> None:
    path = written(tmp_path, model={"path": "psd.pb", "classes": ["γ", "n"]})
    strict = ["-X", "warn_default_encoding", "-W", "error::EncodingWarning"]  # asking the locale is an error
    ask = "import pathlib, sys, psdbatch.config as c; print(ascii(c.read_config(pathlib.Path(sys.argv[1])).model.classes))"
    done = subprocess.run([sys.executable, *strict, "-c", ask, path], capture_output=True, text=True, check=True)
    assert done.stdout == "('\\u03b3', 'n')\n"


def test_an_unknown_option_of_a_format_names_those_that_there_are() -> None:
    with pytest.raises(ConfigurationError, match=r"unknown key 'nix'; known: frames, raw_location, .*check_end_word"):
        format_named("mfm", {"nix": 3})
    with pytest.raises(ConfigurationError, match="unknown key 'nix'; known: none at all"):
        format_named("packets", {"nix": 3})


@pytest.mark.parametrize("name", sorted(formats()))
def test_every_option_of_a_format_is_described(name: str) -> None:
    for options in filter(None, (formats()[name].Options, formats()[name].writer_options())):
        assert all(setting["meaning"] for setting in settings_facts(options))


def test_a_detour_to_the_file_names_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path)
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    assert read_config(Path("..") / path.name) == read_config(path)
    elsewhere = tmp_path / "elsewhere" / "deep"
    elsewhere.mkdir(parents=True)
    (tmp_path / "link").symlink_to(elsewhere)
    (tmp_path / "elsewhere" / path.name).write_text(path.read_text())
    found = read_config(tmp_path / "link" / ".." / path.name)
    assert Path(found.model.path).parent.samefile(tmp_path / "elsewhere")
