"""What is simulated: the detector, the digitiser, the particles, in the units a user would write."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from psdbatch.config import Section
from psdbatch.units import Nanoseconds


class Stretch(Section):
    """Consecutive signals with one class mix."""

    fraction: float = Field(gt=0, le=1, description="fraction of all signals that lie in this stretch")
    neutrons: float = Field(ge=0, le=1, description="fraction of neutrons in it")


class Simulation(Section):
    """``[simulation]``: signals of a liquid scintillator in front of a digitiser; the defaults are a NEDA cell on NUMEXO2.

    ``photoelectrons`` and ``slow_spread`` are fitted to the figure of merit measured with NE-213 by
    ``benchmarks/tune_simulation.py``.  The steps of the fit scatter between 2.9 and 4.0
    photoelectrons per keV (0.085 to 0.089), and lean on the light fractions and noise assumed; 3.0 and 0.085 were kept.  The
    EJ-301 data sheet gives 1.7 photoelectrons per keV with an RCA-8575 photomultiplier.
    """

    signals: int = Field(100_000, ge=0, description="signals in one file")
    samples: int = Field(232, gt=8, le=65_536, description="samples of a signal")
    boards: int = Field(4, ge=1, le=4096, description="acquisition boards")
    channels: int = Field(16, ge=1, le=16, description="channels of each board")
    seed: int = Field(1, ge=0, description="the same seed and settings give the same bytes")

    neutrons: float = Field(0.3, ge=0, le=1, description="fraction of neutrons, where 'order' does not say otherwise")
    order: Literal["mixed", "by class"] | tuple[Stretch, ...] = Field(
        "mixed", description="'mixed'; 'by class': first all gammas, then all neutrons; or a list of stretches"
    )
    spectrum: Literal["fission", "uniform"] = Field(
        "fission", description="light output of 252Cf gammas and neutrons, or all energies alike"
    )
    lowest_energy: float = Field(50.0, ge=5, description="least light output, keVee")
    highest_energy: float = Field(4000.0, gt=0, description="largest light output, keVee")
    rate: float = Field(1000.0, gt=0, description="signals per second and channel")
    pile_up: float | Literal["rate"] = Field(
        "rate", description="fraction of signals with a second pulse inside; 'rate': what the rate makes it"
    )

    photoelectrons: float = Field(3.0, gt=0, description="photoelectrons per keVee")
    slow_spread: float = Field(0.085, ge=0, lt=0.3, description="intrinsic relative spread of the slow light, rms")
    single_spread: float = Field(0.4, ge=0, lt=1, description="relative spread of a single photoelectron's charge, rms")
    response: Nanoseconds = Field(
        10.0, gt=0, le=50, description="full width at half maximum of one photoelectron's pulse"
    )

    sampling_period: Nanoseconds = Field(5.0, gt=0, description="time between two samples")
    adc_bits: int = Field(14, ge=6, le=16, description="resolution of the digitiser")
    polarity: Literal["negative", "positive"] = Field("negative", description="direction of the pulses")
    baseline: float = Field(15_000.0, description="ADC value without a pulse")
    baseline_spread: float = Field(4.0, ge=0, description="rms of the baseline from signal to signal, ADC units")
    noise: float = Field(2.0, ge=0, description="rms of the electronic noise of a sample, ADC units")
    gain: float = Field(10.0, gt=0, description="charge per light output, ADC units x samples / keVee")
    trigger: int = Field(40, ge=0, description="sample in which the pulse begins")

    @model_validator(mode="after")
    def _consistent(self) -> Simulation:
        if self.lowest_energy >= self.highest_energy:
            raise ValueError(
                f"lowest_energy ({self.lowest_energy} keVee) must be below highest_energy ({self.highest_energy} keVee)"
            )
        if self.trigger >= self.samples:
            raise ValueError(f"trigger ({self.trigger}) must lie inside the {self.samples} samples")
        if not 0 <= self.baseline < 2**self.adc_bits:
            raise ValueError(f"baseline ({self.baseline}) must lie inside the ADC range, 0 to {2**self.adc_bits - 1}")
        if isinstance(self.pile_up, float) and not 0 <= self.pile_up <= 1:
            raise ValueError(f"pile_up ({self.pile_up}) is a fraction between 0 and 1")
        if isinstance(self.order, tuple) and abs(sum(part.fraction for part in self.order) - 1) > 1e-6:
            raise ValueError("the fractions of the stretches in 'order' must add up to 1")
        return self

    def stretches(self) -> tuple[Stretch, ...]:
        """The order of the classes as stretches."""
        if isinstance(self.order, tuple):
            return self.order
        if self.order == "mixed" or self.neutrons in (0, 1):
            return (Stretch(fraction=1, neutrons=self.neutrons),)
        return (Stretch(fraction=1 - self.neutrons, neutrons=0), Stretch(fraction=self.neutrons, neutrons=1))

    @property
    def sample_dtype(self) -> str:
        """dtype that holds the ADC values."""
        return "int16" if self.adc_bits < 16 else "uint16"
