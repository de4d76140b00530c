"""The configuration of the tests' Grid Engine: queues, resources and projects as CC-IN2P3 had them, and quick."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = "/usr/lib/gridengine"
"""Where Debian puts the programs themselves; those in /usr/bin choose another SGE_ROOT where none is set."""

SHARED = Path("/usr/share/gridengine")

KINDS = {"K80": 4, "V100": 4}
"""GPUs of each kind in each queue that has GPUs."""

GPU_QUEUES = {
    "mc_gpu_interactive": "36:0:0",
    "mc_gpu_medium": "12:0:0",
    "mc_gpu_long": "56:0:0",
    "mc_gpu_longlasting": "226:0:0",
    "pa_gpu_long": "56:0:0",
}
"""Queues that exist once per kind of GPU, and their longest time."""

CPU_QUEUES = {"long": "58:0:0", "mc_long": "58:0:0", "demon": "INFINITY"}

PROJECTS = ("P_psdbatch", "P_psd")

PARALLEL_ENVIRONMENTS = ("multicores_gpu", "multicores")

COMPLEXES = (
    "GPU      GPU      INT      <= YES JOB 0    0",
    "GPUtype  GPUtype  RESTRING == YES NO  NONE 0",
    "os       os       RESTRING == YES NO  NONE 0",
    *(
        f"{storage:<8} {storage:<8} INT      <= YES JOB 0    0"
        for storage in ("sps", "hpss", "irods", "xrootd", "cvmfs")
    ),
)
"""Lines of complex(5): name, shortcut, type, relation, requestable, consumable, default, urgency."""


@dataclass(frozen=True)
class Queue:
    """A queue of this machine."""

    name: str
    longest: str
    slots: int = 64
    resources: dict[str, str] = field(default_factory=dict)


def queues() -> list[Queue]:
    """All queues."""
    with_gpus = [
        Queue(f"{name}_{kind}", longest, resources={"GPU": str(gpus), "GPUtype": kind})
        for name, longest in GPU_QUEUES.items()
        for kind, gpus in KINDS.items()
    ]
    return with_gpus + [Queue(name, longest) for name, longest in CPU_QUEUES.items()]


def bootstrap(root: Path, spool: Path) -> str:
    """The file that qmaster reads first, from the distribution's."""
    return _changed(
        SHARED / "default-bootstrap",
        admin_user="none",
        ignore_fqdn="true",
        spooling_method="classic",
        spooling_lib="libspoolc",
        spooling_params=f"{root}/default/common;{spool}/qmaster",
        binary_path=PROGRAMS,
        qmaster_spool_dir=f"{spool}/qmaster",
    )


def global_configuration(spool: Path, first_group: int) -> str:
    """sge_conf(5), from the distribution's.

    Parameters
    ----------
    spool : Path
        Parent of the daemons' spool directories.
    first_group : int
        First of 100 group numbers that mark the processes of a job: no other Grid Engine here may have the same.
    """
    return _changed(
        SHARED / "default-configuration",
        execd_spool_dir=f"{spool}/execd",
        mailer="/bin/true",
        administrator_mail="none",
        min_uid="0",  # jobs of root run
        min_gid="0",
        load_report_time="00:00:05",
        gid_range=f"{first_group}-{first_group + 99}",
        reporting_params="accounting=true reporting=false flush_time=00:00:01 accounting_flush_time=00:00:00 joblog=false sharelog=00:00:00",
    )


def verifier() -> str:
    """The program that lets `-q mc_gpu_long` mean the queues of all kinds.

    It runs in qsub: qmaster looks for the queues of a job before it asks a verifier of its own.
    """
    text = (Path(__file__).parent / "kind_of_gpu.sh").read_text()
    return text.replace("@QUEUES@", f"'{' '.join(GPU_QUEUES)}'").replace("@KINDS@", f"'{' '.join(KINDS)}'")


def scheduler(current: str) -> str:
    """sched_conf(5) that looks every two seconds and at every change."""
    for name, value in {
        "schedule_interval": "0:0:2",
        "flush_submit_sec": "1",
        "flush_finish_sec": "1",
        "job_load_adjustments": "NONE",
        "schedd_job_info": "true",  # qstat -j says why a job waits
    }.items():
        current = re.sub(rf"(?m)^{name}\s.*$", f"{name} {value}", current)
    return current


def complexes(current: str) -> str:
    """complex(5) with ours."""
    return current.rstrip("\n") + "\n" + "\n".join(COMPLEXES) + "\n"


def host_file(host: str) -> str:
    """host_conf(5): what all queues of this machine share."""
    shared = "sps=1000,hpss=1000,irods=1000,xrootd=1000,cvmfs=1000,os=cl7"
    unset = ("load_scaling", "user_lists", "xuser_lists", "projects", "xprojects", "usage_scaling", "report_variables")
    return _lines({"hostname": host, "complex_values": shared, **dict.fromkeys(unset, "NONE")})


def project_file(name: str) -> str:
    """project(5)."""
    return _lines({"name": name, "oticket": "0", "fshare": "0", "acl": "NONE", "xacl": "NONE"})


def environment_file(name: str) -> str:
    """sge_pe(5): all slots on one host."""
    return _lines(
        {
            "pe_name": name,
            "slots": "9999",
            "user_lists": "NONE",
            "xuser_lists": "NONE",
            "start_proc_args": "/bin/true",
            "stop_proc_args": "/bin/true",
            "allocation_rule": "$pe_slots",
            "control_slaves": "FALSE",
            "job_is_first_task": "TRUE",
            "urgency_slots": "min",
            "accounting_summary": "FALSE",
            "qsort_args": "NONE",
        }
    )


def queue_file(queue: Queue, host: str) -> str:
    """queue_conf(5)."""
    unlimited = [f"{kind}_{what}" for what in ("cpu", "fsize", "data", "stack", "core", "rss", "vmem") for kind in "sh"]
    unset = [
        "load_thresholds",
        "suspend_thresholds",
        "ckpt_list",
        "prolog",
        "epilog",
        "starter_method",
        "suspend_method",
        "resume_method",
        "terminate_method",
        "owner_list",
        "user_lists",
        "xuser_lists",
        "subordinate_list",
        "projects",
        "xprojects",
        "calendar",
    ]
    return _lines(
        {
            "qname": queue.name,
            "hostlist": host,
            "seq_no": "0",
            "nsuspend": "1",
            "suspend_interval": "00:05:00",
            "priority": "0",
            "min_cpu_interval": "00:05:00",
            "processors": "UNDEFINED",
            "qtype": "BATCH INTERACTIVE",
            "pe_list": " ".join(PARALLEL_ENVIRONMENTS),
            "rerun": "FALSE",
            "slots": str(queue.slots),
            "tmpdir": "/tmp",
            "shell": "/bin/bash",
            "shell_start_mode": "unix_behavior",
            "notify": "00:00:05",
            "complex_values": ",".join(f"{name}={value}" for name, value in queue.resources.items()) or "NONE",
            "initial_state": "default",
            "s_rt": "INFINITY",
            "h_rt": queue.longest,
            **dict.fromkeys(unset, "NONE"),
            **dict.fromkeys(unlimited, "INFINITY"),
        }
    )


def _lines(values: dict[str, str]) -> str:
    return "".join(f"{name:<20} {value}\n" for name, value in values.items())


def _changed(original: Path, **values: str) -> str:
    text = original.read_text()
    for name, value in values.items():
        text, found = re.subn(rf"(?m)^{name}\s.*$", f"{name:<20} {value}", text)
        if not found:
            raise LookupError(f"{original}: no line {name}")
    return text
