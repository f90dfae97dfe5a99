"""Curricula as what is optimized: the best of several orders of tasks, and orders that evolve."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from metta.sweep.errors import UsageError
from metta.sweep.executors.base import Executor
from metta.sweep.experiments.arguments import checked_part, checked_seed, checked_text
from metta.sweep.experiments.base import Experiment, Pipeline
from metta.sweep.experiments.curriculum.experiment import CurriculumExperiment
from metta.sweep.experiments.curriculum.schedulers import (
    AdaptiveScheduler,
    CurriculumScheduler,
    DifficultyRampScheduler,
    InterleaveScheduler,
    RandomScheduler,
)
from metta.sweep.experiments.places import DEFAULT, StoreLike
from metta.sweep.experiments.plan import arguments
from metta.sweep.experiments.results import SweepResult
from metta.sweep.experiments.sweep import SweepExperiment
from metta.sweep.goal import Direction
from metta.sweep.schedulers.base import Scheduler, positive


class TaskSchedulerOptimization(SweepExperiment):
    """Finds out which order of the tasks serves a curriculum best.

    Every strategy is tried as often as the others, with `repeats` seeds. It is a sweep over the curriculum's
    `scheduler`: `result.best_params["scheduler"]` is the best one, `result.ranking` has all of them.

    Args:
        strategies: what is compared; None for one of each kind.
        base: the curriculum, an instance or its class.
        repeats: curricula per strategy, each with its own seed.
        scheduler: of the sweep over the strategies, say how many run at once; None: `AsynchronousScheduler`.
        executor: where the trials of all curricula run; None: a `LocalExecutor`.
        seed: makes it repeatable.
        store: see `SweepExperiment`.
        name: for messages, drawings and the result.

    Raises:
        UsageError: a strategy is none, or is there twice, or the base is no curriculum.
    """

    def __init__(
        self,
        strategies: Sequence[CurriculumScheduler] | None = None,
        *,
        base: CurriculumExperiment | type[CurriculumExperiment] = CurriculumExperiment,
        repeats: int = 3,
        scheduler: Scheduler | None = None,
        executor: Executor | Callable[[], Executor] | None = None,
        seed: int | None = None,
        store: StoreLike = DEFAULT,
        name: str = "task_schedulers",
    ) -> None:
        from metta.sweep.optimizers.grid import GridOptimizer
        from metta.sweep.space import Choice

        curriculum = _checked_curriculum(base)
        chosen = every_kind() if strategies is None else _checked_schedulers("strategies", strategies)
        super().__init__(
            curriculum,
            name=name,
            search_space={"scheduler": Choice(chosen)},
            optimizer=GridOptimizer(),
            scheduler=scheduler,
            executor=executor,
            goal=curriculum.goal,
            seed=seed,
            store=store,
            repeats=repeats,
        )

    def best_strategy(self, result: SweepResult) -> CurriculumScheduler:
        """The best strategy in a result of this experiment.

        Raises:
            RunError: none has a score.
        """
        best: CurriculumScheduler = result.best_params["scheduler"]
        return best


class Generation(NamedTuple):
    """A generation that has been evaluated: its schedulers, and what each one's curriculum reached."""

    population: list[CurriculumScheduler]
    performances: list[float]


class Evolving(NamedTuple):
    """A population that evolves.

    Attributes:
        population: to be evaluated next.
        generation: how many were evaluated.
        known: id of a scheduler -> its performance, of the survivors.
        history: the generations that were evaluated.
    """

    population: list[CurriculumScheduler]
    generation: int
    known: dict[str, float]
    history: list[Generation]


@dataclass(frozen=True, slots=True)
class CurriculumOptimizationResult:
    """What has evolved.

    Attributes:
        score: the best performance.
        best_scheduler: the scheduler that reached it.
        history: all generations.
    """

    score: float
    best_scheduler: CurriculumScheduler
    history: tuple[Generation, ...]

    @property
    def final_performance(self) -> float:
        """The same as `score`."""
        return self.score


