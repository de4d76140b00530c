"""The plan: runs, blocks, what a block's answers depend on, and what may change between two starts."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from psdbatch.acquisition.format import Damage
from psdbatch.acquisition.index import FileIndex
from psdbatch.campaign.directory import BlockName
from psdbatch.campaign.extend import extend
from psdbatch.campaign.plan import Plan, Segment, chains, make_plan, natural_order, question, run_name
from psdbatch.columns import scalar
from psdbatch.config import CampaignConfig
from psdbatch.errors import AcquisitionFileError, CampaignError, ChangedError, ConfigurationError
from tests.small_campaign import configuration, file_index


def planned(*indexes: FileIndex, config: CampaignConfig | None = None, digest: str = "digest") -> Plan:
    return make_plan(config or configuration(), indexes, digest)


def two_runs() -> list[FileIndex]:
    return [
        file_index("/data/run_1/board0.npy", 20),
        file_index("/data/run_1/board1.npy", 17),
        file_index("/data/run_2/board0.npy", 5),
    ]


# Blocks


def test_block_takes_signals_of_several_files_in_order() -> None:
    files = [file_index(f"/data/run_1/board{number}.npy", signals) for number, signals in enumerate((10, 0, 3, 20, 2))]
    plan = planned(*files)
    (run,) = plan.runs
    assert [block.segments for block in plan.blocks(run)] == [
        (Segment(0, 0, 10), Segment(2, 0, 3), Segment(3, 0, 3)),
        (Segment(3, 3, 16),),
        (Segment(3, 19, 1), Segment(4, 0, 2)),
    ]
    assert [(block.first, block.signals) for block in plan.blocks(run)] == [(0, 16), (16, 16), (32, 3)]
    assert (plan.signals, plan.count_blocks()) == (35, 3)


def test_run_without_signals_has_no_blocks() -> None:
    plan = planned(file_index("/data/run_1.npy", 0))
    assert list(plan.blocks(plan.runs[0])) == []
    assert plan.count_blocks() == 0


def test_files_are_grouped_by_run_and_a_run_knows_what_is_common() -> None:
    waveform, energy = scalar("long_gate", "uint16", "charge"), scalar("energy", "float32", "energy")
    plan = planned(
        file_index("/data/run_1/a.npy", 4, columns=(waveform,)),
        file_index("/data/run_2/a.npy", 5),
        file_index(
            "/data/run_1/b.npy", 6, longest=232, columns=(waveform, energy), damage=(Damage(0, 1, 0, 0, "cut"),)
        ),
    )
    first, second = plan.runs
    assert [(run.name, run.signals, len(run.files)) for run in plan.runs] == [("run_1", 10, 2), ("run_2", 5, 1)]
    assert (first.samples, second.samples) == (232, 75)
    assert first.columns == (waveform, energy)
    assert [file.damage for file in first.files] == [0, 1]
    assert [file.index for file in first.files] == ["run_1.000000.json", "run_1.000001.json"]


@pytest.mark.parametrize(
    ("what", "other"), [("sample_dtype", "uint16"), ("timestamp_unit", "1 ps")], ids=["dtype", "unit"]
)
def test_files_that_do_not_go_together_are_refused(what: str, other: str) -> None:
    with pytest.raises(
        AcquisitionFileError, match=rf"b\.npy: {what.replace('_', ' ')} {other}.* in /data/run_1/a\.npy"
    ):
        planned(file_index("/data/run_1/a.npy", 4), file_index("/data/run_1/b.npy", 4, **{what: other}))


def test_files_that_disagree_about_a_column_are_refused() -> None:
    narrow, wide = scalar("energy", "uint16", "energy"), scalar("energy", "float32", "energy")
    with pytest.raises(AcquisitionFileError, match=r"c\.npy: column 'energy' is not what it is in /data/run_1/b\.npy"):
        planned(
            file_index("/data/run_1/a.npy", 4),
            file_index("/data/run_1/b.npy", 4, columns=(narrow,)),
            file_index("/data/run_1/c.npy", 4, columns=(wide,)),
        )


# Chains


def names(chain: tuple[object, ...]) -> list[int]:
    return [block.name.number for block in chain]  # type: ignore[attr-defined]


def test_blocks_of_seekable_files_are_chains_of_one() -> None:
    plan = planned(*two_runs())
    assert [(run.name, names(chain)) for run, chain in chains(plan, set())] == [
        ("run_1", [0]),
        ("run_1", [1]),
        ("run_1", [2]),
        ("run_2", [0]),
    ]


def test_blocks_that_begin_in_a_file_without_entry_points_are_one_chain() -> None:
    plan = planned(
        file_index("/data/run_1/a.npy.gz", 50, seekable=False),
        file_index("/data/run_1/b.npy", 30),
        file_index("/data/run_1/c.npy.gz", 40, seekable=False),
        file_index("/data/run_2/a.npy.gz", 40, seekable=False),
    )
    found = [(run.name, names(chain)) for run, chain in chains(plan, set())]
    # run_1: 120 signals; blocks 0 to 3 begin in a (signals 0 to 49), 4 in b (64), 5 to 7 in c (80 to 119)
    assert found == [("run_1", [0, 1, 2, 3]), ("run_1", [4]), ("run_1", [5, 6, 7]), ("run_2", [0, 1, 2])]


def test_chain_leaves_out_what_is_committed() -> None:
    plan = planned(file_index("/data/run_1/a.npy.gz", 80, seekable=False))
    committed = {BlockName("run_1", 0), BlockName("run_1", 3)}
    assert [names(chain) for _, chain in chains(plan, committed)] == [[1, 2, 4]]
    assert list(chains(plan, {BlockName("run_1", number) for number in range(5)})) == []


# Names and order


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/archive/run_0042/board3.mfm", "run_0042"),
        ("/archive/run_1/run-7_board3.bin", "run-7"),
        ("/archive/RUN/calibration.npy.gz", "calibration"),
        ("/archive/.hidden", "run"),
        ("/archive/a b+c.npy", "a_b+c"),
    ],
)
def test_run_is_named_by_its_path(path: str, name: str) -> None:
    assert run_name(r"run[_-]?\d+", path) == name


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        (r"night(\d+)", "3"),  # the first group
        (r"night(?P<number>\d+)", "3"),
        (r"night\d+(_x)?", "night3"),  # a group that takes no part
        (r"\d*", "3"),  # also matches nothing, at the end of every path
        (r"(\d*)x?", "3"),
        (r"absent", "file"),
        (r"data/night", "data_night"),  # the name of a directory in the store
    ],
)
def test_run_pattern_may_be_anything(pattern: str, name: str) -> None:
    assert run_name(pattern, "/data/night3/file.npy") == name


def test_run_pattern_that_is_no_expression_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"'input\.run': 'run\(' is not a regular expression"):
        run_name("run(", "/data/run_1")


def test_natural_order_is_that_of_people() -> None:
    paths = ["run_10/b2", "run_2/b10", "run_2/b9", "run_1", "a", "run_02/b9", "x²1", "x10", "x9"]
    ordered = sorted(paths, key=natural_order)
    assert ordered == ["a", "run_1", "run_02/b9", "run_2/b9", "run_2/b10", "run_10/b2", "x9", "x10", "x²1"]
    listed = random.Random(4).sample(paths, len(paths))  # as a directory may list them
    assert sorted(listed, key=natural_order) == ordered


# Identity and fingerprint


def test_same_files_and_configuration_give_the_same_fingerprint() -> None:
    one, other = planned(*two_runs()), planned(*two_runs())
    assert one == other
    assert one.fingerprint == other.fingerprint
    assert Plan.from_json(json.loads(one.to_bytes())).fingerprint == one.fingerprint


def test_what_does_not_change_answers_does_not_change_the_question() -> None:
    config = configuration()
    moved = configuration(
        campaign="/elsewhere",
        input={"files": ["/archive/*.npy"]},
        model={"path": "/other/folder/network.pb"},
        processing={"block": 16, "batch": 4096, "xla": False, "attempts": 9},
        cluster={"threads": 7},
    )
    assert question(config, "digest") == question(moved, "digest")


CHANGES: dict[str, object] = {
    "model digest": "another",
    "preparation": configuration(preparation={"offset": -6}),
    "gates": configuration(charge={"short": 11}),
    "pile-up": configuration(pile_up={"rise": 5}),
    "digitiser": configuration(signals={"adc_bits": 12}),
    "model output": configuration(model={"path": "/models/network.pb", "activation": "softmax"}),
    "format options": configuration(input={"files": ["/data/*.npy"], "options": {"samples": "traces"}}),
    "store layout": configuration(results={"chunk": 4}),
    "file size": replace(two_runs()[0], size=1),
    "file time": replace(two_runs()[0], modified_ns=1),
    "file name": replace(two_runs()[0], path="/data/run_1/board9.npy"),
    "longest signal": file_index("/data/run_1/board0.npy", 20, longest=232),
    "sample dtype": file_index("/data/run_1/board0.npy", 20, sample_dtype="uint16"),
    "signals before": file_index("/data/run_1/board0.npy", 19, size=4080),
}


@pytest.mark.parametrize("what", CHANGES)
def test_identity_of_a_block_changes_with(what: str) -> None:
    change = CHANGES[what]
    first, *others = [file_index("/data/run_1/board0.npy", 20), file_index("/data/run_1/board1.npy", 17)]
    config, digest = configuration(), "digest"
    if isinstance(change, FileIndex):
        first = change
        others = [replace(other, scan=replace(other.scan, sample_dtype=change.scan.sample_dtype)) for other in others]
    elif isinstance(change, CampaignConfig):
        config = change
    else:
        digest = str(change)
    before = planned(file_index("/data/run_1/board0.npy", 20), file_index("/data/run_1/board1.npy", 17))
    after = planned(first, *others, config=config, digest=digest)
    number = 1  # signals 16 to 31: the last four of the first file, twelve of the second
    one, other = (list(plan.blocks(plan.runs[0]))[number] for plan in (before, after))
    assert before.identity(before.runs[0], one) != after.identity(after.runs[0], other)
    assert before.fingerprint != after.fingerprint


def test_no_two_blocks_have_the_same_identity() -> None:
    plan = planned(*two_runs())
    found = [plan.identity(run, block) for run in plan.runs for block in plan.blocks(run)]
    assert len(set(found)) == len(found) == 4


def test_files_may_move_to_another_folder() -> None:
    moved = [replace(index, path=index.path.replace("/data", "/archive")) for index in two_runs()]
    before, after = planned(*two_runs()), planned(*moved)
    for one, other in zip(before.runs, after.runs, strict=True):
        identities = [before.identity(one, block) for block in before.blocks(one)]
        assert identities == [after.identity(other, block) for block in after.blocks(other)]


# Going on


def changes(old: Plan, new: Plan, finished: tuple[str, ...] = ()) -> list[str]:
    with pytest.raises(ChangedError) as caught:
        extend(old, new, finished)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


def test_same_plan_goes_on_as_it_was() -> None:
    plan = planned(*two_runs())
    assert extend(plan, planned(*two_runs()), ()) == plan


def test_new_runs_are_added_behind_the_old_ones() -> None:
    old = planned(*two_runs())
    new = planned(file_index("/data/run_0/board0.npy", 3), *two_runs())
    grown = extend(old, new, ())
    assert [run.name for run in grown.runs] == ["run_1", "run_2", "run_0"]
    assert grown.runs[:2] == old.runs


def test_changed_question_is_refused_key_by_key() -> None:
    new = planned(*two_runs(), config=configuration(charge={"short": 11}, preparation={"normalise": "none"}))
    assert changes(planned(*two_runs()), new) == [
        "charge.short: was 10, is now 11",
        'preparation.normalise: was "amplitude", is now "none"',
    ]
    assert changes(planned(*two_runs()), planned(*two_runs(), digest="other")) == [
        'model.digest: was "digest", is now "other"'
    ]


def test_changed_missing_and_new_files_are_each_named() -> None:
    first, second, third = two_runs()
    new = planned(
        file_index("/data/run_1/board00.npy", 1),
        replace(second, size=1234),
        replace(third, modified_ns=1),
        file_index("/data/run_2/board1.npy", 1),
    )
    assert changes(planned(first, second, third), new) == [
        "run 'run_1': /data/run_1/board0.npy is not among the input files any more",
        "run 'run_1': /data/run_1/board00.npy is new; files can only be added as new runs",
        "/data/run_1/board1.npy: has 1,234 bytes, had 3,480",
        "run 'run_2': /data/run_2/board1.npy is new; files can only be added as new runs",
        "/data/run_2/board0.npy: was modified (same size, other modification time or content)",
    ]


def test_files_behind_a_new_one_are_not_called_modified() -> None:
    first, second, third = two_runs()
    new = planned(file_index("/data/run_1/aaa.npy", 1), first, second, third)
    assert changes(planned(first, second, third), new) == [
        "run 'run_1': /data/run_1/aaa.npy is new; files can only be added as new runs"
    ]


def test_run_may_leave_once_it_is_finished() -> None:
    old, new = planned(*two_runs()), planned(two_runs()[2])
    assert changes(old, new) == ["run 'run_1' is not finished and not among the input files any more"]
    assert extend(old, new, {"run_1"}) == old


def test_many_changes_are_counted() -> None:
    files = [file_index(f"/data/run_1/board{number:02d}.npy", 1) for number in range(30)]
    lines = changes(planned(*files), planned(*(replace(index, size=1) for index in files)))
    assert len(lines) == 21
    assert lines[-1] == "and 10 more"


# On disk


def test_plan_comes_back_as_it_was(tmp_path: Path) -> None:
    column = scalar("energy", "uint16", "energy", "keV", source="online")
    plan = planned(file_index("/data/run_1/a.npy", 4, columns=(column,)))
    (tmp_path / "plan.json").write_bytes(plan.to_bytes())
    assert Plan.read(tmp_path / "plan.json") == plan


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b"3", b'{"version": 1}', b'{"version": 1, "runs": [{}]}', b"\xff"]
)
def test_damaged_plan_is_told(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_bytes(content)
    with pytest.raises(CampaignError, match=r"plan\.json: damaged"):
        Plan.read(tmp_path / "plan.json")


def test_plan_that_is_not_there_or_of_another_version_is_told(tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match="is not a campaign directory"):
        Plan.read(tmp_path / "plan.json")
    (tmp_path / "plan.json").write_text('{"version": 99}')
    with pytest.raises(CampaignError, match=r"another version of psdbatch \(99\)"):
        Plan.read(tmp_path / "plan.json")


# The quality monitor


def test_a_campaign_without_quality_monitor_is_the_one_it_was_before_there_were_any() -> None:
    """Digests as psdbatch without [quality] computed them: such campaigns still resume."""
    plan = planned(file_index("/data/run_1/board0.npy", 20), file_index("/data/run_2/board0.npy", 5))
    block = next(plan.blocks(plan.runs[0]))
    assert plan.fingerprint == "4c762f2891055fbf568129779be9eb3be5fd663d10359c7478fccc6178eb2070"
    assert plan.identity(plan.runs[0], block) == "2311485d783b5b92060380983f06a41cd307753408ff4fd1f16a1312ee6ce64b"


def test_a_quality_monitor_or_another_one_is_another_campaign() -> None:
    index = file_index("/data/run_1/board0.npy", 20)
    config = configuration(quality={"model": "/models/monitor.pb"})
    elsewhere = configuration(quality={"model": "/elsewhere/monitor.pb"})
    plain, one, other, moved = (
        planned(index),
        make_plan(config, [index], "digest", "one"),
        make_plan(config, [index], "digest", "other"),
        make_plan(elsewhere, [index], "digest", "one"),
    )
    identities = {plan.identity(plan.runs[0], next(plan.blocks(plan.runs[0]))) for plan in (plain, one, other)}
    assert len(identities) == 3
    assert one.fingerprint == moved.fingerprint
    for old, new in ((plain, one), (one, plain), (one, other)):
        with pytest.raises(ChangedError, match="quality"):
            extend(old, new, ())
