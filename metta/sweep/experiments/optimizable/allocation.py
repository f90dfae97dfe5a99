"""Which policy shares resource out best: a sweep over the schedulers of a sweep."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from metta.sweep.errors import UsageError
from metta.sweep.executors.base import Executor
from metta.sweep.executors.objective import Objective
from metta.sweep.experiments.arguments import check_space, checked_part
from metta.sweep.experiments.base import Experiment, Pipeline
from metta.sweep.experiments.optimizable.alternatives import by_name
from metta.sweep.experiments.places import DEFAULT, StoreLike
from metta.sweep.experiments.sweep import SweepExperiment
from metta.sweep.experiments.training import TrainingExperiment
from metta.sweep.goal import Direction
from metta.sweep.optimizers.grid import GridOptimizer
from metta.sweep.optimizers.random import RandomOptimizer
from metta.sweep.schedulers.allocation import AdaptiveBandit, AllocationPolicy, EqualAllocation, ProportionalToPromise
from metta.sweep.schedulers.base import Scheduler
from metta.sweep.space import Choice, SearchSpace
from metta.sweep.trial import Trial


class AllocationRecord(NamedTuple):
    """What a policy has come to: the best score of its sweep, and the units of resource that this took."""

    score: float
    resource: int


@dataclass(frozen=True)
class AllocationTrial(Experiment[AllocationRecord]):
    """A sweep under one of several policies.

    Attributes:
        sweep: the sweep, whose scheduler is replaced.
        policies: by name.
        scheduler: the name of the policy that is used.
        seed: of the sweep.
    """

    sweep: SweepExperiment
    policies: Mapping[str, Scheduler]
    scheduler: str
    seed: int = 0
    name: str = "policy"
    nests = True

    def pipeline(self) -> Pipeline:
        """The sweep, and what came out of it."""
        return Pipeline().stage("search", self.search).through(AllocationRecord)

    async def search(self) -> AllocationRecord:
        """Run the sweep."""
        sweep = self.sweep.with_params({"scheduler": self.policies[self.scheduler], "seed": self.seed})
        result = await sweep.run()
        return AllocationRecord(result.best_score, sum(trial.step for trial in result.trials))

    async def evaluate_nested(self, trial: Trial) -> float | Mapping[str, float] | None:
        """As `Experiment.evaluate_nested`, with the trial's seed."""
        return await Experiment.evaluate_nested(replace(self, seed=trial.seed), trial)

    def _settings(self) -> dict[str, Any]:
        from metta.sweep.experiments.plan import arguments

        policies = {name: arguments(policy, ()) for name, policy in self.policies.items()}
        return {"sweep": self.sweep._settings(), "policies": policies}


class ResourceSchedulerOptimization(SweepExperiment):
    """Tries allocation policies on a sweep, each one equally often, under the same seeds.

    A trial of it is a whole sweep under one policy, and its score the best score of that. `result.best_params
    ["scheduler"]` names the best policy, `result.ranking` has all of them; their metrics "score_std" say how much the
    scores vary between the repeats.

    Args:
        policies: schedulers, usually of `metta.sweep.schedulers.allocation`; default: one of each there, as they are.
        base_experiment: what the sweep searches, see `SweepExperiment`; or a sweep, whose scheduler is then replaced.
        search_space: of the sweep; None for the base experiment's `tunables()`.
        repeats: sweeps for each policy, each under a seed of its own.
        metric_key, goal: of the sweep; a single metric.
        name, executor, seed, store: see `SweepExperiment`.

    Raises:
        UsageError: an argument is none of these; or the policies do not share the same amount of resource, so that
            their scores could not be compared.
    """

    def __init__(
        self,
        policies: Sequence[Scheduler] | None = None,
        base_experiment: Experiment[Any] | type[Experiment[Any]] | Objective = TrainingExperiment,
        *,
        search_space: SearchSpace | Mapping[str, object] | None = None,
        repeats: int = 3,
        metric_key: str | None = None,
        goal: Direction | None = None,
        name: str = "allocation",
        executor: Executor | Callable[[], Executor] | None = None,
        seed: int | None = None,
        store: StoreLike = DEFAULT,
    ) -> None:
        given = (EqualAllocation(), ProportionalToPromise(), AdaptiveBandit()) if policies is None else policies
        self.policies: Mapping[str, Scheduler] = by_name("policies", given)
        for policy in self.policies.values():
            checked_part("policies", policy, Scheduler)
        _check_sums(self.policies)
        sweep = inner_sweep(base_experiment, search_space=search_space, metric_key=metric_key, goal=goal)
        names = list(self.policies)
        super().__init__(
            AllocationTrial(sweep, self.policies, names[0]),
            name=name,
            search_space={"scheduler": Choice(names)},
            optimizer=GridOptimizer(),
            executor=executor,
            goal=sweep.objectives.directions[0],
            seed=seed,
            store=store,
            repeats=repeats,
            budget=len(names),
        )


def inner_sweep(
    base: Experiment[Any] | type[Experiment[Any]] | Objective,
    *,
    search_space: SearchSpace | Mapping[str, object] | None,
    metric_key: str | None,
    goal: Direction | None,
    **settings: Any,
) -> SweepExperiment:
    """The sweep that a trial runs: `base` if it is one, else a random search of it with these settings.

    Raises:
        UsageError: a sweep is given together with settings of its own, or has several objectives; or there is nothing
            to search.
    """
    if not isinstance(base, SweepExperiment):
        sweep = SweepExperiment(
            base,
            name="candidates",
            search_space=search_space,
            optimizer=RandomOptimizer(),
            metric_key=metric_key or "score",
            goal=goal,
            **settings,
        )
    elif search_space is None and metric_key is None and goal is None:
        sweep = base
    else:
        raise UsageError(
            f'the sweep "{base.name}" has its own search_space, metric_key and goal: give them to the sweep only'
        )
    sweep = copy.copy(sweep)
    sweep.store = DEFAULT  # its runs belong to the trials
    if not sweep.objectives.is_single:
        raise UsageError(f'the sweep "{sweep.name}" has several objectives: a sweep over it needs one score')
    check_space(sweep.optimizer, sweep._space(), seed=0)
    return sweep


def _check_sums(policies: Mapping[str, Scheduler]) -> None:
    sums = {
        name: policy.population * policy.mean_resource
        for name, policy in policies.items()
        if isinstance(policy, AllocationPolicy)
    }
    if len(set(sums.values())) > 1:
        told = ", ".join(f"{name} {total}" for name, total in sums.items())
        raise UsageError(
            f"the policies share different amounts of resource ({told}): give them the same population * mean_resource"
        )
