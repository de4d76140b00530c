"""What SLURM's commands say, understood: answers captured from a real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from psdbatch.cluster import system
from psdbatch.cluster.slurm import SLURM
from psdbatch.cluster.system import JobEnd, JobState, QueuedJob
from psdbatch.cluster.systems import own_job
from psdbatch.config.cluster import JobRequest
from psdbatch.errors import BatchSystemBusyError, BatchSystemError
from tests.replay import Replay, replay  # noqa: F401 - pytest finds fixtures by name

SQUEUE = """\
5|CANCELLED|1795589146|v100n|None
8|COMPLETED|1795589143|v100n|None
4|PENDING|N/A||JobHeldUser
3|FAILED|1795589144|k80n|NonZeroExitCode
2|PENDING|1795590343||Resources
11|PENDING|N/A||None
9|PENDING|N/A||PartitionTimeLimit
1|RUNNING|1795589743|k80n|None
12|COMPLETING|1795589743|k80n|None
"""
ENDED = """\
5|CANCELLED|15|None|
8|COMPLETED|0|None|
4|PENDING|0|JobHeldUser|
1|RUNNING|0|None|
3|FAILED|768|NonZeroExitCode|
6|FAILED|1|BadConstraints|
"""


def test_jobs_are_read_with_their_states_reasons_nodes_and_ends(replay: Replay) -> None:  # noqa: F811
    replay("squeue", SQUEUE)
    found = SLURM().ask(["1", "2", "4", "5", "11", "12", "999"])
    assert found == {
        "1": QueuedJob("1", JobState.RUNNING, "", "k80n", 1795589743.0),
        "2": QueuedJob("2", JobState.PENDING, "Resources"),
        "4": QueuedJob("4", JobState.PENDING, "JobHeldUser"),
        "5": QueuedJob("5", JobState.FINISHED, "CANCELLED", "v100n"),
        "11": QueuedJob("11", JobState.PENDING, "not considered yet"),
        "12": QueuedJob("12", JobState.RUNNING, "COMPLETING", "k80n"),
    }


def test_all_jobs_of_the_user_are_asked_for_whatever_filters_the_user_has_set(
    replay: Replay,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SQUEUE_PARTITION", "k80")
    asked = replay("squeue", SQUEUE)
    SLURM().ask(["1"])
    said = asked.read_text()
    assert "--states=all" in said
    assert "--all" in said
    assert "SQUEUE_PARTITION" not in said


@pytest.mark.parametrize(
    ("reason", "plain"),
    [
        ("PartitionTimeLimit", "its walltime is longer than the partition allows (PartitionTimeLimit)"),
        ("BadConstraints", "no node is what it asks for (BadConstraints)"),
        ("InvalidAccount", "its account is not known (InvalidAccount)"),
        ("QOSMaxWallDurationPerJobLimit", "QOSMaxWallDurationPerJobLimit"),
        ("AssocMaxGRESPerJob", "AssocMaxGRESPerJob"),
        ("QOSMaxCpuPerNode", "QOSMaxCpuPerNode"),
        ("QOSMinCpuNotSatisfied", "QOSMinCpuNotSatisfied"),
    ],
)
def test_some_reasons_never_pass(reason: str, plain: str) -> None:
    assert plain in (SLURM().never(QueuedJob("1", JobState.PENDING, reason)) or "")
    assert SLURM().never(QueuedJob("1", JobState.RUNNING, reason)) is None


@pytest.mark.parametrize(
    "reason",
    [
        "Priority",
        "Resources",
        "BeginTime",
        "Licenses",
        "ReqNodeNotAvail, UnavailableNodes:k80n",
        "PartitionNodeLimit",
        "PartitionDown",
        "JobHeldAdmin",
        "QOSMaxJobsPerUserLimit",
        "QOSMaxGRESPerUser",
        "QOSGrpNodeLimit",
        "AssocGrpGRES",
        "AssocMaxJobsLimit",
        "MaxGRESPerAccount",
    ],
)
def test_other_reasons_pass_by_waiting(reason: str) -> None:
    assert SLURM().never(QueuedJob("1", JobState.PENDING, reason)) is None


def test_the_end_of_a_job_is_told_by_the_controller_or_by_the_accounting(replay: Replay) -> None:  # noqa: F811
    replay("squeue", ENDED)
    replay(
        "sacct", "20|CANCELLED by 1000|0:0\n21|TIMEOUT|0:0\n22|OUT_OF_MEMORY|0:125\n23|RUNNING|0:0\n"
    )  # SLURM's manual
    assert SLURM().how_it_ended(["3", "5", "6", "20", "21", "22", "23", "1"]) == {
        "3": JobEnd("it ended with exit code 3"),
        "5": JobEnd("it was cancelled (CANCELLED)", innocent=True),
        "6": JobEnd("it failed (FAILED, BadConstraints)", innocent=True),
        "20": JobEnd("it was cancelled (CANCELLED by 1000)", innocent=True),
        "21": JobEnd("its time was over (TIMEOUT)", innocent=True),
        "22": JobEnd("it needed more memory than it asked for (OUT_OF_MEMORY)"),
        "23": JobEnd(),
        "1": JobEnd(),
    }


def test_without_accounting_the_end_stays_unknown(replay: Replay) -> None:  # noqa: F811
    replay("squeue", ENDED)
    replay("sacct", complaint="Slurm accounting storage is disabled\n", code=1)
    assert SLURM().how_it_ended(["77"]) == {"77": JobEnd("no reason became known")}


def test_a_controller_out_of_reach_is_told_apart_from_a_refusal(replay: Replay, tmp_path: Path) -> None:  # noqa: F811
    away = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n"
    replay("squeue", complaint=away, code=1)
    with pytest.raises(BatchSystemBusyError, match=r"SLURM cannot be asked about jobs: Unable to contact"):
        SLURM().ask(["1"])
    refused = (
        "sbatch: error: invalid partition specified: nowhere\n"
        "sbatch: error: Batch job submission failed: Invalid partition name specified\n"
    )
    replay("sbatch", complaint=refused, code=1)
    with pytest.raises(BatchSystemError) as error:
        SLURM().submit(tmp_path / "job.sh")
    assert not isinstance(error.value, BatchSystemBusyError)
    assert str(error.value).endswith(
        "job.sh: SLURM does not take this job: invalid partition specified: nowhere; "
        "Batch job submission failed: Invalid partition name specified"
    )


def test_a_hanging_controller_is_not_waited_for(replay: Replay, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(system, "PATIENCE", 0.2)
    asked = replay("squeue")
    (asked.parent / "squeue").write_text("#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(BatchSystemBusyError, match="does not answer"):
        SLURM().ask(["1"])


def test_a_host_without_its_commands_is_named_as_such(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BatchSystemError, match="'squeue' cannot be run here"):
        SLURM().ask(["1"])


def test_jobs_already_gone_can_be_cancelled_again(replay: Replay) -> None:  # noqa: F811
    gone = "scancel: error: Kill job error on job id 999: Invalid job id specified\n"
    asked = replay("scancel", complaint=gone, code=1)
    SLURM().cancel(["999", "3"])
    assert asked.read_text().startswith("999 3\n")
    replay("scancel", complaint="scancel: error: Kill job error on job id 7: Access/permission denied\n", code=1)
    with pytest.raises(BatchSystemError, match="job id 7: Access/permission denied"):
        SLURM().cancel(["7"])


def test_a_job_submitted_from_a_job_does_not_inherit_what_that_one_was_told(
    replay: Replay,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "100")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm/slurm.conf")
    asked = replay("sbatch", "77;cluster\n")
    assert own_job() == ("slurm", "12")
    assert SLURM().submit(tmp_path / "job.sh") == "77"
    assert "SLURM_MEM_PER_NODE" not in asked.read_text()
    assert "SLURM_CONF=/etc/slurm/slurm.conf" in asked.read_text()


def test_options_round_up_and_keep_percent_signs_of_paths() -> None:
    request = JobRequest.model_validate(
        {"queue": "gpu", "account": "lab", "cores": 3, "memory": "1 GB", "walltime": "90 s", "options": ["--qos=gpu"]}
    )
    options = SLURM().options(request, "psdbatch-x", Path("/data/50%/coordinator-{job}.log"))
    assert '--output="/data/50%%/coordinator-%j.log"' in options
    assert {"--partition=gpu", "--account=lab", "--cpus-per-task=3", "--mem=954M", "--time=2"} <= set(options)
    assert options[-1] == "--qos=gpu"
