"""A job as a container: what the engine's API is given."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from metta.sweep.executors.container.binds import Bind
from metta.sweep.executors.remote.containers import User, variables_of
from metta.sweep.executors.remote.engine import EngineRefused, Job

LABEL: Final = "metta-sweep.label"
"""On each of our containers: its submission. `docker ps --all --filter label=metta-sweep.label` lists them."""

TOKEN: Final = "metta-sweep.token"
"""On each of our containers: its attempt, for people."""

GPUS: Final = "metta-sweep.gpus"
"""On each of our containers: the devices it has, separated by commas."""

SHARED_MEMORY: Final = 8 * 2**30
"""Bytes that may be in /dev/shm where a job has no limit of its own. The engines' 64 MB are too few for the data
loaders of PyTorch; what is in there counts as the container's memory anyway."""

LONGEST_LOG: Final = "1m"
"""How much an engine keeps of what a container prints. The task's own output goes to its folder."""

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Placement:
    """What the engine and this machine add to a job.

    Attributes:
        image: the container's image.
        user: as whom it runs.
        binds: what it sees of this machine, the outermost first.
        closed: folders on the way to what it writes that its user may not enter: they are covered by empty ones.
        gpus: the devices it gets, by index or UUID.
        cdi: whether the engine knows devices by the Container Device Interface (Podman) or by NVIDIA's own (Docker).
        network: the network: "none", "host", "bridge" or the name of one.
        environment: variables for it.
        init: whether a small init process starts the program and collects the processes that it leaves behind.
    """

    image: str
    user: User
    binds: tuple[Bind, ...]
    closed: tuple[str, ...] = ()
    gpus: tuple[str, ...] = ()
    cdi: bool = False
    network: str = "none"
    environment: Mapping[str, str] = field(default_factory=dict)
    init: bool = True


def container_name(job: Job, label: str) -> str:
    """The container's name: the job's, cleaned, and the label, which makes it unique."""
    clean = re.sub(r"[^A-Za-z0-9]+", "-", job.name).strip("-")[:40].rstrip("-")
    return f"{clean}-{label}" if clean else label


def container_body(job: Job, label: str, placement: Placement) -> Json:
    """What `POST /containers/create` of Docker's Engine API is given for a job.

    Raises:
        EngineRefused: a folder cannot be named in PYTHONPATH.
    """
    wanted = job.resources
    variables = variables_of(job, job.paths, placement.environment)
    host: Json = {
        "NetworkMode": placement.network,
        "Init": placement.init,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "Mounts": [*map(_bind, placement.binds), *map(_cover, placement.closed)],
        "ShmSize": wanted.memory_bytes or SHARED_MEMORY,
        "LogConfig": {"Type": "json-file", "Config": {"max-size": LONGEST_LOG}},
        "RestartPolicy": {"Name": "no"},
    }
    if wanted.cpus:
        host["NanoCpus"] = math.ceil(wanted.cpus * 1e9)
    if wanted.memory_bytes is not None:
        # Equal: no swap beside it, which would make a task slow long before it is ended.
        host |= {"Memory": wanted.memory_bytes, "MemorySwap": wanted.memory_bytes}
    if placement.gpus:
        host["DeviceRequests"] = [_devices(placement)]
    return {
        "Image": placement.image,
        # Both, or the image's own would be put before it.
        "Entrypoint": [job.command[0]],
        "Cmd": list(job.command[1:]),
        "WorkingDir": str(job.work_folder),
        "User": str(placement.user),
        "Env": [f"{name}={value}" for name, value in sorted(variables.items())],
        "Labels": {LABEL: label, TOKEN: job.token.replace("\0", "?"), GPUS: ",".join(placement.gpus)},
        "StopSignal": "SIGTERM",
        "StopTimeout": math.ceil(job.grace),
        "HostConfig": host,
    }


def _bind(bind: Bind) -> Json:
    return {"Type": "bind", "Source": bind.source, "Target": bind.target, "ReadOnly": not bind.writable}


def _cover(folder: str) -> Json:
    # An anonymous volume, which goes with its container. A tmpfs takes over the mode of the folder that it covers.
    return {"Type": "volume", "Target": folder, "VolumeOptions": {"NoCopy": True}}


def _devices(placement: Placement) -> Json:
    if placement.cdi:
        return {"Driver": "cdi", "DeviceIDs": [f"nvidia.com/gpu={device}" for device in placement.gpus]}
    return {"Driver": "nvidia", "DeviceIDs": list(placement.gpus), "Capabilities": [["gpu"]]}


def choose_gpus(wanted: float, devices: Sequence[str], in_use: Sequence[str]) -> tuple[str, ...]:
    """The devices for a job: whole ones, those that the fewest containers have.

    Args:
        wanted: how many; a fraction is rounded up, and the device is shared when there are more jobs than devices.
        devices: all there are.
        in_use: for each container that has it, the name of a device.

    Raises:
        EngineRefused: there are not as many.
    """
    count = math.ceil(wanted)
    if count > len(devices):
        there = f"has {len(devices)} ({', '.join(devices)})" if devices else "has none that can be seen"
        raise EngineRefused(
            f"the job wants {wanted:g} GPUs, but this machine {there}: give the executor gpus=, or ask for fewer"
        )
    ranked = sorted(range(len(devices)), key=lambda index: (in_use.count(devices[index]), index))
    return tuple(devices[index] for index in sorted(ranked[:count]))
