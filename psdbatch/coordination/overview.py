"""A campaign at a glance, for notebooks: what it is, how far it is, and how its results are opened."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psdbatch.campaign.directory import CampaignDirectory
from psdbatch.campaign.physics import kept_physics
from psdbatch.campaign.plan import Plan
from psdbatch.campaign.prepare import open_campaign as open_directory
from psdbatch.coordination.lock import current
from psdbatch.wording import quantity

if TYPE_CHECKING:
    import pandas
    import xarray

    from psdbatch.monitor.tally import Tally
    from psdbatch.results.extract import Piece

MOST_ROWS = 20


@dataclass(frozen=True)
class CampaignOverview:
    """An existing campaign; what it shows is read from the directory each time it is shown.

    Attributes
    ----------
    directory, plan
        Where it lies, and what it was planned to do.
    """

    directory: CampaignDirectory
    plan: Plan

    @property
    def name(self) -> str:
        """Name of the directory."""
        return self.directory.path.name

    @property
    def summary(self) -> dict[str, Any]:
        """What ``summary.json`` says about the end of the last pass; empty before the first one has ended."""
        try:
            found: dict[str, Any] = json.loads(self.directory.summary.read_bytes())
        except (OSError, ValueError):
            return {}
        return found

    @property
    def provenance(self) -> dict[str, Any]:
        """Attributes of the store: model, classes, software, fingerprint of the plan."""
        try:
            found: dict[str, Any] = json.loads((self.directory.store / "zarr.json").read_bytes())["attributes"]
        except (OSError, ValueError, KeyError):
            return {}
        return found

    def results(self, run: str | None = None) -> xarray.Dataset:
        """:func:`psdbatch.open_results` of this campaign."""
        from psdbatch.results.reading import open_results

        return open_results(self.directory.path, run)

    def table(self, *arguments: Any, **options: Any) -> pandas.DataFrame:
        """:func:`psdbatch.read_table` of this campaign."""
        from psdbatch.results.table import read_table

        return read_table(self.directory.path, *arguments, **options)

    def iterate(self, *arguments: Any, **options: Any) -> Iterator[Piece]:
        """:func:`psdbatch.iterate` over this campaign."""
        from psdbatch.results.streaming import iterate

        return iterate(self.directory.path, *arguments, **options)

    @property
    def physics(self) -> Tally | None:
        """Signals by class, channel, amplitude and charge ratio, as the last pass left them; None if blocks have come since."""
        return kept_physics(self.directory, self.plan, sum(self._finished(self.summary).values()))

    def facts(self) -> list[tuple[str, str]]:
        """What is shown, as names and values."""
        summary, provenance = self.summary, self.provenance
        finished = sum(self._finished(summary).values())
        model = provenance.get("model", {})
        rows = [
            ("directory", str(self.directory.path)),
            ("state", self._state(finished, summary)),
            ("signals", _accounting(self.plan.signals, summary)),
            ("blocks", f"{finished:,} of {self.plan.count_blocks():,} finished"),
            ("model", f"{model.get('source', 'unknown')} ({str(model.get('digest', ''))[:12]})"),
            ("classes", _classes(self._classes, self.physics)),
            ("store", quantity(summary["bytes"], "B") if summary else ""),
            ("software", ", ".join(f"{name} {version}" for name, version in provenance.get("software", {}).items())),
            ("plan", str(provenance.get("plan_fingerprint", ""))[:12]),
        ]
        return [(name, value) for name, value in rows if value]

    def runs(self) -> list[tuple[str, int, int, int, int]]:
        """Name, files, signals, blocks and finished blocks of every run."""
        finished = self._finished(self.summary)
        return [
            (run.name, len(run.files), run.signals, -(-run.signals // self.plan.block), finished[run.name])
            for run in self.plan.runs
        ]

    def _finished(self, summary: dict[str, Any]) -> Counter[str]:
        """Finished blocks by run; a directory of a million records is listed only if some are still to come."""
        if self._is_complete(summary):
            return Counter({run.name: -(-run.signals // self.plan.block) for run in self.plan.runs})
        return Counter(block.run for block in self.directory.committed())

    def _is_complete(self, summary: dict[str, Any]) -> bool:
        return bool(summary) and summary["missing"] == 0 and summary["signals"] == self.plan.signals

    def _state(self, finished: int, summary: dict[str, Any]) -> str:
        holder = current(self.directory)
        if holder:
            return f"running: {holder}"
        if finished >= self.plan.count_blocks():
            return "finished"
        sample = summary.get("sample")
        if not sample:
            return "unfinished; 'psdbatch run' goes on"
        blocks = f"{sample['finished']:,} of {sample['blocks']:,} blocks"
        if sample["missing"]:
            return f"sample of {sample['fraction']:g} unfinished ({blocks}); 'psdbatch run --sample {sample['fraction']:g}' goes on"
        return f"sample of {sample['fraction']:g} finished ({blocks}); 'psdbatch run' without --sample does the rest"

    @property
    def _classes(self) -> tuple[str, ...]:
        return tuple(map(str, self.provenance.get("classes") or ()))

    def _picture(self) -> str:
        """Charge ratio against amplitude; as an image of its own, whose parts cannot be confused with those of another one."""
        tally = self.physics
        if tally is None or not tally.psd.any():
            return ""
        from psdbatch.report.physics import psd_plot

        content = base64.b64encode(psd_plot(tally, self._classes).encode()).decode()
        words = "charge ratio against amplitude"
        return f"<img alt='{words}' style='max-width:min(100%, 56em); background:white' src='data:image/svg+xml;base64,{content}'>"

    def _access(self) -> str:
        return f'psdbatch.open_results("{self.directory.path}")'

    def __repr__(self) -> str:
        lines = [f"{name:<10} {value}" for name, value in self.facts()]
        lines += [
            f"run        {name}: {signals:,} signals, {done:,} of {blocks:,} blocks"
            for name, _, signals, blocks, done in self.runs()[:MOST_ROWS]
        ]
        return "\n".join([f"psdbatch campaign {self.name}", *lines, *self._more(), f"results    {self._access()}"])

    def _more(self) -> list[str]:
        more = len(self.plan.runs) - MOST_ROWS
        return [f"and {more:,} more runs"] if more > 0 else []

    def _repr_html_(self) -> str:
        facts = "".join(
            f"<tr><th style='text-align:left'>{escape(name)}</th><td style='text-align:left'>{escape(value)}</td></tr>"
            for name, value in self.facts()
        )
        head = "".join(f"<th>{title}</th>" for title in ("run", "files", "signals", "blocks", "finished"))
        rows = "".join(
            f"<tr><td>{escape(name)}</td>{''.join(_cell(number) for number in numbers)}</tr>"
            for name, *numbers in self.runs()[:MOST_ROWS]
        )
        more = "".join(f"<p>{escape(line)}</p>" for line in self._more())
        return (
            f"<div><b>psdbatch campaign {escape(self.name)}</b><table>{facts}</table>"
            f"<table><tr>{head}</tr>{rows}</table>{more}{self._picture()}<p><code>{escape(self._access())}</code></p></div>"
        )


def open_campaign(path: str | Path) -> CampaignOverview:
    """Open a campaign to look at it: in a notebook it shows itself.

    Raises
    ------
    CampaignError
        There is no campaign at ``path``.

    Examples
    --------
    >>> campaign = open_campaign("my-campaign")     # doctest: +SKIP
    >>> campaign.table(["amplitude"], "label == neutron")    # doctest: +SKIP
    """
    return CampaignOverview(*open_directory(Path(path)))


def _cell(number: int) -> str:
    return f"<td style='text-align:right'>{number:,}</td>"


def _classes(names: Sequence[str], physics: Tally | None) -> str:
    """Names of the classes, with how many signals have each, where that is known."""
    if not names:
        return "none"
    if physics is None or physics.classes != len(names):
        return ", ".join(names)
    counts = physics.answers.sum(axis=0)[:-1].tolist()
    total = max(1, sum(counts))
    return ", ".join(
        f"{name} {count:,} ({100 * count / total:.2f} %)" for name, count in zip(names, counts, strict=True)
    )


def _accounting(signals: int, summary: dict[str, Any]) -> str:
    if not summary:
        return f"{signals:,}"
    refused = sum(summary["refused"].values())
    when = "" if summary["signals"] == signals and not summary["missing"] else ", when the last pass ended"
    missing = signals - summary["written"] - refused
    return f"{signals:,} = {summary['written']:,} written + {refused:,} refused + {missing:,} missing{when}"
