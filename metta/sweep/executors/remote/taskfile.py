"""The file that holds what a worker program is to run.

A line of JSON, the header, and the pickled call. The program gets the file's SHA-256 with its command, by the engine:
whoever can change the file but not the job's command cannot have anything run. What is secret in a call (the
contents of `SecretStr`) stands in it, so it is of mode 0600, and is removed when the attempt is over.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from metta.sweep.errors import DamagedError
from metta.sweep.executors.base import ChannelSettings, Task
from metta.sweep.store.files import read_file
from metta.sweep.trial import Resources


@dataclass(frozen=True, slots=True)
class Header:
    """What the worker program has to know of a task before it rebuilds the call.

    Attributes:
        token, name: of the task.
        folder: the driver's working folder.
        paths: the entries of the driver's `sys.path` that are not of its Python installation.
        arguments: its `sys.argv`.
        python: its version, major and minor: pickled functions do not travel between these.
        resources: see `Resources`; the memory in bytes.
        timeout: seconds; None for no limit.
        grace: seconds between SIGTERM and SIGKILL.
        patience: seconds that a trial waits for a driver's answer.
        log_folder: for `log.txt`.
        stream_log: whether output is told as events, too.
        channel: `ChannelSettings` as text; None for a task that is no trial.
        secrets: to be masked, beside those of the environment there.
    """

    token: str
    name: str
    folder: str
    paths: tuple[str, ...]
    arguments: tuple[str, ...]
    python: tuple[int, int]
    cpus: float
    memory: int | None
    timeout: float | None
    grace: float
    patience: float
    log_folder: str | None
    stream_log: bool
    channel: dict[str, Any] | None
    secrets: tuple[str, ...]

    def task(self, states: Path) -> Task:
        """The task as it is handed to a worker process; its call comes separately.

        Args:
            states: where a trial writes its states.
        """
        channel = None
        if self.channel is not None:
            restore = self.channel["restore"]
            channel = ChannelSettings(
                Path(self.channel["folder"]), None if restore is None else Path(restore), self.channel["keep"], states
            )
        return Task(
            self.token,
            _not_called,
            name=self.name,
            resources=Resources(cpus=self.cpus, memory=self.memory),
            timeout=self.timeout,
            log_folder=None if self.log_folder is None else Path(self.log_folder),
            stream_log=True,
            channel=channel,
        )


def header_of(
    task: Task, work_folder: str, arguments: list[str], grace: float, patience: float, secrets: set[str]
) -> Header:
    """The header for a task that is submitted here and now."""
    limits = [limit for limit in (task.timeout, task.resources.time_limit_seconds) if limit is not None]
    channel = None
    if task.channel is not None:
        restore = task.channel.restore
        channel = {
            "folder": str(task.channel.folder.absolute()),
            "restore": None if restore is None else str(restore.absolute()),
            "keep": task.channel.keep,
        }
    return Header(
        token=task.token,
        name=task.name,
        folder=work_folder,
        paths=own_paths(work_folder),
        arguments=tuple(arguments),
        python=sys.version_info[:2],
        cpus=task.resources.cpus,
        memory=task.resources.memory_bytes,
        timeout=min(limits, default=None),
        grace=grace,
        patience=patience,
        log_folder=None if task.log_folder is None else str(task.log_folder.absolute()),
        stream_log=task.stream_log,
        channel=channel,
        secrets=tuple(sorted(secrets)),
    )


def own_paths(work_folder: str) -> tuple[str, ...]:
    """The entries of `sys.path` that are the user's: not those of the Python installation or environment."""
    installations = tuple(Path(prefix).resolve() for prefix in {sys.prefix, sys.base_prefix, sys.exec_prefix})
    found: dict[str, None] = {}
    for entry in sys.path:
        path = Path(entry or work_folder).absolute()
        inside = any(path.resolve().is_relative_to(installation) for installation in installations)
        if path.is_dir() and not (inside and not _is_project_inside(path, installations)):
            found[str(path)] = None
    return tuple(found)


def _is_project_inside(path: Path, installations: tuple[Path, ...]) -> bool:
    """Whether a folder below a prefix (a project in the home of a system-wide Python, say) is no part of it."""
    return (
        not any(
            part in ("lib", "lib64", "bin", "site-packages", "dist-packages") or part.startswith("python")
            for installation in installations
            if path.resolve().is_relative_to(installation)
            for part in path.resolve().relative_to(installation).parts
        )
        and path.resolve() not in installations
    )


def encode_task(header: Header, call: bytes) -> tuple[bytes, str]:
    """The content of the file, and its SHA-256 in hexadecimal digits."""
    content = json.dumps(asdict(header)).encode() + b"\n" + call
    return content, hashlib.sha256(content).hexdigest()


def read_task(path: Path, digest: str) -> tuple[Header, bytes]:
    """The header and the pickled call of a file.

    Raises:
        FileNotFoundError: there is none.
        DamagedError: it is not the file that `digest` was told of.
        StorageError: it cannot be read.
    """
    content = read_file(path)
    if hashlib.sha256(content).hexdigest() != digest:
        raise DamagedError(f"{path} is not what the driver wrote: its SHA-256 is not {digest}", path=str(path))
    return _split(content)


def _split(content: bytes) -> tuple[Header, bytes]:
    line, _, call = content.partition(b"\n")
    data = json.loads(line)
    for name in ("paths", "arguments", "python", "secrets"):
        data[name] = tuple(data[name])
    return Header(**data), call


def _not_called() -> None:
    raise AssertionError("the call of a task that comes from a file is in the file")
