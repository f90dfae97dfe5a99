"""Docker and Podman as an engine: one container per job."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from metta.sweep.errors import MissingExtraError, StorageError
from metta.sweep.executors.container.access import closed_above, hand_over, may_enter, user_of_containers
from metta.sweep.executors.container.binds import Bind, closed_folders, job_binds
from metta.sweep.executors.container.client import STOP_TIMEOUT_S, Client, NotKnown, import_docker
from metta.sweep.executors.container.images import Images, PullPolicy, missing_image
from metta.sweep.executors.container.spec import GPUS, LABEL, Placement, choose_gpus, container_body, container_name
from metta.sweep.executors.container.state import from_inspection, from_listing
from metta.sweep.executors.devices import find_devices
from metta.sweep.executors.remote.containers import User
from metta.sweep.executors.remote.engine import EngineRefused, EngineUnavailable, Job, JobStatus, Phase
from metta.sweep.redaction import Redactor, secrets_in
from metta.sweep.store.files import make_folder

POLL_INTERVAL_S: Final = 1.0

FIRST_PODMAN_WITH_GPUS: Final = (5, 4)
"""Older ones take a request for devices and ignore it."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a user may choose, for all jobs; see `DockerExecutor`."""

    image: str | None = None
    mounts: tuple[Bind, ...] = ()
    network: str = "none"
    user: User | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    gpus: tuple[str, ...] | None = None
    init: bool = True


@dataclass(frozen=True, slots=True)
class _Facts:
    """What an engine does not change while it runs.

    Attributes:
        rootless: whether its root is an ordinary user.
        podman: its version if it is Podman, else None.
    """

    rootless: bool
    podman: tuple[int, ...] | None


