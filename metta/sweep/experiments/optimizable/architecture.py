"""PipelineArchitectureSearch: the structure of a pipeline as a search space; the compiler sees candidates first."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from metta.sweep.contracts.diagnostics import ContractError
from metta.sweep.errors import ContractViolation, UsageError
from metta.sweep.executors.base import Executor
from metta.sweep.executors.objective import Objective
from metta.sweep.experiments.base import Experiment, Pipeline
from metta.sweep.experiments.budget import Budget
from metta.sweep.experiments.optimizable.refinement import RefinementSearch
from metta.sweep.experiments.places import DEFAULT, StoreLike
from metta.sweep.experiments.sweep import SweepExperiment
from metta.sweep.experiments.training import TrainingExperiment
from metta.sweep.goal import Direction
from metta.sweep.optimizers.base import Optimizer
from metta.sweep.optimizers.grid import GridOptimizer
from metta.sweep.schedulers.base import Scheduler
from metta.sweep.space import Choice, Constant, Distribution, Integer, PowerOfTwo, SearchSpace
from metta.sweep.space.constraints import Constraint
from metta.sweep.trial import Params, Trial

if TYPE_CHECKING:
    from metta.sweep.runtime.compiled import CompiledGraph

MOST_COMPILED: Final = 1_000
"""So many candidates are compiled when the search is constructed; of a larger space each one when it is suggested."""

DEFAULT_BUDGET: Final = 20
"""Candidates of a search."""

Build = Callable[[Params], Pipeline[Any, Any]]
"""Makes the pipeline of a candidate from its parameters. It is called more than once, and should do nothing else."""


class Rejected(NamedTuple):
    """A candidate that the compiler has refused, and why."""

    params: Params
    error: ContractError

    def __str__(self) -> str:
        return f"{dict(self.params)!r}:\n{self.error}"


@dataclass(frozen=True)
class Candidates(Experiment[Any]):
    """All pipelines that can be made from parameters; with parameters it is one of them.

    Attributes:
        build: makes a pipeline.
        nests: see `Experiment`.
    """

    build: Build
    nests: bool = False
    name: str = "candidate"

    def with_params(self, params: Mapping[str, Any]) -> Candidate:
        """The pipeline that is made from `params`."""
        return Candidate(self.build, self.nests, self.name, Params(params))

    def _trial_call(self, trial: Trial) -> tuple[CompiledGraph, Mapping[str, Any]]:
        """Compiled before anything of it runs: a trial with a wrong pipeline fails with the compiler's words."""
        try:
            return super()._trial_call(trial)
        except ContractError as error:
            raise ContractViolation(f"the candidate was not run: {error}") from error

    def _settings(self) -> dict[str, Any]:
        from metta.sweep.compiler.fingerprint import fingerprint_of

        return {"build": fingerprint_of(self.build), "nests": self.nests}


@dataclass(frozen=True)
class Candidate(Candidates):
    """The pipeline that `build` makes from `params`; what a trial of a search of architectures runs."""

    params: Params = field(default_factory=lambda: Params({}))

    def pipeline(self) -> Pipeline:
        return self.build(self.params)

    def with_params(self, params: Mapping[str, Any]) -> Candidate:
        """The one that is made from `params` beside those that it has."""
        return Candidate(self.build, self.nests, self.name, Params({**self.params, **params}))


