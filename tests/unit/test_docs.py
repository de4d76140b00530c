"""The documentation: its generated pages are current, its command lines exist, its first campaign is a valid one."""

from __future__ import annotations

import itertools
import re
import runpy
import shlex
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest

from psdbatch.cli import cli
from psdbatch.config.training import TrainingConfig
from psdbatch.errors import ExitCode

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.fixture(scope="module")
def generated() -> dict[str, Any]:
    """What ``docs/pages.py`` defines."""
    return runpy.run_path(str(ROOT / "docs/pages.py"))


def test_generated_pages_are_current(generated: dict[str, Any]) -> None:
    for name, text in generated["pages"]().items():
        page = ROOT / f"docs/reference/{name}.md"
        assert page.read_text(encoding="utf-8") == text, f"{page} is old: python docs/pages.py writes it"


def test_every_command_has_its_place(generated: dict[str, Any]) -> None:
    assert sorted(name for names in generated["TASKS"].values() for name in names) == sorted(cli.commands)


def test_a_default_that_a_file_gives_its_section_is_that_of_its_page(generated: dict[str, Any]) -> None:
    pages = generated["pages"]()
    assert "| `length` | `75` | samples given to the model |" in pages["training"]
    assert "| `length` | what its input takes | samples given to the model |" in pages["campaign"]
    assert "| `options` | `{}` | options of the format |" in pages["campaign"]


def command_lines(page: Path) -> list[str]:
    """Lines of shell examples that call psdbatch, without comments and without what is left to the reader."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith("psdbatch ") and "..." not in line]


@pytest.mark.parametrize("page", [page for page in PAGES if command_lines(page)], ids=lambda page: page.stem)
def test_every_command_line_is_one_that_psdbatch_takes(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for line in command_lines(page):
        words = shlex.shlex(line, posix=True, punctuation_chars="|;&>")
        words.whitespace_split = True
        _, name, *arguments = itertools.takewhile(lambda word: word[0] not in "|;&>", words)
        if not name.startswith("-"):
            cli.commands[name].make_context(name, arguments)


def test_the_first_campaign_trains_what_can_be_trained() -> None:
    text = (ROOT / "docs/first-campaign.md").read_text(encoding="utf-8")
    TrainingConfig.model_validate(tomllib.loads(text.split("```toml\n")[1].split("```")[0]))


def test_the_exit_codes_are_documented_once_and_all() -> None:
    tables = [page for page in PAGES if "| code | meaning |" in page.read_text(encoding="utf-8")]
    assert tables == [ROOT / "docs/interfaces.md"]
    rows = re.findall(r"^\| (\d) \| .+ \|$", tables[0].read_text(encoding="utf-8"), re.MULTILINE)
    assert [int(row) for row in rows] == list(ExitCode)


def test_every_option_of_every_command_has_a_meaning() -> None:
    for name, command in cli.commands.items():
        for option in command.params:
            assert not isinstance(option, click.Option) or option.help, f"{name} {option.opts}"
