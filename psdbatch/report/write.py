"""``report.html``: one file that needs nothing else."""

from __future__ import annotations

import time
from pathlib import Path

from psdbatch.campaign import files
from psdbatch.campaign.account import Account
from psdbatch.campaign.directory import CampaignDirectory
from psdbatch.errors import StorageError
from psdbatch.monitor.page import page
from psdbatch.report.content import Content, read_content
from psdbatch.report.course import course_sections, failures_section
from psdbatch.report.drift_section import drift_section
from psdbatch.report.origin import origin_section
from psdbatch.report.outcome import refused_section, result_line, runs_section
from psdbatch.report.physics_section import physics_section
from psdbatch.report.quality_section import quality_section


def write_report(directory: CampaignDirectory, account: Account | None = None, output: Path | None = None) -> Path:
    """Draw a campaign as it is now; it may be unfinished.

    Parameters
    ----------
    directory
        The campaign.
    account
        Its commit records with their tallies, where somebody has added them up already.
    output
        Where to write; default: ``report.html`` in the campaign's directory.

    Raises
    ------
    CampaignError
        There is no campaign, or a commit record is damaged.
    StorageError
        The file cannot be written.
    """
    return write_page(read_content(directory, account), output or directory.report)


def write_page(content: Content, output: Path) -> Path:
    """Draw what was read, and replace the file as a whole."""
    try:
        files.replace_durably(output, draw_page(content).encode())
    except OSError as error:
        raise StorageError(f"{output}: cannot be written: {error.strerror or error}", lasting=True) from error
    return output


def draw_page(content: Content) -> str:
    """The page as HTML."""
    now = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    name = content.directory.path.resolve().name
    sections = [
        result_line(content, now),
        physics_section(content),
        quality_section(content),
        drift_section(content),
        runs_section(content),
        *course_sections(content),
        refused_section(content),
        failures_section(content),
        origin_section(content),
    ]
    return page(f"Campaign {name}", {}, [], sections)
