"""From an attempt to the manifest of its Job: a pure function.

What the pod may do is what the "restricted" profile of Kubernetes' Pod Security Standards allows, but for volumes of
the node (hostPath), the node's network and the user root, which are used where they were asked for.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from metta.sweep.executors.kubernetes.volumes import Volume, volume_of
from metta.sweep.executors.remote.containers import variables_of
from metta.sweep.executors.remote.engine import EngineRefused, Job

CONTAINER: Final = "worker"
"""The name of our container in a pod, which may have others: service meshes add some."""

MANAGED: Final = {"app.kubernetes.io/managed-by": "metta-sweep"}
SUBMISSION: Final = "metta-sweep/submission"
"""The label, on jobs and pods, that tells one submission from others: its value is `job_name`."""
LABEL: Final = "metta-sweep/label"
"""The annotation with the submission's label as it was given."""
TOKEN: Final = "metta-sweep/token"
"""The annotation with the attempt's token, for people and for `find`."""

NODE_PATIENCE: Final = 30
"""Seconds that a pod may be on a node that says nothing any more; a cluster's default is 300."""
END_MARGIN: Final = 5
"""Seconds, beyond the grace of the task itself, for the worker to write down how it ended."""
_SHARED_MEMORY: Final = "shared-memory"
_LONGEST_TEXT: Final = 250
_QUEUE_ADVICE: Final = "choose nodes by KubernetesExecutor(node_selector=...), or leave the partition out"


@dataclass(frozen=True, slots=True)
class PodSettings:
    """What all pods of an executor have in common; see `KubernetesExecutor` for the words.

    Attributes:
        user: user id and group id; None: those of the image, which must not be root.
    """

    image: str | None = None
    namespace: str | None = None
    volumes: tuple[Volume, ...] = ()
    node_selector: tuple[tuple[str, str], ...] = ()
    tolerations: tuple[Mapping[str, Any], ...] = ()
    service_account: str | None = None
    environment: tuple[tuple[str, str], ...] = ()
    secrets: tuple[str, ...] = ()
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    ttl: int = 3600
    host_network: bool = False
    user: tuple[int, int] | None = None
    gpu_resource: str = "nvidia.com/gpu"
    tasks_per_core: float = 1.0


def job_name(label: str) -> str:
    """The name of a submission's Job: the same for the same label, so that creating it twice creates it once.

    Names of Kubernetes have small letters only: the hash keeps labels apart that differ in their capitals.
    """
    readable = re.sub(r"[^a-z0-9]+", "-", label.lower())[:40].strip("-") or "job"
    return f"{readable}-{hashlib.sha256(label.encode()).hexdigest()[:10]}"


def job_manifest(job: Job, label: str, settings: PodSettings) -> dict[str, Any]:
    """The manifest of a batch/v1 Job that runs one attempt.

    Raises:
        EngineRefused: no image is named, a folder of the attempt lies on no volume, a path cannot be written as
            text, or it asks for a partition.
    """
    name = job_name(label)
    metadata = {
        "labels": {**MANAGED, SUBMISSION: name},
        "annotations": {LABEL: label, TOKEN: _plain(job.token), "metta-sweep/name": _plain(job.name)},
    }
    placed = {"namespace": settings.namespace} if settings.namespace else {}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, **placed, **metadata},
        "spec": {
            "completions": 1,
            "parallelism": 1,
            # Attempts are ours to count: what failed stays failed. A pod that somebody deletes must have ended before
            # there is another (from 1.29 on; older servers drop the field, and the folder tells the two apart).
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "ttlSecondsAfterFinished": settings.ttl,
            "template": {"metadata": metadata, "spec": _pod(job, settings)},
        },
    }


def _pod(job: Job, settings: PodSettings) -> dict[str, Any]:
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": math.ceil(job.grace) + END_MARGIN,
    }
    if job.time_limit is not None:
        # On the pod, whose clock starts on its node: that of the Job counts the time in the queue, too.
        pod["activeDeadlineSeconds"] = max(1, math.ceil(job.time_limit))
    if settings.service_account:
        pod["serviceAccountName"] = settings.service_account
    if settings.host_network:
        pod["hostNetwork"] = True
        pod["dnsPolicy"] = "ClusterFirstWithHostNet"
    if settings.node_selector:
        pod["nodeSelector"] = dict(settings.node_selector)
    pod["tolerations"] = [*map(dict, settings.tolerations), *_patience()]
    if settings.pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in settings.pull_secrets]
    pod["securityContext"] = {**_identity(settings.user), "seccompProfile": {"type": "RuntimeDefault"}}
    pod["containers"] = [_container(job, settings)]
    pod["volumes"] = [volume.spec(name) for name, volume in _named(settings.volumes)]
    if not _has_shared_memory(settings):
        pod["volumes"].append({"name": _SHARED_MEMORY, "emptyDir": {"medium": "Memory"}})
    return pod


