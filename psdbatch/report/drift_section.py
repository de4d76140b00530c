"""How the channels differ from those of the campaign named as reference."""

from __future__ import annotations

from psdbatch.campaign.finalise import count_records
from psdbatch.campaign.reference import open_reference
from psdbatch.config import read_config
from psdbatch.errors import PsdbatchError
from psdbatch.monitor.drift import Drift, compare
from psdbatch.monitor.page import section, table, text
from psdbatch.report.content import Content

TITLE = "Against the reference"
MOST_ROWS = 40


def drift_section(content: Content) -> str:
    """Channels that drift; nothing where the configuration names no reference."""
    try:
        config = read_config(content.directory.config)
    except PsdbatchError:
        return ""
    if config.monitor.reference is None or content.account.tally is None:
        return ""
    try:
        reference = open_reference(config.model_copy(update={"campaign": str(content.directory.path)}))
        if reference is None:
            return ""
        known = count_records(reference.directory, reference.plan, physics=True).tally
    except PsdbatchError as error:
        return section(TITLE, text(f"Not compared: {error}"))
    if known is None:
        return section(TITLE, text(f"Not compared: {reference.name} has no block yet that tells its physics."))
    same = reference.classes == content.classes
    found = compare(content.account.tally, known, content.classes if same else None, content.summary.missing == 0)
    words = f"{len(found):,} alarms" if found else "No channel drifts"
    note = "" if same else " Its classes have other names: their fractions are not compared."
    return section(TITLE, text(f"{words}, all runs together compared with {reference.name}.{note}"), *_alarms(found))


def _alarms(found: list[Drift]) -> list[str]:
    if not found:
        return []
    rows = [
        [
            drift.board,
            drift.channel,
            drift.named,
            f"{drift.value:,.4g}",
            f"{drift.reference:,.4g}",
            drift.significance,
        ]
        for drift in found[:MOST_ROWS]
    ]
    more = [text(f"and {len(found) - MOST_ROWS:,} more")] if len(found) > MOST_ROWS else []
    return [table(["board", "channel", "what", "here", "reference", "standard deviations"], rows), *more]
