"""The campaign.toml that 'psdbatch init' writes: what is passed over is told, and every comment is true."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from psdbatch.acquisition.first_look import first_look
from psdbatch.acquisition.index import index_file
from psdbatch.campaign.draft import Draft, DraftRequest, draft_campaign
from psdbatch.campaign.model import CampaignModels
from psdbatch.errors import ConfigurationError
from psdbatch.models.facts import ModelFacts, TensorFacts
from tests.campaigns import pulses, write_file

MODEL = ModelFacts(
    path="psd.pb",
    digest="0",
    source="psd.pb",
    source_digest="0",
    input=TensorFacts("signal:0", "float32", (None, 75), "Placeholder"),
    outputs=(TensorFacts("output_layer:0", "float32", (None, 2), "Softmax"),),
    operations={},
    parameters=814,
)


@pytest.fixture(autouse=True)
def _model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "psd.pb").write_bytes(b"network")
    monkeypatch.setattr("psdbatch.campaign.draft.find_models", lambda *given: CampaignModels(MODEL))


def draft(folder: Path, *places: Path, **request: Any) -> Draft:
    return draft_campaign(DraftRequest(places or (folder / "data",), folder / "psd.pb", folder / "c.toml", **request))


def test_files_of_no_known_format_are_told_and_those_named_like_the_others_are_kept(tmp_path: Path) -> None:
    good = write_file(tmp_path / "data/run_1/a.psdz", pulses(50))
    empty, torn, notes = (tmp_path / f"data/run_{name}" for name in ("2/a.psdz", "3/a.psdz", "3/notes.log"))
    for path, content in ((empty, b""), (torn, bytes(64) + good.read_bytes()[64:]), (notes, b"beam on")):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    made = draft(tmp_path)
    assert tomllib.loads(made.text)["input"]["files"] == ["data/*/*.psdz"]
    suspect, other = (caution for caution in made.cautions if "no known format" in caution)
    assert suspect.startswith(
        f"2 files, {empty} (the file is empty), {torn} (no known format recognises its first bytes (00"
    )
    assert "'psdbatch plan' will refuse them" in suspect
    assert other.startswith(f"1 file, {notes} (")
    assert [entry["path"] for entry in made.facts()["unknown"]] == [empty, torn, notes]


def test_many_files_of_no_known_format_are_counted(tmp_path: Path) -> None:
    write_file(tmp_path / "data/run_1.psdz", pulses(50))
    for number in range(30):
        (tmp_path / f"data/{number:02}.dat").write_bytes(b"?" * 100)
    (told,) = (caution for caution in draft(tmp_path).cautions if "no known format, and left out" in caution)
    assert told.startswith("30 files, ")
    assert " and 27 more: " in told


def test_damage_that_was_indexed_is_told(tmp_path: Path) -> None:
    path = write_file(tmp_path / "data/run_1.mfm", pulses(200), "mfm")
    content = bytearray(path.read_bytes())
    content[5000:5200] = bytes(200)
    path.write_bytes(content)
    (told,) = (caution for caution in draft(tmp_path).cautions if "damaged" in caution)
    assert told.endswith(f"psdbatch index --show {path}")


def test_a_directory_that_holds_a_campaign_is_refused_however_it_is_given(tmp_path: Path) -> None:
    write_file(tmp_path / "data/run_1.psdz", pulses(50))
    (tmp_path / "old").mkdir()
    (tmp_path / "old/plan.json").write_text("{}")
    for request in ({"campaign": "old"}, {"settings": {"campaign": "old"}}):
        with pytest.raises(ConfigurationError, match="holds a campaign already"):
            draft(tmp_path, **request)


def constant(n: int = 60) -> Any:
    signals = pulses(n)
    signals.samples[:] = 8000
    return signals


def noise(n: int = 60) -> Any:
    signals = pulses(n)
    signals.samples[:] = np.rint(8000 + np.random.default_rng(1).normal(0, 3, signals.samples.shape))
    return signals


@pytest.mark.parametrize("empty", [constant, noise])
def test_signals_without_a_pulse_are_no_evidence(empty: Any, tmp_path: Path) -> None:
    write_file(tmp_path / "data/run_1.psdz", empty())
    made = draft(tmp_path)
    assert set(tomllib.loads(made.text)["signals"]) == {"sampling_period"}
    assert "none of 60 signals holds a pulse above the noise" in made.text
    assert "pulses begin" not in made.text
    assert any("polarity and baseline are not known" in caution for caution in made.cautions)
    assert "no pulse found" in made.lines()[1]
    write_file(tmp_path / "data/run_2.psdz", pulses(20))
    look = first_look([index_file(path) for path in sorted((tmp_path / "data").iterdir())])
    assert (look.signals, look.pulses, look.polarity, look.agreement) == (80, 20, "negative", 1.0)


def test_comments_say_what_was_counted_and_no_meaning_is_cut(tmp_path: Path) -> None:
    write_file(tmp_path / "data/run_1.psdz", pulses(400))
    text = draft(tmp_path).text
    assert re.search(r"#> estimated from \d+ pulses: 100% of them go down", text)
    assert re.search(r"#> estimated: 95 % of the larger pulses begin after sample 1\d\n", text)
    assert re.sub(r"\n#  +", " ", text).count(
        "# as [preparation], for this network; default: what its card says, else the campaign's [preparation]\n"
    )
    assert "# signals: what is known" not in text


def test_the_options_of_the_format_that_was_found_are_there(tmp_path: Path) -> None:
    write_file(tmp_path / "data/run_1.mfm", pulses(50), "mfm")
    text = draft(tmp_path).text
    assert "#> frames = 'all': which NEDA frames count as signals" in text.replace('"', "'")
    assert "#options = {}\n" in text


def test_every_line_that_is_commented_out_may_be_uncommented(tmp_path: Path) -> None:
    write_file(tmp_path / "data/run_1.mfm", pulses(50), "mfm")
    lines = draft(tmp_path, cluster="slurm").text.splitlines()
    keys = [line.removeprefix("#") for line in lines if re.match(r"#\w+ = ", line)]
    absent = {key.partition(" ")[0] for key in keys if key.endswith(" = ...")}
    for key in keys:
        if not key.endswith(" = ..."):
            assert tomllib.loads(key)
    assert not absent & {"options", "environment", "files", "run", "block"}
