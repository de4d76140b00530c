"""What a set says about its origin.  The same sources and settings always say the same: no dates, no host names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from psdbatch.campaign.provenance import versions
from psdbatch.config.training import TrainingConfig
from psdbatch.training_set.facts import SetFacts
from psdbatch.training_set.order import order_alarm
from psdbatch.training_set.places import Place
from psdbatch.training_set.question import question_of
from psdbatch.training_set.sources import SignalSource
from psdbatch.training_set.strata import Strata
from psdbatch.training_set.survey import FileSurvey


def set_facts(
    config: TrainingConfig,
    sources: Sequence[SignalSource],
    places: Sequence[Place],
    runs: Sequence[str],
    surveys: Sequence[FileSurvey],
    strata: Strata,
) -> SetFacts:
    settings = config.set
    described = [
        _describe(
            source,
            [survey for place, survey in zip(places, surveys, strict=True) if place.source == number],
            settings.classes,
        )
        for number, source in enumerate(sources)
    ]
    files = [
        {
            "path": place.file.path,
            "source": sources[place.source].name,
            "run": runs[place.run],
            "signals": place.file.signals,
            "timestamp_unit": place.file.timestamp_unit,
            **place.file.state,
        }
        for place in places
    ]
    provenance = {
        "question": question_of(config, list(sources)),
        "files": files,
        "runs": list(runs),
        "sources": described,
        "strata": strata.to_json(settings.classes),
        "alarms": [source["alarm"] for source in described if source["alarm"]],
        "software": versions(),
    }
    first = places[0].file
    return SetFacts(
        classes=settings.classes,
        samples=first.samples,
        sample_dtype=first.sample_dtype,
        signals=config.signals,
        charge=config.charge,
        sources=tuple(source.name for source in sources),
        seed=settings.seed,
        provenance=provenance,
    )


def _describe(source: SignalSource, surveys: Sequence[FileSurvey], classes: Sequence[str]) -> dict[str, Any]:
    positions = sum((survey.positions for survey in surveys), np.zeros_like(surveys[0].positions))
    neighbours = [int(sum(survey.neighbours[k] for survey in surveys)) for k in range(2)]
    left_out: Counter[str] = Counter()
    for survey in surveys:
        left_out.update(survey.left_out)
    return {
        "name": source.name,
        "rule": source.rule.words,
        "signals": source.signals,
        "labelled": {name: int(count) for name, count in zip(classes, positions.sum(axis=0), strict=True)},
        "left_out": dict(sorted(left_out.items())),
        "positions": positions.tolist(),
        "neighbours": neighbours,
        "alarm": order_alarm(source.name, classes, positions, neighbours),
    }
