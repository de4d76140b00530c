"""How the channels differ from those of the campaign named as reference."""

from __future__ import annotations

from psdbatch.monitor.drift_watch import DriftAlarm
from psdbatch.monitor.page import folded, section, table, text
from psdbatch.report.content import Content

TITLE = "Against the reference"
MOST_ROWS = 40
HEAD = ["run", "board", "channel", "what", "here", "reference", "standard deviations"]


def drift_section(content: Content) -> str:
    """Channels that drift, in all runs together or in single ones; nothing where the configuration names no reference."""
    watch = content.account.watch
    if watch is None or content.account.tally is None:
        return ""
    reference = watch.reference
    if reference.tally is None:
        return section(TITLE, text(f"Not compared with {reference.name}: {reference.state}."))
    found = content.alarms
    words = f"{len(found):,} alarms" if found else "No channel drifts"
    runs = "all runs together and each run by itself" if watch.several else "the run"
    note = f" {reference.state}." if reference.state else ""
    return section(TITLE, text(f"{words}: {runs} compared with {reference.name}.{note}"), *_alarms(found))


def _alarms(found: list[DriftAlarm]) -> list[str]:
    if not found:
        return []
    rows = [_row(alarm) for alarm in found]
    parts = [table(HEAD, rows[:MOST_ROWS])]
    if rest := rows[MOST_ROWS:]:
        lines = "\n".join("\t".join(str(cell) for cell in row) for row in rest)
        parts.append(folded(f"{len(rest):,} more alarms: {', '.join(HEAD)}", lines))
    return parts


def _row(alarm: DriftAlarm) -> list[object]:
    drift = alarm.drift
    return [
        alarm.run or "all",
        drift.board,
        drift.channel,
        drift.named,
        f"{drift.value:,.4g}",
        f"{drift.reference:,.4g}",
        drift.significance,
    ]
