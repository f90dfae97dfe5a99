"""RefinementSearch: a search whose structure can be searched: how it explores, and in how many stages it refines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple, Self, get_args

from metta.sweep.errors import RunError, UsageError
from metta.sweep.executors.objective import Objective
from metta.sweep.experiments.arguments import check_paths, checked_base, goal_of
from metta.sweep.experiments.base import Experiment, Pipeline
from metta.sweep.experiments.optimizable.fixed import fixed_at
from metta.sweep.experiments.repeats import seed_of
from metta.sweep.experiments.sweep import SweepExperiment
from metta.sweep.goal import Direction
from metta.sweep.optimizers.base import Optimizer
from metta.sweep.optimizers.bayesian import BayesianOptimizer
from metta.sweep.optimizers.random import RandomOptimizer
from metta.sweep.optimizers.sobol import SobolOptimizer
from metta.sweep.schedulers.base import positive
from metta.sweep.space import Choice, Distribution, Integer, SearchSpace
from metta.sweep.trial import Observation, Result, Trial

Exploration = Literal["parallel", "sequential"]


class Scored(NamedTuple):
    """A configuration and its score."""

    params: dict[str, Any]
    score: float


class Refined(NamedTuple):
    """What a search has come to: the mean score of the best configuration under fresh seeds, and the score before."""

    score: float
    params: dict[str, Any]
    promised: float


@dataclass(frozen=True)
class RefinementSearch(Experiment[Refined]):
    """Explores with half of its trials, refines with the other half, and trains the best configuration again.

    The parameters of its structure are the first three; whatever they are, it takes the same number of trainings.

    Args:
        parallel_vs_sequential: "parallel": random search and a Sobol sequence explore side by side, and what they have
            found is combined. "sequential": the Sobol sequence goes first, and a model of what it has found next.
        num_refinement_stages: stages of model-based search. Each one knows all results before it, and looks half as far
            beyond what is known to be good as the stage before it (UCB with beta = 2, 1, 1/2, ...).
        checkpoint_frequency: the result of every so many-th refinement stage is kept where there is a store; those
            in between are run again when a run is resumed.
        base_experiment: what is searched.
        search_space: its space; None for its `tunables()`.
        trials: trainings before the last stage.
        n_seeds: trainings of the best configuration, under seeds of their own; their mean is the score.
        metric_key, goal, seed: of all sweeps, see `SweepExperiment`.
        name: for messages and drawings.

    Raises:
        UsageError: an argument is none of these, or there are fewer trials than stages.
    """

    base_experiment: Experiment[Any] | Objective
    search_space: SearchSpace | None = None
    parallel_vs_sequential: Exploration = "sequential"
    num_refinement_stages: int = 2
    checkpoint_frequency: int = 1
    trials: int = 12
    n_seeds: int = 3
    metric_key: str = "score"
    goal: Direction = "maximize"
    seed: int = 0
    name: str = "refinement"
    nests = True

    @classmethod
    def over(
        cls,
        base: Experiment[Any] | type[Experiment[Any]] | Objective,
        search_space: SearchSpace | Mapping[str, object] | None,
        metric_key: str,
        goal: Direction | None,
    ) -> Self:
        """A search over `base`, of the usual structure. The arguments are those of `SweepExperiment`.

        Without `goal` it goes the same way as a sweep that it searches.
        """
        experiment = checked_base(base)
        space = None if search_space is None else SearchSpace.of(search_space)
        return cls(experiment, space, metric_key=metric_key, goal=goal or goal_of(experiment) or "maximize")

    def __post_init__(self) -> None:
        if self.parallel_vs_sequential not in get_args(Exploration):
            raise UsageError(
                f'parallel_vs_sequential={self.parallel_vs_sequential!r}: expected "parallel" or "sequential"'
            )
        positive("checkpoint_frequency", self.checkpoint_frequency)
        positive("n_seeds", self.n_seeds)
        stages = positive("num_refinement_stages", self.num_refinement_stages)
        if positive("trials", self.trials) < 2 * max(2, stages):
            raise UsageError(f"trials={self.trials}: {stages} refinement stages need at least {2 * max(2, stages)}")
        if self.search_space is not None:
            check_paths(self.base_experiment, self.search_space)

    def pipeline(self) -> Pipeline:
        """Explore, refine, validate."""
        flow = self._exploration(Pipeline())
        refining = self.trials - self.trials // 2
        for number, n_trials in enumerate(_shares(refining, self.num_refinement_stages), 1):
            flow = flow.stage(
                f"refine_{number}", self.model, n_trials=n_trials, beta=2.0 ** (2 - number), part=1 + number
            ).through(tried=list[Scored], checkpoint=number % self.checkpoint_frequency == 0)
        return flow.stage("validate", self.validate).through(Refined)

    def _exploration(self, flow: Pipeline[Any, Any]) -> Pipeline[Any, Any]:
        first, second = _shares(self.trials // 2, 2)
        even = partial(self.cover, n_trials=first, part=0)
        if self.parallel_vs_sequential == "parallel":
            return (
                flow.parallel({"even": even, "random": partial(self.draw, n_trials=second, part=1)})
                .stage("combine", combined)
                .through(tried=list[Scored])
            )
        return (
            flow.stage("explore", even)
            .through(tried=list[Scored])
            .stage("model", self.model, n_trials=second, beta=2.0, part=1)
            .through(tried=list[Scored])
        )

    async def cover(self, n_trials: int, part: int) -> list[Scored]:
        """Cover the space evenly."""
        return await self._tried(SobolOptimizer(), n_trials, part, [])

    async def draw(self, n_trials: int, part: int) -> list[Scored]:
        """Draw from the space."""
        return await self._tried(RandomOptimizer(), n_trials, part, [])

    async def model(self, tried: list[Scored], n_trials: int, beta: float, part: int) -> list[Scored]:
        """Search with a model of what was tried; what was tried then."""
        optimizer = BayesianOptimizer(acquisition="ucb", exploration=beta)
        return [*tried, *await self._tried(optimizer, n_trials, part, tried)]

    async def validate(self, tried: list[Scored]) -> Refined:
        """Train the best configuration again, in one trial with repeats.

        Raises:
            RunError: no trial has a score.
        """
        if not tried:
            raise RunError(f'"{self.name}": all {self.trials} trials have failed: there is nothing to validate')
        best = (max if self.goal == "maximize" else min)(tried, key=lambda one: one.score)
        sweep = self._sweep(fixed_at(best.params), self.num_refinement_stages + 2, repeats=self.n_seeds)
        return Refined((await sweep.run(budget=1)).best_score, best.params, best.score)

    async def _tried(self, optimizer: Optimizer, n_trials: int, part: int, known: Sequence[Scored]) -> list[Scored]:
        sweep = self._sweep(
            optimizer,
            part,
            search_space=self.search_space,
            warm_start=[Observation(Trial(one.params), Result(one.score)) for one in known],
        )
        result = await sweep.run(budget=n_trials)
        return [
            Scored(dict(trial.params), trial.score) for trial in result.ranking if isinstance(trial.score, float | int)
        ]

    def _sweep(self, optimizer: Optimizer, part: int, **settings: Any) -> SweepExperiment:
        return SweepExperiment(
            self.base_experiment,
            name=f"{self.name}_{part}",
            optimizer=optimizer,
            metric_key=self.metric_key,
            goal=self.goal,
            seed=seed_of(self.seed, part),
            **settings,
        )

    def tunables(self) -> Mapping[str, Distribution[Any]]:
        """The parameters of the structure."""
        return {
            "parallel_vs_sequential": Choice(get_args(Exploration)),
            "num_refinement_stages": Integer(1, min(5, self.trials // 2)),
            "checkpoint_frequency": Integer(1, 100),
        }

    async def evaluate_nested(self, trial: Trial) -> float | Mapping[str, float] | None:
        """As `Experiment.evaluate_nested`, with the trial's seed."""
        return await Experiment.evaluate_nested(replace(self, seed=trial.seed), trial)

    def _settings(self) -> dict[str, Any]:
        from metta.sweep.compiler.fingerprint import fingerprint_of
        from metta.sweep.experiments.plan import arguments

        base = self.base_experiment
        known = base._settings() if isinstance(base, Experiment) else fingerprint_of(base)
        return {**arguments(self, ("base_experiment", "seed")), "base_experiment": known}


def combined(even: list[Scored], random: list[Scored]) -> list[Scored]:
    """What two explorations have found."""
    return [*even, *random]


def _shares(total: int, parts: int) -> list[int]:
    """`total` in as equal parts as whole numbers can be, the larger ones first."""
    return [total // parts + (index < total % parts) for index in range(parts)]
