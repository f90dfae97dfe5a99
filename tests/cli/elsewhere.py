"""What the tests of executors on the command line run: stages and trials in jobs that outlive their driver."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

from metta.sweep import Pipeline
from metta.sweep.executors.base import Task
from metta.sweep.experiments import MetaSweepExperiment, SweepExperiment
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.space import Integer, Uniform
from metta.sweep.trial import Resources, Trial
from tests.cli.runnable import note
from tests.executors.process_engine import ProcessExecutor


def here() -> Path:
    """The folder of the test."""
    return Path(os.environ["NOTES"]).parent


class Elsewhere(ProcessExecutor):
    """Its engine is in the folder of the test."""

    def __init__(self, *, max_jobs: int | None = None, spool: Path | None = None, down: str | None = None) -> None:
        super().__init__(here() / "engine", spool=spool, max_jobs=max_jobs, poll_interval=0.05)
        self.engine.down = down

    def describe(self, task: Task) -> str:
        return f"{task.name}: {super().describe(task)}"


def first(x: int) -> int:
    return x + int(os.environ.get("ADDED", "0"))


def slow(a: int) -> int:
    note("began")
    print(f"a is {a}")
    while not (here() / "go").exists():
        time.sleep(0.02)
    note("ended")
    return a * 10


def last(b: int) -> int:
    return b + os.getpid() * 0


def around(**hooks: object) -> Pipeline:
    begun = Pipeline(x=int).stage("first", first).through(a=int)
    return begun.stage("slow", slow).through(b=int, **hooks).stage("last", last).through(c=int)


mixed = around(executor=Elsewhere, resources=Resources(cpus=2, partition="long"))
down = around(executor=partial(Elsewhere, down="the engine is being moved: come back tomorrow"))


def objective(trial: Trial) -> float:
    note(f"process-{os.getppid()}")
    return float(trial.params["x"])


sweep = SweepExperiment(
    objective, name="elsewhere", search_space={"x": Uniform(0.0, 1.0)}, optimizer=RandomOptimizer(), seed=3
)
sweep_of_sweeps = MetaSweepExperiment(
    base_experiment=sweep, meta_optimizer=RandomOptimizer(), meta_search_space={"seed": Integer(1, 9)}, inner_budget=1
)
