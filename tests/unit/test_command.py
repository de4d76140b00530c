"""What every command promises about what it prints and how it ends, in this process: names, encodings, interruptions."""

from __future__ import annotations

import io
import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

import psdbatch.__main__ as entry
from psdbatch.campaign.audit import Audit
from psdbatch.campaign.journal import Journal
from psdbatch.campaign.model import CampaignModels
from psdbatch.campaign.prepare import Campaign
from psdbatch.cli import cli
from psdbatch.cli.common import open_console
from psdbatch.columns import NO_LABEL
from psdbatch.coordination.coordinator import run_campaign
from psdbatch.coordination.status import read_status
from psdbatch.errors import ExitCode, PsdbatchError
from psdbatch.monitor.progress import Progress
from psdbatch.monitor.tables import status_table
from tests.campaigns import pulses, write_file
from tests.filled_stores import filled_campaign, measured
from tests.small_campaign import configuration, small_campaign
from tests.unit.test_model_facts import FACTS as MODEL

NAMES = ["x[red]", "x[/b]", "x:b:"]


def call(*arguments: object) -> Result:
    """The command without its entry point; an error that is not for users comes up."""
    return CliRunner().invoke(cli, list(map(str, arguments)), catch_exceptions=False)


@pytest.fixture
def signals() -> Iterator[None]:
    """Signals are answered afterwards as before."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGXCPU)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)
    entry._signals.clear()


def main(monkeypatch: pytest.MonkeyPatch, *arguments: object, encoding: str = "utf-8") -> tuple[int, str, str]:
    """Exit code and both outputs of the command with its entry point, on streams of an encoding."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
    monkeypatch.setattr(sys, "argv", ["psdbatch", *map(str, arguments)])
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    with pytest.raises(SystemExit) as ended:
        entry.main()
    out, err = ((stream.flush(), stream.buffer.getvalue().decode(encoding))[1] for stream in streams)  # type: ignore[attr-defined]
    return int(ended.value.code or 0), out, err


