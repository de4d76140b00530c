"""The documentation as a site: ``make docs``.  The pages are those that the repository shows."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from psdbatch import __version__  # noqa: E402
from psdbatch.config.commented import described, sections, target, toml  # noqa: E402
from psdbatch.config.schema import FILES, configuration_schema  # noqa: E402

project, author, release = "psdbatch", "The psdbatch developers", __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
myst_heading_anchors = 4
html_theme = "furo"
templates_path: list[str] = []
exclude_patterns = ["_build"]
autodoc_typehints = "description"
suppress_warnings = ["misc.highlighting_failure"]  # configurations with '...' are no whole TOML


def _reference(name: str) -> str:
    """All keys of a configuration file, from its typed model."""
    schema = configuration_schema(name)
    lines = [f"# All keys of {name}.toml", ""]
    for path, section, several in sections(schema):
        header = ".".join(path)
        lines += [f"## `[[{header}]]`" if several else f"## `[{header}]`" if path else "## At the top", ""]
        lines += [section["description"].replace("\n", " "), "", "| key | default | meaning |", "|---|---|---|"]
        for key, entry in section["properties"].items():
            if target(schema, entry)[0] is None:
                default = f"`{toml(entry['default'])}`" if "default" in entry else ""
                lines.append(f"| `{key}` | {default} | {described(entry)} |".replace("\n", " "))
        lines.append("")
    return "\n".join(lines)


def _write_reference(app: Any) -> None:
    folder = HERE / "reference"
    folder.mkdir(exist_ok=True)
    for name in FILES:
        page, text = folder / f"{name}.md", _reference(name)
        if not page.exists() or page.read_text() != text:
            page.write_text(text)


def _links(app: Any, page: str, content: list[str]) -> None:
    """Links out of docs/ lead to folders and files of the repository, which the site does not hold: they become names."""
    content[0] = re.sub(r"\[([^\]]+)\]\((?:\.\./)+([^)]+)\)", r"\1 (`\2` in the repository)", content[0])


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("builder-inited", _write_reference)
    app.connect("source-read", _links)
