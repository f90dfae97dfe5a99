"""The strategies that every experiment has: phases of a search that stand as stages of its pipeline.

Each searches the experiment's `base_experiment`, in its `search_space`, else in what the base experiment says that may
be tuned. Where the experiment has an attribute `metric_key`, `goal`, `seed`, `executor` or `max_resource`, it counts as
that of a `SweepExperiment` does. What the phases before have found they read from the context that they are given:

    Pipeline()
    .stage("explore", self.random_search(n_trials=50, resources_per_trial=0.5))
    .stage("model", self.bayesian_optimize(n_trials=100, acquisition="UCB", beta=2.0))
    .stage("validate", self.final_evaluation(n_seeds=10))

The settings may as well stand in `.stage` or `.through`. A phase is one sweep, a child of the run it belongs to, and is
resumed with it. Settings that several phases have:

- `n_trials`, or `n`: configurations to start.
- `resources_per_trial`: the share of a full training that each trial gets, rounded up to whole units of resource. A
  full training is `max_resource` of the experiment, else `max_resource` or `max_epochs` of its base experiment.
- `max_time_per_trial`: seconds after which a trial is stopped and counts as failed.
- `init_from`: the trials that the phase begins with, instead of all that the context holds: what the model of
  `bayesian_optimize` hears of first, what half of the population of `population_training` is taken from, and the
  candidates of `final_evaluation`. The other searches begin with nothing: there these trials only count as known.
- `seed`: instead of the one that follows from the experiment's. Two parallel arms of the same strategy need one each:
  the seed that follows is the same for both, and so are their configurations.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from types import MethodType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Literal, ParamSpec, TypeVar, overload

from metta.sweep.experiments.strategies.records import FittedModel, Found, Validation
from metta.sweep.trial import Trial

if TYPE_CHECKING:
    from metta.sweep.experiments.strategies.strategy import Strategy

P = ParamSpec("P")
R = TypeVar("R")


class strategy(Generic[P, R]):
    """Makes an async method of experiments a strategy: reading it gives a `Strategy`."""

    def __init__(self, function: Callable[Concatenate[Any, object, P], Coroutine[Any, Any, R]]) -> None:
        self.__doc__ = function.__doc__
        self.__wrapped__ = function
        self._name = function.__name__

    @overload
    def __get__(self, owner: None, kind: type[Any]) -> strategy[P, R]: ...
    @overload
    def __get__(self, owner: Phases, kind: type[Any]) -> Strategy[P, R]: ...
    def __get__(self, owner: Phases | None, kind: type[Any]) -> strategy[P, R] | Strategy[P, R]:
        if owner is None:
            return self
        from metta.sweep.experiments.strategies.strategy import Strategy

        return Strategy(self._name, MethodType(self.__wrapped__, owner))


class Phases:
    """Gives an experiment its strategies."""

    @strategy
    async def random_search(
        self,
        known: object = None,
        /,
        *,
        n_trials: int = 50,
        n: int | None = None,
        resources_per_trial: float = 1.0,
        max_time_per_trial: float | None = None,
        init_from: Sequence[Trial] | None = None,
        seed: int | None = None,
    ) -> Found:
        """Draw configurations independently from the space."""
        from metta.sweep.experiments.strategies import searching

        phase = searching.Phase.of(self, "random_search", known, init_from, seed)
        return await searching.random_search(
            phase, n_trials if n is None else n, resources_per_trial, max_time_per_trial
        )

    @strategy
    async def sobol_sequence(
        self,
        known: object = None,
        /,
        *,
        n_trials: int = 64,
        n: int | None = None,
        skip: int = 0,
        resources_per_trial: float = 1.0,
        max_time_per_trial: float | None = None,
        init_from: Sequence[Trial] | None = None,
        seed: int | None = None,
    ) -> Found:
        """Cover the space evenly with a scrambled Sobol sequence, without its first `skip` points."""
        from metta.sweep.experiments.strategies import searching

        phase = searching.Phase.of(self, "sobol_sequence", known, init_from, seed)
        return await searching.sobol_sequence(
            phase, n_trials if n is None else n, skip, resources_per_trial, max_time_per_trial
        )

    @strategy
    async def grid_search(
        self,
        known: object = None,
        /,
        *,
        params: Sequence[str] | Mapping[str, Sequence[Any]] | None = None,
        resolution: int | Mapping[str, int] = 5,
        n_trials: int | None = None,
        n: int | None = None,
        resources_per_trial: float = 1.0,
        max_time_per_trial: float | None = None,
        init_from: Sequence[Trial] | None = None,
        seed: int | None = None,
    ) -> Found:
        """Try every configuration of a grid once.

        Args:
            params: the parameters that vary, or name -> the values to try; the others stay as in the best
                configuration known, else at their defaults. None for all.
            resolution: values of a continuous parameter, see `GridOptimizer`.
            n_trials: the most configurations; None for the whole grid.
        """
        from metta.sweep.experiments.strategies import searching

        phase = searching.Phase.of(self, "grid_search", known, init_from, seed)
        return await searching.grid_search(
            phase, params, resolution, n_trials if n is None else n, resources_per_trial, max_time_per_trial
        )

    @strategy
    async def bayesian_optimize(
        self,
        known: object = None,
        /,
        *,
        n_trials: int = 50,
        n: int | None = None,
        acquisition: Literal["EI", "UCB", "ei", "ucb"] = "EI",
        beta: float | None = None,
        resources_per_trial: float = 1.0,
        max_time_per_trial: float | None = None,
        init_from: Sequence[Trial] | None = None,
        seed: int | None = None,
    ) -> Found:
        """Search with a model of what is known, a Gaussian process; see `BayesianOptimizer`.

        Args:
            acquisition: expected improvement, or the upper confidence bound.
            beta: how many standard deviations that bound lies above the mean; None for 2.
        """
        from metta.sweep.experiments.strategies import searching

        phase = searching.Phase.of(self, "bayesian_optimize", known, init_from, seed)
        return await searching.bayesian_optimize(
            phase, n_trials if n is None else n, acquisition, beta, resources_per_trial, max_time_per_trial
        )

    bayesian_optimization = bayesian_optimize

    @strategy
    async def population_training(
        self,
        known: object = None,
        /,
        *,
        population_size: int = 20,
        generations: int = 30,
        max_time_per_trial: float | None = None,
        init_from: Sequence[Trial] | None = None,
        seed: int | None = None,
    ) -> Found:
        """Train a population (`PBTScheduler`), half of which begins as the best configurations known.

        Args:
            generations: how often members are compared, at most once per unit of resource; together they make a
                full training, rounded up to whole units in each.
        """
        from metta.sweep.experiments.strategies import searching

        phase = searching.Phase.of(self, "population_training", known, init_from, seed)
        return await searching.population_training(phase, population_size, generations, max_time_per_trial)

    population_evolution = population_training

    @strategy
    async def final_evaluation(
        self,
        known: object = None,
        /,
        *,
        n_seeds: int = 10,
        top: int = 3,
        full_evaluation: bool = True,
        max_time_per_trial: float | None = None,
        init_from: Sequence[Trial] | None = None,
        seed: int | None = None,
    ) -> Validation:
        """Train the best configurations known again, each with several seeds.

        Args:
            n_seeds: trainings of each.
            top: how many configurations.
            full_evaluation: whether each is trained fully; else as long as the longest trained of them was.
        """
        from metta.sweep.experiments.strategies import searching

        phase = searching.Phase.of(self, "final_evaluation", known, init_from, seed)
        return await searching.final_evaluation(phase, n_seeds, top, full_evaluation, max_time_per_trial)

    intensive_evaluation = final_evaluation

    @strategy
    async def combine_observations(self, known: object = None, /) -> Found:
        """Merge what several phases have found: the lists of parallel arms, or the fields of the context."""
        from metta.sweep.experiments.strategies import searching

        phase = searching.Phase.of(self, "combine_observations", known, None, None)
        return phase.found(phase.known)

    @strategy
    async def fit_gaussian_process(self, known: object = None, /, *, seed: int | None = None) -> FittedModel:
        """Fit a Gaussian process to all that is known; it predicts scores, and its `optimum` is its best point."""
        from metta.sweep.experiments.strategies import searching

        return searching.fit_gaussian_process(searching.Phase.of(self, "fit_gaussian_process", known, None, seed))