@pytest.mark.parametrize("name", NAMES)
def test_names_of_files_are_shown_as_they_are(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_file(tmp_path / name / "run_1.psdz", pulses(20))
    assert f"{name}/run_1.psdz" in call("index", f"{name}/run_1.psdz").output
    campaign = filled_campaign(tmp_path / f"campaign {name}", {"run_1": [measured(100)]}).path
    assert f"{name}.csv: 100 signals" in call("export", campaign, f"{name}.csv").output
    assert f"{name}-page" in call("diff", campaign, campaign, "--output", f"{name}-page").output


@pytest.mark.parametrize("name", NAMES)
def test_the_last_line_of_a_run_names_its_results(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / name).mkdir(parents=True)
    campaign = small_campaign(tmp_path / name / "campaign")
    prepared = SimpleNamespace(notes=[f"note on {name}"], directory=campaign.directory, plan=campaign.plan)
    monkeypatch.setattr("psdbatch.cli.campaign._read", lambda path: None)
    monkeypatch.setattr("psdbatch.campaign.prepare.prepare", lambda *given: prepared)
    monkeypatch.setattr("psdbatch.coordination.coordinator.run_campaign", lambda *given: campaign.go_on())
    lines = call("run", "campaign.toml").output.splitlines()
    assert lines[0] == f"note on {name}"
    assert lines[-1] == f"results: {tmp_path / name / 'campaign/results.zarr'}"


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1"])
def test_an_encoding_that_lacks_a_letter_changes_no_exit_code(
    encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signals: None
) -> None:
    failed = Audit(indexed=9, written=8)
    monkeypatch.setattr("psdbatch.campaign.prepare.open_campaign", lambda path: ())
    monkeypatch.setattr("psdbatch.campaign.audit.audit", lambda *given, **options: failed)
    code, out, err = main(monkeypatch, "audit", tmp_path, encoding=encoding)
    assert (code, err) == (ExitCode.AUDIT_FAILED, "")
    assert r"\u2260" in out


def interrupted(*given: Any, **options: Any) -> None:
    """What compiled code makes of an interruption."""
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        raise ValueError("error in a callback") from None


def test_an_interruption_is_told_as_such_whatever_it_comes_out_as(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signals: None
) -> None:
    monkeypatch.setattr("psdbatch.report.content.read_content", interrupted)
    code, _, err = main(monkeypatch, "report", tmp_path)
    assert (code, err) == (ExitCode.UNFINISHED, "psdbatch: interrupted\n")
    monkeypatch.setattr("psdbatch.cli.campaign._read", interrupted)
    code, _, err = main(monkeypatch, "run", tmp_path)
    assert (code, err) == (ExitCode.UNFINISHED, "psdbatch: interrupted; the same command goes on\n")


def test_a_defect_is_no_interruption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signals: None) -> None:
    monkeypatch.setattr("psdbatch.cli.campaign._read", lambda path: 1 / 0)
    monkeypatch.setattr(sys, "argv", ["psdbatch", "run", "x"])
    with pytest.raises(ZeroDivisionError):
        entry.main()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("plot", "c", "--output", "x.foo"), "'x.foo' must end with .png or .pdf or .svg"),
        (("plot", "c", "--output", "no/x.png"), "there is no directory 'no'"),
        (("report", "c", "--output", "no/x.html"), "there is no directory 'no'"),
        (("init", "c", "--model", "m.pb", "--output", "no/c.toml"), "there is no directory 'no'"),
        (("convert", "a.mfm", "no/a.psdz"), "there is no directory 'no'"),
        (("diff", "c", "d", "--select-changed", "no/a.csv"), "there is no directory 'no'"),
        (("simulate", "c", "--run", "-3"), "-3 is not in the range x>=0"),
        (("simulate", "c", "--files", "0"), "0 is not in the range x>=1"),
        (("simulate", "c", "--signals", "0"), "0 is not in the range x>=1"),
    ],
)
def test_what_cannot_be_written_is_said_before_anything_is_done(
    arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == ExitCode.USAGE
    assert said in " ".join(done.output.split())
    assert not list(tmp_path.iterdir())


def errors(*arguments: object) -> str:
    """The message of a command that ends with an error for users."""
    done = CliRunner().invoke(cli, list(map(str, arguments)))
    return str(done.exception) if isinstance(done.exception, PsdbatchError) else done.output


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_options_take_no_number_that_is_none(value: str, tmp_path: Path) -> None:
    for command, option in (
        ("run", "--sample"),
        ("submit", "--sample"),
        ("evaluate", "--rejection"),
        ("evaluate", "--amplitude"),
        ("evaluate", "--energy"),
        ("quality", "--threshold"),
    ):
        done = call(command, tmp_path, f"{option}={value}")
        assert done.exit_code == 2
        assert f"{value} is not" in done.output


def test_logs_tell_why_there_are_none(tmp_path: Path) -> None:
    assert errors("logs", tmp_path / "none") == f"{tmp_path / 'none'}: there is no such directory"
    assert errors("logs", tmp_path) == f"{tmp_path}: no campaign or training has begun here"
    campaign = small_campaign(tmp_path / "local")
    Journal(campaign.directory.journal).write("started")
    assert "no job was submitted, and only jobs leave logs" in errors("logs", tmp_path / "local")


def test_a_configuration_of_the_other_kind_names_the_command_for_it(tmp_path: Path) -> None:
    campaign, training = tmp_path / "campaign.toml", tmp_path / "training.toml"
    campaign.write_text('campaign = "a"\n[input]\nfiles = ["b"]\n[model]\npath = "c"\n')
    training.write_text('training = "a"\n')
    assert errors("train", campaign).endswith(f"use 'psdbatch run {campaign}'")
    assert errors("run", training).endswith(f"use 'psdbatch train {training}'")
    assert "use 'psdbatch train" in " ".join(errors("run", tmp_path).split())
    assert "is not a campaign directory" in errors("status", tmp_path / "nosuch")


def test_a_directory_stands_for_the_acquisition_files_in_it(tmp_path: Path) -> None:
    for run in (1, 2):
        write_file(tmp_path / f"data/run_{run}/a.psdz", pulses(20))
    (tmp_path / "data/run_2/notes.log").write_text("beam on")
    said = json.loads(call("index", tmp_path / "data", "--json").stdout)
    assert [Path(file["path"]).parent.name for file in said["files"]] == ["run_1", "run_2"]
    assert "notes.log (no known format" in said["notes"][0]
    assert "notes.log" in call("index", tmp_path / "data").output


def test_an_interrupted_pass_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    campaign = small_campaign(tmp_path / "campaign")
    config = configuration(cluster={"dashboard": ""})
    prepared = Campaign(campaign.directory, config, CampaignModels(MODEL), campaign.plan, ())
    monkeypatch.setattr("psdbatch.coordination.coordinator._process", interrupted_by_the_user)
    with pytest.raises(KeyboardInterrupt):
        run_campaign(prepared, Progress(Console(quiet=True)))
    assert "stopped: interrupted" in call("status", campaign.directory.path).output


def interrupted_by_the_user(*given: Any) -> None:
    raise KeyboardInterrupt


def test_a_picture_of_a_campaign_without_answers_says_so(tmp_path: Path) -> None:
    values = measured(3000)
    values["label"][:] = NO_LABEL
    campaign = filled_campaign(tmp_path / "campaign", {"run_1": [values]}).path
    assert "none of the 3,000 signals looked at, of 3,000, has an answer" in errors(
        "plot", campaign, "--output", "x.png"
    )


class Terminal(io.StringIO):
    """Standard output of a terminal."""

    def isatty(self) -> bool:
        """So it says."""
        return True


def test_a_narrow_terminal_loses_no_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    campaign = small_campaign(tmp_path / "campaign", {"run_0042": (12_345,)})
    table = status_table(read_status(campaign.directory))
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    console = open_console()
    console.print(table)
    console.print("a line of words that is longer than forty columns")
    shown = sys.stdout.getvalue()  # type: ignore[attr-defined]
    assert "…" not in shown
    assert all(word in shown for word in ("run_0042", "12,345", "quarantined"))
    assert "longer than \nforty" in shown  # words fit the terminal
