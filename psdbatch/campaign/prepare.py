"""From a configuration to a campaign directory that is ready to run: index, model, plan, empty store."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from psdbatch.acquisition.index import FileIndex, default_cache, index_file
from psdbatch.campaign import files
from psdbatch.campaign.card import length_notes, with_card, with_quality_card
from psdbatch.campaign.directory import BlockName, CampaignDirectory
from psdbatch.campaign.extend import extend
from psdbatch.campaign.layout import store_layout
from psdbatch.campaign.model import CampaignModels, keep_models
from psdbatch.campaign.plan import Plan, make_plan, natural_order
from psdbatch.campaign.provenance import run_provenance, store_provenance
from psdbatch.campaign.reference import open_reference
from psdbatch.campaign.schema import Schema, engine_settings, make_schema
from psdbatch.config import CampaignConfig
from psdbatch.errors import AcquisitionFileError, ConfigurationError, StorageError
from psdbatch.results.store import create_run, create_store

LISTED_ERRORS = 20


@dataclass(frozen=True)
class Campaign:
    """A planned campaign: configuration, model and plan, and where they lie.

    ``config`` holds what the model's card says too; ``notes`` tell what that was, and what a user should know.
    """

    directory: CampaignDirectory
    config: CampaignConfig
    facts: CampaignModels
    plan: Plan
    indexes: tuple[FileIndex, ...]
    notes: tuple[str, ...] = ()

    def schema(self, run: str) -> Schema:
        """Columns of a run's group."""
        planned = self.plan.run(run)
        return make_schema(self.config, self.facts, planned.timestamp_unit, planned.columns)


def find_files(patterns: Iterable[str]) -> list[Path]:
    """Acquisition files that the patterns name, in natural order, each once.

    Raises
    ------
    ConfigurationError
        A pattern matches nothing.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        matches = glob.glob(pattern, recursive=True)  # noqa: PTH207 - absolute patterns, which Path.glob refuses
        if not matches:
            raise ConfigurationError(f"'input.files': no file matches '{pattern}'")
        found.update(dict.fromkeys(matches))
    distinct: dict[str, str] = {}
    for path in sorted(found, key=natural_order):
        distinct.setdefault(os.path.realpath(path), path)  # one file under two names is one file
    return [Path(path) for path in distinct.values()]


def index_files(
    paths: Iterable[Path], format_name: str, options: dict[str, object], done: Callable[[FileIndex], None] | None = None
) -> tuple[FileIndex, ...]:
    """Index files, several at a time, from the user's cache where it is valid.

    Raises
    ------
    AcquisitionFileError
        Some cannot be used; the message lists them.
    """
    cache = default_cache() / "index"
    problems: list[str] = []

    def index(path: Path) -> FileIndex | None:
        try:
            found = index_file(path, format_name, options, cache)
        except AcquisitionFileError as error:
            problems.append(str(error))
            return None
        if done:
            done(found)
        return found

    with ThreadPoolExecutor() as pool:
        indexes = list(pool.map(index, paths))
    if problems:
        more = f"\nand {len(problems) - LISTED_ERRORS} more" if len(problems) > LISTED_ERRORS else ""
        raise AcquisitionFileError("\n".join(sorted(problems)[:LISTED_ERRORS]) + more)
    return tuple(index for index in indexes if index is not None)


def prepare(
    config: CampaignConfig, models: Callable[[CampaignConfig, CampaignDirectory], CampaignModels], create: bool = True
) -> Campaign:
    """Index, describe the model, plan; with ``create``, make the campaign directory or go on with the one there is.

    Parameters
    ----------
    models
        Gives the facts of the models; it may need TensorFlow, which this side does not import.

    Raises
    ------
    PsdbatchError
        Something cannot be used, or is not what the campaign was planned with.
    """
    directory = CampaignDirectory(Path(config.campaign))
    old = Plan.read(directory.plan) if directory.plan.exists() else None
    indexes = index_files(find_files(config.input.files), config.input.format, config.input.options)
    facts = models(config, directory)
    config, notes = with_card(config, facts.model)
    config, more = with_quality_card(config, facts)
    plan = make_plan(config, indexes, facts.model.digest, facts.quality.digest if facts.quality else None)
    if old is not None:
        plan = extend(old, plan, _finished_runs(directory, old))
    campaign = Campaign(directory, config, facts, plan, indexes, (*notes, *more, *length_notes(facts.model, plan.runs)))
    open_reference(config)
    store_layout(config.processing, config.results)
    for run in plan.runs:
        campaign.schema(run.name)  # says now what does not fit, before a worker is asked for
        engine_settings(config, facts, run).check()
    if create:
        try:
            write_campaign(campaign)
        except OSError as error:
            raise StorageError(
                f"{directory.path}: cannot be written: {error.strerror or error}", lasting=True
            ) from error
    return campaign


def open_campaign(path: Path) -> tuple[CampaignDirectory, Plan]:
    """Directory and plan of an existing campaign.

    Raises
    ------
    CampaignError
        There is none at ``path``.
    """
    directory = CampaignDirectory(path.absolute())
    return directory, Plan.read(directory.plan)


def _finished_runs(directory: CampaignDirectory, plan: Plan) -> set[str]:
    committed = set(directory.committed())
    return {
        run.name
        for run in plan.runs
        if all(BlockName(run.name, number) in committed for number in range(-(-run.signals // plan.block)))
    }


def _holds(entry: Path, index: FileIndex) -> bool:
    try:
        return entry.read_bytes() == index.to_bytes()
    except OSError:
        return False


def write_campaign(campaign: Campaign) -> None:
    """Write what workers need, the plan last: a directory without a plan is no campaign yet."""
    directory = campaign.directory
    layout = store_layout(campaign.config.processing, campaign.config.results)
    for path in (
        directory.path,
        directory.index,
        directory.commits,
        directory.staging,
        directory.logs,
        directory.tuning,
    ):
        files.make_directory(path)
    paths = {index.path: index for index in campaign.indexes}
    for run in campaign.plan.runs:
        for file in run.files:
            entry = directory.index / file.index
            if file.path in paths and not _holds(entry, paths[file.path]):
                files.replace_durably(entry, paths[file.path].to_bytes())
    keep_models(campaign.facts, directory)
    config = tomli_w.dumps(campaign.config.model_dump(mode="json", exclude_none=True)).encode()
    if not directory.config.exists() or directory.config.read_bytes() != config:
        files.replace_durably(directory.config, config)
    classes = campaign.schema(campaign.plan.runs[0].name).classes
    create_store(directory.store, store_provenance(campaign.plan, campaign.facts, classes))
    planned = {run.name for run in Plan.read(directory.plan).runs} if directory.plan.exists() else set()
    for run in campaign.plan.runs:
        columns = campaign.schema(run.name).columns
        unplanned = run.name not in planned
        create_run(directory.store, run.name, run.signals, columns, layout, run_provenance(run), replace=unplanned)
    files.replace_durably(directory.plan, campaign.plan.to_bytes())
