"""The golden batch: which signals, who makes the answers, and that there is one reference per campaign."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from psdbatch.campaign.prepare import Campaign
from psdbatch.campaign.schema import SignalKind, engine_settings
from psdbatch.columns import Flag
from psdbatch.errors import CampaignError, ModelError
from psdbatch.golden import batch
from psdbatch.golden.answers import answers_elsewhere, answers_here
from psdbatch.golden.batch import SIGNALS, Reference, choose, keep, kinds, reference_path
from psdbatch.golden.references import Conditions, awaited_reference, own_reference, start_reference
from tests.campaigns import SAMPLES, pulses, write_file
from tests.golden_campaigns import prepared, regression, several

KIND = SignalKind(SAMPLES, "int16")


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PSDBATCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    return prepared(tmp_path, runs={"run_1": SAMPLES, "run_2": SAMPLES})


def own(campaign: Campaign, kind: SignalKind = KIND) -> Reference:
    return own_reference(campaign.directory, campaign.config, campaign.facts, kind, "CPU")


def path_of(campaign: Campaign, kind: SignalKind = KIND) -> Path:
    return reference_path(campaign.directory, engine_settings(campaign.config, campaign.facts, kind))


def no_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on no process that computes answers can be started."""
    monkeypatch.setattr(sys, "executable", "/bin/false")


def test_signals_come_from_the_first_the_middle_and_the_last_block_of_every_run(campaign: Campaign) -> None:
    samples, places = choose(campaign.plan, campaign.directory, KIND)
    assert [(place["run"], place["signals"][0]) for place in places] == [
        (run, first) for run in ("run_1", "run_2") for first in (0, 1000, 2000)
    ]
    assert SIGNALS <= len(samples) < SIGNALS + len(places)
    recorded = {"run_1": pulses(3000, 0).samples, "run_2": pulses(3000, 1).samples}
    assert np.array_equal(samples, np.concatenate([recorded[place["run"]][place["signals"]] for place in places]))
    again, _ = choose(campaign.plan, campaign.directory, KIND)
    assert np.array_equal(samples, again)


def test_of_many_runs_a_few_are_opened_the_first_and_the_last_among_them(tmp_path: Path) -> None:
    campaign = prepared(tmp_path, runs={f"run_{number}": SAMPLES for number in range(20)})
    _, places = choose(campaign.plan, campaign.directory, KIND)
    opened = list(dict.fromkeys(place["run"] for place in places))
    assert len(opened) == batch.RUNS
    assert {"run_0", "run_19"} <= {*opened}


def test_damaged_signals_are_left_out(tmp_path: Path) -> None:
    signals = pulses(3000)
    signals.flags[:40] |= np.uint16(Flag.DAMAGED)
    write_file(tmp_path / "data/run_1.psdz", signals)
    campaign = prepared(tmp_path)
    samples, places = choose(campaign.plan, campaign.directory, KIND)
    assert places[0]["signals"][0] == 40
    assert np.array_equal(samples[0], signals.samples[40])


def test_files_that_cannot_be_read_are_left_out(campaign: Campaign) -> None:
    Path(campaign.plan.run("run_1").files[0].path).unlink()
    samples, places = choose(campaign.plan, campaign.directory, KIND)
    assert {place["run"] for place in places} == {"run_2"}
    assert len(samples)


def test_a_file_that_can_only_be_read_from_its_start_gives_its_first_signals(tmp_path: Path) -> None:
    plain = write_file(tmp_path / "plain.mfm", pulses(3000), "mfm")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/run_1.mfm.gz").write_bytes(gzip.compress(plain.read_bytes()))
    campaign = prepared(tmp_path, runs={})
    assert not campaign.plan.runs[0].files[0].seekable
    samples, places = choose(campaign.plan, campaign.directory, kinds(campaign.plan)[0])
    assert [place["signals"][0] for place in places] == [0]
    assert len(samples) == SIGNALS


@pytest.mark.parametrize("build", [several, regression])
def test_a_reference_is_read_as_it_was_made(tmp_path: Path, build: object) -> None:
    campaign = prepared(tmp_path, build)  # type: ignore[arg-type]
    made = own(campaign)
    read = Reference.read(path_of(campaign))
    assert np.array_equal(read.samples, made.samples)
    assert {*read.answers} == {*made.answers}
    assert all(np.array_equal(read.answers[name], made.answers[name]) for name in made.answers)
    assert read.facts["signals"][0]["run"] == "run_1"
    assert read.facts["versions"]["psdbatch"]


def test_another_process_without_a_gpu_gives_the_same_answers(campaign: Campaign) -> None:
    samples, _ = choose(campaign.plan, campaign.directory, KIND)
    here = answers_here(engine_settings(campaign.config, campaign.facts, KIND), samples)
    (there,) = answers_elsewhere(campaign.config, campaign.facts, [samples])
    assert {*here.answers} == {*there.answers}
    assert np.allclose(here.answers["probability"], there.answers["probability"], atol=1e-6)
    assert np.array_equal(here.answers["charge_long"], there.answers["charge_long"])


def test_the_coordinator_makes_the_reference_once_and_for_all_kinds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = prepared(tmp_path, runs={"run_1": SAMPLES, "run_2": 140})
    with start_reference(campaign) as work:
        for kind in kinds(campaign.plan):
            awaited_reference(campaign.directory, campaign.config, campaign.facts, kind)
        assert work.wait()
    assert len(kinds(campaign.plan)) == 2
    assert Conditions.read(campaign.directory).kinds == kinds(campaign.plan)
    before = {path.name: path.read_bytes() for path in campaign.directory.golden.iterdir()}
    no_python(monkeypatch)
    with start_reference(campaign) as work:
        assert work.wait()
    assert {path.name: path.read_bytes() for path in campaign.directory.golden.iterdir()} == before


