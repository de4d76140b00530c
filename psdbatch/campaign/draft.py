"""A first ``campaign.toml`` for acquisition files and a model: what can be found out, and what a person has to say."""

from __future__ import annotations

import glob
import os
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psdbatch.acquisition.finding import Found, find_acquisition, patterns
from psdbatch.acquisition.first_look import FirstLook, first_look
from psdbatch.campaign import files
from psdbatch.campaign.directory import CampaignDirectory
from psdbatch.campaign.draft_files import files_passed_over, say_files, say_options, say_runs
from psdbatch.campaign.draft_remarks import Findings, findings
from psdbatch.campaign.model import find_models
from psdbatch.campaign.plan import natural_order, run_name
from psdbatch.campaign.prepare import Campaign, index_files, prepare
from psdbatch.config import CampaignConfig, Input, ModelSource, validated
from psdbatch.config.commented import commented
from psdbatch.config.schema import configuration_schema
from psdbatch.errors import ConfigurationError

LOOKED_AT = 20
"""Acquisition files that are indexed for a draft; a plan indexes them all, which may take long."""

HEADER = """\
# A campaign of psdbatch, written by 'psdbatch init'.  Try it: psdbatch plan {name}
# Lines that begin with '#>' say what was found in the files and in the model; keys that are commented out show their
# defaults, '...' where there is none.  All keys: docs/reference/campaign.md.
"""


@dataclass(frozen=True)
class DraftRequest:
    """What is known before anything is looked at.

    Attributes
    ----------
    places
        Acquisition files, and directories with such.
    model
        The network.
    output
        The file to write.
    campaign
        Directory of the campaign, relative to that of ``output``.
    format, options
        Acquisition format and its options.
    cluster
        ``"local"``, or the batch system for which a worker group is written.
    settings
        Further keys by section, as in TOML; they are kept whatever is found.
    """

    places: tuple[Path, ...]
    model: Path
    output: Path
    campaign: str = "campaign"
    format: str = "auto"
    options: Mapping[str, Any] = field(default_factory=dict)
    cluster: str = "local"
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Draft:
    """A ``campaign.toml`` that can be planned.

    Attributes
    ----------
    text
        The file.
    found, runs
        Acquisition files, and how many of them each run has.
    look
        What their signals look like.
    campaign
        The campaign as planned for the files that were looked at.
    cautions
        What a person should look into, one sentence each.
    """

    text: str
    found: Found
    runs: Mapping[str, int]
    look: FirstLook
    campaign: Campaign
    cautions: tuple[str, ...]

    def lines(self) -> list[str]:
        """What was found, for people."""
        kinds = ", ".join(sorted({kind for _, kind in self.found.files}))
        signals = sum(index.scan.signals for index in self.campaign.indexes)
        looked = len(self.campaign.indexes)
        pulses = f"pulses are {self.look.polarity}" if self.look.pulses else "no pulse found"
        return [
            f"acquisition files: {len(self.found.files):,} ({kinds}), {say_runs(self.runs)}",
            f"looked at: {looked:,} of them with {signals:,} signals, {pulses}, channels: {self.look.channels:,}",
            *(f"look into: {caution}" for caution in self.cautions),
        ]

    def facts(self) -> dict[str, Any]:
        """Plain dictionary for JSON."""
        return {
            "files": [path for path, _ in self.found.files],
            "formats": sorted({kind for _, kind in self.found.files}),
            "left_out": [path for path, _ in self.found.left_out],
            "unknown": [{"path": path, "reason": reason} for path, reason in self.found.unknown],
            "runs": dict(self.runs),
            "signals_looked_at": self.look.signals,
            "estimates": vars(self.look),
            "model": self.campaign.facts.model.source,
            "cautions": list(self.cautions),
        }


