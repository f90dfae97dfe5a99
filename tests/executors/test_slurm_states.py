"""What squeue and sacct print, and what that says about a job."""

from __future__ import annotations

import pytest

from metta.sweep.executors.remote.engine import JobStatus, Phase
from metta.sweep.executors.slurm.states import Record, final_status_of, ids_of, records, split_id, status_of
from metta.sweep.trial import FailureReason


def a_record(state: str, why: str = "None", nodes: str = "n1") -> Record:
    return Record("12_3", state, why, nodes, "ms-1")


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("COMPLETED", None),
        ("FAILED", None),
        ("CANCELLED", FailureReason.CANCELLED),
        ("TIMEOUT", FailureReason.TIMEOUT),
        ("DEADLINE", FailureReason.TIMEOUT),
        ("OUT_OF_MEMORY", FailureReason.OOM),
        ("PREEMPTED", FailureReason.PREEMPTED),
        ("NODE_FAIL", FailureReason.NODE_LOST),
        ("BOOT_FAIL", FailureReason.NODE_LOST),
        ("REVOKED", FailureReason.KILLED),
    ],
)
def test_ends(state: str, reason: FailureReason | None) -> None:
    expected = JobStatus(Phase.ENDED, reason, f"job 12_3 on n1: {state}", "job 12_3 on n1")
    assert status_of(a_record(state)) == expected


def test_failures_say_why() -> None:
    by_itself = status_of(a_record("FAILED", "NonZeroExitCode"))
    assert by_itself == JobStatus(Phase.ENDED, None, "job 12_3 on n1: FAILED", "job 12_3 on n1")
    killed = status_of(a_record("FAILED", "RaisedSignal:9(Killed)"))
    assert killed.reason is FailureReason.KILLED
    assert killed.message == "job 12_3 on n1: FAILED (RaisedSignal:9(Killed))"
    assert status_of(a_record("FAILED", "JobLaunchFailure")).reason is FailureReason.KILLED


@pytest.mark.parametrize(
    "state", ["PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SUSPENDED", "STOPPED"]
)
def test_waiting(state: str) -> None:
    assert status_of(a_record(state, "Priority", "")) == JobStatus(Phase.QUEUED, None, f"job 12_3: {state} (Priority)")


@pytest.mark.parametrize("state", ["RUNNING", "COMPLETING", "STAGE_OUT", "SIGNALING", "A_WORD_OF_2030"])
def test_running(state: str) -> None:
    assert status_of(a_record(state)) == JobStatus(Phase.RUNNING, None, f"job 12_3 on n1: {state}", "job 12_3 on n1")


def test_what_waits_for_ever_says_what_to_do() -> None:
    status = status_of(a_record("PENDING", "PartitionTimeLimit", ""))
    assert status.phase is Phase.QUEUED
    assert status.message.endswith(
        "(PartitionTimeLimit); its time limit is longer than the partition's: lower time_limit="
    )


def test_a_node_that_could_not_start_a_job_is_lost() -> None:
    status = status_of(a_record("PENDING", "launch failed requeued held", ""))
    assert (status.phase, status.reason) == (Phase.ENDED, FailureReason.NODE_LOST)


@pytest.mark.parametrize(
    ("state", "code", "reason", "message"),
    [
        ("COMPLETED", "0:0", None, "COMPLETED"),
        ("FAILED", "3:0", None, "FAILED (exit code 3)"),
        ("FAILED", "0:9", FailureReason.KILLED, "FAILED (signal 9)"),
        ("CANCELLED by 1000", "0:0", FailureReason.CANCELLED, "CANCELLED by 1000"),
        ("OUT_OF_MEMORY", "0:125", FailureReason.OOM, "OUT_OF_MEMORY"),
    ],
)
def test_accounts(state: str, code: str, reason: FailureReason | None, message: str) -> None:
    expected = JobStatus(Phase.ENDED, reason, f"job 12_3 on n1: {message}", "job 12_3 on n1")
    assert final_status_of(a_record(state, code)) == expected


@pytest.mark.parametrize("state", ["RUNNING", "PENDING", "REQUEUED", "A_WORD_OF_2030"])
def test_accounts_that_come_late_say_nothing(state: str) -> None:
    assert final_status_of(a_record(state, "0:0")) is None


def test_records() -> None:
    output = (
        "slurm_load_jobs: warning: something|or|other|it|says\n"
        "7|COMPLETED|None|n[1-2]|a name|with|bars\n"
        "8_11|PENDING|Resources||ms-1\n"
        "8_[12-20]|PENDING|Resources||ms-1\n"
        "9|PENDING|0:0|None assigned|ms-2\n"
        "10||None|n1|ms-2\n"
        "11|RUNN"
    )
    assert records(output) == [
        Record("7", "COMPLETED", "None", "n[1-2]", "a name|with|bars"),
        Record("8_11", "PENDING", "Resources", "", "ms-1"),
        Record("9", "PENDING", "0:0", "", "ms-2"),
    ]


def test_ids() -> None:
    assert ids_of(12, 1) == ["12"]
    assert ids_of(12, 3) == ["12_0", "12_1", "12_2"]
    assert [split_id(text) for text in ("12", "12_7")] == [(12, 0), (12, 7)]
    for text in ("12_[0-3]", "12+0", "", "a", "12_"):
        with pytest.raises(ValueError, match="no id"):
            split_id(text)
