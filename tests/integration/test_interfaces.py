"""What shells, editors and other programs rely on: completion, schemas, JSON, plain logs, and the file that 'init' writes."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import tomllib
from pathlib import Path

import click
import jsonschema
import pytest

from psdbatch.cli import cli
from psdbatch.config.schema import FILES, configuration_schema
from tests.campaigns import command, facts, psdbatch, write_network

ROOT = Path(__file__).parents[2]
READY = sorted((ROOT / "jobs").glob("*/*.toml"))
WITHOUT_JSON = {"completion": "prints a shell script", "schema": "prints JSON anyway"}
ESCAPE = re.compile(r"\x1b")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two simulated runs and a network."""
    folder = tmp_path_factory.mktemp("interfaces")
    for run in (1, 2):
        psdbatch("simulate", folder / "data", "--run", run, "--signals", 2_000)
    write_network(folder / "psd.pb")
    return folder


def validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(configuration_schema(name))


def test_every_command_prints_json_or_has_a_reason_not_to() -> None:
    for name, one in cli.commands.items():
        flags = {flag for option in one.params if isinstance(option, click.Option) for flag in option.opts}
        assert ("--json" in flags) != (name in WITHOUT_JSON), name


@pytest.mark.parametrize("path", READY, ids=lambda path: path.stem)
def test_ready_files_follow_the_schema(path: Path) -> None:
    content = tomllib.loads(path.read_text())
    validator("training" if "training" in content else "campaign").validate(content)


@pytest.mark.parametrize(
    "section",
    [
        {"signals": {"polarity": "up"}},
        {"signals": {"sampling_period": 5}},
        {"signals": {"sampling_period": "5 parsec"}},
        {"processing": {"blok": 1}},
        {"processing": {"batch": "many"}},
        {"charge": {"short": 0}},
        {"cluster": {"memory": "lots"}},
        {"cluster": {"workers": [{"jobs": 2}]}},
        {"input": {"files": []}},
    ],
    ids=str,
)
def test_the_schema_refuses_what_is_wrong(section: dict[str, object]) -> None:
    least = {"campaign": "a", "input": {"files": ["b"]}, "model": {"path": "c"}}
    assert validator("campaign").is_valid(least)
    assert not validator("campaign").is_valid({**least, **section})


@pytest.mark.parametrize("name", FILES)
def test_every_key_of_a_schema_is_described(name: str) -> None:
    schema = json.loads(psdbatch("schema", name).stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    for section in (schema, *schema["$defs"].values()):
        assert section["description"]
        for key, entry in section["properties"].items():
            assert "$ref" in entry or entry.get("description"), key


def test_init_writes_what_plan_accepts_and_overwrites_nothing(place: Path) -> None:
    done = psdbatch("init", "data", "--model", "psd.pb", "--json", cwd=place)
    said = json.loads(done.stdout)
    assert said["runs"] == {"run_0001": 1, "run_0002": 1}
    assert (said["formats"], said["estimates"]["polarity"]) == (["mfm"], "negative")
    text = (place / "campaign.toml").read_text()
    content = tomllib.loads(text)
    assert content["input"]["files"] == ["data/*/*.mfm"]
    assert content["signals"] == {"sampling_period": "5 ns", "polarity": "negative"}
    assert "#> estimated from 4,000 pulses" in text
    validator("campaign").validate(content)
    planned = facts("plan", "--no-probe", place / "campaign.toml")
    assert (planned["runs"], planned["signals"]) == (2, 4_000)
    refused = psdbatch("init", "data", "--model", "psd.pb", cwd=place, check=1)
    assert "--force" in refused.stderr
    assert (place / "campaign.toml").read_text() == text


def test_every_default_that_init_comments_out_may_be_uncommented(place: Path) -> None:
    done = psdbatch("init", "data", "--model", "psd.pb", "--output", "-", "--cluster", "slurm", cwd=place)
    lines = [
        line.removeprefix("#") if re.match(r"#\w+ = ", line) and not line.endswith(" = ...") else line
        for line in done.stdout.splitlines()
    ]
    start = next(number for number, line in enumerate(lines) if line.startswith("#[quality"))
    end = next(number for number in range(start, len(lines)) if lines[number].startswith("[processing"))
    validator("campaign").validate(tomllib.loads("\n".join(lines[:start] + lines[end:])))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere", "--model", "psd.pb"), "no such file or directory"),
        (("psd.pb", "--model", "psd.pb"), "no known format recognises"),
        (("data", "--model", "no.pb"), "there is no such model"),
        (("data", "--model", "psd.pb", "--set", "signals.polariti=1"), "did you mean 'polarity'?"),
    ],
)
def test_init_says_what_is_wrong(place: Path, arguments: tuple[str, ...], said: str) -> None:
    done = psdbatch("init", *arguments, "--output", "other.toml", cwd=place, check=1)
    assert said in done.stderr
    assert not (place / "other.toml").exists()


def on_terminal(*arguments: object, **environment: str) -> str:
    """What the command shows on a pseudo-terminal."""
    parent, child = pty.openpty()
    variables = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    process = subprocess.Popen(
        command(*arguments), stdout=child, stderr=child, env={**variables, "TERM": "xterm-256color", **environment}
    )
    os.close(child)
    shown = b""
    while True:
        try:
            part = os.read(parent, 65_536)
        except OSError:  # the last one has closed it
            break
        if not part:
            break
        shown += part
    os.close(parent)
    assert process.wait() == 0
    return shown.decode()


def test_terminals_get_what_they_can_show_and_pipes_get_plain_lines(place: Path) -> None:
    file = place / "data/run_0001/part_000.mfm"
    assert ESCAPE.search(on_terminal("index", file))
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", on_terminal("index", file, NO_COLOR="1"))
    assert not ESCAPE.search(on_terminal("index", file, TERM="dumb"))
    piped = psdbatch("index", file).stdout
    assert not ESCAPE.search(piped)
    assert any(str(file) in line and "2,000" in line for line in piped.splitlines())


def test_exit_codes_are_those_documented(place: Path) -> None:
    assert psdbatch("plan", place / "none.toml", check=1).stdout == ""
    assert "Usage" in psdbatch("plan", check=2).stderr
    assert "Usage" in psdbatch("nonsense", check=2).stderr
    file = place / "data/run_0001/part_000.mfm"
    reader_left = f"{' '.join(command('index', file))} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", reader_left], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
