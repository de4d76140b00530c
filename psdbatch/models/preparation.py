"""Preparation of raw signals as TensorFlow operations: one function for training and inference.

Everything works on whole batches of one static shape, so that XLA fuses it into few passes over the raw integers.
``benchmarks/engine.py`` has its figures, ``tests/preparation_reference.py`` the same arithmetic in NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psdbatch.columns import Flag
from psdbatch.config import Alignment, Charge, PileUp, Preparation, SignalShape
from psdbatch.models.folding import Values, largest, smallest, total
from psdbatch.models.quiet import tf

NEARLY = 1 / 64
"""ADC units; a threshold often falls on a whole number, where the last bit of a device must not decide."""


@dataclass(frozen=True)
class Pulses:
    """A batch of raw signals and what is known of each pulse.

    Attributes
    ----------
    raw
        Samples as recorded, shape ``(batch, samples)``.
    upwards
        Whether pulses are positive in the raw samples.
    baseline
        Mean of the baseline samples, ``(batch, 1)``, float32 (float64 for integers over 16 bits); 0 if none is subtracted.
    noise
        Standard deviation of the baseline samples, as ``baseline``.
    lowest, highest
        Extreme samples, dtype of ``raw``, ``(batch, 1)``.
    amplitude
        Largest sample above the baseline, as ``baseline``.
    """

    raw: Any
    upwards: bool
    baseline: Any
    noise: Any
    lowest: Any
    highest: Any
    amplitude: Any

    @property
    def samples(self) -> int:
        """Samples of each signal."""
        return int(self.raw.shape[1])

    def height(self, raw: Any) -> Any:
        """Raw samples above the baseline, pulses upwards."""
        samples = tf.cast(raw, self.baseline.dtype)
        return samples - self.baseline if self.upwards else self.baseline - samples


def prepare(
    raw: Any, signals: SignalShape, preparation: Preparation, charge: Charge, pile_up: PileUp, length: int
) -> tuple[Any, dict[str, Any]]:
    """What the model sees of raw signals, and the classical quantities of the same pass.

    Parameters
    ----------
    raw
        Integer or float tensor ``(batch, samples)``.
    length
        Samples that the model takes.

    Returns
    -------
    window
        Model input, float32 ``(batch, length)``; the raw samples as they are if preparation is not enabled.
    columns
        ``amplitude``, ``charge_long``, ``charge_short`` float32 and ``flags`` uint16, each ``(batch,)``.
    """
    pulse = pulses(raw, signals)
    window = model_input(pulse, preparation, length) if preparation.enabled else raw
    charge_long, charge_short = charges(pulse, charge)
    return window, {
        "amplitude": tf.cast(pulse.amplitude[:, 0], tf.float32),
        "charge_long": charge_long,
        "charge_short": charge_short,
        "flags": flags(pulse, signals, pile_up),
    }


def pulses(raw: Any, signals: SignalShape) -> Pulses:
    """Find baseline, noise and amplitude of raw signals, ``(batch, samples)``."""
    raw = tf.cast(raw, _arithmetic(raw.dtype)[0])
    real = _arithmetic(raw.dtype)[2]
    upwards = signals.polarity == "positive"
    lowest, highest = smallest(_columns(raw), raw.shape[1]), largest(_columns(raw), raw.shape[1])
    baseline, noise = _rest(raw, min(signals.baseline, raw.shape[1]))
    peak = tf.cast(highest if upwards else lowest, real)
    amplitude = peak - baseline if upwards else baseline - peak
    return Pulses(raw, upwards, baseline, noise, lowest, highest, amplitude)


def model_input(pulse: Pulses, preparation: Preparation, length: int) -> Any:
    """The window that the model sees, float32 ``(batch, length)``.

    A window that sticks out of the signal repeats the signal's first or last sample. With ``normalise = "amplitude"``
    the largest sample of the signal becomes 1; a signal without any height stays 0.
    """
    return _scaled(pulse.height(_window(pulse.raw, pulse, preparation, length)), pulse, preparation)


def model_input_of(height: Any, pulse: Pulses, preparation: Preparation, length: int) -> Any:
    """Heights of other samples, ``(batch, samples)``, cut and scaled as :func:`model_input` does with those of ``pulse``."""
    height = tf.cast(height, pulse.baseline.dtype)
    return _scaled(_window(height, pulse, preparation, length), pulse, preparation)


def charges(pulse: Pulses, charge: Charge) -> tuple[Any, Any]:
    """Sums of the heights in the long and in the short gate, float32 ``(batch,)``; both gates start together.

    What lies outside the signal counts nothing.  Raw samples are summed, which is exact for integers, and the baseline
    is subtracted once.
    """
    start = charge.offset if charge.align == "start" else reference(pulse, charge) + charge.offset
    sums = [_gate(pulse, start, start + size) for size in (charge.long, charge.short)]
    return sums[0], sums[1]


def flags(pulse: Pulses, signals: SignalShape, pile_up: PileUp) -> Any:
    """Bits SATURATED and PILE_UP, uint16 ``(batch,)``.

    Pile-up: ``dead`` samples after the maximum or later, the signal rises within ``rise`` samples by more than
    ``fraction`` of the amplitude and by more than ``noise`` standard deviations of the baseline samples.
    """
    real = pulse.baseline.dtype
    lowest, highest = tf.cast(pulse.lowest, real), tf.cast(pulse.highest, real)
    saturated = (lowest <= 0) | (highest >= 2.0**signals.adc_bits - 1)
    bits = tf.where(saturated, int(Flag.SATURATED), 0)
    if pile_up.rise < pulse.samples:
        limit = tf.maximum(pile_up.fraction * pulse.amplitude, pile_up.noise * pulse.noise)
        second = tf.cast(_highest_rise(pulse, pile_up), real) > tf.maximum(limit, 0)
        bits += tf.where(second, int(Flag.PILE_UP), 0)
    return tf.cast(bits[:, 0], tf.uint16)


def reference(pulse: Pulses, alignment: Alignment) -> Any:
    """Number of the reference sample, int32 ``(batch, 1)``: of the maximum, or of the threshold crossing.

    An integer sample within ``NEARLY`` of the threshold has reached it.
    """
    if alignment.align == "maximum":
        return _maximum(pulse)
    reach = alignment.threshold * pulse.amplitude
    level = pulse.baseline + reach if pulse.upwards else pulse.baseline - reach
    if pulse.raw.dtype.is_integer:  # whole numbers are compared in vectors of their own narrow kind
        level = tf.math.ceil(level - NEARLY) if pulse.upwards else tf.math.floor(level + NEARLY)
    extremes = (tf.cast(extreme, level.dtype) for extreme in (pulse.lowest, pulse.highest))
    level = tf.cast(tf.clip_by_value(level, *extremes), pulse.raw.dtype)
    return _first_beyond(pulse, level)


def _maximum(pulse: Pulses) -> Any:
    return _first_beyond(pulse, pulse.highest if pulse.upwards else pulse.lowest)


def _first_beyond(pulse: Pulses, level: Any) -> Any:
    """Number of the first sample at or beyond the raw level, int32 ``(batch, 1)``; the last sample if none is."""
    kind = tf.int16 if pulse.samples <= tf.int16.max else tf.int32

    def numbers(start: int, stop: int) -> Any:
        raw = pulse.raw[:, start:stop]
        beyond = raw >= level if pulse.upwards else raw <= level
        return tf.where(beyond, tf.cast(tf.range(start, stop), kind)[None, :], tf.cast(pulse.samples - 1, kind))

    return tf.cast(smallest(numbers, pulse.samples), tf.int32)


def _gate(pulse: Pulses, start: Any, stop: Any) -> Any:
    """Sum of the heights of samples ``start`` to ``stop``, plain numbers or int32 ``(batch, 1)``; float32 ``(batch,)``."""
    wide, real = _arithmetic(pulse.raw.dtype)[1:]
    if isinstance(start, int):
        start, stop = min(max(0, start), pulse.samples), min(max(0, stop), pulse.samples)
        raw = total(lambda first, last: tf.cast(pulse.raw[:, start + first : start + last], wide), stop - start)
    else:
        start, stop = tf.clip_by_value(start, 0, pulse.samples), tf.clip_by_value(stop, 0, pulse.samples)

        def inside(first: int, last: int) -> Any:
            place = tf.range(first, last)[None, :]
            return tf.where(
                (place >= start) & (place < stop), tf.cast(pulse.raw[:, first:last], wide), tf.cast(0, wide)
            )

        raw = total(inside, pulse.samples)
    above = tf.cast(raw, real) - tf.cast(stop - start, real) * pulse.baseline
    return tf.cast(above if pulse.upwards else -above, tf.float32)[:, 0]


def _rest(raw: Any, count: int) -> tuple[Any, Any]:
    """Mean and standard deviation of the first ``count`` samples, ``(batch, 1)``."""
    _, wide, real = _arithmetic(raw.dtype)
    if not count:
        nothing = tf.zeros_like(raw[:, :1], dtype=real)
        return nothing, nothing
    first = tf.cast(raw[:, :1], wide)  # counted from a sample, so that a flat line has exactly its own value
    sums = total(lambda start, stop: tf.cast(raw[:, start:stop], wide) - first, count)
    mean = tf.cast(first, real) + tf.cast(sums, real) / count
    square = total(lambda start, stop: tf.square(tf.cast(raw[:, start:stop], real) - mean), count)
    return mean, tf.sqrt(square / count)


def _scaled(height: Any, pulse: Pulses, preparation: Preparation) -> Any:
    if preparation.normalise == "amplitude":
        height *= tf.where(pulse.amplitude > 0, 1.0 / pulse.amplitude, 1.0)
    return tf.cast(height, tf.float32)


def _window(samples: Any, pulse: Pulses, preparation: Preparation, length: int) -> Any:
    """Those of ``samples`` that lie in the window of ``pulse``, edge samples repeated, ``(batch, length)``."""
    last = pulse.samples - 1
    if preparation.align != "start":
        first = reference(pulse, preparation) + preparation.offset
        return tf.gather(samples, tf.clip_by_value(first + tf.range(length)[None, :], 0, last), batch_dims=1)
    start, end = preparation.offset, preparation.offset + length
    before, after = min(max(0, -start), length), min(max(0, end - pulse.samples), length)
    inside = samples[:, max(0, start) : max(0, end)]
    parts = [tf.repeat(samples[:, :1], before, axis=1), inside, tf.repeat(samples[:, last:], after, axis=1)]
    return tf.concat([part for part in parts if part.shape[1]], axis=1)


def _highest_rise(pulse: Pulses, pile_up: PileUp) -> Any:
    """Highest rise after the maximum in raw units, ``(batch, 1)``."""
    wide = _arithmetic(pulse.raw.dtype)[1]
    first = _maximum(pulse) + pile_up.dead

    def rises(start: int, stop: int) -> Any:
        early = tf.cast(pulse.raw[:, start:stop], wide)
        late = tf.cast(pulse.raw[:, start + pile_up.rise : stop + pile_up.rise], wide)
        rise = late - early if pulse.upwards else early - late
        return tf.where(tf.range(start, stop)[None, :] >= first, rise, tf.cast(0, wide))

    return largest(rises, pulse.samples - pile_up.rise)


def _columns(raw: Any) -> Values:
    return lambda start, stop: raw[:, start:stop]


def _arithmetic(dtype: Any) -> tuple[Any, Any, Any]:
    """For samples of ``dtype``: how they are kept, summed, and turned into real numbers.

    Integers of up to 16 bits stay as they are, their sums over up to 32,768 samples fit into int32; wider ones would
    not be exact in float32.
    """
    if dtype.is_integer and dtype.size <= 2:
        return dtype, tf.int32, tf.float32
    kept = tf.float32 if dtype.is_floating and dtype.size <= 4 else tf.float64
    return kept, kept, kept
