"""Which workers are let in: the same answers within stated limits, the same versions, a GPU where one is asked for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from psdbatch.campaign.model import kept_models
from psdbatch.campaign.prepare import Campaign
from psdbatch.campaign.schema import SignalKind, engine_settings
from psdbatch.config import Cluster, WorkerGroup
from psdbatch.coordination.failures import FailureClass, classify
from psdbatch.errors import CampaignError, WorkerRefused
from psdbatch.golden.agreement import compare
from psdbatch.golden.answers import empty_answers
from psdbatch.golden.batch import Reference, reference_path
from psdbatch.golden.references import Conditions, own_reference, start_reference
from psdbatch.models import batch_size
from psdbatch.processing import admission, engines
from psdbatch.processing.admission import admit, agreeing_engine
from psdbatch.processing.engines import engine_of, worker_group
from psdbatch.processing.process import block_task, open_session, process_blocks
from tests.campaigns import SAMPLES, psdbatch
from tests.golden_campaigns import classifier, other_classifier, poisoned, prepared, regression, several, undecided

Array = np.ndarray[Any, Any]
KIND = SignalKind(SAMPLES, "int16")
CPU = WorkerGroup(name="cpu", batch=300)


def own(campaign: Campaign) -> Reference:
    return own_reference(campaign.directory, campaign.config, campaign.facts, KIND, "CPU")


def path_of(campaign: Campaign) -> Path:
    return reference_path(campaign.directory, engine_settings(campaign.config, campaign.facts, KIND))


def ready(campaign: Campaign) -> Campaign:
    """With conditions and reference, as a started coordinator leaves it."""
    own(campaign)
    with start_reference(campaign) as work:
        work.wait()
    return campaign


def alter(campaign: Campaign, column: str, change: Callable[[Array], Array]) -> None:
    """Change a column of the kept reference."""
    reference = Reference.read(path_of(campaign))
    answers = {**reference.answers, column: change(reference.answers[column].copy())}
    path_of(campaign).write_bytes(replace(reference, answers=answers).to_bytes())


def examine(campaign: Campaign, group: WorkerGroup | None = CPU) -> admission.Agreement:
    return agreeing_engine(
        campaign.directory, campaign.config, kept_models(campaign.config, campaign.directory), KIND, group
    )


class Off:
    """The real engine of a campaign on a device that answers a little differently."""

    def __init__(self, campaign: Campaign, change: Callable[[Mapping[str, Array]], None]) -> None:
        self._engine = engine_of(campaign.config, campaign.facts, KIND, None, campaign.directory.tuning)
        self._change = change
        self.batch, self.buffer = self._engine.batch, self._engine.buffer

    def infer(self, samples: Array, out: Mapping[str, Array]) -> None:
        self._engine.infer(samples, out)
        self._change(out)


def refused(campaign: Campaign, change: Callable[[Mapping[str, Array]], None]) -> dict[str, int]:
    """Number of golden signals by column that are too far off when a device makes ``change``."""
    engine: Any = Off(campaign, change)
    settings = engine_settings(campaign.config, campaign.facts, KIND)
    empty = empty_answers(settings, engine.batch)
    found = compare(engine, own(campaign), empty, campaign.config.processing.tolerance)
    return {entry.column: len(entry.signals) for entry in found if entry.signals}


def test_an_honest_worker_is_let_in_and_says_what_it_is(tmp_path: Path) -> None:
    campaign = ready(prepared(tmp_path, runs={"run_1": SAMPLES, "run_2": 140}))
    found = admit(campaign.directory, CPU)
    assert found.group == "cpu"
    assert found.batches == {"96 samples of int16": 300, "140 samples of int16": 300}
    assert found.signals >= 512
    assert 0 <= max(found.differences.values()) < 0.1
    assert {"probability", "label", "amplitude", "flags", "flags.pile_up"} <= {*found.differences}
    assert found.other_versions == {}
    assert json.loads(json.dumps(found.facts()))["versions"]["psdbatch"]


def test_blocks_use_the_engine_that_was_examined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    campaign = prepared(tmp_path)
    local = examine(campaign, None).engine
    assert open_session(str(campaign.directory.path)).engine(campaign.plan.runs[0]) is local


@pytest.mark.parametrize("build", [classifier, several, regression, poisoned, undecided])
def test_networks_of_every_kind_agree_with_themselves(tmp_path: Path, build: Callable[[Any], None]) -> None:
    campaign = prepared(tmp_path, build)
    agreement = examine(campaign, None)
    assert agreement.signals >= 256
    assert max(agreement.differences.values()) < 0.1


def test_answers_off_by_a_hundredth_are_refused_with_all_that_is_known(tmp_path: Path) -> None:
    campaign = ready(prepared(tmp_path))
    alter(campaign, "probability", lambda values: values + np.float32(0.01))
    with pytest.raises(WorkerRefused) as refusal:
        admit(campaign.directory, CPU)
    signals = len(Reference.read(path_of(campaign)).samples)
    said = str(refusal.value)
    assert f"for {signals} of {signals} golden signals" in said
    assert "'probability' of" in said
    for part in ("worker group 'cpu'", "batch 300", "CPU", "TensorFlow 2.", "'xla = false'", "'tolerance'"):
        assert part in said


def test_one_wrong_signal_is_enough(tmp_path: Path) -> None:
    campaign = ready(prepared(tmp_path))

    def one(values: Array) -> Array:
        values[17, 0] += np.float32(3e-4)
        return values

    alter(campaign, "probability", one)
    with pytest.raises(WorkerRefused, match=r"for 1 of \d+ golden signals .*\(signal 17\)"):
        examine(campaign)


def test_the_tolerance_is_the_configured_one(tmp_path: Path) -> None:
    campaign = ready(prepared(tmp_path))
    alter(campaign, "probability", lambda values: values + np.float32(0.01))
    wide = campaign.config.processing.model_copy(update={"tolerance": 0.02})
    tolerant = replace(campaign, config=campaign.config.model_copy(update={"processing": wide}))
    assert 0.4 < examine(tolerant).differences["probability"] < 0.6


def test_a_worker_with_another_model_is_refused(tmp_path: Path) -> None:
    right = ready(prepared(tmp_path))
    wrong = prepared(tmp_path, other_classifier, name="other")
    wrong.directory.golden.mkdir(exist_ok=True)
    shutil.copy(path_of(right), path_of(wrong))
    with pytest.raises(WorkerRefused, match="golden signals"):
        examine(wrong, None)


def test_a_worker_with_another_preparation_is_refused(tmp_path: Path) -> None:
    right = ready(prepared(tmp_path))
    wrong = prepared(tmp_path, name="other", signals={"baseline": 4})
    wrong.directory.golden.mkdir(exist_ok=True)
    shutil.copy(path_of(right), path_of(wrong))
    with pytest.raises(WorkerRefused, match="'charge_long' of"):
        examine(wrong, None)


def test_labels_near_equality_may_flip(tmp_path: Path) -> None:
    campaign = prepared(tmp_path, undecided)  # 0.5 and 0.5 for every signal

    def tip(out: Mapping[str, Array]) -> None:
        out["probability"][:, 1] += np.float32(5e-5)
        out["label"][:] = 1

    assert refused(campaign, tip) == {}


def test_labels_of_clear_decisions_may_not(tmp_path: Path) -> None:
    campaign = prepared(tmp_path)

    def flip(out: Mapping[str, Array]) -> None:
        out["label"][5] = 1 - out["label"][5]

    assert refused(campaign, flip) == {"label": 1}


def test_a_label_out_of_range_is_refused(tmp_path: Path) -> None:
    campaign = prepared(tmp_path, undecided)

    def lose(out: Mapping[str, Array]) -> None:
        out["label"][:] = 255

    assert refused(campaign, lose).keys() == {"label"}


def test_the_same_signals_must_be_without_an_answer(tmp_path: Path) -> None:
    campaign = prepared(tmp_path, poisoned)
    lost = np.isnan(own(campaign).answers["probability"][:, 0])
    assert 10 < lost.sum() < len(lost) - 10

    def repair(out: Mapping[str, Array]) -> None:
        out["probability"][:] = np.nan_to_num(out["probability"], nan=0.5)

    assert refused(campaign, repair) == {"probability": lost.sum()}


def test_further_outputs_are_compared_as_fractions_of_their_size(tmp_path: Path) -> None:
    campaign = prepared(tmp_path, regression)
    signals = len(own(campaign).samples)

    def scaled(by: float) -> Callable[[Mapping[str, Array]], None]:
        def change(out: Mapping[str, Array]) -> None:
            out["energy"] *= np.float32(1 + by)

        return change

    assert refused(campaign, scaled(5e-5)) == {}
    assert refused(campaign, scaled(1e-2))["energy"] > signals // 2


def test_an_image_that_is_off_in_one_place_is_refused(tmp_path: Path) -> None:
    campaign = prepared(tmp_path, several)

    def spoil(out: Mapping[str, Array]) -> None:
        out["again"][7, 3, 0] += 1

    assert refused(campaign, spoil) == {"again": 1}


@pytest.mark.parametrize(("turned", "expected"), [(2, {}), (10, {"brightest": 10})])
def test_a_few_integer_decisions_may_turn(tmp_path: Path, turned: int, expected: dict[str, int]) -> None:
    campaign = prepared(tmp_path, several)

    def turn(out: Mapping[str, Array]) -> None:
        out["brightest"][:turned] += 4

    assert refused(campaign, turn) == expected


def test_flags_are_exact_and_pile_up_nearly(tmp_path: Path) -> None:
    campaign = prepared(tmp_path)

    def toggle(bit: int, count: int) -> Callable[[Mapping[str, Array]], None]:
        def change(out: Mapping[str, Array]) -> None:
            out["flags"][:count] ^= np.uint16(bit)

        return change

    assert refused(campaign, toggle(1, 1)) == {"flags": 1}
    assert refused(campaign, toggle(2, 2)) == {}
    assert refused(campaign, toggle(2, 20)) == {"flags.pile_up": 20}


def test_every_row_of_the_real_batch_is_looked_at(tmp_path: Path) -> None:
    campaign = prepared(tmp_path, processing={"block": 1000, "batch": 5000})

    def last(out: Mapping[str, Array]) -> None:
        out["charge_long"][4999] *= np.float32(1.01)

    assert refused(campaign, last) == {"charge_long": 1}


def test_batches_smaller_than_the_golden_one_are_filled(tmp_path: Path) -> None:
    campaign = prepared(tmp_path, processing={"block": 1000, "batch": 70})
    calls = 0

    def third(out: Mapping[str, Array]) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            out["amplitude"][0] += 100

    assert refused(campaign, third) == {"amplitude": 1}
    assert calls == 4


def test_a_local_campaign_with_a_wrong_worker_stops_before_its_first_block(tmp_path: Path) -> None:
    campaign = prepared(tmp_path)
    own(campaign)
    alter(campaign, "probability", lambda values: values + np.float32(0.01))
    done = psdbatch("run", tmp_path / "campaign.toml", check=1)
    assert "local worker on" in done.stderr
    assert "answers differ from the campaign's reference" in " ".join(done.stderr.split())
    assert list(campaign.directory.committed()) == []


def test_the_refusal_of_a_local_worker_concerns_the_whole_campaign(tmp_path: Path) -> None:
    campaign = prepared(tmp_path)
    own(campaign)
    alter(campaign, "amplitude", lambda values: values * np.float32(1.001))
    run = campaign.plan.runs[0]
    with pytest.raises(WorkerRefused) as refusal:
        process_blocks(block_task(campaign.directory, campaign.plan, run, tuple(campaign.plan.blocks(run))))
    assert classify(refusal.value) is FailureClass.FATAL


def expect(campaign: Campaign, **versions: str) -> None:
    """Pretend that the coordinator runs other versions."""
    conditions = Conditions.read(campaign.directory)
    replace(conditions, versions={**conditions.versions, **versions}).write(campaign.directory)


@pytest.mark.parametrize(
    ("name", "theirs", "said"),
    [
        ("dask", "2020.1.0", "dask .* here, 2020.1.0 at the coordinator"),
        ("distributed", "2020.1.0", "distributed .* here, 2020.1.0 at the coordinator"),
        ("psdbatch", "9.9", "psdbatch .* here, 9.9 at the coordinator"),
        ("python", "3.99.1", r"Python 3\.\d+ here, 3.99 at the coordinator"),
    ],
)
def test_versions_that_talk_to_one_another_must_be_the_same(tmp_path: Path, name: str, theirs: str, said: str) -> None:
    campaign = ready(prepared(tmp_path))
    expect(campaign, **{name: theirs})
    with pytest.raises(WorkerRefused, match=said):
        admit(campaign.directory, CPU)


def test_other_versions_are_only_told(tmp_path: Path) -> None:
    campaign = ready(prepared(tmp_path))
    here = Conditions.read(campaign.directory).versions
    major, minor, _ = here["python"].split(".")
    expect(campaign, numpy="1.0", python=f"{major}.{minor}.99")
    found = admit(campaign.directory, CPU)
    assert found.other_versions == {"numpy": (here["numpy"], "1.0"), "python": (here["python"], f"{major}.{minor}.99")}


def without_gpu() -> None:
    from psdbatch.models.engine import device_name

    if device_name() != "CPU":
        pytest.skip("this machine has a GPU")


def test_a_gpu_group_refuses_a_worker_that_sees_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_gpu()
    campaign = ready(prepared(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    group = WorkerGroup(name="v100", gpu="V100", image="/images/v100.sif", batch=300)
    with pytest.raises(WorkerRefused) as refusal:
        admit(campaign.directory, group)
    for part in ("'v100' on node", "/images/v100.sif", "asks for a V100", "CUDA_VISIBLE_DEVICES is '3'", "allow_cpu"):
        assert part in str(refusal.value)


def test_a_gpu_group_may_allow_work_without_one(tmp_path: Path) -> None:
    without_gpu()
    campaign = ready(prepared(tmp_path))
    found = admit(campaign.directory, WorkerGroup(name="v100", gpu="V100", allow_cpu=True, batch=300))
    assert found.device == "CPU"


def test_without_a_coordinator_there_are_no_conditions(tmp_path: Path) -> None:
    campaign = prepared(tmp_path)
    with pytest.raises(CampaignError, match="a coordinator writes it at each start"):
        admit(campaign.directory, CPU)


def test_a_group_has_its_own_batch_size_and_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    campaign = ready(prepared(tmp_path))
    given = examine(campaign, WorkerGroup(name="a", batch=128, xla=False)).engine
    assert given.batch == 128
    assert not given._engine.compiled
    for name in ("SMALLEST", "FIRST", "LARGEST"):
        monkeypatch.setattr(batch_size, name, 256)
    measured = examine(campaign, WorkerGroup(name="b", batch="auto")).engine
    assert measured.batch == 256 or measured.batch == 128
    assert [path.parent.name for path in campaign.directory.tuning.rglob("batch-*.json")] == ["b"]


def test_a_worker_process_knows_its_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = prepared(tmp_path).config
    assert worker_group(config) is None
    farm = config.model_copy(update={"cluster": Cluster(kind="slurm", workers=(WorkerGroup(name="k80"),))})
    monkeypatch.setenv(engines.GROUP, "k80")
    assert worker_group(farm) == farm.cluster.workers[0]
    monkeypatch.setenv(engines.GROUP, "k81")
    with pytest.raises(CampaignError, match="did you mean 'k80'"):
        worker_group(farm)


def test_a_campaign_without_a_readable_signal_is_examined_without_one(tmp_path: Path) -> None:
    campaign = prepared(tmp_path)
    Path(campaign.plan.runs[0].files[0].path).unlink()
    agreement = examine(campaign, None)
    assert (agreement.signals, agreement.differences) == (0, {})
