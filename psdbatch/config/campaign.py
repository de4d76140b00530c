"""``campaign.toml``: the question a campaign answers, and how its work is cut."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from psdbatch.config.cluster import Cluster
from psdbatch.config.section import Section, read_configuration, validated
from psdbatch.units import Nanoseconds, Seconds


class Input(Section):
    """``[input]``: which acquisition files, and how they group into runs."""

    files: tuple[str, ...] = Field(
        min_length=1, description="paths or glob patterns ('**': any depth), relative to the configuration file"
    )
    run: str = Field(
        r"run[_-]?\d+",
        description="regular expression searched in each path, from its end; what it matches (or its first group) names the run; "
        "where it does not match, the file's own stem does",
    )
    format: str = Field(
        "auto",
        description="name of an acquisition format (mfm, compass, packets, numpy, zarr, text or a laboratory's own); 'auto' recognises each file by its content",
    )
    options: dict[str, Any] = Field(default_factory=dict, description="options of the format")


class SignalShape(Section):
    """``[signals]``: what is known about the digitiser."""

    sampling_period: Nanoseconds = Field(5.0, description="time between two samples")
    adc_bits: int = Field(14, ge=1, le=32, description="a sample at 0 or 2**adc_bits - 1 is saturated")
    polarity: Literal["negative", "positive"] = Field(
        "negative", description="direction of the pulses in the raw samples"
    )
    baseline: int = Field(
        16, ge=0, description="the mean of this many first samples is the baseline; 0: none is subtracted"
    )


class Alignment(Section):
    """Where in a signal a window or a gate starts: a reference point and an offset from it, in samples."""

    align: Literal["start", "threshold", "maximum"] = Field(
        "threshold",
        description="'start': first sample; 'threshold': first sample at or above 'threshold' x amplitude; 'maximum': the largest sample",
    )
    threshold: float = Field(0.2, gt=0, le=1, description="fraction of the amplitude, for align = 'threshold'")
    offset: int = Field(0, description="samples from the reference point to the first sample; negative is before it")


class Preparation(Alignment):
    """``[preparation]``: from raw samples to the model's input, part of the compiled graph."""

    enabled: bool = Field(
        True,
        description="false: the model prepares the raw samples itself; where its card says so, this key need not",
    )
    offset: int = Field(-5, description="samples from the reference point to the window; negative is before it")
    length: int | None = Field(None, gt=0, description="samples given to the model; default: what its input takes")
    normalise: Literal["amplitude", "none"] = Field(
        "amplitude", description="'amplitude': the largest sample becomes 1"
    )


class Charge(Alignment):
    """``[charge]``: the gates of the charge comparison, in samples from the common start of both gates."""

    offset: int = Field(
        -3, description="samples from the reference point to the common start of both gates; negative is before it"
    )
    short: int = Field(10, gt=0, description="samples in the short gate")
    long: int = Field(60, gt=0, description="samples in the long gate")

    @model_validator(mode="after")
    def _ordered(self) -> Charge:
        if self.short >= self.long:
            raise ValueError(
                f"the short gate ({self.short} samples) must be shorter than the long one ({self.long} samples)"
            )
        return self


class PileUp(Section):
    """``[pile_up]``: a later rise counts as a second pulse when it is higher than both limits."""

    rise: int = Field(4, gt=0, description="samples over which a rise is measured")
    fraction: float = Field(0.10, gt=0, description="least rise as a fraction of the amplitude")
    noise: float = Field(10.0, ge=0, description="least rise in standard deviations of the baseline samples")
    dead: int = Field(6, ge=0, description="samples after the maximum in which no second rise is looked for")


class ModelSource(Section):
    """``[model]``: the network."""

    path: str = Field(
        description="frozen GraphDef (.pb), SavedModel directory, .keras or .h5, relative to the configuration file"
    )
    input: str | None = Field(None, description="name of the input tensor; default: the graph's only placeholder")
    outputs: tuple[str, ...] | None = Field(
        None, description="names of the output tensors; default: all final tensors of the graph"
    )
    classes: tuple[str, ...] | None = Field(
        None,
        description="class names in the order of the model's output; default: those of the model's card, else 'class_0', ...",
    )
    classifier: str | bool = Field(
        True,
        description="which output holds the class scores; true: the first one of rank 2; false: the model does not classify",
    )
    activation: Literal["none", "softmax", "sigmoid"] = Field(
        "none", description="applied to the class scores where the model does not do it"
    )