class PipelineArchitectureSearch(SweepExperiment):
    """Searches the structure of a pipeline: every candidate is a pipeline made from the parameters of a trial.

    The candidates are made by `build`, which is an argument, or a method that a subclass overrides. Without one they
    are those of `RefinementSearch`, a search over `base_experiment` whose structure is searched. The score of a
    candidate is the number that its pipeline ends with, or the field `metric_key` of its result.

    The compiler verifies a candidate before it runs. Where `build` makes up to 1,000 of them, all are compiled here:
    those that break a contract are left out of the search space, and `rejected` says why, in the compiler's words. In a
    larger space, or with a parameter that is a real number, each one is compiled when it is its turn, and one that
    breaks a contract is a failed trial with the reason "contract"; nothing of it runs.

    Args:
        search_space: the parameters of the structure; None for those of `RefinementSearch`.
        build: makes a candidate's pipeline from its parameters. It has to be storable, as every function that a worker
            is given. What an overridden method reads of `self` has to be there before `super().__init__` is called.
        base_experiment: what the candidates of `RefinementSearch` search; not with `build`.
        base_space: its search space; None for its `tunables()`.
        nests: whether the candidates start sweeps or experiments; see `Experiment`. Those of `RefinementSearch` do.
        optimizer, scheduler, executor, metric_key, goal, seed, store, repeats, name: see `SweepExperiment`. The
            optimizer is given without a search space.
        budget: candidates to try, where `run` does not say.

    Attributes:
        rejected: the candidates that the compiler has refused, in the order of a grid.

    Raises:
        ContractError: the compiler has refused all candidates; the findings of all of them.
        UsageError: an argument is none of these, or does not go with another one.
    """

    def __init__(
        self,
        search_space: SearchSpace | Mapping[str, object] | None = None,
        build: Build | None = None,
        *,
        base_experiment: Experiment[Any] | type[Experiment[Any]] | Objective | None = None,
        base_space: SearchSpace | Mapping[str, object] | None = None,
        nests: bool = False,
        optimizer: Optimizer | None = None,
        scheduler: Scheduler | None = None,
        executor: Executor | Callable[[], Executor] | None = None,
        metric_key: str = "score",
        goal: Direction | None = None,
        seed: int | None = None,
        store: StoreLike = DEFAULT,
        repeats: int = 1,
        budget: int | Budget = DEFAULT_BUDGET,
        name: str = "architecture",
    ) -> None:
        if optimizer is not None and optimizer.search_space is not None:
            raise UsageError(
                "the optimizer has a search space: give it to the search, which leaves out what cannot be compiled"
            )
        is_overridden = type(self).build is not PipelineArchitectureSearch.build
        template: Experiment[Any]
        if build is None and not is_overridden:
            template = RefinementSearch.over(
                TrainingExperiment if base_experiment is None else base_experiment,
                base_space,
                metric_key,
                goal if goal is not None or optimizer is None else _direction(optimizer),
            )
            space = SearchSpace.of(template.tunables() if search_space is None else search_space)
            template.check_params(space)
        else:
            if base_experiment is not None or base_space is not None:
                raise UsageError("base_experiment and base_space belong to the candidates that are made without build")
            if search_space is None:
                raise UsageError("build makes candidates from parameters: say which, with search_space={...}")
            space = SearchSpace.of(search_space)
            # A copy that has what the subclass has set, and no executor or store yet: it travels to the workers.
            template = Candidates(copy.copy(self).build if build is None else build, nests=nests)
        self.rejected: tuple[Rejected, ...] = _rejected(template, space)
        super().__init__(
            template,
            name=name,
            search_space=_without(space, self.rejected),
            optimizer=optimizer,
            scheduler=scheduler,
            executor=executor,
            metric_key="score" if isinstance(template, RefinementSearch) else metric_key,
            goal=goal,
            seed=seed,
            store=store,
            repeats=repeats,
            budget=budget,
        )

    def build(self, params: Params) -> Pipeline[Any, Any]:
        """The pipeline that is made from `params`. A subclass may say what that is."""
        return self.candidate(params).pipeline()

    def candidate(self, params: Mapping[str, Any]) -> Experiment[Any]:
        """The experiment that a trial with `params` runs: `candidate(result.best_params).run()` runs the best again."""
        assert isinstance(self.base_experiment, Experiment)  # made above
        return self.base_experiment.with_params(params)


def _direction(optimizer: Optimizer) -> Direction | None:
    """Which way an optimizer goes; None where it does not say, or has several objectives."""
    objectives = optimizer.objectives
    return objectives.directions[0] if optimizer.goal is not None and objectives.is_single else None


def _rejected(template: Experiment[Any], space: SearchSpace) -> tuple[Rejected, ...]:
    """The candidates that cannot be compiled; none where there are too many candidates to see.

    Raises:
        ContractError: none can be compiled.
    """
    if math.prod(map(_size, space.values())) > MOST_COMPILED:
        return ()
    candidates = [trial.params for trial in GridOptimizer(space).suggest(MOST_COMPILED)]
    rejected = []
    for params in candidates:
        try:
            candidate = template.with_params(params)
            # Whatever its parameters are, the stages of a refinement fit each other, and there are 1,000 of them.
            if not isinstance(candidate, RefinementSearch):
                candidate._compiled()
        except ContractError as error:
            rejected.append(Rejected(params, error))
    if len(rejected) == len(candidates):
        raise ContractError(dict.fromkeys(found for each in rejected for found in each.error.diagnostics))
    return tuple(rejected)


def _size(distribution: Distribution[Any]) -> float:
    """How many values it has."""
    match distribution:
        case Choice():
            return len(distribution.values)
        case Integer():
            return distribution.hi - distribution.lo + 1
        case PowerOfTwo():
            return distribution.hi.bit_length() - distribution.lo.bit_length() + 1
        case Constant():
            return 1
    return math.inf


def _without(space: SearchSpace, rejected: tuple[Rejected, ...]) -> SearchSpace:
    if not rejected:
        return space
    return space.require(
        Constraint("the contracts of its pipeline", _Compiles(tuple(_key(each.params) for each in rejected)))
    )


@dataclass(frozen=True, slots=True)
class _Compiles:
    """Whether a candidate is not among those that the compiler has refused."""

    refused: tuple[str, ...]

    def __call__(self, params: Params) -> bool:
        return _key(params) not in self.refused


def _key(params: Mapping[str, Any]) -> str:
    return json.dumps(dict(params), sort_keys=True, default=repr)
