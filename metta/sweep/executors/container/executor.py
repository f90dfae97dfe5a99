"""Tasks in containers of Docker or Podman on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib.util import find_spec
from typing import get_args

from metta.sweep.errors import MissingExtraError, UsageError
from metta.sweep.executors.container.binds import parse_mounts
from metta.sweep.executors.container.engine import ContainerEngine, Options
from metta.sweep.executors.container.images import PullPolicy
from metta.sweep.executors.pool import usable_cores
from metta.sweep.executors.remote.containers import checked_environment, parse_user
from metta.sweep.executors.remote.executor import RemoteExecutor


class DockerExecutor(RemoteExecutor):
    """Runs every task in a container of its own: Docker, or Podman with its API service.

        executor = DockerExecutor("python:3.11", mounts={"/data": "/data"}, max_jobs=4)

    The image needs Python of the driver's version and what the task imports (metta-sweep included); mount a virtual
    environment and name its interpreter by `python` where it does not. A container sees the driver's working folder and
    the folders of its `sys.path`, read-only, at their own paths; it writes to its attempt's folder. It has no network,
    no capabilities, cannot gain privileges, and does not run as root. `Resources.cpus`, `memory` and `gpus` are limits
    that the engine keeps; `Resources.image` goes before `image`; a `partition` means nothing here.

    Containers go on when the driver dies, and a driver that resumes the run takes them over. When the engine itself is
    restarted its containers end, unless it has `"live-restore": true` in its settings. What dead drivers have left:
    `docker ps --all --filter label=metta-sweep.label`.

    Args:
        image: for tasks that name none.
        mounts: path on this machine -> path in the container, read-only; "/cache:rw" may be written.
        network: "none", "host", "bridge" or the name of a network.
        user: as whom containers run, in numbers: 1000 or "1000:100". Default: as the driver; as 65534:65534 where that
            is root, who then gives that user the folders that a task writes.
        environment: variables for the containers. Who may use the engine can read them.
        gpus: the devices to give out, by index or UUID; default: those of CUDA_VISIBLE_DEVICES, else all. A task gets
            whole ones, those that the fewest containers have.
        base_url: where the engine listens: "unix:///run/podman/podman.sock". Default: DOCKER_HOST, else Docker's usual
            socket.
        pull: "missing" gets images that the engine does not have, "never" fails tasks that want them.
        init: have a small init process in each container, which collects processes that a task leaves behind. Podman
            needs catatonit for it.
        python: the interpreter in the image.
        spool: for tasks that have no folder of their own; default: `spool` in METTA_SWEEP_HOME or `./.metta-sweep`.
        max_jobs: how many containers there are at once; default: the cores this process may use.
        lost_after: seconds without a heart-beat after which a task is taken as lost.
        grace: seconds between SIGTERM and SIGKILL.
        patience: seconds that a trial waits for a driver's answer before it saves its state and ends.

    Raises:
        MissingExtraError: the docker SDK is not installed.
        UsageError: a mount that cannot be, a user who is no number, or a number that is out of range.
    """

    def __init__(
        self,
        image: str | None = None,
        *,
        mounts: Mapping[str, str] | None = None,
        network: str = "none",
        user: int | str | None = None,
        environment: Mapping[str, str] | None = None,
        gpus: Sequence[str | int] | None = None,
        base_url: str | None = None,
        pull: PullPolicy = "missing",
        init: bool = True,
        python: str = "python3",
        spool: str | os.PathLike[str] | None = None,
        max_jobs: int | None = None,
        lost_after: float = 60.0,
        grace: float = 10.0,
        patience: float = 3600.0,
    ) -> None:
        if find_spec("docker") is None:
            raise MissingExtraError("DockerExecutor", "docker")
        policies = get_args(PullPolicy)
        if pull not in policies:
            near = get_close_matches(str(pull), policies, n=1, cutoff=0.3)
            raise UsageError(
                f"DockerExecutor(pull={pull!r}): expected {' or '.join(map(repr, policies))}"
                + (f"; did you mean {near[0]!r}?" if near else "")
            )
        if not network:
            raise UsageError('DockerExecutor(network=""): expected "none", "host", "bridge" or the name of a network')
        if isinstance(gpus, str):
            raise UsageError(f"DockerExecutor(gpus={gpus!r}): expected a list, such as gpus={gpus.split(',')!r}")
        options = Options(
            image,
            parse_mounts(mounts or {}),
            network,
            None if user is None else parse_user(user, "DockerExecutor"),
            checked_environment(environment or {}, "DockerExecutor"),
            None if gpus is None else tuple(map(str, gpus)),
            init,
        )
        super().__init__(
            ContainerEngine(options, base_url=base_url, pull=pull),
            spool=spool,
            max_jobs=usable_cores() if max_jobs is None else max_jobs,
            python=python,
            lost_after=lost_after,
            grace=grace,
            patience=patience,
        )
