"""Results that an optimizer hears before a run gives it what was left open: they take nothing from the seed or goal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from metta.sweep.errors import UsageError
from metta.sweep.experiments import SweepExperiment
from metta.sweep.optimizers import OPTIMIZERS, AxOptimizer, BayesianOptimizer, Optimizer, OptunaOptimizer
from metta.sweep.optimizers.multi_fidelity.optimizer import MultiFidelityOptimizer
from metta.sweep.optimizers.transfer.optimizer import TransferOptimizer
from metta.sweep.space import Integer, Uniform
from metta.sweep.trial import Trial, TrialState

SPACE = {"x": Uniform(0, 1), "y": Uniform(-1, 1), "n": Integer(1, 9)}
MAKERS: dict[str, Callable[[], Optimizer]] = {
    **{name: lambda name=name: OPTIMIZERS.create(name, {"search_space": SPACE}) for name in OPTIMIZERS.builtin},  # type: ignore[misc]
    "ax": lambda: AxOptimizer(SPACE, initialization_budget=50),  # no model is fitted
    "multi_fidelity": lambda: MultiFidelityOptimizer(SPACE),
    "transfer": lambda: TransferOptimizer(SPACE),
    **{
        f"optuna {sampler}": lambda sampler=sampler: OptunaOptimizer(SPACE, sampler)  # type: ignore[misc]
        for sampler in ("CMA-ES", "GP", "NSGA-II", "QMC", "random")
    },
}

NOT_RANDOM = ("grid", "optuna QMC")


def finished(params: dict[str, Any]) -> Trial:
    trial = Trial(params)
    trial.state = TrialState.COMPLETED
    return trial


def observed(optimizer: Optimizer, count: int = 5) -> Optimizer:
    for number in range(count):
        params = {"x": number / 20, "y": -number / 20, "n": 1 + number // 2}
        optimizer.observe(finished(params), float((number - 2) ** 2))
    return optimizer


def suggested(optimizer: Optimizer, seed: int) -> list[dict[str, Any]]:
    twin = optimizer.copy()
    twin.bind(search_space=SPACE, goal="maximize", seed=seed)
    return [dict(trial.params) for trial in [*twin.suggest(3), *twin.suggest(3)]]


@pytest.mark.parametrize("name", MAKERS)
def test_the_seed_of_the_run_counts(name: str) -> None:
    first, second = observed(MAKERS[name]()), observed(MAKERS[name]())
    assert suggested(first, 0) == suggested(second, 0)
    assert suggested(first, 0) == suggested(first, 0)
    if name not in NOT_RANDOM:
        assert suggested(first, 0) != suggested(first, 1)


def test_a_sweep_of_an_optimizer_that_has_observed_is_repeatable() -> None:
    def sweep() -> list[dict[str, Any]]:
        optimizer = observed(AxOptimizer({"x": Uniform(0, 1), "y": Uniform(-1, 1), "n": Integer(1, 9)}))
        result = SweepExperiment(lambda trial: trial.params["x"], optimizer=optimizer, seed=0, store=None).run(budget=2)
        return [dict(trial.params) for trial in result.trials]

    assert sweep() == sweep()


def test_the_goal_of_the_run_counts_for_ax() -> None:
    optimizer = observed(MAKERS["ax"]())
    optimizer.bind(goal="minimize", seed=0)
    optimizer.suggest(1)
    config = optimizer._open().client._experiment.optimization_config  # type: ignore[attr-defined]
    assert config.objective.minimize


@pytest.mark.parametrize("name", ["bayesian", "optuna", "protein", "nevergrad", "multi_fidelity"])
def test_the_goal_of_the_run_counts(name: str) -> None:
    late, early = MAKERS[name](), MAKERS[name]()
    early.bind(goal="minimize", seed=0)
    observed(early, 12)
    observed(late, 12).bind(goal="minimize", seed=0)
    assert [dict(trial.params) for trial in late.suggest(3)] == [dict(trial.params) for trial in early.suggest(3)]


def test_one_score_is_none_of_several_objectives() -> None:
    optimizer = observed(BayesianOptimizer(SPACE))
    with pytest.raises(UsageError, match=r"scores were observed before the goal.*BayesianOptimizer\(goal=\{'a': "):
        optimizer.bind(goal={"a": "maximize", "b": "minimize"}, seed=0)


def test_what_ax_assumes_of_its_objectives_is_no_goal() -> None:
    optimizer = AxOptimizer(SPACE, objectives=["speed", "loss"])
    with pytest.warns(UserWarning, match="no direction was given for 'speed', 'loss'"):
        optimizer.observe(finished({"x": 0.5, "y": 0.0, "n": 3}), {"speed": 1.0, "loss": 2.0})
    optimizer.bind(goal={"speed": "maximize", "loss": "minimize"}, seed=0)
    assert optimizer.objectives.directions == ("maximize", "minimize")
