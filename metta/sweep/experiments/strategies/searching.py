"""The sweeps that strategies run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from metta.sweep.errors import RunError, UsageError
from metta.sweep.experiments.strategies.known import different, observations, ranking, trials_in
from metta.sweep.experiments.strategies.problem import Problem
from metta.sweep.experiments.strategies.records import FittedModel, Found, Validation

if TYPE_CHECKING:
    from metta.sweep.experiments.results import SweepResult
    from metta.sweep.optimizers.base import Optimizer
    from metta.sweep.schedulers.base import Scheduler
    from metta.sweep.space import SearchSpace
    from metta.sweep.trial import Trial

WHOLE_GRID: Final = 10**9
"""A budget that no grid uses up."""


@dataclass(frozen=True)
class Phase:
    """One run of a strategy.

    Attributes:
        strategy: its name.
        problem: what it searches.
        known: all trials known before.
        start: those that it begins with.
        seed: of its sweep.
    """

    strategy: str
    problem: Problem
    known: Sequence[Trial]
    start: Sequence[Trial]
    seed: int | None

    @classmethod
    def of(
        cls, owner: object, strategy: str, known: object, init_from: Sequence[Trial] | None, seed: int | None
    ) -> Self:
        """The phase of an experiment.

        Args:
            known: what its stage was given.
            init_from: the setting: these are the start, instead of all that is known.
        """
        problem = Problem.of(owner, strategy)
        earlier = trials_in(known)
        start = earlier if init_from is None else trials_in(init_from)
        earlier = trials_in([earlier, start])
        return cls(strategy, problem, earlier, start, problem.seed_for(strategy, len(earlier), seed))

    def best_first(self, trials: Sequence[Trial]) -> list[Trial]:
        """The trials with a score, best first."""
        return ranking(trials, self.problem.direction, self.problem.full)

    async def search(
        self,
        optimizer: Optimizer,
        trials: int | None,
        *,
        share: float = 1.0,
        seconds: float | None = None,
        scheduler: Scheduler | None = None,
        space: SearchSpace | None = None,
        warm_start: Sequence[Trial] = (),
    ) -> Found:
        """Run a sweep.

        Args:
            optimizer: what to try next.
            trials: configurations; None for the scheduler's natural end.
            share: of a full training, for each.
            seconds: the time limit of a trial; None for none.
            scheduler: None to train each trial up to its share.
            space: None for the problem's.
            warm_start: what the optimizer hears of before it begins.

        Raises:
            RunError: no trial that is known now has a score.
        """
        from metta.sweep.schedulers import AsynchronousScheduler

        if scheduler is None:
            scheduler = AsynchronousScheduler(max_resource=self.problem.resource(self.strategy, share))
        result = await self.sweep(optimizer, scheduler, trials, seconds=seconds, space=space, warm_start=warm_start)
        return self.found(result.trials)

    async def sweep(
        self,
        optimizer: Optimizer,
        scheduler: Scheduler,
        trials: int | None,
        *,
        seconds: float | None = None,
        space: SearchSpace | None = None,
        warm_start: Sequence[Trial] = (),
        repeats: int = 1,
    ) -> SweepResult:
        """Run a sweep and give its result. Arguments and errors as those of `search`."""
        from metta.sweep.experiments.sweep import SweepExperiment
        from metta.sweep.trial import Resources

        problem = self.problem
        sweep = SweepExperiment(
            problem.base,
            name=self.strategy,
            search_space=problem.space if space is None else space,
            optimizer=optimizer,
            scheduler=scheduler,
            executor=problem.executor,
            metric_key=problem.metric_key,
            goal=problem.direction,
            seed=self.seed,
            repeats=repeats,
            resources=None if seconds is None else Resources(time_limit=seconds),
            warm_start=observations(warm_start),
        )
        return await sweep.run(budget=trials)

    def found(self, trials: Sequence[Trial]) -> Found:
        """What is known now.

        Raises:
            RunError: no trial has a score.
        """
        observed = trials_in([*self.known, *trials])
        best = self.best_first(observed)
        if not best:
            why = next((trial.failure.message for trial in trials if trial.failure is not None), "nothing was run")
            raise RunError(f"{self.strategy}: no trial has a score, {len(observed)} are known ({why})")
        return Found(list(trials), observed, _score(best[0]), dict(best[0].params))


def _score(trial: Trial) -> float:
    assert isinstance(trial.score, float | int)  # `ranking` keeps no others
    return float(trial.score)


async def random_search(phase: Phase, trials: int, share: float, seconds: float | None) -> Found:
    """See `Phases.random_search`."""
    from metta.sweep.optimizers.random import RandomOptimizer

    return await phase.search(RandomOptimizer(), trials, share=share, seconds=seconds)


async def sobol_sequence(phase: Phase, trials: int, skip: int, share: float, seconds: float | None) -> Found:
    """See `Phases.sobol_sequence`."""
    from metta.sweep.optimizers.sobol import SobolOptimizer

    return await phase.search(SobolOptimizer(skip=skip), trials, share=share, seconds=seconds)


async def grid_search(
    phase: Phase,
    params: Sequence[str] | Mapping[str, Sequence[object]] | None,
    resolution: int | Mapping[str, int],
    trials: int | None,
    share: float,
    seconds: float | None,
) -> Found:
    """See `Phases.grid_search`."""
    from metta.sweep.optimizers.grid import GridOptimizer

    best = phase.best_first(phase.known)
    space = grid_space(phase.problem.space, params, best[0].params if best else {})
    count = WHOLE_GRID if trials is None else trials
    return await phase.search(GridOptimizer(resolution=resolution), count, share=share, seconds=seconds, space=space)


def grid_space(
    space: SearchSpace, params: Sequence[str] | Mapping[str, Sequence[object]] | None, fixed: Mapping[str, Any]
) -> SearchSpace:
    """A space in which only some parameters vary.

    Args:
        space: the whole one.
        params: those that vary, or name -> the values to try; None for all.
        fixed: the values of the others; what is not there has its default.

    Raises:
        UnknownParameter: the space has no such parameter; the message names the nearest.
        UsageError: a value is outside of its distribution.
    """
    from metta.sweep.space import Choice, Constant, Distribution, SearchSpace
    from metta.sweep.trial import resolve_path

    if params is None:
        return space
    if isinstance(params, str):
        raise UsageError(f"grid_search(params={params!r}): expected a list of names, write [{params!r}]")
    chosen = {resolve_path(name, space): name for name in params}
    others = space.complete({path: value for path, value in space_values(space, fixed).items() if path not in chosen})
    varied: dict[str, Distribution[Any]] = {}
    for path, distribution in space.items():
        if path not in chosen:
            if path in dict(others):
                varied[path] = Constant(value=others[path], conditions=distribution.conditions)
        elif isinstance(params, Mapping):
            values = [distribution.check(value) for value in params[chosen[path]]]
            varied[path] = Choice(values=tuple(values), conditions=distribution.conditions)
        else:
            varied[path] = distribution
    return SearchSpace(varied, space.constraints)


def space_values(space: SearchSpace, params: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the parameters that the space has."""
    return {path: value for path, value in dict(params).items() if path in set(space)}


