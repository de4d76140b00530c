"""What Grid Engine's commands say, understood: answers captured from a real one."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from psdbatch.cluster import sge
from psdbatch.cluster.sge import GridEngine
from psdbatch.cluster.system import JobEnd, JobState, QueuedJob
from psdbatch.config.cluster import JobRequest
from psdbatch.errors import BatchSystemBusyError, BatchSystemError
from tests.replay import Replay, replay  # noqa: F401 - pytest finds fixtures by name


def listed(state: str, job: int, letters: str, more: str = "") -> str:
    return f"""\
    <job_list state="{state}">
      <JB_job_number>{job}</JB_job_number>
      <JAT_prio>0.50000</JAT_prio>
      <JB_name>j.sh</JB_name>
      <JB_owner>root</JB_owner>
      <state>{letters}</state>
{more}
    </job_list>
"""


STARTED = """\
      <JAT_start_time>2026-11-25T06:45:47</JAT_start_time>
      <queue_name>gpu.q@vm</queue_name>
      <slots>1</slots>
      <hard_request name="GPU" resource_contribution="0.000000">2</hard_request>
      <hard_request name="h_rt" resource_contribution="0.000000">{limit}</hard_request>
"""
QSTAT = (
    "<?xml version='1.0'?>\n<job_info  xmlns:xsd=\"http://arc.liv.ac.uk/repos/darcs/sge/qstat.xsd\">\n  <queue_info>\n"
    + listed("running", 1, "r", STARTED.format(limit="600"))
    + listed("running", 3, "dr", STARTED.format(limit="0:10:0"))
    + listed("running", 7, "Rr", STARTED.format(limit="INFINITY"))
    + "  </queue_info>\n  <job_info>\n"
    + "".join(listed("pending", job, letters) for job, letters in [(2, "qw"), (4, "Eqw"), (5, "hqw"), (6, "Rq")])
    + "  </job_info>\n</job_info>\n"
)
DETAILS = """\
<?xml version='1.0'?>
<detailed_job_info  xmlns:xsd="http://arc.liv.ac.uk/repos/darcs/sge/detailed_job_info.xsd">
  <djob_info>
    <element><JB_job_number>2</JB_job_number></element>
    <element>
      <JB_job_number>4</JB_job_number>
      <JB_ja_tasks><ulong_sublist><JAT_message_list><ulong_sublist>
        <QIM_type>1</QIM_type>
        <QIM_message>error: can&apos;t open output file &quot;/nonexistent/x&quot;: No such file or directory</QIM_message>
      </ulong_sublist></JAT_message_list></ulong_sublist></JB_ja_tasks>
    </element>
  </djob_info>
  <messages><element><SME_message_list>
    <element>
      <MES_job_number_list><ulong_sublist><ULNG_value>2</ULNG_value></ulong_sublist></MES_job_number_list>
      <MES_message_number>0</MES_message_number>
      <MES_message>(-l GPU=1) cannot run at host &quot;vm&quot; because it offers only hc:GPU=0.000000</MES_message>
    </element>
    <element>
      <MES_job_number_list><ulong_sublist><ULNG_value>2</ULNG_value></ulong_sublist></MES_job_number_list>
      <MES_message_number>0</MES_message_number>
      <MES_message>cannot run in queue "long" because it is not contained in its hard queue list (-q)</MES_message>
    </element>
  </SME_message_list></element></messages>
