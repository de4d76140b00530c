"""Whatever the sizes of files and blocks: every signal in exactly one block, every block where it belongs."""

from __future__ import annotations

import json
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from psdbatch.acquisition.index import FileIndex
from psdbatch.campaign.plan import Plan, chains, make_plan, natural_order
from psdbatch.campaign.sample import choose_sample
from tests.small_campaign import configuration, file_index

SIZES = st.lists(st.integers(0, 60), min_size=1, max_size=8)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Plans of one to three runs with files of any size, some of them without entry points."""
    block = draw(st.integers(1, 50))
    config = configuration(processing={"block": block}, results={"chunk": block})
    return make_plan(config, draw(indexes()), "digest")


@st.composite
def indexes(draw: st.DrawFn) -> list[FileIndex]:
    return [
        file_index(f"/data/run_{run}/board{number}.npy", signals, seekable=draw(st.booleans()))
        for run in range(draw(st.integers(1, 3)))
        for number, signals in enumerate(draw(SIZES))
    ]


@given(plans())
def test_every_signal_of_every_file_is_in_exactly_one_block(plan: Plan) -> None:
    for run in plan.runs:
        expected = [(file, signal) for file, planned in enumerate(run.files) for signal in range(planned.signals)]
        found = [
            (segment.file, segment.first + signal)
            for block in plan.blocks(run)
            for segment in block.segments
            for signal in range(segment.signals)
        ]
        assert found == expected


@given(plans())
def test_blocks_are_full_but_for_the_last_and_number_as_they_lie(plan: Plan) -> None:
    for run in plan.runs:
        blocks = list(plan.blocks(run))
        assert [block.first for block in blocks] == [plan.block * number for number in range(len(blocks))]
        assert [block.name.number for block in blocks] == list(range(len(blocks)))
        assert all(block.signals == plan.block for block in blocks[:-1])
        assert all(sum(segment.signals for segment in block.segments) == block.signals > 0 for block in blocks)
        assert all(segment.signals > 0 for block in blocks for segment in block.segments)
    assert plan.count_blocks() == sum(len(list(plan.blocks(run))) for run in plan.runs)


@given(plans(), st.data())
def test_chains_are_all_blocks_left_in_order(plan: Plan, data: st.DataObject) -> None:
    names = [block.name for run in plan.runs for block in plan.blocks(run)]
    committed = set(data.draw(st.lists(st.sampled_from(names)))) if names else set()
    found = list(chains(plan, committed))
    assert [block.name for _, chain in found for block in chain] == [name for name in names if name not in committed]
    for run, chain in found:
        files = {block.segments[0].file for block in chain}
        assert len(chain) == 1 or (len(files) == 1 and not run.files[files.pop()].seekable)


FRACTIONS = st.floats(0, 1, exclude_min=True)


@given(plans(), FRACTIONS)
def test_a_sample_is_its_share_of_every_run_and_at_least_a_block(plan: Plan, fraction: float) -> None:
    sample = choose_sample(plan, fraction)
    for run in plan.runs:
        blocks = {block.name for block in plan.blocks(run)}
        chosen = sample.blocks & blocks
        assert len(chosen) >= min(1, len(blocks))
        assert abs(len(chosen) - fraction * len(blocks)) <= 0.5 + 1e-6 or len(chosen) == 1
    assert len(sample.blocks) == sum(
        len(sample.blocks & {block.name for block in plan.blocks(run)}) for run in plan.runs
    )


@given(plans(), FRACTIONS, FRACTIONS)
def test_a_larger_sample_holds_every_smaller_one(plan: Plan, one: float, other: float) -> None:
    small, large = (choose_sample(plan, fraction).blocks for fraction in sorted((one, other)))
    assert small <= large <= choose_sample(plan, 1.0).blocks
    assert choose_sample(plan, 1.0).blocks == {block.name for run in plan.runs for block in plan.blocks(run)}


@given(indexes(), FRACTIONS)
def test_a_run_s_sample_does_not_depend_on_the_other_runs(files: list[FileIndex], fraction: float) -> None:
    config = configuration(processing={"block": 10}, results={"chunk": 10})
    alone = [index for index in files if "/run_0/" in index.path]
    whole = choose_sample(make_plan(config, files[::-1], "digest"), fraction).blocks
    assert choose_sample(make_plan(config, alone, "other digest"), fraction).blocks == {
        name for name in whole if name.run == "run_0"
    }


@given(plans(), FRACTIONS, st.data())
def test_a_sample_and_the_rest_are_every_block_once(plan: Plan, fraction: float, data: st.DataObject) -> None:
    names = [block.name for run in plan.runs for block in plan.blocks(run)]
    before = set(data.draw(st.lists(st.sampled_from(names)))) if names else set()
    sample = choose_sample(plan, fraction)
    first = [block.name for _, chain in chains(plan, before, sample.blocks) for block in chain]
    rest = [block.name for _, chain in chains(plan, before | set(first)) for block in chain]
    assert sorted([*before, *first, *rest]) == sorted(names)
    assert set(first) == sample.blocks - before
    state = sample.state(plan, before)
    assert state.missing == plan.count_signals(first)
    assert state.finished == len(sample.blocks & before)


@given(indexes())
def test_plan_is_a_pure_function_and_outlives_the_disk(files: list[FileIndex]) -> None:
    one, other = (make_plan(configuration(), files, "digest") for _ in range(2))
    read = Plan.from_json(json.loads(one.to_bytes()))
    assert one == other == read
    assert one.fingerprint == other.fingerprint == read.fingerprint


@settings(max_examples=200)
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=8), unique=True), st.randoms())
def test_natural_order_is_total_for_any_names(paths: list[str], chance: random.Random) -> None:
    ordered = sorted(paths, key=natural_order)
    chance.shuffle(paths)
    assert sorted(paths, key=natural_order) == ordered


@given(st.integers(0, 10**30), st.integers(0, 10**30))
def test_numbers_in_names_are_ordered_as_numbers(one: int, other: int) -> None:
    assert (natural_order(f"run_{one}.mfm") < natural_order(f"run_{other}.mfm")) == (one < other)
