"""Augmentation: what it changes, how often, and that nothing else plays a part."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from psdbatch.config import SignalShape
from psdbatch.config.network import Augmentation
from psdbatch.config.training import TrainingConfig
from psdbatch.errors import ConfigurationError
from tests.frozen_models import pulses as raw_pulses

Array = np.ndarray[Any, Any]
SIGNALS = SignalShape(baseline=8)
ALL = Augmentation(noise=3, shift=4, gain=0.2, pile_up=0.7, pile_up_delay=(5, 15))


def augmented(raw: Array, settings: Augmentation, first: int = 0, seed: int = 1, epoch: int = 0) -> dict[str, Array]:
    """Arrays ``raw``, ``clean``, ``added`` of signals that are numbers ``first`` and following of their epoch."""
    from psdbatch.models.quiet import tf
    from psdbatch.networks.augmentation import augment
    from psdbatch.networks.chance import Key

    key = Key(seed, epoch, tf.range(first, first + len(raw), dtype=tf.int64))
    return {name: value.numpy() for name, value in vars(augment(tf.constant(raw), settings, SIGNALS, key)).items()}


def flat(n: int, samples: int = 40, level: int = 8000) -> Array:
    return np.full((n, samples), level, np.int16)


def spikes(n: int, place: int = 20, samples: int = 40) -> Array:
    raw = flat(n, samples)
    raw[:, place] -= 4000
    return raw


@pytest.mark.parametrize("dtype", ["int16", "uint16"])
def test_without_augmentation_nothing_changes(dtype: str) -> None:
    raw = raw_pulses(20).astype(dtype)
    found = augmented(raw, Augmentation())
    assert found["raw"].dtype == raw.dtype
    np.testing.assert_array_equal(found["raw"], raw)
    np.testing.assert_array_equal(found["clean"], raw.astype(np.float32))
    assert not found["added"].any()


@pytest.mark.parametrize("pieces", [[8, 16], [2, 4, 6, 22], [10]])
def test_a_signal_is_changed_alike_however_the_batch_is_cut(pieces: list[int]) -> None:
    raw = raw_pulses(24)
    whole = augmented(raw, ALL, first=100)
    cuts = [0, *pieces, 24]
    parts = [augmented(raw[a:b], ALL, first=100 + a) for a, b in itertools.pairwise(cuts)]
    for name, values in whole.items():
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), values)


def test_inside_compiled_code_the_same_numbers_are_drawn() -> None:
    from psdbatch.models.quiet import tf
    from psdbatch.networks.augmentation import augment
    from psdbatch.networks.chance import Key

    raw = tf.constant(raw_pulses(24))

    def call(samples: Any, number: Any) -> Any:
        return augment(samples, ALL, SIGNALS, Key(1, 0, number)).raw

    compiled = tf.function(call, jit_compile=True)(raw, tf.range(24, dtype=tf.int64)).numpy()
    difference = np.abs(compiled.astype(int) - augmented(raw.numpy(), ALL)["raw"])
    assert difference.max() <= 1  # a last bit before rounding
    assert (difference > 0).mean() < 0.01


@pytest.mark.parametrize("other", [{"seed": 2}, {"epoch": 1}, {"first": 24}])
def test_seed_epoch_and_number_make_other_changes(other: dict[str, int]) -> None:
    raw = flat(24)
    noise = Augmentation(noise=100)
    one, two = (augmented(raw, noise, **more)["raw"].astype(float).ravel() for more in ({}, other))
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.15


def test_rows_that_fill_a_batch_give_no_pile_up() -> None:
    from psdbatch.models.quiet import tf
    from psdbatch.networks.augmentation import augment
    from psdbatch.networks.chance import Key

    always = Augmentation(pile_up=1.0, pile_up_delay=(3, 5))
    number = tf.constant([4, 5, 6, -1, -1], tf.int64)
    found = augment(tf.constant(raw_pulses(5)), always, SIGNALS, Key(1, 0, number)).added.numpy()
    assert found.any(axis=1).tolist() == [True, True, False, False, False]


def test_noise_is_normal_with_the_rms_asked_for() -> None:
    added = augmented(flat(4000), Augmentation(noise=6))["raw"].astype(float) - 8000
    assert added.std() == pytest.approx((36 + 1 / 12) ** 0.5, rel=0.01)  # 1/12: rounding
    assert abs(added.mean()) < 0.1
    assert (added**4).mean() / (added**2).mean() ** 2 == pytest.approx(3, abs=0.08)
    neighbours = np.corrcoef(added[:, :-1].ravel(), added[:, 1:].ravel())[0, 1]
    halves = np.corrcoef(added[:, :20].ravel(), added[:, 20:].ravel())[0, 1]  # of one radius each
    signals = np.corrcoef(added[:-1].ravel(), added[1:].ravel())[0, 1]
    assert max(map(abs, (neighbours, halves, signals))) < 0.015


def test_shifts_are_uniform_and_keep_the_signal() -> None:
    found = augmented(spikes(9000), Augmentation(shift=4))["raw"]
    place = found.argmin(axis=1)
    counts = np.bincount(place - 16, minlength=9)
    assert len(counts) == 9
    assert np.abs(counts - 1000).max() < 5 * 1000**0.5
    assert (found.min(axis=1) == 4000).all()
    assert ((found != 8000).sum(axis=1) == 1).all()


def test_shift_keeps_the_noise_of_the_baseline() -> None:
    noisy = np.random.default_rng(1).normal(8000, 20, (3000, 40)).round().astype(np.int16)
    moved = augmented(noisy, Augmentation(shift=8))["raw"]
    before, after = (signals[:, :8].std(axis=1).mean() for signals in (noisy, moved))
    assert after == pytest.approx(before, rel=0.12)  # some samples are there twice
    assert not np.array_equal(moved, noisy)


def test_gain_scales_the_height_above_the_baseline() -> None:
    found = augmented(spikes(5000), Augmentation(gain=0.25))["raw"]
    factor = (8000 - found.min(axis=1)) / 4000
    assert factor.min() >= 0.75
    assert factor.max() <= 1.25
    assert factor.mean() == pytest.approx(1, abs=0.01)
    assert factor.std() == pytest.approx(0.25 / 3**0.5, rel=0.03)
    assert (np.delete(found, 20, axis=1) == 8000).all()


def test_pile_up_adds_the_delayed_neighbour() -> None:
    raw = spikes(8000)
    raw[1::2, 20] += 2000  # of half the height
    found = augmented(raw, Augmentation(pile_up=0.3, pile_up_delay=(5, 14)))
    chosen = found["added"].any(axis=1)
    assert chosen.mean() == pytest.approx(0.3, abs=0.02)
    height = np.where(np.arange(8000) % 2, -4000, -2000)  # the neighbour's
    np.testing.assert_array_equal(found["added"].min(axis=1)[chosen], height[chosen])
    delay = found["added"].argmin(axis=1)[chosen] - 20
    counts = np.bincount(delay - 5, minlength=10)
    assert len(counts) == 10
    assert np.abs(counts - counts.mean()).max() < 5 * counts.mean() ** 0.5
    np.testing.assert_array_equal(found["raw"], raw + found["added"])
    np.testing.assert_array_equal(found["clean"], raw)


def test_delay_counts_from_the_shifted_pulse() -> None:
    found = augmented(spikes(500), Augmentation(shift=4, pile_up=1.0, pile_up_delay=(7, 7)))
    assert (found["added"].argmin(axis=1) - found["clean"].argmin(axis=1) == 7).all()


def test_dtype_and_adc_range_are_kept() -> None:
    raw = flat(50, level=16_000).astype(np.uint16)
    wild = augmented(raw, Augmentation(noise=5000))["raw"]
    assert wild.dtype == np.uint16
    assert wild.max() == 2**SIGNALS.adc_bits - 1
    assert wild.min() >= 0
    assert augmented(flat(50, level=100), Augmentation(noise=5000))["raw"].min() == 0


def test_a_signal_outside_of_the_adc_range_is_not_cut() -> None:
    raw = raw_pulses(20) - 14_000  # a format that subtracts the baseline
    found = augmented(raw, Augmentation(shift=2))["raw"]
    np.testing.assert_array_equal(found.min(axis=1), raw.min(axis=1))


def test_random_words_are_those_of_splitmix() -> None:
    from psdbatch.models.quiet import tf
    from psdbatch.networks import chance

    whole, golden = 2**64 - 1, 0x9E3779B97F4A7C15

    def mix(value: int) -> int:
        value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & whole
        value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & whole
        return value ^ (value >> 31)

    def unit(seed: int, epoch: int, number: int, purpose: int, place: int) -> float:
        stream = mix((mix((mix((seed + golden) & whole) + epoch) & whole) + purpose) & whole)
        start = mix((mix((number * golden + stream) & whole) + stream) & whole)
        return ((mix((start + (place + 1) * golden) & whole) >> 40) + 0.5) / 2**24

    numbers = [0, 5, 2**40, -1]
    for compiled in (False, True):
        draw = tf.function(lambda n: chance.uniform(chance.Key(7, 3, n), 2, 4), jit_compile=compiled)
        found = draw(tf.constant(numbers, tf.int64)).numpy()
        expected = [[unit(7, 3, number, 2, place) for place in range(4)] for number in numbers]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)


def configuration(augmentation: dict[str, Any], **more: Any) -> TrainingConfig:
    return TrainingConfig.model_validate(
        {
            "training": "run",
            "set": {"path": "set.zarr"},
            "signals": {"baseline": 8},
            "preparation": {"length": 20},
            "augmentation": augmentation,
            **more,
        }
    )


def example(raw: Array, config: TrainingConfig, task: str, training: bool = True, epoch: int = 0) -> Any:
    from psdbatch.models.quiet import tf
    from psdbatch.networks import examples
    from psdbatch.networks.chance import Key
    from psdbatch.networks.collection import TASKS

    key = Key(1, epoch, tf.range(len(raw), dtype=tf.int64))
    return examples.example(tf.constant(raw), np.zeros(len(raw), np.uint8), key, config, TASKS[task](), training)


def prepared(raw: Array, config: TrainingConfig) -> Array:
    from psdbatch.models.preparation import model_input, pulses
    from psdbatch.models.quiet import tf

    window: Array = model_input(pulses(tf.constant(raw), config.signals), config.preparation, 20).numpy()
    return window


@pytest.mark.parametrize("align", ["threshold", "start", "maximum"])
@pytest.mark.parametrize("polarity", ["negative", "positive"])
def test_window_is_the_sum_of_its_parts(align: str, polarity: str) -> None:
    raw = raw_pulses(40) if polarity == "negative" else 15_000 - raw_pulses(40)
    config = configuration(
        {"gain": 0.2, "shift": 2, "pile_up": 0.6, "pile_up_delay": (3, 8)},
        preparation={"length": 20, "align": align, "offset": 5 if align == "start" else -5},
        signals={"baseline": 8, "polarity": polarity},
    )
    found = example(raw, config, "separator")
    second = found.second.numpy()
    assert 0.3 < (np.abs(second).max(axis=1) > 0.02).mean() < 0.8
    assert second.max() > -second.min()  # upwards, whatever the polarity
    np.testing.assert_allclose(
        found.clean.numpy() + second, found.window.numpy(), atol=0.01
    )  # rounding of small pulses


def test_clean_is_the_window_without_the_noise() -> None:
    raw = raw_pulses(300)
    found = example(raw, configuration({"noise": 40.0}), "denoiser")
    noise = found.window.numpy() - found.clean.numpy()
    changed = augmented(raw, Augmentation(noise=40.0))["raw"].astype(float)
    scale = changed[:, :8].mean(axis=1, keepdims=True) - changed.min(axis=1, keepdims=True)
    assert (noise * scale).std() == pytest.approx(40, rel=0.03)


def test_validation_is_not_augmented() -> None:
    raw = raw_pulses(30)
    config = configuration(ALL.model_dump())
    found = example(raw, config, "classifier", training=False)
    for window in (found.window, found.clean):
        np.testing.assert_array_equal(window.numpy(), prepared(raw, config))
    assert not np.array_equal(example(raw, config, "classifier").window.numpy(), prepared(raw, config))


def test_validation_of_a_denoiser_has_the_same_noise_in_every_epoch() -> None:
    raw = raw_pulses(30)
    config = configuration(ALL.model_dump())
    first, second = (example(raw, config, "denoiser", training=False, epoch=epoch) for epoch in (1, 2))
    np.testing.assert_array_equal(first.window.numpy(), second.window.numpy())
    assert not np.array_equal(first.window.numpy(), prepared(raw, config))
    assert not first.second.numpy().any()
    again = (example(raw, config, "denoiser", epoch=epoch).window.numpy() for epoch in (1, 2))
    assert not np.array_equal(next(again), next(again))


def test_without_preparation_the_network_sees_raw_samples() -> None:
    raw = raw_pulses(10)
    config = configuration({}, preparation={"enabled": False})
    np.testing.assert_array_equal(example(raw, config, "classifier").window.numpy(), raw.astype(np.float32))


@pytest.mark.parametrize(
    ("task", "augmentation", "message"),
    [
        ("denoiser", {}, r"task 'denoiser' learns from added noise: set 'noise' in \[augmentation\] above 0"),
        ("separator", {"noise": 3.0}, r"task 'separator' learns from added second pulses: set 'pile_up'"),
        ("classifier", {"shift": 40}, r"'augmentation.shift' is 40, the signals have only 40 samples"),
        ("classifier", {"pile_up": 0.1}, r"'augmentation.pile_up_delay' goes to 100, the signals have only 40"),
    ],
)
def test_augmentation_that_does_not_fit(task: str, augmentation: dict[str, Any], message: str) -> None:
    from psdbatch.networks.collection import TASKS
    from psdbatch.networks.examples import check_augmentation

    with pytest.raises(ConfigurationError, match=message):
        check_augmentation(TASKS[task](), Augmentation.model_validate(augmentation), 40)
    check_augmentation(TASKS[task](), ALL, 40)


@pytest.mark.parametrize("delay", [(10, 5), (0, 5), (-3, 5)])
def test_delays_are_ordered(delay: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="pile_up_delay is"):
        Augmentation(pile_up_delay=delay)
