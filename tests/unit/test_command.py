"""What every command promises about what it prints and how it ends, in this process: names, encodings, interruptions."""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

import psdbatch.__main__ as entry
from psdbatch.campaign.audit import Audit
from psdbatch.cli import cli
from psdbatch.errors import ExitCode
from tests.campaigns import pulses, write_file
from tests.filled_stores import filled_campaign, measured
from tests.small_campaign import small_campaign

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
