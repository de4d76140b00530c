"""Properties of simulated signals that hold for all settings."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from psdbatch.columns import charge_ratio
from psdbatch.simulation.generate import TRUTH_COLUMNS, Truth, generate
from psdbatch.simulation.settings import Simulation

simulations = st.builds(
    Simulation,
    signals=st.integers(0, 60),
    samples=st.integers(50, 300),
    boards=st.integers(1, 9),
    channels=st.integers(1, 16),
    seed=st.integers(0, 2**63),
    neutrons=st.floats(0, 1),
    order=st.sampled_from(["mixed", "by class"]),
    spectrum=st.sampled_from(["fission", "uniform"]),
    highest_energy=st.floats(60, 20_000),
    rate=st.floats(1, 1e6),
    pile_up=st.one_of(st.just("rate"), st.floats(0, 1)),
    adc_bits=st.sampled_from([14, 16]),
    polarity=st.sampled_from(["negative", "positive"]),
    photoelectrons=st.floats(0.2, 20),
    trigger=st.integers(0, 49),
)


@settings(max_examples=40, deadline=None)
@given(simulations, st.integers(1, 40))
def test_bytes_do_not_depend_on_how_many_signals_are_made_at_once(simulation: Simulation, chunk: int) -> None:
    whole = list(generate(simulation))
    parts = list(generate(simulation, chunk=chunk))
    assert sum(len(signals) for signals, _ in parts) == simulation.signals
    assert [len(signals) for signals, _ in parts[:-1]] == [chunk] * max(0, len(parts) - 1)
    for name in ("samples", "timestamp", "board", "channel"):
        pieces = [getattr(signals, name).tobytes() for signals, _ in parts]
        assert b"".join(pieces) == b"".join(getattr(signals, name).tobytes() for signals, _ in whole)
    for column in TRUTH_COLUMNS:
        joined = getattr(Truth.joined([truth for _, truth in parts]), column.name)
        assert np.array_equal(joined, getattr(Truth.joined([truth for _, truth in whole]), column.name))
        assert joined.dtype == column.dtype


@settings(max_examples=40, deadline=None)
@given(simulations)
def test_every_value_lies_where_the_settings_put_it(simulation: Simulation) -> None:
    for signals, truth in generate(simulation):
        samples = signals.samples.astype(np.int64)
        largest = 2**simulation.adc_bits - 1
        assert samples.min() >= 0
        assert samples.max() <= largest
        assert np.array_equal(truth.saturated, ((samples == 0) | (samples == largest)).any(axis=1))
        assert (signals.board < simulation.boards).all()
        assert (signals.channel < simulation.channels).all()
        assert (truth.energy >= np.float32(simulation.lowest_energy)).all()
        assert (truth.energy <= np.float32(simulation.highest_energy) * (1 + 1e-6)).all()
        assert ((truth.onset >= simulation.trigger) & (truth.onset <= simulation.trigger + 1)).all()
        assert (np.diff(signals.timestamp.astype(np.int64)) >= 0).all()


@given(st.lists(st.tuples(st.floats(1e-3, 1e6), st.floats(0, 1)), min_size=1))
def test_charge_ratio_lies_between_nothing_and_all(pairs: list[tuple[float, float]]) -> None:
    long = np.array([charge for charge, _ in pairs])
    short = long * np.array([share for _, share in pairs])
    ratio = charge_ratio(long, short)
    assert ((ratio >= 0) & (ratio <= 1)).all()
