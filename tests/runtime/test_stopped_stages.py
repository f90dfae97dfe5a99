"""A time-out really stops the stage, from the user's pipeline to the operating system."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from metta.sweep import Pipeline, RetryPolicy, StageTimeout


def hang(folder: Path) -> int:
    """Never ends by itself; leaves its process id behind."""
    (folder / str(os.getpid())).touch()
    while True:
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_a_sync_stage_is_killed_and_every_attempt_counts(tmp_path: Path) -> None:
    policy = RetryPolicy(max_attempts=2, backoff=None)
    graph = Pipeline(folder=Path).stage("hang", hang).through(code=int, timeout=1, retry=policy).compile()
    with pytest.raises(StageTimeout, match='stage "hang" was stopped after its time-out of 1 s') as raised:
        graph.run(folder=tmp_path)
    assert "failed after 2 attempts" in "".join(raised.value.__notes__)
    started = [int(path.name) for path in tmp_path.iterdir()]
    assert len(started) == 2
    assert os.getpid() not in started
    assert not any(is_alive(pid) for pid in started)


def test_what_stands_in_for_a_stopped_stage(tmp_path: Path) -> None:
    def instead(error: Exception) -> int:
        return -1 if isinstance(error, StageTimeout) else -2

    graph = Pipeline(folder=Path).stage("hang", hang).through(code=int, timeout=1, on_error=instead).compile()
    assert graph.run(folder=tmp_path).code == -1


def test_an_async_stage_is_cancelled() -> None:
    seen: list[str] = []

    async def wait(x: int) -> int:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("cleaned up")
        return x

    graph = Pipeline(x=int).stage("wait", wait).through(y=int, timeout=0.05).compile()
    with pytest.raises(StageTimeout):
        graph.run(x=1)
    assert seen == ["cleaned up"]


def test_a_stage_that_ends_in_time_gives_its_result_from_another_process(tmp_path: Path) -> None:
    def where(x: int) -> tuple[int, int]:
        return os.getpid(), x + 1

    graph = Pipeline(x=int).stage("where", where).through(pid=int, y=int, timeout=60).compile()
    result = graph.run(x=1)
    assert result.y == 2
    assert result.pid != os.getpid()
