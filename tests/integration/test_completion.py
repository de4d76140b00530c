"""Completion as users meet it: keys typed into real shells on a pseudo-terminal."""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from psdbatch.cli import cli
from psdbatch.cli.completion import SHELLS
from tests.filled_stores import filled_campaign, measured
from tests.servers.fixtures import require

PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
READY = "echo rea''dy\n"
STARTED = {
    "bash": (["bash", "--norc"], "bind 'set bell-style none'; source <(psdbatch completion bash); " + READY),
    "zsh": (
        ["zsh", "-f"],
        "setopt no_beep; autoload -Uz compinit; compinit -u -D; source <(psdbatch completion zsh); " + READY,
    ),
}
LINES = [
    ("psdbatch sta", "psdbatch status "),
    ("psdbatch plan --no-p", "psdbatch plan --no-probe "),
    ("psdbatch index --format com", "psdbatch index --format compass "),
    ("psdbatch convert --format=m", "psdbatch convert --format=mfm "),
    ("psdbatch init --set signals.adc", "psdbatch init --set signals.adc_bits="),
    ("psdbatch plan file.", "psdbatch plan file.toml "),
    ("psdbatch audit fi", "psdbatch audit files/"),
    ("psdbatch plot files --output=file.", "psdbatch plot files --output=file.toml "),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A file and a directory whose names begin alike."""
    (tmp_path / "file.toml").touch()
    (tmp_path / "files").mkdir()
    return tmp_path


def shown(terminal: int, wanted: str, timeout: float = 30) -> str:
    """What the shell writes until it has written ``wanted``."""
    said, end = b"", time.monotonic() + timeout
    while wanted.encode() not in said and time.monotonic() < end:
        if select.select([terminal], [], [], 0.2)[0]:
            said += os.read(terminal, 65_536)
    return said.decode()


@pytest.mark.parametrize("shell", STARTED)
def test_what_is_typed_is_completed_with_and_without_an_equals_sign(shell: str, folder: Path) -> None:
    require(None if shutil.which(shell) else f"{shell} is not installed; see .ci/install-servers")
    program, setup = STARTED[shell]
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.environ.update(PATH=PATH, TERM="dumb", HOME=str(folder), PS1="> ", COLUMNS="200")
        os.execvp(program[0], program)
    try:
        os.write(terminal, setup.encode())
        assert "ready\r\n" in shown(terminal, "ready\r\n")
        for typed, completed in LINES:
            os.write(terminal, f"{typed}\t".encode())
            said = shown(terminal, completed)
            assert said.replace("\a", "").endswith(completed), (typed, said)
            os.write(terminal, b"\x15")  # Ctrl-U: the next line
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(terminal)


def test_fish_offers_whole_words_with_their_meanings(folder: Path) -> None:
    require(None if shutil.which("fish") else "fish is not installed; see .ci/install-servers")
    asked = "\n".join(f"echo == {number}; complete -C '{typed}'" for number, (typed, _) in enumerate(LINES))
    script = f"psdbatch completion fish | source\n{asked}\n"
    done = subprocess.run(
        ["fish", "--no-config", "-c", script],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PATH": PATH, "HOME": str(folder)},
    )
    assert not done.stderr, done.stderr
    offered = [part.split("\n", 1)[1].splitlines() for part in done.stdout.split("== ")[1:]]
    for (typed, completed), lines in zip(LINES, offered, strict=True):
        assert completed.split()[-1] in [line.partition("\t")[0] for line in lines], (typed, lines)
    assert offered[0] == ["status\tShow how far a campaign or training is"]


def candidates(*words: str) -> list[str]:
    """What may follow, asked without a shell; the last word is incomplete."""
    found = SHELLS["bash"](cli, {}, "psdbatch", "_PSDBATCH_COMPLETE").get_completions(list(words[:-1]), words[-1])
    return [item.value for item in found]


def test_values_come_from_the_campaign_that_is_named(tmp_path: Path) -> None:
    campaign = str(filled_campaign(tmp_path / "c", {"run_1": [measured(100)], "run_2": [measured(100)]}).path)
    for command in ("plot", "quality", "export", "diff"):
        assert candidates(command, campaign, "--run", "") == ["run_1", "run_2"]
    assert candidates("plot", campaign, "--run", "run_2") == ["run_2"]
    assert candidates("plot", "--run", "") == []
    assert candidates("export", campaign, "--columns", "label,cha") == [
        "label,channel",
        "label,charge_long",
        "label,charge_short",
    ]
    (tmp_path / "c/logs").mkdir()
    for name in ("v100-0-11.log", "k80-0-12.log", "coordinator-13.log"):
        (tmp_path / "c/logs" / name).touch()
    assert candidates("logs", campaign, "--group", "") == ["k80", "v100"]
    assert candidates("simulate", "--set", "chan") == ["channels="]
    assert candidates("index", "--format", "mfm", "--option", "check_") == ["check_parity=", "check_end_word="]
    assert candidates("simulate", "--format", "packets", "--option", "") == ["packet=", "level=", "sync="]


def test_every_command_has_a_short_description_that_no_shell_cuts() -> None:
    for name, command in cli.commands.items():
        assert isinstance(command, click.Command)
        assert command.short_help, name
        assert len(command.short_help) < 45, name
        assert "," not in command.short_help, name
        assert command.get_short_help_str() == command.short_help