async def bayesian_optimize(
    phase: Phase,
    trials: int,
    acquisition: Literal["EI", "UCB", "ei", "ucb"],
    beta: float | None,
    share: float,
    seconds: float | None,
) -> Found:
    """See `Phases.bayesian_optimize`."""
    from metta.sweep.optimizers.bayesian import BayesianOptimizer

    kind: Literal["ei", "ucb"] = "ucb" if acquisition.lower() == "ucb" else "ei"
    if acquisition.lower() not in ("ei", "ucb"):
        raise UsageError(f'bayesian_optimize(acquisition={acquisition!r}): expected "EI" or "UCB"')
    if kind == "ei" and beta is not None:
        raise UsageError(f'bayesian_optimize(acquisition="EI", beta={beta!r}): beta belongs to acquisition="UCB"')
    optimizer = BayesianOptimizer(acquisition=kind, exploration=beta)
    return await phase.search(optimizer, trials, share=share, seconds=seconds, warm_start=phase.start)


async def population_training(phase: Phase, size: int, generations: int, seconds: float | None) -> Found:
    """See `Phases.population_training`."""
    from metta.sweep.optimizers.random import RandomOptimizer
    from metta.sweep.schedulers import PBTScheduler

    best = different(phase.best_first(phase.start))[: math.ceil(size / 2)]
    optimizer = RandomOptimizer(initial_params=[space_values(phase.problem.space, trial.params) for trial in best])
    full = generations if phase.problem.full is None else phase.problem.full
    interval = math.ceil(full / generations)
    checks = math.ceil(full / interval)
    scheduler = PBTScheduler(size, checks, max_resource=interval * checks)
    return await phase.search(optimizer, size, seconds=seconds, scheduler=scheduler)


async def final_evaluation(phase: Phase, n_seeds: int, top: int, full: bool, seconds: float | None) -> Validation:
    """See `Phases.final_evaluation`."""
    from metta.sweep.optimizers.random import RandomOptimizer
    from metta.sweep.schedulers import AsynchronousScheduler

    if top < 1:
        raise UsageError(f"{phase.strategy}(top={top!r}): expected a whole number, at least 1")
    candidates = different(phase.best_first(phase.start))[:top]
    if not candidates:
        raise RunError(f"{phase.strategy}: no trial with a score is known, so there is nothing to validate")
    resource = phase.problem.full if full else max(trial.step for trial in candidates)
    params = [space_values(phase.problem.space, trial.params) for trial in candidates]
    result = await phase.sweep(
        RandomOptimizer(initial_params=params),
        AsynchronousScheduler(max_resource=resource),
        len(candidates),
        seconds=seconds,
        repeats=n_seeds,
    )
    names = {trial.id: f"candidate {trial.id + 1}" for trial in result.trials}
    order = phase.best_first(result.trials)
    if not order:
        raise RunError(f"{phase.strategy}: every candidate has failed\n{result}")
    spread = f"{phase.problem.metric_key}_std"
    return Validation(
        {names[trial.id]: _score(trial) for trial in order},
        {names[trial.id]: trial.reports[-1].metrics.get(spread, 0.0) for trial in order},
        {names[trial.id]: dict(trial.params) for trial in order},
        _score(order[0]),
        dict(order[0].params),
        _score(order[0]),
    )


def fit_gaussian_process(phase: Phase) -> FittedModel:
    """See `Phases.fit_gaussian_process`."""
    from metta.sweep.experiments.strategies.modeling import fitted_model

    found = phase.found([])
    model = fitted_model(found.observed, phase.problem, phase.seed)
    return FittedModel(model, found.observed, found.best_score, found.best_params)
