"""HybridSweepExperiment: explore, model, refine, validate."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from metta.sweep.experiments.arguments import check_paths, checked_base, checked_seed, checked_text, goal_of
from metta.sweep.experiments.base import Experiment, Pipeline
from metta.sweep.experiments.strategies.records import Validation
from metta.sweep.experiments.training import TrainingExperiment
from metta.sweep.goal import Direction, Objectives

if TYPE_CHECKING:
    from metta.sweep.executors.base import Executor
    from metta.sweep.executors.objective import Objective
    from metta.sweep.space import Distribution, SearchSpace


class HybridSweepExperiment(Experiment[Validation]):
    """A search in four phases, each of which knows what those before it have found.

    1. Random exploration maps the space with short trainings.
    2. Bayesian optimization models the promising regions.
    3. A population refines the best configurations.
    4. The best ones are trained again under several seeds.

    Args:
        base_experiment: what is searched: an experiment, its class, or a function of a trial.
        search_space: dot path -> distribution; None for the base experiment's `tunables()`.
        metric_key, goal, seed, executor: those of all phases, see `SweepExperiment`. The same workers serve all
            phases, also where `executor` is a class. Without a `goal` it is that of the base experiment, else
            "maximize".
        max_resource: units of resource (epochs, say) of a full training; None for the base experiment's `max_resource`
            or `max_epochs`. A function of a trial has neither: then name it, or explore with full trainings.
        explore_trials: random configurations.
        explore_resources: the share of a full training that each of them gets.
        model_trials: configurations that the model suggests.
        beta: how many standard deviations above the expected score it looks, see `bayesian_optimize`.
        population_size: members of the population.
        generations: how often they are compared.
        top: configurations that are validated.
        n_seeds: trainings of each.
        name: for messages and drawings.

    Raises:
        UsageError: the base experiment or the space cannot be used; one of the numbers, when the pipeline is built.
    """

    nests = True

    def __init__(
        self,
        base_experiment: Experiment[Any] | type[Experiment[Any]] | Objective = TrainingExperiment,
        *,
        search_space: SearchSpace | Mapping[str, object] | None = None,
        metric_key: str = "score",
        goal: Direction | None = None,
        seed: int | None = None,
        executor: Executor | Callable[[], Executor] | None = None,
        max_resource: int | None = None,
        explore_trials: int = 50,
        explore_resources: float = 0.5,
        model_trials: int = 100,
        beta: float = 2.0,
        population_size: int = 20,
        generations: int = 30,
        top: int = 3,
        n_seeds: int = 10,
        name: str = "hybrid",
    ) -> None:
        from metta.sweep.space import SearchSpace

        self.base_experiment: Experiment[Any] | Objective = checked_base(base_experiment)
        self.search_space: SearchSpace | None = None if search_space is None else SearchSpace.of(search_space)
        if self.search_space is not None:
            check_paths(self.base_experiment, self.search_space)
        self.metric_key: str = checked_text("metric_key", metric_key)
        self.goal: Direction = (goal_of(self.base_experiment) or "maximize") if goal is None else goal
        Objectives.of(self.goal)
        self.seed: int | None = checked_seed(seed)
        self.executor: Executor | Callable[[], Executor] | None = executor
        self.max_resource: int | None = max_resource
        self.explore_trials: int = explore_trials
        self.explore_resources: float = explore_resources
        self.model_trials: int = model_trials
        self.beta: float = beta
        self.population_size: int = population_size
        self.generations: int = generations
        self.top: int = top
        self.n_seeds: int = n_seeds
        self.name = name

    def pipeline(self) -> Pipeline:
        """Explore, model, evolve, validate."""
        # Their sweeps run where this experiment does, on workers that they share: see `_leaf_executor`.
        phases = copy.copy(self)
        phases.executor = None
        return (
            Pipeline()
            .stage(
                "explore",
                phases.random_search(n_trials=self.explore_trials, resources_per_trial=self.explore_resources),
            )
            .stage(
                "model",
                phases.bayesian_optimize(n_trials=self.model_trials, acquisition="UCB", beta=self.beta),
            )
            .stage(
                "evolve",
                phases.population_training(population_size=self.population_size, generations=self.generations),
            )
            .stage("validate", phases.final_evaluation(n_seeds=self.n_seeds, top=self.top))
        )

    def _leaf_executor(self) -> Executor | Callable[[], Executor] | None:
        return self.executor

    def tunables(self) -> Mapping[str, Distribution[Any]]:
        """How short the first trainings are, and how daring the model is."""
        from metta.sweep.space import LogUniform, Uniform

        return {"explore_resources": Uniform(0.1, 1.0), "beta": LogUniform(0.1, 10.0)}
