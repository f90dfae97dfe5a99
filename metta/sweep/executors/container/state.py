"""What an engine tells of a container, as the status of its job."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from typing import Any, Final

from metta.sweep.executors.outcome import signal_name
from metta.sweep.executors.remote.engine import JobStatus, Phase
from metta.sweep.executors.remote.messages import as_line
from metta.sweep.trial import FailureReason

SHORT_ID: Final = 12
"""Characters of an id that people see."""

LOST: Final = 255
"""The exit code that Docker gives a container whose end it has missed: the machine went down."""

_ENDED: Final = ("exited", "stopped", "dead")
_QUEUED: Final = ("created", "configured", "initialized")
_EXITED: Final = re.compile(r"Exited \((\d+)\)")


def shown(container: str) -> str:
    """A container for messages: "container 0123456789ab"."""
    return f"container {container[:SHORT_ID]}"


def from_listing(entry: Mapping[str, Any]) -> JobStatus | None:
    """The status of a container by its entry in the list of containers; None where only a closer look can tell."""
    worker = shown(str(entry["Id"]))
    state = str(entry.get("State", "")).lower()
    if state in _QUEUED:
        return JobStatus(Phase.QUEUED, worker=worker)
    if state not in _ENDED:
        return JobStatus(Phase.RUNNING, message=f"{worker} is {state}" if state == "paused" else "", worker=worker)
    exited = _EXITED.match(str(entry.get("Status", "")))
    if exited and exited[1] == "0":
        return JobStatus(Phase.ENDED, message=f"{worker} (exit code 0)", worker=worker)
    return None


def from_inspection(details: Mapping[str, Any], output: str) -> JobStatus:
    """The status of a container that has ended other than with code 0.

    Args:
        details: the answer of `GET /containers/ID/json`.
        output: the last it printed.
    """
    worker = shown(str(details["Id"]))
    state: Mapping[str, Any] = details["State"]
    code = int(state.get("ExitCode") or 0)
    host: Mapping[str, Any] = details.get("HostConfig") or {}
    limit = int(host.get("Memory") or 0)
    said = output.strip().splitlines()
    last = f": {as_line(said[-1])}" if said else ""
    if state.get("OOMKilled"):
        what = f"was killed: out of memory{f' (its limit is {limit / 2**20:.0f} MiB)' if limit else ''}"
        return JobStatus(Phase.ENDED, FailureReason.OOM, f"{worker} {what}", worker)
    if code == LOST:
        what = "was lost: the engine or its machine went down"
        return JobStatus(Phase.ENDED, FailureReason.NODE_LOST, f"{worker} {what}", worker)
    if code > 128:
        what = f"was ended by {signal_name(code - 128)}"
        if code == 128 + signal.SIGKILL and limit:
            what += f"; its memory limit is {limit / 2**20:.0f} MiB"
        return JobStatus(Phase.ENDED, FailureReason.KILLED, f"{worker} {what}{last}", worker)
    what = f"exit code {code}"
    if state.get("Error"):
        what += f", {state['Error']}"
    elif code in (126, 127):
        what += ", which says that its image has no such program: see python="
    return JobStatus(Phase.ENDED, None, f"{worker} ({what}{last})", worker)
