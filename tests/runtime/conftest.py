from __future__ import annotations

from collections.abc import Callable

import pytest

from metta.sweep.runtime import pauses
from tests.runtime.crossing import Runner, run_async, run_sync, run_threaded


@pytest.fixture(params=[run_sync, run_threaded, run_async], ids=["sync", "thread", "async"])
def through(request: pytest.FixtureRequest) -> Callable[..., Runner]:
    """(call, hooks, *global_hooks, shaping=) -> a function that runs the stage through its membrane."""
    flavour: Callable[..., Runner] = request.param
    return flavour


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Retries do not sleep: their pauses in seconds end up here."""
    seconds: list[float] = []

    async def on_loop(pause: float) -> None:
        seconds.append(pause)

    monkeypatch.setattr(pauses, "sleep", seconds.append)
    monkeypatch.setattr(pauses, "sleep_on_loop", on_loop)
    return seconds
