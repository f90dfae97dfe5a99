"""From what squeue and sacct print to how a job is: pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from metta.sweep.executors.remote.engine import JobStatus, Phase
from metta.sweep.trial import FailureReason

SQUEUE_FORMAT: Final = "%i|%T|%r|%N|%j"
"""Id, state, why, nodes, name. The name comes last: others' names may hold the separator."""

SACCT_FORMAT: Final = "JobID,State,ExitCode,NodeList,JobName"
"""The same of jobs that only the accounts know; the exit code stands for why."""

_ID: Final = re.compile(r"(\d+)(?:_(\d+))?")

_QUEUED: Final = frozenset(
    (
        *("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"),
        # It does nothing until it is resumed, its heart-beat neither.
        *("SUSPENDED", "STOPPED"),
    )
)
_ENDED: Final[Mapping[str, FailureReason | None]] = {
    "COMPLETED": None,
    "FAILED": None,
    "CANCELLED": FailureReason.CANCELLED,
    "TIMEOUT": FailureReason.TIMEOUT,
    "DEADLINE": FailureReason.TIMEOUT,
    "OUT_OF_MEMORY": FailureReason.OOM,
    "PREEMPTED": FailureReason.PREEMPTED,
    "NODE_FAIL": FailureReason.NODE_LOST,
    "BOOT_FAIL": FailureReason.NODE_LOST,
    "LAUNCH_FAILED": FailureReason.NODE_LOST,
    "RECONFIG_FAIL": FailureReason.NODE_LOST,
    "REVOKED": FailureReason.KILLED,
}
_BY_ITSELF: Final = frozenset(("None", "NonZeroExitCode", ""))
"""Why a job failed whose batch process ended by itself. By a signal: JobLaunchFailure or RaisedSignal, by release."""

_LAUNCH_FAILED: Final = "launch failed requeued held"
"""Why a job waits that a node could not start. Only an administrator or its user can have it go on."""

_STUCK: Final[Mapping[str, str]] = {
    "PartitionTimeLimit": "its time limit is longer than the partition's: lower time_limit=",
    "PartitionNodeLimit": "the partition does not have such nodes",
    "BadConstraints": "no node has what it asks for",
    "InvalidAccount": "there is no such account",
    "InvalidQOS": "there is no such quality of service",
    "JobHeldAdmin": "it is held: an administrator can release it",
    "JobHeldUser": "it is held: `scontrol release` lets it start",
    "DependencyNeverSatisfied": "what it depends on failed",
}
"""What keeps a job waiting for ever, and what can be done."""


@dataclass(frozen=True, slots=True)
class Record:
    """One line about a job.

    Attributes:
        id: "12" or "12_3".
        state: SLURM's word, in capitals.
        why: the reason of squeue, or the exit code ("1:0": code and signal) of sacct.
        nodes: where; "" while that is unknown.
        name: of the job.
    """

    id: str
    state: str
    why: str
    nodes: str
    name: str


def records(output: str) -> list[Record]:
    """The jobs of `SQUEUE_FORMAT` or `SACCT_FORMAT`, one a line; lines that are none are left out.

    sacct shows array elements that have not begun as one line, "12_[0-3]"; squeue, asked with --array, does not.
    """
    found = []
    for line in output.splitlines():
        fields = line.split("|", 4)
        if len(fields) == 5 and _ID.fullmatch(fields[0]) and fields[1]:
            nodes = "" if fields[3] in ("None assigned", "(null)", "n/a") else fields[3]
            found.append(Record(fields[0], fields[1], fields[2], nodes, fields[4]))
    return found


def split_id(text: str) -> tuple[int, int]:
    """The number of a submission and the index in it: "12_3" -> (12, 3), "12" -> (12, 0)."""
    match = _ID.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no id of a job")
    return int(match[1]), int(match[2] or 0)


def ids_of(number: int, size: int) -> list[str]:
    """The ids of a submission's jobs, in order. One that is alone is no array."""
    return [str(number)] if size == 1 else [f"{number}_{index}" for index in range(size)]


def status_of(record: Record) -> JobStatus:
    """How a job is by what squeue says."""
    state = record.state.split()[0]
    worker = _worker(record)
    text = f"{worker}: {record.state}"
    if record.why not in _BY_ITSELF:
        text += f" ({record.why})"
    if state in _ENDED:
        reason = _ENDED[state]
        if state == "FAILED" and record.why not in _BY_ITSELF:
            reason = FailureReason.KILLED
        return JobStatus(Phase.ENDED, reason, text, worker)
    if record.why == _LAUNCH_FAILED:
        return JobStatus(Phase.ENDED, FailureReason.NODE_LOST, text, worker)
    if state in _QUEUED:
        advice = _STUCK.get(record.why)
        return JobStatus(Phase.QUEUED, None, f"{text}; {advice}" if advice else text)
    # RUNNING, COMPLETING (its processes are being ended; why, it says later), and whatever later releases invent.
    return JobStatus(Phase.RUNNING, None, text, worker)


def final_status_of(record: Record) -> JobStatus | None:
    """How a job ended by what sacct says; None where it does not say that: its records come late, or never.

    A user who cancelled it is named by number: "CANCELLED by 1000".
    """
    state = record.state.split()[0]
    if state not in _ENDED:
        return None
    code, _, by_signal = record.why.partition(":")
    reason, text = _ENDED[state], f"{_worker(record)}: {record.state}"
    if state == "FAILED":
        killed = by_signal not in ("", "0")
        reason = FailureReason.KILLED if killed else None
        text += f" (signal {by_signal})" if killed else f" (exit code {code})"
    return JobStatus(Phase.ENDED, reason, text, _worker(record))


def _worker(record: Record) -> str:
    return f"job {record.id} on {record.nodes}" if record.nodes else f"job {record.id}"
