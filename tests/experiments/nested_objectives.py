"""Objectives, optimizers and experiments of the tests on nested experiments; workers import them by name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from metta.sweep.errors import UsageError
from metta.sweep.experiments import Experiment, Pipeline, SweepExperiment, SweepResult
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.schedulers import Scheduler
from metta.sweep.space import Uniform
from metta.sweep.trial import Trial

SPACE = {"x": Uniform(0.0, 1.0)}


def quadratic(trial: Trial) -> float:
    """Largest, 1, at x = 0.3."""
    return 1.0 - float((trial.params["x"] - 0.3) ** 2)


def loss(trial: Trial) -> float:
    """Least, 0, at x = 0.3."""
    return float((trial.params["x"] - 0.3) ** 2)


def noted(trial: Trial) -> float:
    """`quadratic`; leaves a line in the file NOTES for each call."""
    with Path(os.environ["NOTES"]).open("a") as notes:
        notes.write(f"{trial.params['x']:.12f}\n")
    return quadratic(trial)


def broken(trial: Trial) -> float:
    """Fails."""
    raise ValueError("no such layer")


def endless(trial: Trial) -> Iterator[float]:
    """Reports for ever; leaves its process in the folder WORKERS."""
    Path(os.environ["WORKERS"], str(os.getpid())).touch()
    while True:
        yield quadratic(trial)


def priced(trial: Trial) -> Iterator[dict[str, float]]:
    """Three epochs, each at a cost of 2."""
    for epoch in range(1, 4):
        yield {"score": quadratic(trial), "price": 2.0 * epoch}


def random_sweep(objective: Any = quadratic, **settings: Any) -> SweepExperiment:
    """A small sweep that gives the same under the same seed."""
    return SweepExperiment(objective, search_space=SPACE, optimizer=RandomOptimizer(), **settings)


class Shifted(RandomOptimizer):
    """Random search in a part of the space, which a sweep of sweeps may tune."""

    def __init__(self, search_space: Any = None, *, region: float = 0.0, seed: int | None = None) -> None:
        super().__init__(search_space, seed=seed)
        if not 0 <= region <= 1:
            raise UsageError(f"region={region!r}: expected a number from 0 to 1")
        self.region = region

    def suggest(self, n: int) -> list[Trial]:
        return [Trial({"x": self.region}, tag=trial.tag) for trial in super().suggest(n)]

    def tunables(self) -> dict[str, Uniform]:
        return {"region": Uniform(0.0, 1.0)}


class StopSecond(Scheduler):
    """Stops trial 1 after its second report."""

    def should_stop(self, trial: Trial) -> bool:
        return trial.id == 1 and trial.step >= 2


class TwoSweeps(Experiment[float]):
    """A pipeline that runs two sweeps."""

    nests = True

    def __init__(self, trials: int = 2) -> None:
        self.trials = trials

    def pipeline(self) -> Pipeline:
        return (
            Pipeline()
            .stage("first", random_sweep(name="first", seed=1), budget=self.trials)
            .through(first=SweepResult)
            .stage("second", self.second)
            .through(second=float)
            .stage("best", self.best)
            .through(float)
        )

    async def second(self) -> float:
        """A sweep that is awaited."""
        return (await random_sweep(name="second", seed=2).run(budget=self.trials)).best_score

    def best(self, first: SweepResult, second: float) -> float:
        """The better of both."""
        return max(first.best_score, second)


def sweeping(trial: Trial) -> float:
    """An objective that runs a sweep itself, in its worker."""
    return random_sweep(noted, name="inside", seed=3).run(budget=2).best_score


def sweeping_per_epoch(trial: Trial) -> Iterator[float]:
    """A sweep of its own for each epoch; goes on from the epoch that was saved."""
    done = trial.load() or 0
    for epoch in range(done, 4):
        best = random_sweep(noted, name="inside", seed=epoch).run(budget=1).best_score
        trial.save(epoch + 1)
        yield best


def mended(trial: Trial) -> float:
    """Fails until the file NOTES has something in it."""
    if not Path(os.environ["NOTES"]).read_text():
        raise ValueError("not mended yet")
    return quadratic(trial)


class Asking(Experiment[Any]):
    """A pipeline whose async stage reports, asks whether to go on, and runs another sweep."""

    nests = True

    def __init__(self, seed: int = 0, after: int = 0) -> None:
        self.seed = seed
        self.after = after

    def pipeline(self) -> Pipeline:
        return Pipeline(trial=Trial).stage("go", self.go).through(done=bool)

    async def go(self, trial: Trial) -> bool:
        """One sweep, one report, and what comes after it."""
        best = (await random_sweep(name="inside", seed=self.seed).run(budget=1)).best_score
        trial.report({"score": best})
        trial.should_stop()
        if self.after:
            await random_sweep(name="after", seed=self.seed).run(budget=self.after)
        return True


class Holding(Experiment[float]):
    """Runs a sweep that it has in an attribute."""

    nests = True

    def __init__(self, sweep: SweepExperiment, trials: int = 1) -> None:
        self.sweep = sweep
        self.trials = trials

    def pipeline(self) -> Pipeline:
        return Pipeline().stage("go", self.go).through(float)

    async def go(self) -> float:
        """The sweep."""
        return (await self.sweep.run(budget=self.trials)).best_score
