"""Every optimizer x every scheduler to the end, and every run continued from JSON."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from metta.sweep.goal import Goal
from metta.sweep.optimizers import Optimizer, OptunaOptimizer, RandomOptimizer
from metta.sweep.schedulers import ASHAScheduler, AsynchronousScheduler, BatchScheduler, Scheduler
from metta.sweep.space import Choice, Integer, LogUniform, PowerOfTwo, Uniform
from metta.sweep.testing import Simulation, simulate
from metta.sweep.trial import Params, Trial, TrialState

PLAIN = {"x": Uniform(-1, 1), "lr": LogUniform(1e-4, 1e-1)}
CONDITIONAL = {
    "kind": Choice(["cnn", "mlp"]),
    "cnn.layers": Integer(1, 5),
    "mlp.width": PowerOfTwo(8, 64),
    "lr": LogUniform(1e-4, 1e-1),
    "epochs": 7,
}


def curve(params: Params, step: int) -> float:
    plain = dict(params)
    quality = -((math.log10(plain["lr"]) + 2.5) ** 2) - plain.get("x", 0.0) ** 2 - 0.1 * plain.get("cnn.layers", 1)
    return float(quality) + 1 - math.exp(-step / 20)


def two_objectives(params: Params, step: int) -> Mapping[str, float]:
    return {"accuracy": curve(params, step), "latency": 1 / float(params["lr"])}


OPTIMIZERS: dict[str, Callable[[Mapping[str, object]], Optimizer]] = {
    "random": lambda space: RandomOptimizer(space),
    "tpe": lambda space: OptunaOptimizer(space, "TPE", n_startup_trials=5),
    "nsga2": lambda space: OptunaOptimizer(space, "NSGA-II", population_size=6),
    "cma": lambda space: OptunaOptimizer(space, "CMA-ES"),
    "qmc": lambda space: OptunaOptimizer(space, "QMC"),
    "gp": lambda space: OptunaOptimizer(space, "GP"),
    "optuna_random": lambda space: OptunaOptimizer(space, "random"),
}
SCHEDULERS: dict[str, Callable[[], Scheduler]] = {
    "batch": lambda: BatchScheduler(batch_size=5),
    "async": lambda: AsynchronousScheduler(),
    "asha": lambda: ASHAScheduler(),
    "asha_stopping": lambda: ASHAScheduler(mode="stopping"),
    "asha_brackets": lambda: ASHAScheduler(brackets=3),
}


def cells() -> list[Any]:
    found = []
    for optimizer in OPTIMIZERS:
        for scheduler in SCHEDULERS:
            # A Gaussian process is fitted for each suggestion: one cell of it is enough for the quick suite.
            slow = optimizer == "gp" and scheduler != "async"
            found.append(pytest.param(optimizer, scheduler, marks=pytest.mark.slow if slow else ()))
    return found


@pytest.mark.parametrize(("optimizer", "scheduler"), cells())
def test_every_cell_runs_to_the_end(optimizer: str, scheduler: str) -> None:
    # 27 is what it takes for one configuration to be promoted through all of ASHA's rungs.
    budget = 12 if optimizer == "gp" else 27
    for space in (PLAIN, CONDITIONAL):
        run = simulate(OPTIMIZERS[optimizer](space), SCHEDULERS[scheduler](), curve, budget, stride=5)
        check_ended(run, budget)
        for trial in run.trials:
            assert ("cnn.layers" in dict(trial.params)) == (dict(trial.params).get("kind") == "cnn")
    if optimizer != "cma":  # takes one objective
        goal: Goal = {"accuracy": "maximize", "latency": "minimize"}
        run = simulate(OPTIMIZERS[optimizer](PLAIN), SCHEDULERS[scheduler](), two_objectives, 14, goal=goal, stride=5)
        check_ended(run, 14)


def check_ended(run: Simulation, budget: int) -> None:
    assert [trial.id for trial in run.trials] == list(range(budget))
    assert all(trial.state.is_finished and trial.reports for trial in run.trials)
    if budget >= 27 or not isinstance(run.scheduler, ASHAScheduler):
        assert any(trial.state is TrialState.COMPLETED for trial in run.trials)


def fresh(optimizer: str, scheduler: str) -> Simulation:
    return Simulation(
        OPTIMIZERS[optimizer](CONDITIONAL), SCHEDULERS[scheduler](), curve, budget=20, workers=3, seed=4, stride=5
    )


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("optimizer", [name for name in OPTIMIZERS if name != "gp"])
def test_a_run_taken_to_json_and_back_goes_on_as_if_nothing_had_happened(optimizer: str, scheduler: str) -> None:
    whole = fresh(optimizer, scheduler).run()
    steps = len(whole.events)
    for at in (1, steps // 3, steps):
        first = fresh(optimizer, scheduler)
        for _ in range(at):
            if not first.step():
                break
        stored = json.loads(json.dumps(first.to_json(), allow_nan=False))
        second = fresh(optimizer, scheduler).load_json(stored).run()
        assert second.table() == whole.table()
        assert second.events == whole.events


def test_the_seed_decides() -> None:
    runs = [simulate(RandomOptimizer(PLAIN), ASHAScheduler(), curve, 15, seed=seed).table() for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_failures_count_in_the_budget_and_never_block(scheduler: str) -> None:
    def fragile(params: Params, step: int) -> float:
        if params["x"] > 0:
            raise RuntimeError("boom")
        return curve(params, step)

    run = simulate(OptunaOptimizer(PLAIN, n_startup_trials=3), SCHEDULERS[scheduler](), fragile, 20)
    assert len(run.trials) == 20
    failed = [trial for trial in run.trials if trial.state is TrialState.FAILED]
    assert failed
    assert all(trial.failure is not None and trial.failure.message == "boom" for trial in failed)
    assert all(trial.state.is_finished for trial in run.trials)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_nan_scores_end_too(scheduler: str) -> None:
    def unstable(params: Params, step: int) -> float:
        return math.nan if params["x"] > 0 else curve(params, step)

    run = simulate(OptunaOptimizer(PLAIN, n_startup_trials=3), SCHEDULERS[scheduler](), unstable, 20)
    assert all(trial.state.is_finished for trial in run.trials)


class Listed(Optimizer):
    """A custom optimizer: two methods, no constructor, a list that ends."""

    best = -math.inf

    def suggest(self, n: int) -> list[Trial]:
        used = self.__dict__.setdefault("used", 0)
        self.used = min(used + n, 7)
        return [Trial({"lr": 10.0**-k}) for k in range(used + 1, self.used + 1)]

    def observe(self, trial: Trial, result: float) -> None:
        self.best = max(self.best, result)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_an_exhausted_custom_optimizer_ends_the_sweep(scheduler: str) -> None:
    run = simulate(Listed(), SCHEDULERS[scheduler](), curve, 50)
    assert [trial.params["lr"] for trial in run.trials] == [10.0**-k for k in range(1, 8)]
    assert isinstance(run.optimizer, Listed)
    assert run.optimizer.best == max(trial.score for trial in run.trials if isinstance(trial.score, float))


def test_the_default_budget_is_100() -> None:
    assert len(simulate(RandomOptimizer(PLAIN), AsynchronousScheduler(), curve, steps=1).trials) == 100


def test_a_thousand_trials() -> None:
    run = simulate(RandomOptimizer(PLAIN), ASHAScheduler(), curve, 1000, workers=16, stride=10)
    assert len(run.trials) == 1000


def test_a_parallel_run_keeps_pending_trials_apart() -> None:
    """Suggestions made while others are pending differ from one another."""
    run = simulate(OptunaOptimizer(PLAIN, n_startup_trials=5), AsynchronousScheduler(), curve, 30, workers=8)
    seen: set[Any] = {tuple(dict(trial.params).values()) for trial in run.trials}
    assert len(seen) == 30
