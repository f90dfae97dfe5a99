"""Sweeps whose trials run on an engine: `python -m tests.experiments.remote_sweeps FOLDER ENGINE [RUN]` runs one."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from metta.sweep.executors.base import Executor
from metta.sweep.executors.local import LocalExecutor
from metta.sweep.experiments import SweepExperiment
from metta.sweep.experiments.results import SweepResult
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.schedulers.hyperband import HyperbandScheduler
from metta.sweep.space import Uniform
from metta.sweep.trial import Trial
from tests.executors.process_engine import ProcessExecutor

STEPS = 9


def training(trial: Trial) -> None:
    """Notes every step that it really does; sees whether to stop after each."""
    state = trial.load() or {"step": 0, "total": 0.0}
    for step in range(state["step"] + 1, STEPS + 1):
        time.sleep(0.03)
        total = state["total"] + trial.params["x"] * step
        print(f"did {step}")
        state = {"step": step, "total": total}
        trial.save(state)
        trial.report({"score": total}, step)
        if trial.should_stop():
            return


def sweep(folder: Path, executor: Executor) -> SweepExperiment:
    return SweepExperiment(
        training,
        search_space={"x": Uniform(0.0, 1.0)},
        optimizer=RandomOptimizer(),
        scheduler=HyperbandScheduler(9, 3),
        executor=executor,
        store=folder / "store",
        seed=3,
    )


def table(result: SweepResult) -> list[dict[str, Any]]:
    return [
        {
            "id": trial.id,
            "params": dict(trial.params),
            "state": trial.state.value,
            "steps": [report.step for report in trial.reports],
            "scores": [report.metrics["score"] for report in trial.reports],
        }
        for trial in result.trials
    ]


def run(folder: Path, engine: str, resume: bool) -> SweepResult:
    with ProcessExecutor(folder / "engine", max_jobs=3) if engine == "process" else LocalExecutor(3) as executor:
        return sweep(folder, executor).run(resume=resume, progress=False).value


if __name__ == "__main__":
    print(json.dumps(table(run(Path(sys.argv[1]), sys.argv[2], len(sys.argv) > 3))))
