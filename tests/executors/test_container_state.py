"""What an engine tells of a container, as the status of a job."""

from __future__ import annotations

from typing import Any

import pytest

from metta.sweep.executors.container.state import from_inspection, from_listing
from metta.sweep.executors.remote.engine import JobStatus, Phase
from metta.sweep.trial import FailureReason

ID = "0123456789abcdef" * 4
WORKER = "container 0123456789ab"


def listed(state: str, status: str = "") -> JobStatus | None:
    return from_listing({"Id": ID, "State": state, "Status": status, "Labels": None})


@pytest.mark.parametrize(
    ("state", "phase"),
    [
        ("created", Phase.QUEUED),
        ("configured", Phase.QUEUED),
        ("running", Phase.RUNNING),
        ("Running", Phase.RUNNING),
        ("restarting", Phase.RUNNING),
        ("removing", Phase.RUNNING),
        ("stopping", Phase.RUNNING),
    ],
)
def test_before_the_end(state: str, phase: Phase) -> None:
    assert listed(state) == JobStatus(phase, worker=WORKER)


def test_paused() -> None:
    assert listed("paused") == JobStatus(Phase.RUNNING, message=f"{WORKER} is paused", worker=WORKER)


def test_a_good_end_needs_no_closer_look() -> None:
    expected = JobStatus(Phase.ENDED, message=f"{WORKER} (exit code 0)", worker=WORKER)
    assert listed("exited", "Exited (0) 3 seconds ago") == expected


@pytest.mark.parametrize("status", ["Exited (10) now", "Exited (137) About a minute ago", "Dead", ""])
@pytest.mark.parametrize("state", ["exited", "stopped", "dead"])
def test_a_bad_end_needs_one(state: str, status: str) -> None:
    assert listed(state, status) is None


@pytest.mark.parametrize(
    ("state", "output", "reason", "message"),
    [
        (
            {"ExitCode": 137, "OOMKilled": True},
            "",
            FailureReason.OOM,
            " was killed: out of memory (its limit is 64 MiB)",
        ),
        ({"ExitCode": 137}, "", FailureReason.KILLED, " was ended by SIGKILL; its memory limit is 64 MiB"),
        ({"ExitCode": 143}, "bye\n", FailureReason.KILLED, " was ended by SIGTERM: bye"),
        ({"ExitCode": 200}, "", FailureReason.KILLED, " was ended by signal 72"),
        ({"ExitCode": 255}, "", FailureReason.NODE_LOST, " was lost: the engine or its machine went down"),
        ({"ExitCode": 1}, "a\nno module x\n\n", None, " (exit code 1: no module x)"),
        ({"ExitCode": 3, "Error": "no network"}, "", None, " (exit code 3, no network)"),
        ({"ExitCode": 127}, "", None, " (exit code 127, which says that its image has no such program: see python=)"),
        ({}, "", None, " (exit code 0)"),
    ],
)
def test_bad_ends(state: dict[str, Any], output: str, reason: FailureReason | None, message: str) -> None:
    details = {"Id": ID, "State": state, "HostConfig": {"Memory": 64 * 2**20}}
    assert from_inspection(details, output) == JobStatus(Phase.ENDED, reason, f"{WORKER}{message}", WORKER)


def test_no_limit_is_named_where_there_is_none() -> None:
    for settings in ({}, {"HostConfig": None}, {"HostConfig": {"Memory": 0}}):
        details = {"Id": ID, "State": {"ExitCode": 137, "OOMKilled": True}, **settings}
        assert from_inspection(details, "").message == f"{WORKER} was killed: out of memory"
