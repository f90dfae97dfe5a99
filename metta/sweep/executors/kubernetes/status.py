"""From what the API server shows of a Job and its pods to how an attempt is: pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

from metta.sweep.executors.kubernetes.manifest import CONTAINER, NODE_PATIENCE
from metta.sweep.executors.remote.engine import JobStatus, Phase
from metta.sweep.executors.remote.messages import as_line
from metta.sweep.trial import FailureReason

Shown: TypeAlias = Mapping[str, Any]
"""An object as the server shows it: parsed JSON."""

LOST_MARGIN: Final = timedelta(seconds=5)
"""How long after its time a pod that was told to end counts as lost with its node: clocks differ."""

_HOPELESS: Final = frozenset({"ErrImageNeverPull", "InvalidImageName"})
"""Why a container waits in vain."""
_WAITING: Final = frozenset(
    (
        *("ErrImagePull", "ImagePullBackOff", "ImageInspectError", "RegistryUnavailable"),
        *("CreateContainerConfigError", "CreateContainerError", "RunContainerError"),
    )
)
"""Why a container waits, in vain unless it gets better soon: a registry that was down, a Secret that comes late."""

_POD_REASONS: Final = {
    "DeadlineExceeded": FailureReason.TIMEOUT,
    "NodeLost": FailureReason.NODE_LOST,
    # The kubelet could not take the pod, or ended it for others or for the machine's own end.
    **dict.fromkeys(
        ("Evicted", "Preempting", "Shutdown", "NodeShutdown", "Terminated", "NodeAffinity", "OutOfcpu", "OutOfmemory",
         "OutOfpods", "UnexpectedAdmissionError"),
        FailureReason.PREEMPTED,
    ),
}  # fmt: skip
_SIGKILL: Final = 128 + 9
_SIGTERM: Final = 128 + 15


def status_of(job: Shown | None, pods: Sequence[Shown], now: datetime, patience: float) -> JobStatus:
    """How an attempt is.

    Where Kubernetes has replaced a pod that was deleted, the newest counts: it goes on with the same folder.

    Args:
        job: the Job; None where only its pods are left: somebody has deleted it. One that we delete stays until these
            are gone.
        pods: its pods, in any order.
        now: the time, with its zone.
        patience: seconds that a pod may wait for its image or configuration, once it has a node.
    """
    if job is None:
        return JobStatus(Phase.ENDED, FailureReason.CANCELLED, "its Job was deleted", _worker(pods[0]) if pods else "")
    deleted = "deletionTimestamp" in _metadata(job)
    shown = [_pod_status(pod, now, patience, deleted=deleted) for pod in sorted(pods, key=_age)]
    if not shown:
        return _without_pods(job, deleted=deleted)
    newest = shown[-1]
    lost = [status for status in shown if status.reason is FailureReason.NODE_LOST]
    if newest.phase is Phase.QUEUED and lost:  # its replacement waits for a place: the next attempt can, as well
        return lost[-1]
    return newest


def _without_pods(job: Shown, *, deleted: bool) -> JobStatus:
    name = _metadata(job).get("name", "")
    if deleted:
        return JobStatus(Phase.ENDED, FailureReason.CANCELLED, f"the Job {name} was deleted")
    for condition in _conditions(job):
        if condition.get("status") != "True":
            continue
        if condition.get("type") == "Complete":
            return JobStatus(Phase.ENDED, None, "complete; its pod was removed")
        if condition.get("type") == "Failed":
            why = f"{condition.get('reason', 'Failed')}; its pod was removed"
            late = condition.get("reason") == "DeadlineExceeded"
            return JobStatus(Phase.ENDED, FailureReason.TIMEOUT if late else FailureReason.PREEMPTED, why)
    return JobStatus(Phase.QUEUED, None, "its pod is not created yet")


def _pod_status(pod: Shown, now: datetime, patience: float, *, deleted: bool) -> JobStatus:
    """How a pod is; `deleted` says that somebody has deleted its Job."""
    metadata, status = _metadata(pod), pod.get("status", {})
    worker = _worker(pod)
    phase, state = status.get("phase", ""), _container_state(pod)
    asked_to_end = "deletionTimestamp" in metadata

    terminated = state.get("terminated")
    if terminated is not None or phase in ("Succeeded", "Failed"):
        reason, message = _why_ended(pod, terminated or {})
        if deleted and message and reason in (None, FailureReason.KILLED, FailureReason.PREEMPTED):
            reason = FailureReason.CANCELLED
        return JobStatus(Phase.ENDED, reason, as_line(message), worker)

    if phase == "Unknown" or status.get("reason") == "NodeLost":
        return _lost(pod, worker)
    if asked_to_end:
        # Its time to end is up, and the kubelet has not said that it has.
        if now > _time(metadata["deletionTimestamp"]) + LOST_MARGIN:
            return _lost(pod, worker)
        if "running" in state:
            return JobStatus(Phase.RUNNING, None, "told to end", worker)
        if pod.get("spec", {}).get("nodeName"):  # it may run by now: the kubelet tells a moment later
            return JobStatus(Phase.QUEUED, None, "told to end", worker)
        reason = FailureReason.CANCELLED if deleted else FailureReason.PREEMPTED
        return JobStatus(Phase.ENDED, reason, "deleted before it ran", worker)
    if "running" in state:
        silent_since = _silent_since(pod)
        if silent_since is not None and (now - silent_since).total_seconds() > NODE_PATIENCE:
            return _lost(pod, worker)
        return JobStatus(Phase.RUNNING, None, "" if silent_since is None else "its node is silent", worker)
    return _not_yet(pod, state.get("waiting", {}), worker, now, patience)


def _not_yet(pod: Shown, waiting: Shown, worker: str, now: datetime, patience: float) -> JobStatus:
    scheduled = _condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return JobStatus(Phase.QUEUED, None, as_line(_words(scheduled)))
    why = waiting.get("reason", "")
    since = scheduled.get("lastTransitionTime") or _metadata(pod).get("creationTimestamp")
    waited = (now - _time(since)).total_seconds() if since else 0.0
    message = as_line(_words(waiting))
    if why in _HOPELESS or (why in _WAITING and waited > patience):
        return JobStatus(Phase.ENDED, FailureReason.USER_ERROR, message, worker)
    return JobStatus(Phase.QUEUED, None, message, worker)


def _why_ended(pod: Shown, terminated: Shown) -> tuple[FailureReason | None, str]:
    status = pod.get("status", {})
    why = status.get("reason", "")
    if why in _POD_REASONS:
        return _POD_REASONS[why], _words(status)
    code = terminated.get("exitCode")
    if terminated.get("reason") == "OOMKilled":
        return FailureReason.OOM, "OOMKilled: the container used more memory than its limit"
    disruption = _condition(pod, "DisruptionTarget")
    if code != 0 and disruption.get("status") == "True":
        lost = disruption.get("reason") == "DeletionByTaintManager"
        return FailureReason.NODE_LOST if lost else FailureReason.PREEMPTED, _words(disruption)
    if code == 0 or status.get("phase") == "Succeeded":
        return None, ""
    if code in (_SIGKILL, _SIGTERM) and "deletionTimestamp" in _metadata(pod):
        return FailureReason.PREEMPTED, "its pod was deleted"
    message = terminated.get("message", "").strip().rpartition("\n")[2]  # its last line: that of an exception
    told = f"exit code {code}" if code is not None else _words(status) or "Failed"
    if terminated.get("reason", "Error") != "Error":
        told = f"{terminated['reason']}, {told}"
    return FailureReason.KILLED if code == _SIGKILL else None, f"{told}: {message}" if message else told


def _lost(pod: Shown, worker: str) -> JobStatus:
    words = _words(_condition(pod, "DisruptionTarget")) or "its node says nothing any more"
    return JobStatus(Phase.ENDED, FailureReason.NODE_LOST, as_line(words), worker)


def _silent_since(pod: Shown) -> datetime | None:
    """Since when the cluster has no word from the pod's node, as far as the pod shows it.

    The cluster then calls the pod "not ready", but not its containers, of which only the node could tell. Where it has
    no other node it leaves it at that.
    """
    ready = _condition(pod, "Ready")
    if ready.get("status") != "False" or _condition(pod, "ContainersReady").get("status") != "True":
        return None
    if pod.get("spec", {}).get("readinessGates") or not ready.get("lastTransitionTime"):
        return None
    return _time(ready["lastTransitionTime"])


def _worker(pod: Shown) -> str:
    node = pod.get("spec", {}).get("nodeName", "")
    return f"pod {_metadata(pod).get('name', '')}" + (f" on {node}" if node else "")


def _container_state(pod: Shown) -> Shown:
    for container in pod.get("status", {}).get("containerStatuses") or ():
        if container.get("name") == CONTAINER:
            state: Shown = container.get("state") or {}
            return state
    return {}


def _condition(shown: Shown, wanted: str) -> Shown:
    return next((condition for condition in _conditions(shown) if condition.get("type") == wanted), {})


def _conditions(shown: Shown) -> Sequence[Shown]:
    return shown.get("status", {}).get("conditions") or ()


def _metadata(shown: Shown) -> Shown:
    metadata: Shown = shown.get("metadata", {})
    return metadata


def _age(pod: Shown) -> tuple[str, str]:
    # Text of one form in one zone sorts like the times it stands for. Of two of one second the living one counts.
    metadata = _metadata(pod)
    return metadata.get("creationTimestamp", ""), "" if "deletionTimestamp" in metadata else "~"


def _words(shown: Shown) -> str:
    return ": ".join(filter(None, [shown.get("reason", ""), shown.get("message", "")]))


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
