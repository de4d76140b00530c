"""Where the results come from: model, software, files, configuration."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from psdbatch.monitor.card_rows import card_rows
from psdbatch.monitor.page import fact_table, folded, section, table
from psdbatch.report.content import Content
from psdbatch.wording import quantity

MOST_FILES = 2000
MOST_SOFTWARE = 20


def origin_section(content: Content) -> str:
    """Provenance, the long parts folded."""
    model, plan = content.model, content.plan
    files = [(run.name, file) for run in plan.runs for file in run.files]
    facts: dict[str, Any] = {"campaign": str(content.directory.path.resolve())}
    if model is not None:
        facts |= {"model": model.source, "digest of the frozen model": model.digest, "parameters": model.parameters}
        facts |= dict(card_rows(model.card))
    if content.monitor is not None:
        facts |= {"quality monitor": content.monitor.source, "digest of the monitor": content.monitor.digest}
        facts |= {f"monitor: {name}": value for name, value in card_rows(content.monitor.card)}
    facts |= {
        "plan": f"fingerprint {plan.fingerprint}",
        "acquisition files": f"{len(files):,}, {quantity(sum(file.size for _, file in files), 'B')}",
    }
    listed = "\n".join(
        f"{run}  {file.path}  {file.signals:,} signals  {file.size:,} B  {file.format}"
        + (f"  {file.damage:,} damaged regions" if file.damage else "")
        for run, file in files[:MOST_FILES]
    )
    if len(files) > MOST_FILES:
        listed += f"\nand {len(files) - MOST_FILES:,} more"
    return section(
        "Where it comes from",
        fact_table(facts),
        _software(content),
        folded("Configuration (campaign.toml as run)", _configuration(content), printed=True),
        folded("Acquisition files", listed),
    )


def _software(content: Content) -> str:
    found = content.account.versions.most_common(MOST_SOFTWARE)
    rows = [
        [", ".join(f"{name} {version}" for name, version in software) or "others", blocks] for software, blocks in found
    ]
    return table(["software", "blocks"], rows) if rows else ""


def _configuration(content: Content) -> str:
    with suppress(OSError):
        return content.directory.config.read_text(encoding="utf-8", errors="replace")
    return "there is none in the campaign's directory"
