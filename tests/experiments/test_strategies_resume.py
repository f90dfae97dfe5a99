"""A resumed search notices that what it searches is another, and its phases share what they run on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from metta.sweep import Experiment, Pipeline, Trial
from metta.sweep.errors import RefusedError
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment
from metta.sweep.experiments.strategies.hybrid import HybridSweepExperiment
from metta.sweep.experiments.strategies.problem import searched
from metta.sweep.experiments.strategies.records import Validation
from metta.sweep.space import Choice, Distribution, SearchSpace, Uniform

SPACE = {"x": Uniform(0, 1)}
SIZES: dict[str, Any] = {
    "explore_trials": 3,
    "explore_resources": 1.0,
    "model_trials": 2,
    "population_size": 2,
    "generations": 1,
    "n_seeds": 1,
    "top": 2,
}


@pytest.fixture(scope="module")
def executor() -> Iterator[LocalExecutor]:
    with LocalExecutor(max_workers=1) as workers:
        yield workers


def rising(trial: Trial) -> float:
    return float(trial.params["x"])


def falling(trial: Trial) -> float:
    return -float(trial.params["x"])


def both(trial: Trial) -> dict[str, float]:
    return {"score": rising(trial), "loss": falling(trial)}


class Scaled(Experiment[float]):
    """A base experiment with a setting of its own."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor
        self.x = 0.5

    def pipeline(self) -> Pipeline:
        return Pipeline().stage("scale", self.scale).through(float)

    def scale(self) -> float:
        return self.factor * self.x


class Rescaled(Scaled):
    """The same settings, other code."""

    def pipeline(self) -> Pipeline:
        return Pipeline().stage("scale", self.scale_again).through(float)

    def scale_again(self) -> float:
        return 2 * self.factor * self.x


class Unfinished(HybridSweepExperiment):
    """Fails when all its phases are complete."""

    def pipeline(self) -> Pipeline:
        return super().pipeline().stage("after", self.after)

    async def after(self) -> Validation:
        raise ValueError("all phases are complete")


@pytest.mark.parametrize(
    ("given", "others"),
    [
        (
            {"base_experiment": both, "goal": "maximize", "search_space": SPACE, "seed": 1, "max_resource": 2},
            [
                {"goal": "minimize"},
                {"search_space": {"x": Uniform(0, 0.5)}},
                {"base_experiment": falling},
                {"metric_key": "loss"},
                {"seed": 2},
                {"max_resource": 3},
            ],
        ),
        (
            {"base_experiment": Scaled(), "search_space": SPACE, "seed": 1},
            [{"base_experiment": Scaled(2.0)}, {"base_experiment": Rescaled()}],
        ),
    ],
    ids=["function", "experiment"],
)
def test_a_search_is_not_resumed_as_another(
    given: dict[str, Any], others: list[dict[str, Any]], executor: LocalExecutor, tmp_path: Path
) -> None:
    arguments = {**SIZES, **given, "executor": executor}
    with pytest.raises(ValueError, match="all phases are complete"):
        _ = Unfinished(**arguments).run(store=tmp_path).value
    for other in others:
        with pytest.raises(RefusedError, match='stage "validate" has changed'):
            _ = Unfinished(**{**arguments, **other}).run(store=tmp_path, resume=True).value
    with pytest.raises(ValueError, match="all phases are complete"):
        _ = Unfinished(**arguments).run(store=tmp_path, resume=True).value


def near_one(params: Any) -> bool:
    return bool(params["x"] > 0.1)


def test_what_is_searched_is_told_without_addresses() -> None:
    space = SearchSpace({**SPACE, "act": Choice([abs, min])}, constraints=[near_one])
    first, second = (
        HybridSweepExperiment(rising, search_space=space, executor=LocalExecutor),
        HybridSweepExperiment(rising, search_space=space),
    )
    assert searched(first) == searched(second)
    assert "0x" not in searched(first)
    unlike = SearchSpace({**SPACE, "act": Choice([abs, min])}, constraints=[lambda params: bool(params["x"] > 0.2)])
    assert searched(HybridSweepExperiment(rising, search_space=unlike)) != searched(first)


def test_a_space_that_is_not_known_yet_is_null() -> None:
    class Later(Experiment[Any]):
        base_experiment = staticmethod(rising)

    assert json.loads(searched(Later()))["space"] is None


class Opened(LocalExecutor):
    """Counts how many were opened, and how many are left open."""

    opened = 0
    left = 0

    def __init__(self) -> None:
        super().__init__(max_workers=1)
        Opened.opened += 1
        Opened.left += 1

    def close(self) -> None:
        super().close()
        Opened.left -= 1


@pytest.mark.parametrize("kind", [Opened, lambda: Opened()], ids=["class", "function"])
def test_all_phases_share_an_executor_that_is_opened_for_them(
    kind: Callable[[], LocalExecutor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Opened, "opened", 0)
    hybrid = HybridSweepExperiment(rising, search_space=SPACE, seed=1, executor=kind, **SIZES)
    assert hybrid.run(store=None).value.best_score > 0
    assert (Opened.opened, Opened.left) == (1, 0)
    # A phase that is run alone has nothing to share.
    assert len(hybrid.random_search(None, n=1).value) == 1
    assert (Opened.opened, Opened.left) == (2, 0)


class Falling(SweepExperiment):
    """A sweep whose best score is the smallest."""

    def tunables(self) -> dict[str, Distribution[Any]]:
        return {"seed": Choice([1, 2, 3, 4])}


def test_a_search_goes_the_way_of_the_sweep_that_it_searches(executor: LocalExecutor) -> None:
    base = Falling(both, search_space=SPACE, goal={"loss": "minimize"}, budget=1, seed=1)
    hybrid = HybridSweepExperiment(base, metric_key="loss", seed=1, executor=executor, **SIZES)
    assert hybrid.goal == "minimize"
    found = hybrid.random_search(None, n=3).value
    scores = [trial.score for trial in found if isinstance(trial.score, float)]
    assert found.best_score == min(scores) < max(scores)
    assert HybridSweepExperiment(base, goal="maximize").goal == "maximize"

    class Searching(Experiment[Any]):
        """Has no goal of its own."""

        base_experiment = base
        metric_key = "loss"
        seed = 1

        def __init__(self) -> None:
            self.executor = executor

    searching = Searching()
    found = searching.random_search(None, n=3).value
    scores = [trial.score for trial in found if isinstance(trial.score, float)]
    assert found.best_score == min(scores) < max(scores)
