"""Amplitude, charges and flags of the strata are those of the preparation, for every configuration and kind of samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psdbatch.training_set.quantities import measure
from tests import preparation_reference as reference
from tests.property.test_preparation_reference import CONFIGURATIONS, configurations, signals

NAMES = ("amplitude", "charge_long", "charge_short")


def compare(raw: np.ndarray[Any, Any], given_settings: Any) -> None:
    shape, preparation, charge, pile_up, length = given_settings
    found = measure(raw, shape, charge, pile_up)
    _, expected = reference.prepare(raw, shape, preparation, charge, pile_up, length)
    small = 1e-6 * max(1.0, float(np.abs(raw).max()))  # float32 keeps 7 digits of the baseline
    for name in NAMES:
        values = getattr(found, name)
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, expected[name], rtol=2e-6, atol=small * raw.shape[1], err_msg=name)
    assert found.flags.dtype == np.uint16
    np.testing.assert_array_equal(found.flags, expected["flags"])


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_quantities_equal_the_reference_for_any_configuration(data: st.DataObject) -> None:
    samples, given_settings = data.draw(configurations())
    compare(data.draw(signals(samples)), given_settings)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int32", "uint32", "float32"])
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_samples_of_every_kind_give_the_same(dtype: str, data: st.DataObject) -> None:
    samples, given_settings = CONFIGURATIONS["thresholds"]
    raw = data.draw(signals(samples))
    compare((raw // (64 if dtype == "uint8" else 256) if "int8" in dtype else raw).astype(dtype), given_settings)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_quantities_equal_the_preparation_in_the_graph(name: str) -> None:
    from psdbatch.models.preparation import prepare
    from psdbatch.models.quiet import tf

    samples, given_settings = CONFIGURATIONS[name]
    shape, _, charge, pile_up, _ = given_settings
    rng = np.random.default_rng(5)
    pulse = np.exp(-np.maximum(np.arange(samples) - samples // 3, 0) / 9.0) * (np.arange(samples) >= samples // 3)
    raw = np.rint(14_000 - rng.uniform(0, 14_500, (500, 1)) * pulse + rng.normal(0, 3, (500, samples)))
    raw = raw.clip(0, 16_383).astype(np.int16)
    _, columns = prepare(tf.constant(raw), *given_settings)
    found = measure(raw, shape, charge, pile_up)
    for column in NAMES:
        np.testing.assert_allclose(getattr(found, column), columns[column].numpy(), rtol=1e-6, atol=0.02)
    np.testing.assert_array_equal(found.flags, columns["flags"].numpy())


def test_rows_that_are_not_contiguous_and_no_rows_at_all_are_fine() -> None:
    shape, _, charge, pile_up, _ = CONFIGURATIONS["thresholds"][1]
    raw = np.random.default_rng(1).integers(0, 16_000, (20, 150), dtype=np.int16)
    np.testing.assert_array_equal(
        measure(raw[:, ::2], shape, charge, pile_up).charge_long,
        measure(raw[:, ::2].copy(), shape, charge, pile_up).charge_long,
    )
    assert len(measure(raw[:0], shape, charge, pile_up).flags) == 0
