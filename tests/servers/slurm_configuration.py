"""The configuration of the tests' SLURM cluster: nodes, partitions and the few settings that make it quick."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Node:
    """A node; processors and memory are what it claims to have, not what the machine has."""

    kind: str
    gpus: int
    cpus: int = 16
    memory: int = 96_000  # MB


NODES = {
    "k80-1": Node("k80", 4),
    "k80-2": Node("k80", 4),
    "v100-1": Node("v100", 4),
    "v100-2": Node("v100", 4),
}


@dataclass(frozen=True)
class Partition:
    """A partition; `kinds` empty means all nodes."""

    name: str
    kinds: tuple[str, ...] = ()
    maximum_time: str = "UNLIMITED"
    options: str = ""


PARTITIONS = (
    Partition("all", options="Default=YES"),
    Partition("k80", ("k80",)),
    Partition("v100", ("v100",)),
    # its jobs give way to those of all other partitions
    Partition("spare", options="PriorityTier=1 PreemptMode=REQUEUE GraceTime=0"),
    # the names at CC-IN2P3, today's and those with one partition per kind of GPU
    Partition("gpu"),
    Partition("gpu_interactive"),
    Partition("gpu_v100", ("v100",)),
    Partition("gpu_v100_interactive", ("v100",)),
    Partition("gpu_k80", ("k80",)),
    Partition("htc"),
    Partition("htc_interactive"),
    Partition("htc_highmem"),
    Partition("htc_daemon", options="MaxCPUsPerNode=16 MaxMemPerCPU=1024"),
    Partition("hpc"),
    Partition("flash", maximum_time="01:00:00"),
)


def slurm_conf(directory: Path, host: str, ports: list[int], kill_wait: int) -> dict[str, str]:
    """The configuration files by name.

    Parameters
    ----------
    directory : Path
        The cluster's directory.
    host : str
        This machine's short name, as the daemons see it.
    ports : list of int
        One for slurmctld and one for each node.
    kill_wait : int
        Seconds between SIGTERM and SIGKILL.
    """
    nodes = [
        f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={node.cpus} RealMemory={node.memory} "
        f"Gres=gpu:{node.kind}:{node.gpus} Feature={node.kind},gpu State=UNKNOWN"
        for (name, node), port in zip(NODES.items(), ports[1:], strict=True)
    ]
    devices = [
        f"NodeName={name} Name=gpu Type={node.kind} File={directory}/devices/{name}-[0-{node.gpus - 1}]"
        for name, node in NODES.items()
    ]
    partitions = ["PartitionName=DEFAULT State=UP DefaultTime=10 PriorityTier=10 PreemptMode=OFF"]
    for partition in PARTITIONS:
        members = [name for name, node in NODES.items() if not partition.kinds or node.kind in partition.kinds]
        partitions.append(
            f"PartitionName={partition.name} Nodes={','.join(members)} MaxTime={partition.maximum_time} {partition.options}"
        )
    return {
        "slurm.conf": "\n".join([_general(directory, host, ports[0], kill_wait), *nodes, *partitions]) + "\n",
        "gres.conf": "\n".join(devices) + "\n",
        # Named, so that slurmd does not look for a mounted cgroup file system, which a container may lack: nothing
        # below uses cgroups.
        "cgroup.conf": "CgroupPlugin=cgroup/v1\n",
    }


def _general(directory: Path, host: str, port: int, kill_wait: int) -> str:
    return f"""\
# Written by the tests at every start.
ClusterName=psdbatch
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
# a requeued job starts again only when its old credential is no longer valid
AuthInfo=socket={directory}/munge.socket,cred_expire=5

StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool-%n
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd-%n.pid
SlurmctldLogFile={directory}/log/slurmctld.log
SlurmdLogFile={directory}/log/slurmd-%n.log
JobCompType=jobcomp/filetxt
JobCompLoc={directory}/log/jobs.txt

# believe what is claimed above of processors and memory; no cgroups, no binding, no database
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
MailProg=/bin/true

GresTypes=gpu
Licenses=sps:1000,cvmfs:1000
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=1000
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1

# decide at once, forget late; a busy machine is not a dead node
SchedulerType=sched/backfill
SchedulerParameters=sched_min_interval=0,sched_interval=2,bf_interval=2,batch_sched_delay=0
KillWait={kill_wait}
MinJobAge=300
InactiveLimit=0
ReturnToService=1
SlurmdTimeout=120
MessageTimeout=30
TCPTimeout=10
"""
