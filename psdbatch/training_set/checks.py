"""What must be true of sources, labels and parts before a set is worth writing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from psdbatch.config import SignalShape
from psdbatch.config.training import TrainingConfig
from psdbatch.errors import TrainingSetError
from psdbatch.training_set.places import Place
from psdbatch.training_set.sources import SignalSource
from psdbatch.training_set.strata import Strata
from psdbatch.training_set.survey import FileSurvey


def check_layout(sources: Sequence[SignalSource], shape: SignalShape) -> None:
    """Every file must hold the same kind of signals, sampled as the configuration says."""
    files = [(source.name, file) for source in sources for file in source.files]
    first_name, first = files[0]
    for name, file in files:
        for what in ("samples", "sample_dtype"):
            one, other = getattr(first, what), getattr(file, what)
            if one != other:
                raise TrainingSetError(
                    f"{file.path} (source '{name}'): {what.replace('_', ' ')} {other}, but {one} in {first.path} (source '{first_name}'); "
                    "a set holds signals of one kind: convert the files, or build a set of each"
                )
        period = file.sampling_period_ns
        if period is not None and abs(period - shape.sampling_period) > 1e-6 * shape.sampling_period:
            raise TrainingSetError(
                f"{file.path} (source '{name}'): sampled every {period:g} ns, but 'signals.sampling_period' is {shape.sampling_period:g} ns; correct it, or leave these files out"
            )


def check_labels(
    sources: Sequence[SignalSource], places: Sequence[Place], surveys: Sequence[FileSurvey], classes: Sequence[str]
) -> None:
    labelled = np.zeros((len(sources), len(classes)), np.int64)
    for place, survey in zip(places, surveys, strict=True):
        labelled[place.source] += survey.labelled
    for source, counts, number in zip(sources, labelled, range(len(sources)), strict=True):
        if not counts.sum():
            reasons: Counter[str] = Counter()
            for place, survey in zip(places, surveys, strict=True):
                if place.source == number:
                    reasons.update(survey.left_out)
            why = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
            raise TrainingSetError(
                f"source '{source.name}': its rule ({source.rule.words}) labels none of its {source.signals:,} signals: {why}; correct 'label', or leave the source out"
            )
    absent = [name for name, count in zip(classes, labelled.sum(axis=0), strict=True) if not count]
    if absent:
        names = ", ".join(f"'{name}'" for name in absent)
        raise TrainingSetError(
            f"no source gives a signal of class {names}; a classifier cannot learn what it never sees: add a source, or take the name out of 'set.classes'"
        )


def check_parts(sizes: Mapping[str, int], strata: Strata, config: TrainingConfig) -> None:
    split = config.set.split
    fractions = (1 - split.validation - split.test, split.validation, split.test)
    classes = config.set.classes
    taken = np.zeros((len(classes), 3), np.int64)
    np.add.at(taken, strata.label, strata.take.sum(axis=1))
    for number, (part, fraction) in enumerate(zip(sizes, fractions, strict=True)):
        if fraction <= 0:
            continue
        for label, name in enumerate(classes):
            if not taken[label, number]:
                remedy = "add runs that have it, or split by = 'signal'" if split.by == "run" else "take more signals"
                raise TrainingSetError(
                    f"part '{part}' gets no signal of class '{name}' ({sizes[part]:,} signals in all, a fraction of {fraction:g} is wanted); {remedy}, or set its fraction to 0"
                )
