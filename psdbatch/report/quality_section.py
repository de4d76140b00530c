"""How ordinary the signals are: the quality monitor's residuals by run and channel."""

from __future__ import annotations

from typing import Any

from psdbatch.monitor.page import section, table, text
from psdbatch.monitor.quality import campaign_quality
from psdbatch.monitor.residuals import Residuals, fraction_above, percent, quantile
from psdbatch.report.channels import folded_rows
from psdbatch.report.content import Content

MOST_ROWS = 40
ALL = "all runs"


def quality_section(content: Content) -> str:
    """Channels that stand out, and one line per run; nothing for campaigns without a monitor."""
    tally = content.account.tally
    if tally is None:
        return ""
    found = campaign_quality([Residuals.of(ALL, tally)])
    if found is None:
        return ""
    out = [
        [
            f"board {row.board}, {row.channel}",
            row.signals,
            f"{row.median:.4g}",
            f"{row.mean:.4g}",
            percent(row.above),
            row.outstanding,
        ]
        for row in found.outstanding()
    ]
    numbers = ["signals", "median residual", "mean", f"above {found.threshold:.3g}"]
    head = ["channel", *numbers, "stands out by"]
    told = [table(head, out[:MOST_ROWS]), folded_rows("channels", head, out[MOST_ROWS:])] if out else []
    rows = _run_rows(content, found.threshold)
    return section(
        "Quality",
        text(
            f"{found.whole.signals:,} signals with a residual, in amplitudes: median {found.whole.median:.4g}, "
            f"{percent(found.whole.above)} above {found.threshold:.3g}, which is three standard deviations above the median on a "
            f"logarithmic scale. {len(out):,} of {len(found):,} channels stand out, all runs together; "
            "'psdbatch quality' judges each channel of each run."
        ),
        *told,
        table(["run", *numbers], rows[:MOST_ROWS]),
        folded_rows("runs", ["run", *numbers], rows[MOST_ROWS:]),
    )


def _run_rows(content: Content, threshold: float) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for run in content.account.runs.values():
        number, total, _ = run.residual
        if number:
            above = percent(fraction_above(run.residuals, threshold))
            rows.append([run.name, int(number), f"{quantile(run.residuals, 0.5):.4g}", f"{total / number:.4g}", above])
    return rows