class Quality(Section):
    """``[quality]``: a second network, an auto-encoder, whose residual tells how ordinary each signal is."""

    model: str = Field(
        description="frozen GraphDef (.pb), SavedModel directory, .keras or .h5, relative to the configuration file"
    )
    input: str | None = Field(None, description="name of the input tensor; default: the graph's only placeholder")
    outputs: tuple[str, ...] | None = Field(
        None,
        description="name of the output that holds the reconstruction; default: the one that has the shape of the input",
    )
    preparation: Preparation | None = Field(
        None,
        description="as [preparation], for this network; default: what its card says, else the campaign's [preparation]",
    )

    @property
    def source(self) -> ModelSource:
        """The network as any other is named."""
        return ModelSource(path=self.model, input=self.input, outputs=self.outputs, classifier=False)


class Processing(Section):
    """``[processing]``: blocks, batches and failures."""

    block: int = Field(
        1_048_576,
        gt=0,
        description="signals in a block: the unit of work, retry and commit, and one shard of the store",
    )
    batch: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto", description="signals in one model call; 'auto': measured on the device, and kept in the campaign"
    )
    xla: bool = Field(True, description="compile model and preparation with XLA where it can")
    tolerance: float = Field(
        1e-4,
        gt=0,
        lt=1,
        description="a worker whose class scores differ by more from the campaign's reference answers is refused; other outputs: as a fraction",
    )
    time_limit: Seconds = Field(
        3600.0, description="a block that takes longer ends its worker and is tried again on another one"
    )
    attempts: int = Field(3, ge=1, description="attempts at a block before it is quarantined or left over")
    backoff: Seconds = Field(
        2.0, description="pause before the second attempt after a transient failure; doubled each time"
    )


class Results(Section):
    """``[results]``: the Zarr store."""

    chunk: int = Field(
        65_536, gt=0, description="signals in one inner chunk, the least that a reader decompresses; divides the block"
    )
    compression_level: int = Field(
        1, ge=1, le=9, description="1: fastest, 9: smallest (Zstandard behind Blosc's bit shuffle)"
    )
    columns: tuple[str, ...] | None = Field(
        None, description="extra columns of the acquisition format to keep; default: all"
    )


class Monitor(Section):
    """``[monitor]``: what the campaign is watched with; it changes no answer."""

    reference: str | None = Field(
        None,
        description="directory of a finished campaign whose channels this one's are compared with; relative to the configuration file",
    )


class CampaignConfig(Section):
    """A whole ``campaign.toml``."""

    campaign: str = Field(
        description="directory of the campaign: plan, commits, results; relative to the configuration file"
    )
    input: Input
    model: ModelSource
    signals: SignalShape = SignalShape()
    preparation: Preparation = Preparation()
    charge: Charge = Charge()
    pile_up: PileUp = PileUp()
    quality: Quality | None = None
    processing: Processing = Processing()
    results: Results = Results()
    monitor: Monitor = Monitor()
    cluster: Cluster = Cluster()


def _plain(folder: Path) -> Path:
    """A folder without detours: ``sub/../campaign.toml`` names the same files as ``campaign.toml``."""
    plain = Path(os.path.normpath(folder))
    return plain if plain.exists() and plain.samefile(folder) else folder  # behind a link '..' leads elsewhere


def read_config(path: Path) -> CampaignConfig:
    """Read ``campaign.toml``; relative paths in it become absolute, counted from its directory.

    Raises
    ------
    ConfigurationError
        The file cannot be read, is not TOML, or says something psdbatch does not know.
    """
    config = validated(CampaignConfig, read_configuration(path, "campaign"), str(path))
    base = _plain(path.absolute().parent)
    quality, compared = config.quality, config.monitor.reference
    return config.model_copy(
        update={
            "campaign": str(base / config.campaign),
            "input": config.input.model_copy(
                update={"files": tuple(str(base / pattern) for pattern in config.input.files)}
            ),
            "model": config.model.model_copy(update={"path": str(base / config.model.path)}),
            "quality": quality and quality.model_copy(update={"model": str(base / quality.model)}),
            "monitor": config.monitor.model_copy(update={"reference": compared and str(base / compared)}),
            "cluster": config.cluster.located(base),
        }
    )
