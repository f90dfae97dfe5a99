"""Stores for the tests of the pages: runs that are there as a driver leaves them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import durability
from metta.sweep import Context, Experiment, Pipeline, Trial
from metta.sweep.executors.base import Answer, EventStream, Failed, Finished, Reported, Started, Task
from metta.sweep.executors.objective import Outcome
from metta.sweep.experiments import SweepExperiment
from metta.sweep.experiments.base import Pipeline as AnyPipeline
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.space import Choice, SearchSpace, Uniform
from metta.sweep.store.entries import Entry, Event, ReportEntry
from metta.sweep.store.run import Run, RunInfo
from metta.sweep.store.runs import Store
from metta.sweep.trial import FailureReason, Report

EVIL = """<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'";\u202eltr &amp; {{ 7*7 }}"""
"""A text that must only ever be a text."""


def objective(trial: Trial) -> float:
    """Never called: `Instantly` knows what becomes of a trial."""
    return 0.0


class Instantly(durability.Instantly):
    """Its trials report two steps; every fourth fails."""

    def submit(self, task: Task, events: EventStream) -> None:
        trial: Trial = task.args[1]
        events.put(Started(task.token, f"worker {EVIL}"))
        if trial.id % 4 == 3:
            trace = f'Traceback (most recent call last):\n  File "/home/me/train.py", line 7, in fit\n{EVIL}\n'
            events.put(Failed(task.token, FailureReason.USER_ERROR, f"no luck with {EVIL}", trace))
            return
        for step in (1, 2):
            score = float(trial.params["x"]) * step
            events.put(Reported(task.token, step, Report(step, {"score": score, EVIL: float(step)})))
        events.put(Finished(task.token, Outcome(None, 2, Answer.CONTINUE)))


def sweep(store: Path, name: str = "small", trials: int = 8) -> RunInfo:
    """A sweep of so many trials; one of its parameters is called and set in a hostile way."""
    experiment = SweepExperiment(
        objective,
        name=name,
        search_space=SearchSpace({"x": Uniform(0.0, 1.0), EVIL: Choice([EVIL, "plain"])}),
        optimizer=RandomOptimizer(),
        executor=Instantly(1),
        seed=1,
        store=store,
    )
    assert len(experiment.run(trials).trials) == trials
    return Store.at(store).all()[0]


def double(x: float) -> float:
    return 2 * x


def fail(doubled: float) -> float:
    raise ValueError(f"{doubled} is wrong: {EVIL}")


class Inner(Experiment[Context]):
    """Its second stage fails."""

    def pipeline(self) -> AnyPipeline:
        return Pipeline(x=float).stage("double", double).through(doubled=float).stage("fail", fail).through(y=float)


class Outer(Experiment[Context]):
    """Starts a run of `Inner`."""

    def pipeline(self) -> AnyPipeline:
        return Pipeline(x=float).stage("inner", Inner()).through(y=float)


def failed_pipeline(store: Path) -> RunInfo:
    """A pipeline's run that has started another, whose second stage has failed."""
    with pytest.raises(ValueError, match="is wrong"):
        Outer().run(x=1.0, store=store).value  # noqa: B018  # waits
    return Store.at(store).all()[0]


def damaged(store: Path) -> RunInfo:
    """A run whose manifest is cut off."""
    folder = store / "runs" / "broken-20260101-000000-abcd"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text('{"name":')
    return Store.at(store).find(folder.name)


def log(info: RunInfo, text: bytes, path: str = "trials/trial-0000/log.txt") -> str:
    """A log of a run; its path."""
    file = info.folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text)
    return path


def story(info: RunInfo) -> list[Entry | ReportEntry]:
    """All that a run has written, to be written again."""
    with Run.open(info.folder, write=False) as run:
        return [
            Entry(entry.kind, entry.subject, entry.data, entry.time)
            if isinstance(entry, Event)
            else ReportEntry(entry.trial, entry.step, entry.metrics, entry.time)
            for entry in run.journal.entries()
        ]
