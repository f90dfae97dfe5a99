"""The real optuna-dashboard opens what was exported, and shows its numbers."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.interop import export_run
from tests.interop.sweeps import sweep

pytest.importorskip("optuna_dashboard")

WAIT_S = 60


@contextmanager
def dashboard(address: str) -> Iterator[str]:
    """A dashboard on a storage; where its API is."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = [str(Path(sys.executable).with_name("optuna-dashboard")), "--port", str(port), address]
    with subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield f"http://127.0.0.1:{port}/api"
        finally:
            process.terminate()


def ask(url: str) -> Any:
    """The answer, as soon as somebody listens."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=WAIT_S) as answer:
                return json.load(answer)
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@pytest.mark.slow
def test_the_dashboard_shows_what_the_sweep_found(tmp_path: Path) -> None:
    result = sweep(tmp_path / "store")
    told = export_run(result, "optuna", path=tmp_path / "sweep.log")
    with dashboard(told.rpartition("optuna-dashboard ")[2]) as api:
        (study,) = ask(f"{api}/studies")["study_summaries"]
        assert (study["study_name"], study["directions"]) == (result.run_id, ["maximize"])
        found = ask(f"{api}/studies/{study['study_id']}?after=0")
    assert found["objective_names"] == ["score"]
    assert [trial["number"] for trial in found["best_trials"]] == [result.best_trial.id]
    states = {"completed": "Complete", "pruned": "Pruned", "failed": "Fail"}
    assert [trial["state"] for trial in found["trials"]] == [states[trial.state.value] for trial in result.trials]
    for shown, trial in zip(found["trials"], result.trials, strict=True):
        steps = [(value["step"], value["value"]) for value in shown["intermediate_values"]]
        assert steps == [(report.step, report.metrics["score"]) for report in trial.reports]
        params = {param["name"]: param["param_external_value"] for param in shown["params"]}
        assert params == {path: str(value) for path, value in trial.params.items() if path != "api_token"}
        assert shown.get("values") == (None if trial.score is None else [trial.score])
