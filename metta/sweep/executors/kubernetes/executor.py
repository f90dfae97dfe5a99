"""Tasks as Jobs of a Kubernetes cluster."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Final, Literal, TypeAlias

from metta.sweep.errors import UsageError
from metta.sweep.executors.kubernetes.engine import IMAGE_PATIENCE_S, KubernetesEngine
from metta.sweep.executors.kubernetes.manifest import PodSettings
from metta.sweep.executors.kubernetes.volumes import Volume
from metta.sweep.executors.remote.containers import checked_environment, parse_user
from metta.sweep.executors.remote.executor import RemoteExecutor
from metta.sweep.redaction import secrets_in

PullPolicy: TypeAlias = Literal["Always", "IfNotPresent", "Never"]
_PULL_POLICIES: Final = ("Always", "IfNotPresent", "Never")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class KubernetesExecutor(RemoteExecutor):
    """Runs each attempt as a Job of a Kubernetes cluster.

    Driver and pods share the folder of the run's store, at the same path: name the volume that holds it in `volumes`.
    The image needs Python, this package, and what the tasks import. The cluster's address and credentials come from
    KUBECONFIG or `~/.kube/config`, or, in a pod, from its service account. What the user has to be allowed to: create,
    get, list and delete Jobs, and list pods.

    What becomes of a task's `Resources`: `cpus`, `memory` and `gpus` (rounded up to whole devices) are requests and
    limits; `image` stands for the executor's; a `partition` is refused. A pod has the time that its task has, and
    a minute more, counted from when it gets a node. Pods that need more than any node has wait in the queue.

    A pod has no token of the API server, no capabilities, and cannot gain privileges; it is not root unless told to.

    Args:
        image: the container image of tasks whose `Resources` name none.
        namespace: default: that of the context.
        volumes: what pods can reach, as in "CLAIM:/path" (a PersistentVolumeClaim), "/host/path:/path" or "/path" (a
            folder of the node), with ":ro" at the end for read-only.
        node_selector: labels that a node must have.
        tolerations: of taints, as Kubernetes writes them: `{"key": "gpu", "operator": "Exists"}`.
        service_account: of the pods; its token is not handed to them.
        environment: variables of the pods; nothing secret, since everybody who may list pods can read them.
        secrets: names of Secrets whose entries become variables.
        pull_policy: when the image is fetched.
        pull_secrets: names of Secrets for that.
        ttl: seconds after which the cluster removes a Job that is over, should no driver have done so.
        host_network: use the network of the node.
        user: as whom pods run, in numbers: 1000 or "1000:100"; default: the driver's own, unless that is root.
        gpu_resource: what the cluster calls a GPU.
        tasks_per_core: how many tasks of one core may share one: each may use the core, and requests its part of it.
        image_patience: seconds that a pod may wait for its image or a Secret before that counts as a failure.
        context: of the kubeconfig file; default: its current one.
        spool: for tasks that have no folder of their own; default: `spool` in METTA_SWEEP_HOME or `./.metta-sweep`.
        max_jobs: how many Jobs there are at once; None leaves that to the cluster.
        python: the interpreter in the image.
        lost_after: seconds without a heart-beat after which a running pod is taken as lost.
        grace: seconds between the signal that asks a pod to end and the one that makes it.
        patience: seconds that a trial waits for a driver's answer before it saves its state and ends.

    Raises:
        UsageError: an argument cannot be used.
        MissingExtraError: lightkube is not installed.
    """

    def __init__(
        self,
        image: str | None = None,
        *,
        namespace: str | None = None,
        volumes: Iterable[str] = (),
        node_selector: Mapping[str, str] | None = None,
        tolerations: Iterable[Mapping[str, Any]] = (),
        service_account: str | None = None,
        environment: Mapping[str, str] | None = None,
        secrets: Iterable[str] = (),
        pull_policy: PullPolicy = "IfNotPresent",
        pull_secrets: Iterable[str] = (),
        ttl: int = 3600,
        host_network: bool = False,
        user: int | str | None = None,
        gpu_resource: str = "nvidia.com/gpu",
        tasks_per_core: float = 1.0,
        image_patience: float = IMAGE_PATIENCE_S,
        context: str | None = None,
        spool: str | os.PathLike[str] | None = None,
        max_jobs: int | None = None,
        python: str = "python3",
        lost_after: float = 60.0,
        grace: float = 10.0,
        patience: float = 3600.0,
    ) -> None:
        for name, value in (("volumes", volumes), ("secrets", secrets), ("pull_secrets", pull_secrets)):
            if isinstance(value, str):
                raise UsageError(f"KubernetesExecutor({name}={value!r}): expected a list, such as {name}=[{value!r}]")
        if pull_policy not in _PULL_POLICIES:
            near = get_close_matches(str(pull_policy), _PULL_POLICIES, 1, 0.4)
            hint = f'; did you mean "{near[0]}"?' if near else ""
            raise UsageError(
                f"KubernetesExecutor(pull_policy={pull_policy!r}): expected one of {', '.join(_PULL_POLICIES)}{hint}"
            )
        for name, number in (("ttl", ttl), ("image_patience", image_patience)):
            if not number >= 0:
                raise UsageError(f"KubernetesExecutor({name}={number!r}): expected seconds, at least 0")
        if not tasks_per_core >= 1:
            raise UsageError(f"KubernetesExecutor(tasks_per_core={tasks_per_core!r}): expected at least 1")
        settings = PodSettings(
            image=image,
            namespace=namespace,
            volumes=tuple(map(Volume.parse, volumes)),
            node_selector=tuple((node_selector or {}).items()),
            tolerations=tuple(map(dict, tolerations)),
            service_account=service_account,
            environment=_public(environment or {}),
            secrets=tuple(secrets),
            pull_policy=pull_policy,
            pull_secrets=tuple(pull_secrets),
            ttl=int(ttl),
            host_network=host_network,
            user=_identity(user),
            gpu_resource=gpu_resource,
            tasks_per_core=tasks_per_core,
        )
        engine = KubernetesEngine(settings, context, image_patience)
        super().__init__(
            engine, spool=spool, max_jobs=max_jobs, python=python, lost_after=lost_after, grace=grace, patience=patience
        )


def _public(environment: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Variables that everybody may read."""
    checked = checked_environment(environment, "KubernetesExecutor")
    for name, value in checked.items():
        if not _VARIABLE.fullmatch(name):
            raise UsageError(f"KubernetesExecutor(environment=...): {name!r} is no name of a variable")
        if secrets_in({name: value}):
            raise UsageError(
                f"KubernetesExecutor(environment=...): {name} looks like a secret, and others can read manifests. Put "
                f"it into a Secret (`kubectl create secret generic NAME --from-literal={name}=...`) and name it: "
                'secrets=["NAME"]'
            )
    return tuple(checked.items())


def _identity(user: int | str | None) -> tuple[int, int] | None:
    """User id and group id; None: whatever the image has, but not root."""
    if user is None:
        return (os.geteuid(), os.getegid()) if os.geteuid() else None
    found = parse_user(user, "KubernetesExecutor")
    return found.uid, found.gid
