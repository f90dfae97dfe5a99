"""From what a server shows to how an attempt is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep.executors.kubernetes.manifest import NODE_PATIENCE
from metta.sweep.executors.kubernetes.status import status_of
from metta.sweep.executors.remote.engine import JobStatus, Phase
from metta.sweep.trial import FailureReason

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PATIENCE = 60.0


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def a_job(deleted: bool = False, **conditions: str) -> dict[str, Any]:
    """A Job; conditions map a type that is true to its reason."""
    metadata = {"name": "job", **({"deletionTimestamp": ago(1)} if deleted else {})}
    listed = [{"type": kind, "status": "True", "reason": reason} for kind, reason in conditions.items()]
    return {"metadata": metadata, "status": {"conditions": listed}}


def a_pod(
    phase: str,
    *,
    node: str = "node-1",
    created: float = 100.0,
    deleted: float | None = None,
    reason: str = "",
    message: str = "",
    conditions: tuple[dict[str, Any], ...] = (),
    **state: Any,
) -> dict[str, Any]:
    """A pod; `state` is that of its container: `running={}`. `deleted`: how long ago its time was up."""
    metadata: dict[str, Any] = {"name": f"pod-{created:g}", "creationTimestamp": ago(created)}
    if deleted is not None:
        metadata["deletionTimestamp"] = ago(deleted)
    containers = [{"name": "sidecar", "state": {"running": {}}}, {"name": "worker", "state": state}] if state else None
    status = {"phase": phase, "conditions": list(conditions), "containerStatuses": containers}
    status |= {name: text for name, text in (("reason", reason), ("message", message)) if text}
    return {"metadata": metadata, "spec": {"nodeName": node} if node else {}, "status": status}


def condition(kind: str, status: str, reason: str = "", since: float = 100.0) -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "lastTransitionTime": ago(since)}


def look(*pods: dict[str, Any], job: dict[str, Any] | None = None) -> JobStatus:
    return status_of(job or a_job(), pods, NOW, PATIENCE)


SCHEDULED = condition("PodScheduled", "True", since=100.0)
JUST_SCHEDULED = condition("PodScheduled", "True", since=10.0)
UNREADY = (condition("Ready", "False", since=NODE_PATIENCE + 1), condition("ContainersReady", "True"))


def ended(code: int, reason: str = "Error", message: str = "") -> dict[str, Any]:
    return {"exitCode": code, "reason": reason, "message": message}


def waits(reason: str, **more: Any) -> dict[str, Any]:
    return a_pod("Pending", waiting={"reason": reason, "message": "why"}, **more)


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        (a_pod("Pending", node=""), ""),
        (a_pod("Pending", deleted=-5), "told to end"),
        (a_pod("Pending", node="", conditions=(condition("PodScheduled", "False", "Unschedulable"),)), "Unschedulable"),
        (waits("ContainerCreating", conditions=(SCHEDULED,)), "ContainerCreating: why"),
        (waits("ErrImagePull", conditions=(JUST_SCHEDULED,)), "ErrImagePull: why"),
        (waits("ImagePullBackOff", created=10), "ImagePullBackOff: why"),
        (waits("CreateContainerConfigError", conditions=(JUST_SCHEDULED,)), "CreateContainerConfigError: why"),
    ],
)
def test_queued(pod: dict[str, Any], expected: str) -> None:
    status = look(pod)
    assert (status.phase, status.reason, status.message) == (Phase.QUEUED, None, expected)


@pytest.mark.parametrize(
    "pod",
    [
        a_pod("Running", running={}),
        a_pod("Running", running={}, deleted=-5),
        a_pod("Running", running={}, deleted=1),
        a_pod("Running", running={}, conditions=(condition("Ready", "False", since=5), UNREADY[1])),
        a_pod("Running", running={}, conditions=(UNREADY[0], condition("ContainersReady", "False"))),
        a_pod("Running", running={}, conditions=(condition("Ready", "True", since=99), UNREADY[1])),
    ],
)
def test_running(pod: dict[str, Any]) -> None:
    status = look(pod)
    assert (status.phase, status.reason, status.worker) == (Phase.RUNNING, None, "pod pod-100 on node-1")


TAINTED = condition("DisruptionTarget", "True", "DeletionByTaintManager")
PREEMPTED = condition("DisruptionTarget", "True", "PreemptionByScheduler")


@pytest.mark.parametrize(
    ("pod", "reason", "words"),
    [
        (a_pod("Succeeded", terminated=ended(0, "Completed")), None, ""),
        (a_pod("Succeeded", deleted=-5, terminated=ended(0, "Completed")), None, ""),
        # A sidecar keeps the pod running, but our container is over.
        (a_pod("Running", terminated=ended(0, "Completed")), None, ""),
        (a_pod("Failed", terminated=ended(1, message="a\nValueError: b\n")), None, "exit code 1: ValueError: b"),
        (a_pod("Failed", terminated=ended(128, "StartError", "no python3")), None, "StartError, exit code 128: no py"),
        (a_pod("Failed", terminated=ended(137)), FailureReason.KILLED, "exit code 137"),
        (a_pod("Failed", terminated=ended(137, "OOMKilled")), FailureReason.OOM, "memory"),
        (a_pod("Failed", deleted=-5, terminated=ended(137)), FailureReason.PREEMPTED, "its pod was deleted"),
        (a_pod("Failed", deleted=-5, terminated=ended(143)), FailureReason.PREEMPTED, "its pod was deleted"),
        (a_pod("Failed", deleted=-5, terminated=ended(1)), None, "exit code 1"),
        (a_pod("Failed", terminated=ended(143), conditions=(PREEMPTED,)), FailureReason.PREEMPTED, "Preemption"),
        (a_pod("Failed", terminated=ended(137), conditions=(TAINTED,)), FailureReason.NODE_LOST, "TaintManager"),
        (a_pod("Failed", reason="Evicted", message="low on memory"), FailureReason.PREEMPTED, "Evicted: low on memory"),
        (a_pod("Failed", reason="Evicted", terminated=ended(137)), FailureReason.PREEMPTED, "Evicted"),
        (a_pod("Failed", reason="OutOfcpu"), FailureReason.PREEMPTED, "OutOfcpu"),
        (a_pod("Failed", reason="NodeShutdown"), FailureReason.PREEMPTED, "NodeShutdown"),
        (a_pod("Failed", reason="DeadlineExceeded", message="too long"), FailureReason.TIMEOUT, "too long"),
        (a_pod("Failed", reason="DeadlineExceeded", terminated=ended(137)), FailureReason.TIMEOUT, "DeadlineExceeded"),
        (a_pod("Failed", reason="SomethingNew", message="oh"), None, "SomethingNew: oh"),
        (a_pod("Unknown", running={}), FailureReason.NODE_LOST, "node"),
        (a_pod("Running", reason="NodeLost", running={}), FailureReason.NODE_LOST, "node"),
        (a_pod("Running", running={}, deleted=6), FailureReason.NODE_LOST, "node"),
        (a_pod("Running", running={}, conditions=UNREADY), FailureReason.NODE_LOST, "node"),
        (a_pod("Running", running={}, deleted=6, conditions=(TAINTED,)), FailureReason.NODE_LOST, "TaintManager"),
        (a_pod("Pending", node="", deleted=-5), FailureReason.PREEMPTED, "deleted before it ran"),
        (a_pod("Pending", deleted=6), FailureReason.NODE_LOST, "node"),
        (waits("ErrImagePull", conditions=(SCHEDULED,)), FailureReason.USER_ERROR, "ErrImagePull: why"),
        (waits("ImagePullBackOff", created=61), FailureReason.USER_ERROR, "ImagePullBackOff: why"),
        (waits("CreateContainerConfigError", conditions=(SCHEDULED,)), FailureReason.USER_ERROR, "ConfigError: why"),
        (waits("InvalidImageName", conditions=(JUST_SCHEDULED,)), FailureReason.USER_ERROR, "InvalidImageName: why"),
        (waits("ErrImageNeverPull", conditions=(JUST_SCHEDULED,)), FailureReason.USER_ERROR, "NeverPull: why"),
    ],
)
def test_ended(pod: dict[str, Any], reason: FailureReason | None, words: str) -> None:
    status = look(pod)
    assert (status.phase, status.reason) == (Phase.ENDED, reason)
    assert words in status.message
    assert "\n" not in status.message
    assert status.worker.startswith("pod pod-")


@pytest.mark.parametrize(
    ("job", "phase", "reason"),
    [
        (a_job(), Phase.QUEUED, None),
        (a_job(Suspended="JobSuspended"), Phase.QUEUED, None),
        (a_job(deleted=True), Phase.ENDED, FailureReason.CANCELLED),
        (a_job(Complete=""), Phase.ENDED, None),
        (a_job(Failed="DeadlineExceeded"), Phase.ENDED, FailureReason.TIMEOUT),
        (a_job(Failed="BackoffLimitExceeded"), Phase.ENDED, FailureReason.PREEMPTED),
    ],
)
def test_without_pods(job: dict[str, Any], phase: Phase, reason: FailureReason | None) -> None:
    status = look(job=job)
    assert (status.phase, status.reason) == (phase, reason)
    assert status.message


@pytest.mark.parametrize(
    ("pod", "phase", "reason"),
    [
        (a_pod("Running", running={}, deleted=-5), Phase.RUNNING, None),
        (a_pod("Pending", deleted=-5), Phase.QUEUED, None),
        (a_pod("Pending", node="", deleted=-5), Phase.ENDED, FailureReason.CANCELLED),
        (a_pod("Failed", deleted=-5, terminated=ended(137)), Phase.ENDED, FailureReason.CANCELLED),
        (a_pod("Failed", deleted=-5, terminated=ended(1)), Phase.ENDED, FailureReason.CANCELLED),
        (a_pod("Failed", terminated=ended(137, "OOMKilled")), Phase.ENDED, FailureReason.OOM),
        (a_pod("Succeeded", deleted=-5, terminated=ended(0)), Phase.ENDED, None),
        (a_pod("Running", deleted=-5, terminated=ended(0)), Phase.ENDED, None),
    ],
)
def test_a_job_that_somebody_deletes(pod: dict[str, Any], phase: Phase, reason: FailureReason | None) -> None:
    status = look(pod, job=a_job(deleted=True))
    assert (status.phase, status.reason) == (phase, reason)


def test_a_job_that_somebody_has_deleted() -> None:
    """Its pods may still be there, for as long as they may take to end."""
    status = status_of(None, [a_pod("Running", running={}, deleted=-5)], NOW, PATIENCE)
    assert (status.phase, status.reason) == (Phase.ENDED, FailureReason.CANCELLED)
    assert status.worker == "pod pod-100 on node-1"


def test_the_newest_pod_counts() -> None:
    """Kubernetes replaces pods that are deleted."""
    old = a_pod("Running", running={}, created=100, deleted=-5)
    new = a_pod("Running", running={}, created=50)
    for pods in ((old, new), (new, old)):
        assert look(*pods).worker == "pod pod-50 on node-1"
    twin = a_pod("Running", running={}, created=50, deleted=-5)
    twin["metadata"]["name"] = "twin"
    assert look(new, twin).worker == look(twin, new).worker == "pod pod-50 on node-1"


def test_a_replacement_that_waits_does_not_hide_a_lost_node() -> None:
    lost = a_pod("Running", running={}, created=100, deleted=6)
    waiting = a_pod("Pending", node="", created=50)
    assert look(lost, waiting).reason is FailureReason.NODE_LOST
    assert look(lost, a_pod("Running", running={}, created=50)).phase is Phase.RUNNING
    assert look(a_pod("Failed", terminated=ended(143), created=100), waiting).phase is Phase.QUEUED


texts = st.sampled_from(["", "Running", "Failed", "True", "False", "PodScheduled", "Ready", "x\ny", ago(3)])


@settings(derandomize=True, max_examples=150, deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "phase": texts,
            "reason": texts,
            "message": texts,
            "conditions": st.none() | st.lists(st.fixed_dictionaries({}, optional={"type": texts, "status": texts})),
            "containerStatuses": st.none()
            | st.lists(
                st.fixed_dictionaries(
                    {"name": st.just("worker")},
                    optional={
                        "state": st.none()
                        | st.dictionaries(
                            st.sampled_from(["running", "waiting", "terminated"]),
                            st.fixed_dictionaries({}, optional={"reason": texts, "exitCode": st.integers(0, 255)}),
                        )
                    },
                )
            ),
        },
    ),
    st.booleans(),
)
def test_whatever_a_server_leaves_out(status: dict[str, Any], deleted: bool) -> None:
    pod = {"metadata": {"name": "p", **({"deletionTimestamp": ago(1)} if deleted else {})}, "status": status}
    found = look(pod)
    assert found.phase in Phase
    assert found.message.isprintable()