def draft_campaign(request: DraftRequest, replace: bool = False) -> Draft:
    """Look at the files and the model, and say what follows; nothing is written.

    Raises
    ------
    PsdbatchError
        Files or model cannot be used, or not with each other; or the file is there already and not to be replaced.
    """
    if request.output.exists() and not replace:
        raise _exists(request.output)
    base = request.output.absolute().parent
    directory = CampaignDirectory(base / str(request.settings.get("campaign", request.campaign)))
    if directory.plan.exists():
        raise ConfigurationError(f"{directory.path}: holds a campaign already; name another directory with --campaign")
    found = find_acquisition(request.places, request.format)
    looked = _spread([path for path, _ in found.files])
    indexes = index_files(looked, request.format, dict(request.options))
    look = first_look(indexes)
    source = ModelSource(path=str(request.model.absolute()))
    asked = CampaignConfig(campaign=str(directory.path), input=Input(files=tuple(map(str, looked))), model=source)
    model = find_models(asked, directory).model
    runs = _runs([path for path, _ in found.files], request)
    values = _values(request, found, base)
    said = findings(indexes, look, model)
    values = _merged({**values, "signals": said.signals}, request.settings)
    validated(CampaignConfig, values, "--set")  # the writer knows no other keys than the schema's
    remarks = {
        **said.remarks,
        "input.files": (say_files(found, len(looked)),),
        "input.run": (say_runs(runs),),
        "input.options": tuple(say_options(found)),
    }
    body = commented(configuration_schema("campaign"), values, remarks, said.shown)
    text = f"{HEADER.format(name=request.output.name)}\n{body}"
    campaign = _planned(text, request, base, looked)
    told = [note for note in campaign.notes if note.startswith("warning")]
    cautions = (*files_passed_over(found), *_cautions(said, request.settings), *told)
    return Draft(text, found, runs, look, campaign, cautions)


def write_draft(draft: Draft, output: Path, replace: bool = False) -> None:
    """Write the file, as a whole or not at all.

    Raises
    ------
    ConfigurationError
        It is there already and not to be replaced.
    OSError
        The file system refuses.
    """
    if replace:
        files.replace_durably(output, draft.text.encode())
        return
    try:
        files.write_durably(output, [draft.text.encode()])
    except FileExistsError:  # since the draft was begun
        raise _exists(output) from None


def _exists(output: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{output}: exists already; choose another name with --output, or overwrite it with --force"
    )


def _values(request: DraftRequest, found: Found, base: Path) -> dict[str, Any]:
    """Keys that the file must or should say."""
    named = patterns(path for path, _ in (*found.files, *found.suspect))  # a damaged file is refused, not passed over
    inputs = [_relative(pattern, base, glob.escape(str(base))) for pattern in named]
    values: dict[str, Any] = {
        "campaign": request.campaign,
        "input": {"files": inputs},
        "model": {"path": _relative(str(request.model.absolute()), base, str(base))},
    }
    if request.format != "auto":
        values["input"]["format"] = request.format
    if request.options:
        values["input"]["options"] = dict(request.options)
    if request.cluster != "local":
        values["cluster"] = {"kind": request.cluster, "workers": [{"name": "workers"}]}
    return values


def _planned(text: str, request: DraftRequest, base: Path, looked: Sequence[Path]) -> Campaign:
    """The campaign that the text describes, for the files that were looked at: says now what does not fit."""
    config = validated(CampaignConfig, tomllib.loads(text), str(request.output))
    config = config.model_copy(
        update={
            "campaign": str(base / config.campaign),
            "input": config.input.model_copy(update={"files": tuple(glob.escape(str(path)) for path in looked)}),
            "model": config.model.model_copy(update={"path": str(request.model.absolute())}),
        }
    )
    return prepare(config, find_models, create=False)


def _spread(files: Sequence[Path]) -> list[Path]:
    """Some files, evenly from all."""
    ordered = sorted(files, key=lambda path: natural_order(str(path)))
    count = min(LOOKED_AT, len(ordered))
    return [ordered[number * len(ordered) // count] for number in range(count)]


def _runs(files: Sequence[Path], request: DraftRequest) -> dict[str, int]:
    pattern = request.settings.get("input", {}).get("run", Input.model_fields["run"].default)
    names = Counter(run_name(pattern, str(path)) for path in files)
    return {name: names[name] for name in sorted(names, key=natural_order)}


def _merged(values: Mapping[str, Any], further: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for key, value in further.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def _relative(path: str, base: Path, start: str) -> str:
    """``path`` counted from ``base`` where it lies below it."""
    return path.removeprefix(start + os.sep) if path.startswith(start + os.sep) else path


def _cautions(said: Findings, given: Mapping[str, Any]) -> Iterator[str]:
    """What a person should look into, apart from keys that somebody has just given."""
    for key, words in said.cautions:
        section, _, name = key.partition(".")
        if not (name and name in given.get(section, {})):
            yield words
