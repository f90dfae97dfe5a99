"""Kubernetes as an engine: one batch/v1 Job per attempt.

How jobs are is asked for by lists, not by a watch: a list cannot miss anything, needs no thread, survives a server that
restarts or has forgotten where a watch was, and costs two requests per hundred attempts.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final

from metta.sweep.executors.kubernetes.api import AlreadyThere, ClusterAPI, NotFound, as_yaml, require_lightkube
from metta.sweep.executors.kubernetes.manifest import LABEL, SUBMISSION, TOKEN, PodSettings, job_manifest, job_name
from metta.sweep.executors.kubernetes.status import status_of
from metta.sweep.executors.remote.engine import EngineRefused, EngineUnavailable, Job, JobStatus

IMAGE_PATIENCE_S: Final = 60.0
"""Seconds that a pod may wait for its image or a Secret, once it has a node."""
_AT_ONCE: Final = 100
"""Jobs per list: their names stand in the address of the request."""
_NEEDED: Final = (("create", "jobs"), ("get", "jobs"), ("list", "jobs"), ("delete", "jobs"), ("list", "pods"))


class KubernetesEngine:
    """Runs attempts as Jobs of a cluster.

    Args:
        settings: what all pods have in common.
        context: of the kubeconfig file; None: its current one, or the service account of the pod that this runs in.
        image_patience: see `IMAGE_PATIENCE_S`.

    Raises:
        MissingExtraError: lightkube is not installed.
    """

    name = "Kubernetes"
    poll_interval: float = 2.0
    largest_batch = 1  # a submission is there as a whole or not at all, and only a single Job is

    def __init__(
        self, settings: PodSettings, context: str | None = None, image_patience: float = IMAGE_PATIENCE_S
    ) -> None:
        require_lightkube()
        self._settings = settings
        self._image_patience = image_patience
        self._api = ClusterAPI(settings.namespace, context)

    def submit(self, jobs: Sequence[Job], label: str) -> Sequence[str]:
        """See `Engine.submit`."""
        (job,) = jobs
        manifest = job_manifest(job, label, self._settings)
        problem = self._user_problem()
        if problem:
            raise EngineRefused(problem)
        name = job_name(label)
        try:
            self._api.create_job(manifest)
        except AlreadyThere:  # an earlier request arrived whose answer did not
            found = self._labelled(name, label)
            if found is None or _annotation(found, TOKEN) != manifest["metadata"]["annotations"][TOKEN]:
                raise EngineRefused(f"there is a Job {name} of somebody else: `kubectl delete job {name}`") from None
        return [name]

    def find(self, label: str) -> Sequence[str] | None:
        """See `Engine.find`."""
        with _asking():
            found = self._labelled(job_name(label), label)
        return None if found is None else [job_name(label)]

    def status(self, jobs: Mapping[str, str]) -> Mapping[str, JobStatus]:
        """See `Engine.status`."""
        found: dict[str, JobStatus] = {}
        names = _ours(jobs)
        for start in range(0, len(names), _AT_ONCE):
            some = names[start : start + _AT_ONCE]
            with _asking():
                # Jobs first: pods that are missing from the second list although their Job is in the first have ended.
                shown = {job["metadata"]["name"]: job for job in self._api.jobs(SUBMISSION, some)}
                pods: dict[str, list[dict[str, Any]]] = {}
                for pod in self._api.pods(SUBMISSION, some):
                    pods.setdefault((pod["metadata"].get("labels") or {}).get(SUBMISSION, ""), []).append(pod)
            now = datetime.now(UTC)
            for name in some:
                job, its_pods = shown.get(name), pods.get(name, [])
                bearing = job or next(iter(its_pods), None)
                if bearing is not None and _annotation(bearing, LABEL) == jobs[name]:
                    found[name] = status_of(job, its_pods, now, self._image_patience)
        return found

    def cancel(self, jobs: Mapping[str, str]) -> None:
        """See `Engine.cancel`. A Job is shown until its pods have ended."""
        self._delete(jobs, wait_for_pods=True)

    def forget(self, jobs: Mapping[str, str]) -> None:
        """See `Engine.forget`."""
        self._delete(jobs, wait_for_pods=False)

    def describe(self, job: Job, label: str) -> str:
        """The manifest as YAML."""
        return as_yaml(job_manifest(job, label, self._settings))

    def problems(self) -> Collection[str]:
        """See `Engine.problems`."""
        found = [problem for problem in [self._user_problem()] if problem]
        if not any(not volume.read_only for volume in self._settings.volumes):
            found.append(
                "pods have no volume to write their results to: name the one with the run's store, mounted where this "
                'machine has it, as in KubernetesExecutor(volumes=["CLAIM:/path"])'
            )
        try:
            for verb, resource in _NEEDED:
                if not self._api.may(verb, resource, "batch" if resource == "jobs" else ""):
                    found.append(
                        f"you may not {verb} {resource} in the namespace {self._api.namespace}: ask for the right"
                    )
        except (EngineUnavailable, EngineRefused) as error:
            found.append(str(error))
        return found

    def close(self) -> None:
        """See `Engine.close`."""
        self._api.close()

    def _delete(self, jobs: Mapping[str, str], *, wait_for_pods: bool) -> None:
        for name in _ours(jobs):
            with _asking(), suppress(NotFound):
                self._api.delete_job(name, wait_for_pods=wait_for_pods)

    def _labelled(self, name: str, label: str) -> dict[str, Any] | None:
        try:
            found = self._api.job(name)
        except NotFound:
            return None
        return found if _annotation(found, LABEL) == label else None

    def _user_problem(self) -> str | None:
        if self._settings.user is None and os.geteuid() == 0:
            return (
                "the driver is root, whose files other users cannot write, and pods are not run as root unless you say "
                "so: KubernetesExecutor(user=0), or start the driver as another user"
            )
        return None


@contextmanager
def _asking() -> Iterator[None]:
    """For questions: whatever the server does not answer is asked again later."""
    try:
        yield
    except EngineRefused as error:
        raise EngineUnavailable(str(error)) from None


def _ours(jobs: Mapping[str, str]) -> list[str]:
    """The ids that belong to their labels: an id is made of its label."""
    return [name for name, label in jobs.items() if job_name(label) == name]


def _annotation(shown: Mapping[str, Any], name: str) -> str | None:
    value: str | None = (shown["metadata"].get("annotations") or {}).get(name)
    return value
