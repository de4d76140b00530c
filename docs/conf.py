"""The documentation as a site: ``make docs``.  The pages are those that the repository shows."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from pages import write_pages  # noqa: E402

from psdbatch import __version__  # noqa: E402

project, author, release = "psdbatch", "The psdbatch developers", __version__
copyright = f"{author}, BSD licence"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
myst_heading_anchors = 4
html_theme = "furo"
templates_path: list[str] = []
exclude_patterns = ["_build"]
autodoc_typehints = "description"
suppress_warnings = ["misc.highlighting_failure"]  # configurations with '...' are no whole TOML


def _first_page(app: Any, page: str, content: list[str]) -> None:
    """The first page begins with the README, whose links count from the repository's top."""
    if page == "index":
        readme = (HERE.parent / "README.md").read_text(encoding="utf-8")
        readme = re.sub(r"\]\((?!docs/|https?:)([^)]+)\)", r"](../\1)", readme).replace("](docs/", "](")
        content[0] = content[0].replace("<!-- README -->", readme)


def _links(app: Any, page: str, content: list[str]) -> None:
    """Links out of docs/ lead to folders and files of the repository, which the site does not hold: they become names."""
    content[0] = re.sub(r"\[([^\]]+)\]\((?:\.\./)+([^)]+)\)", _outside(page), content[0])


def _outside(page: str) -> Any:
    """Links of pages below docs/ to pages of docs/ stay."""

    def name(link: re.Match[str]) -> str:
        inside = (HERE / page).parent / link[0].rpartition("(")[2][:-1].partition("#")[0]
        return link[0] if HERE in inside.resolve().parents else f"{link[1]} (`{link[2]}` in the repository)"

    return name


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("builder-inited", lambda app: write_pages())
    app.connect("source-read", _first_page)
    app.connect("source-read", _links)