def test_a_second_campaign_with_the_same_question_starts_no_process(
    tmp_path: Path, campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = own(campaign)
    no_python(monkeypatch)
    second = prepared(tmp_path, name="second")
    with start_reference(second) as work:
        assert work.wait()
    assert np.array_equal(Reference.read(path_of(second)).answers["probability"], first.answers["probability"])


def test_answers_made_by_other_code_are_not_taken_from_the_cache(
    tmp_path: Path, campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = engine_settings(campaign.config, campaign.facts, KIND)
    samples = own(campaign).samples
    assert batch.cached_answers(settings, samples) is not None
    monkeypatch.setattr(batch, "_code", lambda: "after a change")
    assert batch.cached_answers(settings, samples) is None


def test_runs_added_later_get_a_reference_of_their_own_kind(tmp_path: Path) -> None:
    first = prepared(tmp_path)
    own(first)
    before = path_of(first).read_bytes()
    grown = prepared(tmp_path, runs={"run_1": SAMPLES, "run_2": SAMPLES, "run_3": 140})
    with start_reference(grown) as work:
        assert work.wait()
    assert path_of(grown).read_bytes() == before
    assert path_of(grown, SignalKind(140, "int16")).exists()


def test_a_campaign_from_before_there_were_references_gets_one(campaign: Campaign) -> None:
    shutil.rmtree(campaign.directory.golden, ignore_errors=True)
    assert len(own(campaign).samples)
    assert path_of(campaign).exists()


def test_workers_are_told_why_there_is_no_reference(campaign: Campaign) -> None:
    Path(campaign.facts.model.path).unlink()
    work = start_reference(campaign)
    with pytest.raises(ModelError, match="cannot be read"):
        work.wait()
    with pytest.raises(CampaignError, match=r"the coordinator cannot make the reference answers: .*cannot be read"):
        awaited_reference(campaign.directory, campaign.config, campaign.facts, KIND)
    work.close()


def test_an_earlier_failure_is_forgotten_at_the_next_start(tmp_path: Path, campaign: Campaign) -> None:
    kept = Path(campaign.facts.model.path).read_bytes()
    Path(campaign.facts.model.path).unlink()
    with start_reference(campaign) as work, pytest.raises(ModelError):
        work.wait()
    Path(campaign.facts.model.path).write_bytes(kept)
    with start_reference(campaign) as work:
        assert work.wait()
    assert len(awaited_reference(campaign.directory, campaign.config, campaign.facts, KIND).samples)


def test_a_worker_does_not_wait_for_ever(campaign: Campaign) -> None:
    with pytest.raises(CampaignError, match="have not appeared within 0 s; the coordinator makes"):
        awaited_reference(campaign.directory, campaign.config, campaign.facts, KIND, patience=0)


def test_ending_the_work_ends_its_process(campaign: Campaign) -> None:
    work = start_reference(campaign)
    while work._process is None and work._thread.is_alive():
        work._thread.join(0.01)
    process = work._process
    assert process is not None
    work.close()
    assert process.poll() is not None
    assert work.error is None
    assert [entry.name for entry in campaign.directory.golden.iterdir()] == ["conditions.json"]


def test_a_damaged_reference_says_what_to_do(campaign: Campaign) -> None:
    own(campaign)
    path_of(campaign).write_bytes(path_of(campaign).read_bytes()[:500])
    with pytest.raises(CampaignError, match="remove the file and run the same command again"):
        own(campaign)


RACER = """
import sys, hashlib
from pathlib import Path
import numpy as np
from psdbatch.golden.batch import Reference, keep
number, path = int(sys.argv[1]), Path(sys.argv[2])
mine = Reference(np.zeros((4, 8), np.int16), {"flags": np.full(4, number, np.uint16)}, {"who": number})
sys.stdin.readline()
print(int(keep(mine, path).answers["flags"][0]))
"""


def test_of_processes_that_make_it_at_once_the_first_one_counts_for_all(tmp_path: Path) -> None:
    path = tmp_path / "golden" / "x.npz"
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(number), str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ},
        )
        for number in range(3)
    ]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    heard = [racer.communicate()[0].strip() for racer in racers]
    assert heard == [heard[0]] * 3
    assert Reference.read(path).facts == {"who": int(heard[0])}
    assert [entry.name for entry in path.parent.iterdir()] == ["x.npz"]


def test_a_kept_reference_is_never_replaced(campaign: Campaign) -> None:
    first = own(campaign)
    later = replace(first, answers={**first.answers, "label": 1 - first.answers["label"]})
    assert np.array_equal(keep(later, path_of(campaign)).answers["label"], first.answers["label"])


def test_a_reference_can_be_read_by_people(campaign: Campaign) -> None:
    own(campaign)
    shown = subprocess.run(
        [sys.executable, "-m", "zipfile", "-e", str(path_of(campaign)), str(campaign.directory.path / "shown")],
        check=True,
    )
    assert shown.returncode == 0
    facts = json.loads((campaign.directory.path / "shown/facts.json").read_text())
    assert facts["signals"][0]["file"].endswith("run_1.psdz")
    assert facts["tolerance"] == 1e-4
