"""Every optimizer under every scheduler, on a plain, a conditional and a two-objective problem, to the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest

from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment
from metta.sweep.goal import Goal
from metta.sweep.optimizers import (
    OPTIMIZERS,
    AxOptimizer,
    BayesianOptimizer,
    EvolutionaryStrategy,
    GridOptimizer,
    MultiFidelityOptimizer,
    NevergradOptimizer,
    OptunaOptimizer,
    ProteinOptimizer,
    RandomOptimizer,
    SobolOptimizer,
    TransferOptimizer,
)
from metta.sweep.optimizers.base import Optimizer
from metta.sweep.schedulers import (
    SCHEDULERS,
    AdaptiveBandit,
    ASHAScheduler,
    AsynchronousScheduler,
    BatchScheduler,
    EqualAllocation,
    HyperbandScheduler,
    MedianStoppingScheduler,
    PB2Scheduler,
    PBTScheduler,
    ProportionalToPromise,
    ResourceAwareScheduler,
    SynchronousBatchScheduler,
)
from metta.sweep.schedulers.base import Scheduler
from metta.sweep.space import Choice, Integer, LogUniform, PowerOfTwo, SearchSpace, Uniform
from metta.sweep.trial import Observation, Result, Trial, TrialState
from tests.experiments.matrix_objectives import STEPS, train

BUDGET = 12

EARLIER = [
    Observation(Trial({"x": x, "y": y}), Result({"score": 1 - abs(x - 0.5), "latency": x}))
    for x, y in ((0.1, 0.1), (0.4, 0.01), (0.6, 0.5), (0.9, 0.001))
]
"""What an earlier task has found, in a part of the spaces."""

MAKE_OPTIMIZER: dict[str, Callable[[], Optimizer]] = {
    "random": RandomOptimizer,
    "grid": lambda: GridOptimizer(resolution=5),
    "sobol": SobolOptimizer,
    "bayesian": lambda: BayesianOptimizer(initial_samples=4),
    "protein": lambda: ProteinOptimizer(num_random_samples=4),
    "optuna": lambda: OptunaOptimizer(sampler="TPE", n_startup_trials=4),
    "nevergrad": lambda: NevergradOptimizer(algorithm="DE"),
    "evolutionary_strategy": lambda: EvolutionaryStrategy(population_size=4),
    "ax": lambda: AxOptimizer(initialization_budget=3),
    "multi_fidelity": lambda: MultiFidelityOptimizer(initial_samples=4),
    "transfer": lambda: TransferOptimizer(previous={"earlier": EARLIER}),
}

MAKE_SCHEDULER: dict[str, Callable[[], Scheduler]] = {
    "asynchronous": lambda: AsynchronousScheduler(max_resource=STEPS),
    "batch": lambda: BatchScheduler(batch_size=4, max_resource=STEPS),
    "synchronous_batch": lambda: SynchronousBatchScheduler(batch_size=4, max_resource=STEPS),
    "asha": lambda: ASHAScheduler(max_resource=STEPS, grace_period=1, reduction_factor=2),
    "asha, stopping": lambda: ASHAScheduler(max_resource=STEPS, grace_period=1, reduction_factor=2, mode="stopping"),
    "asha, brackets": lambda: ASHAScheduler(max_resource=STEPS, grace_period=1, reduction_factor=2, brackets=2),
    "hyperband": lambda: HyperbandScheduler(max_resource=STEPS, eta=2),
    "pbt": lambda: PBTScheduler(population_size=BUDGET, num_generations=2, max_resource=STEPS),
    "pbt, optimizer": lambda: PBTScheduler(
        population_size=BUDGET, num_generations=2, max_resource=STEPS, explore_method="optimizer"
    ),
    "pb2": lambda: PB2Scheduler(population_size=BUDGET, num_generations=2, max_resource=STEPS),
    "median_stopping": lambda: MedianStoppingScheduler(min_trials=2, max_resource=STEPS),
    "resource_aware": lambda: ResourceAwareScheduler(resource_attr="cost", max_concurrent_trials=2, max_resource=STEPS),
    # Two populations: what is suggested for the second one knows the first.
    "equal_allocation": lambda: EqualAllocation(population=BUDGET // 2, max_resource=STEPS, mean_resource=STEPS),
    "proportional_to_promise": lambda: ProportionalToPromise(
        population=BUDGET // 2, max_resource=STEPS, mean_resource=3
    ),
    "adaptive_bandit": lambda: AdaptiveBandit(population=BUDGET // 2, max_resource=STEPS, mean_resource=3),
}

PLAIN = SearchSpace({"x": Uniform(0, 1), "y": LogUniform(1e-4, 1)})
CONDITIONAL = SearchSpace(
    {
        "x": Uniform(0, 1),
        "model": Choice(["cnn", "transformer"]),
        "cnn.layers": Integer(3, 10),
        "transformer.heads": PowerOfTwo(1, 16),
        "transformer.dropout": Uniform(0, 0.5),
    }
)
PROBLEMS: dict[str, tuple[SearchSpace, Goal]] = {
    "plain": (PLAIN, "maximize"),
    "conditional": (CONDITIONAL, "maximize"),
    "two objectives": (PLAIN, {"score": "maximize", "latency": "minimize"}),
}


def cells() -> Iterator[Any]:
    """All cells; those of the default suite are without mark."""
    schedulers = list(MAKE_SCHEDULER)
    for (column, optimizer), problem in product(enumerate(MAKE_OPTIMIZER), PROBLEMS):
        for row, scheduler in enumerate(schedulers):
            # By default each optimizer and each scheduler on a plain space, and the others on a diagonal.
            is_quick = optimizer != "ax" if problem == "plain" else (row - column) % len(schedulers) == 0
            is_quick = is_quick or (optimizer, scheduler, problem) == ("ax", "asha", "plain")
            yield pytest.param(optimizer, scheduler, problem, marks=() if is_quick else pytest.mark.slow)


@pytest.fixture(scope="module")
def executor() -> Iterator[LocalExecutor]:
    with LocalExecutor(2) as made:
        yield made


def test_every_optimizer_and_scheduler_that_there_is_has_its_row() -> None:
    assert set(MAKE_OPTIMIZER) == set(OPTIMIZERS.names())
    assert {name.partition(",")[0] for name in MAKE_SCHEDULER} == set(SCHEDULERS.names())


@pytest.mark.filterwarnings("ignore:the previous task")  # it has searched a part of the space
@pytest.mark.parametrize(("optimizer", "scheduler", "problem"), list(cells()))
def test_every_cell_runs_to_its_end(optimizer: str, scheduler: str, problem: str, executor: LocalExecutor) -> None:
    space, goal = PROBLEMS[problem]
    given = MAKE_OPTIMIZER[optimizer]()
    copies = _kept_copies(given)
    sweep = SweepExperiment(
        train,
        search_space=space,
        optimizer=given,
        scheduler=MAKE_SCHEDULER[scheduler](),
        executor=executor,
        goal=goal,
        seed=5,
        store=None,
    )
    # Of Hyperband's configurations a batch is suggested at once, before any of it is known.
    budget = BUDGET + 6 if scheduler == "hyperband" else BUDGET
    result = sweep.run(budget=budget)
    trials = result.trials
    assert [trial.id for trial in trials] == list(range(len(trials)))
    assert sum(trial.parent is None for trial in trials) == budget
    assert {trial.state for trial in trials} <= {TrialState.COMPLETED, TrialState.PRUNED}
    assert any(trial.state is TrialState.COMPLETED and trial.step == STEPS for trial in trials)
    assert result.recomputed == 0
    for trial in trials:
        assert space.validate(trial.params) == trial.params
        if trial.parent is not None:
            assert trials[trial.parent].step >= 1
    if isinstance(goal, str):
        best = max(trial.score for trial in trials if trial.step == STEPS and isinstance(trial.score, float))
        assert result.best_score == best
    else:
        assert result.pareto_front
    if optimizer == "ax":
        assert max(map(_suggestions_of_the_model, copies)) >= 3


def _kept_copies(optimizer: Optimizer) -> list[Any]:
    """The copies that a sweep will make of `optimizer`: it works on one of them."""
    copies: list[Any] = []
    make = optimizer.copy

    def copy() -> Optimizer:
        copies.append(make())
        return copies[-1]  # type: ignore[no-any-return]

    optimizer.copy = copy  # type: ignore[method-assign]
    return copies


def _suggestions_of_the_model(optimizer: AxOptimizer) -> int:
    """How many of Ax's suggestions are neither the center nor of the Sobol sequence."""
    if optimizer._opened is None:
        return 0
    nodes = list(optimizer._opened.client.summarize()["generation_node"])
    return sum(node not in ("CenterOfSearchSpace", "Sobol") for node in nodes if isinstance(node, str))
