"""``[set]`` of ``training.toml``: which labelled signals a network learns from."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal

from pydantic import Field, model_validator

from psdbatch.columns import NO_LABEL
from psdbatch.config.section import Section
from psdbatch.wording import nearest


class Cut(Section):
    """``cut``: a class is a region of the charge comparison, as a physicist draws it.

    A signal whose charge ratio ``(long - short) / long`` is above the line ``intercept + slope * x + curve / sqrt(x)``, ``x``
    its long charge, by more than ``margin`` has the first class named, one below it by more the second; others have none.
    """

    above: str = Field(description="class above the line")
    below: str = Field(description="class below the line")
    intercept: float = Field(description="charge ratio of the line")
    slope: float = Field(0.0, description="change of the line per unit of long charge")
    curve: float = Field(0.0, description="coefficient of 1/sqrt(long charge)")
    margin: float = Field(0.0, ge=0, description="distance from the line within which a signal has no label")
    least_charge: float = Field(0.0, description="signals of a smaller long charge have no label")


class Window(Section):
    """One class of a rule ``windows``: the values of a column that mean it."""

    name: str = Field(description="class")
    low: float = Field(description="least value")
    high: float = Field(description="values from this one on are outside")


class Label(Section):
    """``label`` of a source: exactly one rule; a signal that the rule says nothing about is left out.

    What the values of ``column`` are is declared by the acquisition format; ``truth`` are the files that simulation
    writes beside its own.
    """

    name: str | None = Field(None, description="one class for the whole source")
    channels: dict[str, str] | None = Field(None, description="class by 'BOARD' or 'BOARD:CHANNEL'")
    column: str | None = Field(
        None, description="a column of the files, or 'timestamp': its values are class numbers, or fall into 'windows'"
    )
    windows: tuple[Window, ...] | None = Field(None, description="ranges of 'column', for example of a time of flight")
    cut: Cut | None = Field(None, description="a line in the charge comparison")
    truth: bool = Field(False, description="what the simulation wrote beside its file")
    results: bool = Field(False, description="the label that an earlier campaign gave (source 'campaign')")

    @model_validator(mode="after")
    def _one_rule(self) -> Label:
        rules = [self.name, self.channels, self.column, self.cut, self.truth or None, self.results or None]
        given = sum(rule is not None for rule in rules)
        if given != 1:
            raise ValueError(f"give one rule (name, channels, column, cut, truth or results), not {given}")
        if self.windows is not None and self.column is None:
            raise ValueError("'windows' are ranges of a column: name it in 'column'")
        return self


class Source(Section):
    """``[[set.sources]]``: signals and the rule for their labels.  Exactly one of files, campaign, simulation."""

    name: str = Field(description="name of the source in plots and provenance")
    files: tuple[str, ...] | None = Field(
        None, description="acquisition files, paths or patterns relative to the configuration file"
    )
    format: str = Field("auto", description="acquisition format; 'auto' recognises it by content")
    options: dict[str, Any] = Field(default_factory=dict, description="options of the format")
    campaign: str | None = Field(None, description="directory of an earlier campaign: its input files and its results")
    certainty: tuple[float, float] = Field(
        (0.0, 1.0), description="campaign: range of the largest class score; (0, 0.7) are its least certain signals"
    )
    simulation: dict[str, Any] | None = Field(None, description="settings of the simulation, as of 'psdbatch simulate'")
    label: Label

    @model_validator(mode="after")
    def _one_origin(self) -> Source:
        given = sum(origin is not None for origin in (self.files, self.campaign, self.simulation))
        if given != 1:
            raise ValueError(f"source '{self.name}': give one of files, campaign and simulation, not {given}")
        if self.label.results and self.campaign is None:
            raise ValueError(f"source '{self.name}': only a campaign has results to take labels from")
        return self


class Splitting(Section):
    """``[set.split]``: which signals train, which choose the best epoch, which judge."""

    by: Literal["signal", "run"] = Field(
        "signal", description="'signal': at random; 'run': whole runs, so that no run is in two parts"
    )
    run: str = Field(
        r"run[_-]?\d+",
        description="regular expression searched in each path, as in [input] of a campaign; files of equal run names are never in two parts",
    )
    validation: float = Field(0.1, ge=0, lt=1, description="fraction for validation")
    test: float = Field(0.1, ge=0, lt=1, description="fraction for the test")

    @model_validator(mode="after")
    def _some_train(self) -> Splitting:
        if self.validation + self.test >= 1:
            raise ValueError(f"validation ({self.validation}) and test ({self.test}) leave nothing to train with")
        return self


class TrainingSet(Section):
    """``[set]``: the training set and how it is drawn from its sources."""

    path: str | None = Field(
        None,
        description="directory of the set, a Zarr store; default: 'set.zarr' in the training's directory; one that exists is used if it was made of the same",
    )
    sources: tuple[Source, ...] = Field((), description="where signals come from, each a table [[set.sources]]")
    classes: tuple[str, ...] = Field(("gamma", "neutron"), min_length=1, description="class names in output order")
    signals: int | None = Field(
        None,
        gt=0,
        description="signals wanted, all parts together; default: as many of each class as the rarest one has, with shortfall = 'error' as many as fill all strata evenly",
    )
    mix: Literal["even", "natural"] | dict[str, float] = Field(
        "even",
        description="classes in the set: 'even', 'natural' (as the sources have them), or a table of relative numbers, { gamma = 9, neutron = 1 }; amplitudes of a class stay even",
    )
    energies: tuple[float, ...] = Field(
        (),
        description="edges of the amplitude strata, ADC units, signals outside are left out; default: 'bins' of equal logarithmic width",
    )
    bins: int = Field(
        8,
        ge=1,
        le=256,
        description="amplitude strata between the 0.5 % and 99.5 % quantiles, if no edges are given; the outer two are open",
    )
    channels: bool = Field(True, description="every board and channel is a stratum of its own")
    shortfall: Literal["fill", "error"] = Field(
        "fill",
        description="a stratum with too few signals: 'fill' the place from the class's others, or stop with an error",
    )
    split: Splitting = Splitting()
    seed: int = Field(1, ge=0, description="same seed, same sources: same set, byte for byte")

    @model_validator(mode="after")
    def _consistent(self) -> TrainingSet:
        if len(self.energies) == 1 or any(b <= a for a, b in pairwise(self.energies)):
            raise ValueError(f"'energies' are edges: two at least, ascending, not {list(self.energies)}")
        for what, names in (("classes", self.classes), ("sources", tuple(source.name for source in self.sources))):
            twice = [name for number, name in enumerate(names) if name in names[:number]]
            if twice:
                raise ValueError(f"two {what} are named '{twice[0]}'")
        if isinstance(self.mix, dict):
            _check_mix(self.mix, self.classes)
        if len(self.classes) > NO_LABEL:
            raise ValueError(f"{len(self.classes)} classes are more than a label can tell apart ({NO_LABEL})")
        return self


def _check_mix(mix: dict[str, float], classes: tuple[str, ...]) -> None:
    unknown = [name for name in mix if name not in classes]
    if unknown:
        raise ValueError(
            f"'mix' names '{unknown[0]}', which is no class ({', '.join(classes)}){nearest(unknown[0], classes)}"
        )
    poor = [name for name in classes if not 0 < mix.get(name, 0.0) < float("inf")]
    if poor:
        raise ValueError(f"'mix' gives class '{poor[0]}' no signals; write a number above 0 for each of the classes")