class CurriculumOptimizationExperiment(Experiment[CurriculumOptimizationResult]):
    """Evolves the order of the tasks of a curriculum, as population based training evolves hyperparameters.

    In each generation every scheduler of the population gets a curriculum. The best of them survive as they are; the
    places of the others are taken by mutated copies of survivors (truncation selection, Jaderberg et al., 2017,
    section 4.1.1). A mutation moves every setting of a scheduler (`CurriculumScheduler.mutated`); now and then it turns
    to another kind of scheduler. So the sequence of the tasks, the criteria of progress and the ramp all evolve.

    All curricula have the same seed, so that they differ by their schedulers only, and a survivor keeps its
    performance without another curriculum.

    Args:
        schedulers: the first ones of the population; None for one of each kind. The rest are mutated copies of them.
        base: the curriculum, an instance or its class; its `scheduler` does not count.
        population_size: schedulers per generation; at least as many as are given.
        generations: how many are evaluated.
        survivors: share of the population that survives, at least one.
        switch_probability: of a mutation that turns to another of the kinds in `schedulers`.
        max_parallel: curricula at once; None for all of a generation.
        executor: where the trials of all curricula run; None for that of the sweep around it, else a `LocalExecutor`.
        seed: of the mutations.
        name: for messages, drawings and the store.

    Raises:
        UsageError: a number is out of its range, or two schedulers have the same id.
    """

    nests = True

    def __init__(
        self,
        schedulers: Sequence[CurriculumScheduler] | None = None,
        *,
        base: CurriculumExperiment | type[CurriculumExperiment] = CurriculumExperiment,
        population_size: int = 8,
        generations: int = 10,
        survivors: float = 0.25,
        switch_probability: float = 0.1,
        max_parallel: int | None = None,
        executor: Executor | Callable[[], Executor] | None = None,
        seed: int = 0,
        name: str = "curriculum_optimization",
    ) -> None:
        self.name: str = checked_text("name", name)
        self.base: CurriculumExperiment = _checked_curriculum(base)
        self.schedulers: tuple[CurriculumScheduler, ...] = (
            every_kind() if schedulers is None else _checked_schedulers("schedulers", schedulers)
        )
        self.population_size: int = positive("population_size", population_size)
        if len(self.schedulers) > population_size:
            raise UsageError(f"population_size={population_size}: there are {len(self.schedulers)} schedulers already")
        self.generations: int = positive("generations", generations)
        self.survivors: float = _share("survivors", survivors)
        self.switch_probability: float = _share("switch_probability", switch_probability)
        self.max_parallel: int | None = None if max_parallel is None else positive("max_parallel", max_parallel)
        self.executor = executor
        self.seed: int = checked_seed(seed) or 0

    @property
    def goal(self) -> Direction:
        """The direction of the curriculum: what this finds is one of its performances."""
        return self.base.goal

    def pipeline(self) -> Pipeline:
        """Generation after generation: evaluate the curricula, let their schedulers evolve."""
        return (
            Pipeline()
            .stage("init_population", self.create_curriculum_population, settings=self._settings())
            .through(
                population=list[CurriculumScheduler], generation=int, known=dict[str, float], history=list[Generation]
            )
            .loop_while(lambda now: now.generation < self.generations)
            .map("evaluate_curricula", self.run_curriculum, over="population", max_parallel=self.max_parallel)
            .through(performances=list[float])
            .stage("evolve", self.evolve_curriculum_strategies)
            .through(
                population=list[CurriculumScheduler], generation=int, known=dict[str, float], history=list[Generation]
            )
            .end_loop()
            .stage("conclude", self.conclude)
            .through(CurriculumOptimizationResult)
        )

    def create_curriculum_population(self, settings: Mapping[str, Any]) -> Evolving:
        """The first generation.

        Args:
            settings: of the experiment. They belong to what the run is recorded as: it does not go on with others.
        """
        chances = self._chances(0)
        given = self.schedulers
        copies = [
            self._labelled(given[index % len(given)].mutated(chances), 0, index)
            for index in range(len(given), self.population_size)
        ]
        return Evolving([*given, *copies], 0, {}, [])

    async def run_curriculum(self, scheduler: CurriculumScheduler, known: dict[str, float]) -> float:
        """What the curriculum with this scheduler reaches; a child run, unless it is known."""
        if scheduler.id in known:
            return known[scheduler.id]
        curriculum = self.base.with_params({"scheduler": scheduler, "name": f"{self.base.name}: {scheduler.id}"})
        result = await curriculum.run()
        return result.final_performance

    def evolve_curriculum_strategies(
        self,
        population: list[CurriculumScheduler],
        performances: list[float],
        generation: int,
        history: list[Generation],
    ) -> Evolving:
        """The next generation: survivors, best first, and mutated copies of them."""
        ranked = sorted(zip(population, performances, strict=True), key=lambda pair: self._loss(pair[1]))
        kept = ranked[: max(1, round(self.survivors * len(ranked)))]
        parents = [scheduler for scheduler, _ in kept]
        chances = self._chances(generation + 1)
        children = [
            self._labelled(self._child(chances.choice(parents), chances), generation + 1, index)
            for index in range(len(parents), self.population_size)
        ]
        known = {scheduler.id: performance for scheduler, performance in kept}
        return Evolving([*parents, *children], generation + 1, known, [*history, Generation(population, performances)])

    def conclude(self, history: list[Generation]) -> CurriculumOptimizationResult:
        """The best of all generations; of equals the one that was there first."""
        pairs = [pair for each in history for pair in zip(each.population, each.performances, strict=True)]
        scheduler, performance = min(pairs, key=lambda pair: self._loss(pair[1]))
        return CurriculumOptimizationResult(performance, scheduler, tuple(history))

    def _child(self, parent: CurriculumScheduler, chances: random.Random) -> CurriculumScheduler:
        others = [scheduler for scheduler in self.schedulers if type(scheduler) is not type(parent)]
        switches = chances.random() < self.switch_probability and others
        return (chances.choice(others) if switches else parent).mutated(chances)

    def _labelled(self, scheduler: CurriculumScheduler, generation: int, index: int) -> CurriculumScheduler:
        return replace(scheduler, label=f"{scheduler.name} {generation}.{index}")

    def _chances(self, generation: int) -> random.Random:
        return random.Random(f"{self.seed}/{generation}")

    def _loss(self, performance: float) -> float:
        if math.isnan(performance):
            return math.inf
        return -performance if self.goal == "maximize" else performance

    def _settings(self) -> dict[str, Any]:
        own = {"schedulers": [{"name": each.name, **arguments(each, ())} for each in self.schedulers]}
        # Parallelism does not change what comes of it, and more generations go on from what is there.
        settings = {**super()._settings(), **own, "base": self.base._settings()}
        return {name: value for name, value in settings.items() if name not in ("max_parallel", "generations")}

    def _leaf_executor(self) -> Executor | Callable[[], Executor] | None:
        return self.executor


def every_kind() -> tuple[CurriculumScheduler, ...]:
    """One scheduler of each kind, with its default settings."""
    return RandomScheduler(), DifficultyRampScheduler(), InterleaveScheduler(), AdaptiveScheduler()


def _checked_curriculum(base: object) -> CurriculumExperiment:
    if isinstance(base, type) and issubclass(base, CurriculumExperiment):
        return base()
    if not isinstance(base, CurriculumExperiment):
        raise UsageError(f"base={base!r}: expected a CurriculumExperiment, an instance or its class")
    return base


def _checked_schedulers(name: str, schedulers: Sequence[CurriculumScheduler]) -> tuple[CurriculumScheduler, ...]:
    if not isinstance(schedulers, Sequence) or not schedulers:
        raise UsageError(f"{name}={schedulers!r}: expected a list of curriculum schedulers, at least one")
    checked = tuple(checked_part(name, each, CurriculumScheduler) for each in schedulers)
    ids = [each.id for each in checked]
    for each in ids:
        if ids.count(each) > 1:
            raise UsageError(f"{name} has {each!r} twice: give them different settings or labels")
    return checked


def _share(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise UsageError(f"{name}={value!r}: expected a number from 0 to 1")
    return float(value)
