"""Waiting for events and for processes, always with an upper bound that no healthy run comes near."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from metta.sweep.executors import Event, EventStream, Executor, Failed, Finished, Task

PATIENCE = 60.0
"""Seconds; only a test that fails waits so long."""

_numbers = itertools.count()


def start(executor: Executor, fn: Callable[..., object], *args: Any, **options: Any) -> tuple[str, EventStream]:
    stream = executor.events()
    task = Task(f"task-{next(_numbers)}", fn, args, **options)
    executor.submit(task, stream)
    return task.token, stream


def read_to_end(stream: EventStream) -> list[Event]:
    events = [stream.get(PATIENCE)]
    while not isinstance(events[-1], Finished | Failed):
        events.append(stream.get(PATIENCE))
    return events


def last(stream: EventStream) -> Finished | Failed:
    end = read_to_end(stream)[-1]
    assert isinstance(end, Finished | Failed)
    return end


def run(executor: Executor, fn: Callable[..., object], *args: Any, **options: Any) -> Any:
    """The result of a task that must not fail."""
    end = last(start(executor, fn, *args, **options)[1])
    assert isinstance(end, Finished), end
    return end.result


def fail(executor: Executor, fn: Callable[..., object], *args: Any, **options: Any) -> Failed:
    """The end of a task that must fail."""
    end = last(start(executor, fn, *args, **options)[1])
    assert isinstance(end, Failed), end
    return end


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether the condition became true; for what other processes do, which nothing tells us of."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.005)
    return False


def read_when_there(path: Path) -> str:
    assert eventually(lambda: path.exists() and path.read_text() != "")
    return path.read_text()


def lives(process: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        os.kill(process, 0)
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except (ProcessLookupError, FileNotFoundError):
        return False


def zombies(parent: int) -> list[int]:
    """Process ids of the zombies below a process."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, owner, *_ = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if state == "Z" and int(owner) == parent:
                found.append(int(entry.name))
    return found