class ContainerEngine:
    """An `Engine` over the API of Docker.

    It keeps no list of jobs: each container has its label, and is found by it. What it does keep is what it learnt of
    the engine, and the threads that wait for containers to stop.

    Args:
        options: for all jobs.
        base_url: where the engine listens; None: DOCKER_HOST, else Docker's usual socket.
        pull: "missing" gets images that the engine does not have, "never" refuses jobs that want them.
    """

    name = "Docker"
    poll_interval: float = POLL_INTERVAL_S
    largest_batch = 1
    """A call of the API makes one container."""

    def __init__(
        self, options: Options | None = None, *, base_url: str | None = None, pull: PullPolicy = "missing"
    ) -> None:
        self._options = options or Options()
        self._client = Client(base_url)
        self._pull = pull
        self._images = Images(self._client, pull)
        self._facts: _Facts | None = None
        self._devices: tuple[str, ...] | None = self._options.gpus
        self._stops: dict[str, threading.Thread] = {}

    def submit(self, jobs: Sequence[Job], label: str) -> Sequence[str]:
        """Make and start the container of one job.

        Raises:
            EngineUnavailable: the engine does not answer, or the image is being pulled.
            EngineRefused: it will never run this job here.
        """
        (job,) = jobs
        placement = self._placement(job)
        self._open_folders(job, placement)
        body, name = container_body(job, label, placement), container_name(job, label)
        try:
            container = self._client.create(body, name)
        except NotKnown as error:
            if self._client.has_image(placement.image):
                raise EngineRefused(str(error)) from error
            self._images.fetch(placement.image)
        try:
            self._client.start(container)
        except (EngineRefused, NotKnown) as error:
            self._client.remove(container)
            raise EngineRefused(_why_not_started(job, placement, str(error))) from error
        return (container,)

    def find(self, label: str) -> Sequence[str] | None:
        """The container of a submission. One that was made, but not started before its driver or engine died, is
        removed: only so it is sure that it never starts beside another."""
        found = self._client.containers(f"{LABEL}={label}")
        started = []
        for entry in found:
            status = from_listing(entry)
            if status is not None and status.phase is Phase.QUEUED:
                self._client.remove(str(entry["Id"]))
            else:
                started.append(str(entry["Id"]))
        return started or None

    def status(self, jobs: Mapping[str, str]) -> Mapping[str, JobStatus]:
        """How containers are: one call for all, one or two more for each that has ended badly."""
        found: dict[str, JobStatus] = {}
        for entry in self._client.containers(LABEL) if jobs else ():
            container = str(entry["Id"])
            if jobs.get(container) != (entry.get("Labels") or {}).get(LABEL):
                continue
            status = from_listing(entry)
            if status is None:
                try:
                    status = from_inspection(self._client.inspect(container), self._client.output(container))
                except NotKnown:  # it was removed meanwhile
                    continue
            found[container] = status
        return found

    def cancel(self, jobs: Mapping[str, str]) -> None:
        """Have containers stop: SIGTERM, their grace, SIGKILL. The engine answers when they have ended, so each has a
        thread that waits for that."""
        self._stops = {container: thread for container, thread in self._stops.items() if thread.is_alive()}
        for container in self._ours(jobs):
            if container not in self._stops:
                thread = threading.Thread(target=self._stop, args=(container,), name=f"stop {container}", daemon=True)
                self._stops[container] = thread
                thread.start()

    def forget(self, jobs: Mapping[str, str]) -> None:
        """Remove containers, and with them what they wrote outside of the folders that were given to them."""
        for container in self._ours(jobs):
            self._client.remove(container)

    def describe(self, job: Job, label: str) -> str:
        """What the API is given to make the container, as JSON. Secrets in `environment` are masked."""
        body = container_body(job, label, self._placement(job, look=False))
        redactor = Redactor(secrets_in(self._options.environment))
        return redactor.text(json.dumps({"name": container_name(job, label), **body}, indent=2, ensure_ascii=False))

    def problems(self) -> list[str]:
        """What would keep containers from running here."""
        try:
            import_docker()
            self._known_facts()
            image = self._options.image
            if image and self._pull == "never" and not self._client.has_image(image):
                return [missing_image(image)]
        except MissingExtraError as error:
            return [str(error)]
        except EngineUnavailable as error:
            return [f"{error}. Start Docker, or name the socket of Podman or Docker by DOCKER_HOST or base_url="]
        return []

    def close(self) -> None:
        """Wait for containers that are stopping, at most as long as their grace is, and end the connection."""
        for thread in self._stops.values():
            thread.join()
        self._stops.clear()
        self._client.close()

    def _stop(self, container: str) -> None:
        client = self._client.again(STOP_TIMEOUT_S)
        try:
            client.stop(container)
        except (EngineUnavailable, NotKnown):
            return  # whoever wanted it to end asks how it is, and asks again
        finally:
            client.close()

    def _ours(self, jobs: Mapping[str, str]) -> list[str]:
        """Those containers that there are and that bear the label they are said to have."""
        found = self._client.containers(LABEL) if jobs else []
        labels = {str(entry["Id"]): (entry.get("Labels") or {}).get(LABEL) for entry in found}
        return [container for container, label in jobs.items() if labels.get(container) == label]

    def _placement(self, job: Job, *, look: bool = True) -> Placement:
        """Where and as whom a job runs. Unless `look`, the engine is not asked, and its usual answers are taken."""
        options = self._options
        image = job.resources.image or options.image
        if not image:
            raise EngineRefused(f'{job.name} has no image: say DockerExecutor(image="...") or Resources(image="...")')
        facts = self._known_facts() if look else _Facts(rootless=False, podman=None)
        user = user_of_containers(options.user, User.here(), rootless=facts.rootless)
        binds = job_binds(job, options.mounts)
        closed = closed_folders(binds, closed_above((job.folder, *job.writes), user))
        placement = Placement(
            image, user, binds, closed, network=options.network, environment=options.environment, init=options.init
        )
        if not job.resources.gpus:
            return placement
        if facts.podman is not None and facts.podman < FIRST_PODMAN_WITH_GPUS:
            raise EngineRefused("this Podman ignores requests for GPUs: it needs Podman 5.4, or Docker, for them")
        in_use = self._gpus_in_use() if look else ()
        gpus = choose_gpus(job.resources.gpus, self._known_devices(), in_use)
        return replace(placement, gpus=gpus, cdi=facts.podman is not None)

    def _gpus_in_use(self) -> list[str]:
        found = ((entry, from_listing(entry)) for entry in self._client.containers(GPUS))
        alive = [entry for entry, status in found if status is not None and status.phase is not Phase.ENDED]
        return [device for entry in alive for device in entry["Labels"][GPUS].split(",") if device]

    def _known_devices(self) -> tuple[str, ...]:
        if self._devices is None:
            self._devices = find_devices()
        return self._devices

    def _known_facts(self) -> _Facts:
        if self._facts is None:
            security = self._client.info().get("SecurityOptions") or ()
            components = self._client.version().get("Components") or ()
            podman = [part["Version"] for part in components if "podman" in str(part.get("Name", "")).lower()]
            version = tuple(map(int, re.findall(r"\d+", podman[0])[:2])) if podman else None
            self._facts = _Facts(any("name=rootless" in option for option in security), version)
        return self._facts

    def _open_folders(self, job: Job, placement: Placement) -> None:
        """Have the container's user be able to read and write what it has to.

        Raises:
            EngineRefused: that cannot be done.
        """
        if missing := [path for path in job.reads if not path.exists()]:
            raise EngineRefused(f"{missing[0]}, from which {job.name} was to go on, is not there")
        try:
            for folder in job.writes:
                make_folder(folder)
        except StorageError as error:
            raise EngineRefused(str(error)) from error
        if User.here().uid != 0 or placement.user.uid == 0:
            return
        code = (job.work_folder, *job.paths)
        if closed := [path for path in code if not (path.exists() and may_enter(path.stat(), placement.user))]:
            raise EngineRefused(
                f"containers run as the user {placement.user}, who may not enter {closed[0]}: open it "
                f'(chmod o+rx {closed[0]}), or have them run as root: DockerExecutor(user="0:0")'
            )
        try:
            hand_over((job.folder, *job.writes, *job.reads), placement.user)
        except OSError as error:
            raise EngineRefused(f"the folders of {job.name} cannot be given to {placement.user}: {error}") from error


def _why_not_started(job: Job, placement: Placement, said: str) -> str:
    hint = ""
    if "permission denied" in said:
        hint = (
            f". The user {placement.user} has to get to {job.work_folder}, and the image may close a folder above it: "
            "start from another folder, or give user="
        )
    return f"the container of {job.name} could not be started: {said}{hint}"
