"""What the tests of `metta-sweep run` run: pipelines and a sweep that note their calls in the file NOTES names."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from metta.sweep import Experiment, Pipeline, RetryPolicy
from metta.sweep.experiments import SweepExperiment
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.space import Uniform
from metta.sweep.trial import Trial

LONG = 120.0
"""Seconds that what is interrupted would take."""


def note(word: str) -> int:
    """Write the word down; how often it stands there now."""
    notes = Path(os.environ["NOTES"])
    with notes.open("a") as file:
        file.write(word + "\n")
    return notes.read_text().split().count(word)


class Mode(Enum):
    FAST = "fast"
    EXACT = "exact"


class Fit(NamedTuple):
    rate: float
    epoch: int


def begin(rate: float, mode: Mode = Mode.FAST) -> Fit:
    note("begin")
    print(f"the mode is {mode.value}")
    return Fit(rate, 0)


def epoch(fit: Fit) -> Fit:
    return Fit(fit.rate, fit.epoch + 1)


def judge(fit: Fit) -> float:
    if fit.rate > 1 and note("judge") <= 2:
        raise ValueError(f"the rate {fit.rate} is too large")
    return fit.rate * fit.epoch


pipeline = (
    Pipeline(rate=float, mode=Mode)
    .stage("begin", begin)
    .through(fit=Fit)
    .loop_while(lambda now: now.fit.epoch < 3)
    .stage("epoch", epoch)
    .through(fit=Fit)
    .end_loop()
    .stage("judge", judge)
    .through(score=float, retry=RetryPolicy(max_attempts=2, backoff=None))
)


def halved(x: float) -> float:
    if note("halved") == 1:
        raise OSError("not yet")
    return x / 2


of_a_value = Pipeline(float).stage("halved", halved).through(float)


class Fitting(Experiment):
    """Has a parameter; its pipeline has no input."""

    rate: float = 0.25

    def begin(self) -> Fit:
        return Fit(self.rate, 2)

    def pipeline(self) -> Pipeline:
        return Pipeline().stage("begin", self.begin).through(fit=Fit).stage("judge", judge).through(score=float)


def first() -> int:
    note("first")
    return 1


def sleep(a: int) -> int:
    if note("sleep") == 1:
        time.sleep(LONG)
    return a + 1


async def wait(a: int) -> int:
    if note("sleep") == 1:
        await asyncio.sleep(LONG)
    return a + 1


def last(b: int) -> int:
    note("last")
    return b * 10


async def linger(a: int) -> int:
    if note("sleep") == 1:
        try:
            await asyncio.sleep(LONG)
        finally:
            note("lingers")
            await asyncio.sleep(LONG)
    return a + 1


def around(stage: Callable[[int], Any]) -> Pipeline:
    begun = Pipeline().stage("first", first).through(a=int).stage("sleep", stage).through(b=int)
    return begun.stage("last", last).through(c=int)


def sleeping() -> Pipeline:
    return around(sleep)


def waiting() -> Pipeline:
    return around(wait)


def lingering() -> Pipeline:
    return around(linger)


def aloud(rate: float) -> float:
    print(f"the rate is {rate}")
    if note("aloud") == 1:
        raise OSError("not yet")
    return rate


talking = (
    Pipeline(rate=float)
    .stage("aloud", aloud)
    .through(score=float, timeout=60, retry=RetryPolicy(max_attempts=2, backoff=None))
)


def objective(trial: Trial) -> Iterator[dict[str, float]]:
    print(f"trial {trial.id} speaks")
    for step in range(3):
        if trial.id == 2 and step == 1 and note("sleep") == 1:
            time.sleep(LONG)
        yield {"score": float(trial.params["x"])}


def fails_at_first(trial: Trial) -> float:
    if trial.id == 1 and note("fails") == 1:
        raise ValueError("bad luck")
    return float(trial.params["x"])


SETTINGS: dict[str, Any] = {"search_space": {"x": Uniform(0.0, 1.0)}, "optimizer": RandomOptimizer(), "seed": 3}
slow_sweep = SweepExperiment(objective, name="slow", **SETTINGS)
failing = SweepExperiment(fails_at_first, name="failing", **SETTINGS)