def _patience() -> list[dict[str, Any]]:
    taints = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
    rest = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": NODE_PATIENCE}
    return [{"key": taint, **rest} for taint in taints]


def _identity(user: tuple[int, int] | None) -> dict[str, Any]:
    if user is None:
        return {"runAsNonRoot": True}
    return {"runAsUser": user[0], "runAsGroup": user[1], "runAsNonRoot": user[0] != 0}


def _container(job: Job, settings: PodSettings) -> dict[str, Any]:
    image = job.resources.image or settings.image
    if not image:
        raise EngineRefused(
            "no container image is named: KubernetesExecutor(image=...), or Resources(image=...) for one stage"
        )
    _check_folders(job, settings.volumes)
    requests, limits = _amounts(job, settings)
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": settings.pull_policy,
        "command": [_literal(argument) for argument in job.command],
        # A worker that dies before it can write to its folder is explained by the end of its output (`status`).
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": {"requests": requests, "limits": limits},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [volume.mounted(name) for name, volume in _named(settings.volumes)],
    }
    if not _has_shared_memory(settings):
        # Else it has 64 MB, too little for the data loaders of PyTorch. What is in it counts as the pod's memory.
        container["volumeMounts"].append({"name": _SHARED_MEMORY, "mountPath": "/dev/shm"})
    if volume_of(job.work_folder, settings.volumes):
        container["workingDir"] = _text(str(job.work_folder))
    seen = [path for path in job.paths if volume_of(path, settings.volumes)]
    variables = variables_of(job, seen, dict(settings.environment))
    container["env"] = [{"name": name, "value": _literal(value)} for name, value in variables.items()]
    if settings.secrets:
        container["envFrom"] = [{"secretRef": {"name": name}} for name in settings.secrets]
    return container


def _check_folders(job: Job, volumes: tuple[Volume, ...]) -> None:
    mounted = ", ".join(f"{volume.mount}{' (read-only)' * volume.read_only}" for volume in volumes) or "none"
    advice = (
        f"mounted are: {mounted}. Put the run's store and spool on a volume, and mount it where the driver has it: "
        'KubernetesExecutor(volumes=["CLAIM:/path"])'
    )
    for folder in (job.folder, *job.writes):
        volume = volume_of(folder, volumes)
        if volume is None or volume.read_only:
            raise EngineRefused(f"pods cannot write to {folder}, where the driver looks for their results; {advice}")
    for path in job.reads:
        if volume_of(path, volumes) is None:
            raise EngineRefused(f"pods cannot read {path}, the state a trial goes on from; {advice}")


def _amounts(job: Job, settings: PodSettings) -> tuple[dict[str, str], dict[str, str]]:
    """Requests and limits: equal unless cores are shared, so that a pod has what was asked for and is evicted last."""
    wanted = job.resources
    if wanted.partition:
        raise EngineRefused(f"Kubernetes has no partitions, found partition={wanted.partition!r}: {_QUEUE_ADVICE}")
    limits = {}
    if wanted.cpus:
        limits["cpu"] = f"{math.ceil(wanted.cpus * 1000)}m"
    if wanted.memory_bytes is not None:
        limits["memory"] = str(wanted.memory_bytes)
    if wanted.gpus:
        limits[settings.gpu_resource] = str(math.ceil(wanted.gpus))
    requests = dict(limits)
    if wanted.cpus:
        requests["cpu"] = f"{math.ceil(wanted.cpus * 1000 / settings.tasks_per_core)}m"
    return requests, limits


def _has_shared_memory(settings: PodSettings) -> bool:
    return any(str(volume.mount) == "/dev/shm" for volume in settings.volumes)


def _named(volumes: Iterable[Volume]) -> list[tuple[str, Volume]]:
    return [(f"volume-{number}", volume) for number, volume in enumerate(volumes)]


def _literal(text: str) -> str:
    """Text that the kubelet takes as it is: it would replace "$(NAME)" by a variable."""
    return _text(text).replace("$", "$$")


def _text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise EngineRefused(f"Kubernetes takes only names and paths that are UTF-8, found {text!r}") from None
    return text


def _plain(text: str) -> str:
    """Any text as one short printable line, for an annotation."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:_LONGEST_TEXT]
