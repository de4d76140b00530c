"""Where model and signals of a run meet: the columns of the results, and what the engine depends on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from psdbatch.campaign.model import CampaignModels
from psdbatch.campaign.plan import PlannedRun
from psdbatch.columns import (
    AMPLITUDE,
    BOARD,
    CHANNEL,
    CHARGE_LONG,
    CHARGE_SHORT,
    FLAGS,
    RESIDUAL,
    TIMESTAMP,
    Column,
)
from psdbatch.config import CampaignConfig, Charge
from psdbatch.errors import ConfigurationError
from psdbatch.models.engine_settings import EngineSettings
from psdbatch.models.facts import ModelFacts
from psdbatch.models.outputs import output_columns
from psdbatch.models.quality_settings import QualitySettings
from psdbatch.wording import nearest


@dataclass(frozen=True)
class Schema:
    """Columns of one run's group, by where they come from.

    ``answers`` from the models, ``identity`` and ``recorded`` from the acquisition file, ``shape`` from the samples.
    """

    answers: tuple[Column, ...]
    identity: tuple[Column, ...]
    shape: tuple[Column, ...]
    recorded: tuple[Column, ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns, in the order of the store."""
        return (*self.answers, *self.identity, *self.shape, FLAGS, *self.recorded)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of ``probability``; none if the model does not classify."""
        return next(
            (tuple(column.attributes["classes"]) for column in self.answers if column.name == "probability"), ()
        )


def make_schema(
    config: CampaignConfig, facts: CampaignModels, timestamp_unit: str, recorded: Iterable[Column]
) -> Schema:
    """Columns of one run's group.

    Parameters
    ----------
    config, facts
        Campaign and models.
    timestamp_unit
        Unit of the run's timestamps.
    recorded
        Extra columns of the run's acquisition files.

    Raises
    ------
    ConfigurationError
        ``results.columns`` names a column that the files do not hold, or a name is used twice.
    """
    residual = () if config.quality is None else (RESIDUAL,)
    schema = Schema(
        answers=(*output_columns(facts.model, config.model, [column.name for column in residual]), *residual),
        identity=(replace(TIMESTAMP, unit=timestamp_unit), BOARD, CHANNEL),
        shape=(
            AMPLITUDE,
            _with(CHARGE_LONG, **_gate(config, config.charge.long)),
            _with(CHARGE_SHORT, **_gate(config, config.charge.short)),
        ),
        recorded=_kept(config, tuple(recorded)),
    )
    names = [column.name for column in schema.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigurationError(
            f"two columns are named '{twice[0]}'; leave one out with 'columns = [...]' in [results]"
        )
    return schema


@dataclass(frozen=True, order=True)
class SignalKind:
    """What an engine must know of raw signals: how many samples, of which dtype."""

    samples: int
    sample_dtype: str

    @classmethod
    def of(cls, run: PlannedRun) -> SignalKind:
        """Kind of the signals of ``run``."""
        return cls(run.samples, run.sample_dtype)

    def __str__(self) -> str:
        return f"{self.samples} samples of {self.sample_dtype}"


def engine_settings(config: CampaignConfig, facts: CampaignModels, kind: SignalKind | PlannedRun) -> EngineSettings:
    """Everything that the engine for signals of a kind, or of a run, depends on."""
    return EngineSettings(
        facts=facts.model,
        source=config.model,
        signals=config.signals,
        preparation=config.preparation,
        charge=config.charge,
        pile_up=config.pile_up,
        samples=kind.samples,
        sample_dtype=kind.sample_dtype,
        xla=config.processing.xla,
        quality=_quality_settings(config, facts.quality, kind),
    )


def _quality_settings(
    config: CampaignConfig, facts: ModelFacts | None, kind: SignalKind | PlannedRun
) -> QualitySettings | None:
    if config.quality is None or facts is None:
        return None
    signals = config.signals
    if (
        facts.card is not None
    ):  # its rest is measured as in its training, whatever the campaign's charges are counted from
        signals = signals.model_copy(update={"baseline": facts.card.signals.baseline})
    preparation = config.quality.preparation or config.preparation
    return QualitySettings(facts, signals, preparation, kind.samples, kind.sample_dtype)


def _kept(config: CampaignConfig, recorded: tuple[Column, ...]) -> tuple[Column, ...]:
    wanted = config.results.columns
    if wanted is None:
        return recorded
    known = {column.name: column for column in recorded}
    for name in wanted:
        if name not in known:
            raise ConfigurationError(
                f"'results.columns': the files hold no column '{name}'{nearest(name, known)}; they hold: {', '.join(known) or 'none'}"
            )
    return tuple(known[name] for name in wanted)


def _gate(config: CampaignConfig, samples: int) -> dict[str, Any]:
    charge: Charge = config.charge
    return {
        "gate_align": charge.align,
        "gate_threshold": charge.threshold,
        "gate_offset_samples": charge.offset,
        "gate_samples": samples,
        "sampling_period_ns": config.signals.sampling_period,
    }


def _with(column: Column, **attributes: Any) -> Column:
    return replace(column, attributes={**column.attributes, **attributes})
