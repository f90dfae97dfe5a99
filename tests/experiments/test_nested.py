"""Experiments inside experiments: in async and sync stages, as a stage, as the base of a sweep."""

from __future__ import annotations

import asyncio
from typing import NamedTuple, assert_type

from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import (
    Experiment,
    Pipeline,
    Run,
    SweepExperiment,
    SweepResult,
    TrainingExperiment,
    TrainingResult,
)
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.schedulers import SynchronousBatchScheduler
from metta.sweep.space import Uniform
from metta.sweep.trial import Trial


def score(trial: Trial) -> float:
    return 1.0 - abs(float(trial.params["x"]) - 0.5)


def small_sweep(name: str = "inner", seed: int = 0) -> SweepExperiment:
    return SweepExperiment(
        score,
        name=name,
        optimizer=RandomOptimizer({"x": Uniform(0.0, 1.0)}),
        scheduler=SynchronousBatchScheduler(batch_size=2),
        executor=lambda: LocalExecutor(max_workers=1),
        seed=seed,
    )


class TaskResults(NamedTuple):
    best: float
    trials: int


class TwoSweeps(Experiment[TaskResults]):
    """A sweep awaited in an async stage, another waited for in a sync stage."""

    def pipeline(self) -> Pipeline:
        return (
            Pipeline()
            .stage("first", self.first)
            .through(first=float)
            .stage("second", self.second)
            .through(second=float)
            .stage("both", self.both)
            .through(TaskResults)
        )

    async def first(self) -> float:
        return (await small_sweep("first", seed=1).run(budget=3)).best_score

    def second(self) -> float:
        return small_sweep("second", seed=2).run(budget=3).best_score

    def both(self, first: float, second: float) -> TaskResults:
        return TaskResults(max(first, second), 6)


def test_sweeps_in_async_and_sync_stages() -> None:
    run = TwoSweeps().run()
    assert_type(run, Run[TaskResults])
    alone = [small_sweep(seed=seed).run(budget=3).best_score for seed in (1, 2)]
    assert run.value == TaskResults(max(alone), 6)


def test_a_sweep_is_a_stage_that_gives_its_result() -> None:
    def report(result: SweepResult) -> float:
        return result.best_score

    pipeline = (
        Pipeline()
        .stage("tune", small_sweep(), budget=4)
        .through(result=SweepResult)
        .stage("report", report)
        .through(float)
    )
    assert pipeline.compile().run() == small_sweep().run(budget=4).best_score


def test_many_runs_wait_for_many_runs() -> None:
    """Sync stages that block on nested runs, more of them than any pool has threads."""

    class Leaf(Experiment[int]):
        def pipeline(self) -> Pipeline:
            return Pipeline().stage("one", lambda: 1).through(int)

    class Level(Experiment[int]):
        def __init__(self, children: list[Experiment[int]]) -> None:
            self.children = children

        def pipeline(self) -> Pipeline:
            return Pipeline().stage("sum", self.total).through(int)

        def total(self) -> int:
            runs = [child.run() for child in self.children]
            return sum(run.value for run in runs)

    middle = [Level([Leaf() for _ in range(3)]) for _ in range(20)]
    assert Level([*middle]).run().value == 60


def test_a_sweep_of_sweeps() -> None:
    inner = SweepExperiment(
        score,
        optimizer=RandomOptimizer({"x": Uniform(0.0, 1.0)}),
        scheduler=SynchronousBatchScheduler(batch_size=2),
        executor=lambda: LocalExecutor(max_workers=1),
        seed=3,
        budget=4,
    )
    outer = SweepExperiment(inner, executor=lambda: LocalExecutor(max_workers=2), seed=1)
    result = outer.run(budget=3)
    assert not result.failures, str(result)
    assert list(result.best_params) == ["scheduler.batch_size"]
    # The inner optimizer is random, so its batch size changes nothing.
    assert {trial.score for trial in result.trials} == {inner.run().best_score}


def test_the_types_are_right_awaited_and_not() -> None:
    async def types() -> None:
        assert_type(await small_sweep().run(budget=1), SweepResult)
        assert_type(await TrainingExperiment(max_epochs=1).run(), TrainingResult)

    assert_type(small_sweep().run(budget=1).best_score, float)
    assert_type(TrainingExperiment(max_epochs=1).run().score, float)
    asyncio.run(types())
