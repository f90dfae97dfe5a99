"""Which aggregator makes a noisy sweep choose what is really best: a sweep over the `aggregate=` of a sweep."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass, replace
from typing import Any, NamedTuple

from metta.sweep.errors import UsageError
from metta.sweep.executors.base import Executor
from metta.sweep.executors.objective import Objective
from metta.sweep.experiments.aggregation import (
    Aggregator,
    BestOfN,
    EnsembleVoting,
    MeanAggregator,
    MedianAggregator,
    WeightedByConfidence,
    checked_aggregator,
)
from metta.sweep.experiments.base import Experiment, Pipeline
from metta.sweep.experiments.optimizable.allocation import inner_sweep
from metta.sweep.experiments.optimizable.alternatives import by_name
from metta.sweep.experiments.optimizable.fixed import fixed_at
from metta.sweep.experiments.places import DEFAULT, StoreLike
from metta.sweep.experiments.repeats import seed_of
from metta.sweep.experiments.sweep import SweepExperiment
from metta.sweep.experiments.training import TrainingExperiment
from metta.sweep.goal import Direction
from metta.sweep.optimizers.grid import GridOptimizer
from metta.sweep.schedulers.asynchronous import AsynchronousScheduler
from metta.sweep.schedulers.base import positive
from metta.sweep.space import Choice, SearchSpace
from metta.sweep.trial import Trial


class Chosen(NamedTuple):
    """What a sweep has chosen: the parameters, and the aggregated score that they were chosen for."""

    params: dict[str, Any]
    promised: float


class AggregationRecord(NamedTuple):
    """What the choice is worth: the mean score under fresh seeds, and the score that it was chosen for."""

    score: float
    promised: float


@dataclass(frozen=True)
class AggregationTrial(Experiment[AggregationRecord]):
    """A sweep with one of several aggregators, and a fresh look at what it has chosen.

    Attributes:
        sweep: the sweep, whose aggregator is replaced.
        strategies: by name.
        validations: trainings of the chosen configuration under fresh seeds.
        aggregate: the name of the aggregator that is used.
        seed: of the sweep.
    """

    sweep: SweepExperiment
    strategies: Mapping[str, Aggregator]
    validations: int
    aggregate: str
    seed: int = 0
    name: str = "aggregator"
    nests = True

    def pipeline(self) -> Pipeline:
        """Choose, then find out what the choice is worth."""
        return (
            Pipeline()
            .stage("choose", self.choose)
            .through(Chosen)
            .stage("validate", self.validate)
            .through(AggregationRecord)
        )

    async def choose(self) -> Chosen:
        """Run the sweep."""
        sweep = self.sweep.with_params({"aggregate": self.strategies[self.aggregate], "seed": self.seed})
        result = await sweep.run()
        return Chosen(dict(result.best_params), result.best_score)

    async def validate(self, chosen: Chosen) -> AggregationRecord:
        """Train the choice again, in one trial with repeats."""
        again = copy.copy(self.sweep)
        again.name = "validation"
        again.optimizer = fixed_at(chosen.params)
        again.search_space, again.warm_start = None, ()
        again.scheduler = AsynchronousScheduler(max_resource=self.sweep.scheduler.max_resource)
        again.repeats, again.aggregate = self.validations, MeanAggregator()
        again.seed = seed_of(self.seed, 1)
        result = await again.run(budget=1)
        return AggregationRecord(result.best_score, chosen.promised)

    async def evaluate_nested(self, trial: Trial) -> float | Mapping[str, float] | None:
        """As `Experiment.evaluate_nested`, with the trial's seed."""
        return await Experiment.evaluate_nested(replace(self, seed=trial.seed), trial)

    def _settings(self) -> dict[str, Any]:
        from metta.sweep.compiler.fingerprint import fingerprint_of

        strategies = {
            name: asdict(strategy) if is_dataclass(strategy) else fingerprint_of(strategy)
            for name, strategy in self.strategies.items()
        }
        return {"sweep": self.sweep._settings(), "strategies": strategies, "validations": self.validations}


class AggregationOptimization(SweepExperiment):
    """Tries aggregators on a sweep that trains every configuration several times, each one under the same seeds.

    A trial of it is a whole sweep with one aggregator. The configuration that this chooses is trained again under fresh
    seeds, and the mean score there is the trial's score; the score that it was chosen for is reported as "promised":
    what an aggregator promises beyond what it keeps is its optimism. `result.best_params["aggregate"]` names the best.

    Args:
        strategies: aggregators; default: one of each kind, `BestOfN` with n=3.
        base_experiment: what the sweep searches, see `SweepExperiment`; or a sweep with `repeats`, whose aggregator is
            then replaced.
        search_space: of the sweep; None for the base experiment's `tunables()`.
        trainings: of every configuration in the sweep, each under a seed of its own; for a sweep its own `repeats`.
        inner_budget: configurations of the sweep; for a sweep its own `budget`.
        validations: trainings of the configuration that is chosen.
        repeats: sweeps for each aggregator, each under a seed of its own: the choice of one sweep depends much on luck.
        metric_key, goal: of the sweep; a single metric.
        name, executor, seed, store: see `SweepExperiment`.

    Raises:
        UsageError: an argument is none of these; or an aggregator counts more trainings than there are.
    """

    def __init__(
        self,
        strategies: Sequence[Aggregator] | None = None,
        base_experiment: Experiment[Any] | type[Experiment[Any]] | Objective = TrainingExperiment,
        *,
        search_space: SearchSpace | Mapping[str, object] | None = None,
        trainings: int = 5,
        inner_budget: int = 10,
        validations: int = 10,
        repeats: int = 3,
        metric_key: str | None = None,
        goal: Direction | None = None,
        name: str = "aggregation",
        executor: Executor | Callable[[], Executor] | None = None,
        seed: int | None = None,
        store: StoreLike = DEFAULT,
    ) -> None:
        given = _one_of_each() if strategies is None else strategies
        self.strategies: Mapping[str, Aggregator] = by_name("strategies", given)
        sweep = inner_sweep(
            base_experiment,
            search_space=search_space,
            metric_key=metric_key,
            goal=goal,
            repeats=positive("trainings", trainings, least=2),
            budget=positive("inner_budget", inner_budget),
        )
        if sweep.repeats < 2:
            raise UsageError(f'the sweep "{sweep.name}" trains every configuration once: give it repeats=5, say')
        for strategy in self.strategies.values():
            checked_aggregator(strategy, sweep.repeats)
        names = list(self.strategies)
        super().__init__(
            AggregationTrial(sweep, self.strategies, positive("validations", validations), names[0]),
            name=name,
            search_space={"aggregate": Choice(names)},
            optimizer=GridOptimizer(),
            executor=executor,
            goal=sweep.objectives.directions[0],
            seed=seed,
            store=store,
            repeats=repeats,
            budget=len(names),
        )


def _one_of_each() -> Sequence[Aggregator]:
    return MeanAggregator(), MedianAggregator(), BestOfN(n=3), WeightedByConfidence(), EnsembleVoting()