</detailed_job_info>
"""


def account(**facts: str) -> str:
    """A record as qacct -j prints it."""
    shown = {"qname": "gpu.q", "hostname": "vm", "failed": "0", "exit_status": "0", "ru_wallclock": "4s"} | facts
    return "=" * 62 + "\n" + "".join(f"{key:<13}{value}\n" for key, value in shown.items())


def test_jobs_are_read_with_their_states_nodes_and_ends(replay: Replay) -> None:  # noqa: F811
    asked = replay("qstat", QSTAT)
    found = GridEngine().ask(["1", "2", "3", "5", "6", "7", "999"])
    end = datetime(2026, 11, 25, 6, 55, 47).timestamp()
    assert found["1"] == QueuedJob("1", JobState.RUNNING, "", "vm", end)
    assert found["3"] == QueuedJob("3", JobState.RUNNING, "dr", "vm", end)
    assert found["7"] == QueuedJob("7", JobState.RUNNING, "Rr", "vm", None)
    assert {found[job].state for job in ("2", "5", "6")} == {JobState.PENDING}
    assert "999" not in found
    assert "2,5,6" in asked.read_text()  # the second question is about pending jobs alone


def test_pending_jobs_carry_the_scheduler_s_words_and_an_error_state_never_passes(replay: Replay) -> None:  # noqa: F811
    reasons = {}
    replay("qstat", DETAILS)
    reasons.update(GridEngine()._reasons(["2", "4"]))
    assert reasons["2"] == '(-l GPU=1) cannot run at host "vm" because it offers only hc:GPU=0.000000'
    stuck = QueuedJob("4", JobState.PENDING, f"Eqw {reasons['4']}")
    assert "error state" in (GridEngine().never(stuck) or "")
    assert "/nonexistent/x" in (GridEngine().never(stuck) or "")
    assert GridEngine().never(QueuedJob("2", JobState.PENDING, f"qw {reasons['2']}")) is None
    assert GridEngine().never(QueuedJob("5", JobState.PENDING, "hqw")) is None


@pytest.mark.parametrize(
    ("facts", "end"),
    [
        ({}, JobEnd("it came to its end")),
        ({"exit_status": "3"}, JobEnd("it ended with exit code 3")),
        ({"exit_status": "139                  (Segmentation fault)"}, JobEnd("it was killed by signal 11")),
        (
            {"failed": "100 : assumedly after job", "exit_status": "137                  (Killed)"},
            JobEnd("it was killed from outside: by qdel, or an operator (signal 9)", innocent=True),
        ),
        (
            {
                "failed": "37  : qmaster enforced h_rt, h_cpu, or h_vmem limit",
                "exit_status": "137                  (Killed)",
                "category": "-l h_rt=3",
            },
            JobEnd("its time was over (h_rt)", innocent=True),
        ),
        (
            {
                "failed": "37  : qmaster enforced h_rt, h_cpu, or h_vmem limit",
                "exit_status": "137                  (Killed)",
                "category": "-l h_rt=3600,h_vmem=1G",
            },
            JobEnd("it went over a limit (qmaster enforced h_rt, h_cpu, or h_vmem limit)"),
        ),
        (
            {"failed": "26  : opening input/output file"},
            JobEnd("it could not be started (opening input/output file)", innocent=True),
        ),
        ({"deleted_by": "alice@vm"}, JobEnd("it was cancelled by alice@vm", innocent=True)),  # as UGE's manual has it
    ],
)
def test_the_accounting_tells_how_a_job_ended(facts: dict[str, str], end: JobEnd, replay: Replay) -> None:  # noqa: F811
    replay("qacct", account(**facts))
    assert GridEngine().how_it_ended(["1"]) == {"1": end}


def test_a_job_that_ran_again_is_judged_by_its_last_run(replay: Replay) -> None:  # noqa: F811
    replay("qacct", account(failed="25  : rescheduling", exit_status="99") + account())
    assert GridEngine().how_it_ended(["1"]) == {"1": JobEnd("it came to its end")}


def test_what_the_accounting_does_not_hold_stays_unknown(replay: Replay, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(sge, "FLUSH", 0.5)
    replay("qacct", complaint="error: job id 9999 not found\n", code=1)
    assert GridEngine().how_it_ended(["9999"]) == {"9999": JobEnd("no reason became known")}


def test_a_master_out_of_reach_is_told_apart_from_a_refusal(replay: Replay, tmp_path: Path) -> None:  # noqa: F811
    away = (
        "error: commlib error: got select error (Connection refused)\n"
        'error: unable to send message to qmaster using port 1 on host "vm": got send error\n'
    )
    replay("qstat", complaint=away, code=1)
    with pytest.raises(BatchSystemBusyError, match="Connection refused"):
        GridEngine().ask(["1"])
    replay("qstat", "<?xml version='1.0'?>\n<job_info>")
    with pytest.raises(BatchSystemBusyError, match="cannot be read"):
        GridEngine().ask(["1"])
    replay(
        "qsub",
        complaint='Unable to run job: Job was rejected because job requests unknown queue "nowhere"\nExiting.\n',
        code=1,
    )
    with pytest.raises(BatchSystemError) as error:
        GridEngine().submit(tmp_path / "job.sh")
    assert not isinstance(error.value, BatchSystemBusyError)
    assert str(error.value).endswith(
        'Grid Engine does not take this job: Job was rejected because job requests unknown queue "nowhere"'
    )


def test_jobs_already_gone_can_be_cancelled_again(replay: Replay) -> None:  # noqa: F811
    asked = replay(
        "qdel", 'denied: job "3" does not exist\ndenied: job "9999" does not exist\nroot has deleted job 5\n', code=1
    )
    GridEngine().cancel(["3", "9999", "5"])
    assert asked.read_text().startswith("3,9999,5\n")
    replay("qdel", "denied: you do not have the necessary privileges to delete job 7\n", code=1)
    with pytest.raises(BatchSystemError, match="privileges"):
        GridEngine().cancel(["7"])


def test_the_number_of_a_job_is_found_among_warnings(replay: Replay, tmp_path: Path) -> None:  # noqa: F811
    replay("qsub", "Warning: something about this site\n123\n")
    assert GridEngine().submit(tmp_path / "job.sh") == "123"


def test_impossible_requests_are_refused_unless_the_options_say_otherwise() -> None:
    request = JobRequest.model_validate({"queue": "mc_gpu_long", "account": "P_lab", "walltime": "1 h"})
    options = GridEngine().options(request, "psdbatch-x", Path("/data/coordinator-{job}.log"))
    assert {"-q mc_gpu_long", "-P P_lab", "-l h_rt=3600", "-w e", '-o "/data/coordinator-$JOB_ID.log"'} <= set(options)
    own = request.model_copy(update={"options": ("-w w",)})
    assert "-w e" not in GridEngine().options(own, "psdbatch-x", Path("/data/x.log"))
