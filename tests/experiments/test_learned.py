"""Settings of an optimizer, learned from the sweeps of a store."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metta.sweep.errors import UsageError
from metta.sweep.executors.local import LocalExecutor
from metta.sweep.experiments import SweepExperiment
from metta.sweep.experiments.learned import (
    ComparedSettings,
    LearnedSettings,
    _held_out,
    _landscape,
    _regret,
    learned_settings,
)
from metta.sweep.goal import Goal
from metta.sweep.optimizers import BayesianOptimizer, GridOptimizer, Optimizer, RandomOptimizer
from metta.sweep.space import Choice, Distribution, SearchSpace, Uniform
from metta.sweep.store.runs import Store
from metta.sweep.trial import Params, Trial

SPACE = {"x": Uniform(0, 1), "y": Uniform(0, 1), "kind": Choice(["a", "b"])}

EXACT = ("loss", "gain", "lopsided")
"""The sweeps without noise."""


def loss(trial: Trial) -> float:
    return float((trial.params["x"] - 0.4) ** 2 + (trial.params["y"] - 0.7) ** 2)


def gain(trial: Trial) -> float:
    return 100 - 50 * loss(trial) - (3 if trial.params["kind"] == "b" else 0)


def lopsided(trial: Trial) -> dict[str, float]:
    return {"score": -loss(trial) - abs(trial.params["x"] - 0.6), "size": 1.0}


def noisy(trial: Trial) -> float:
    return gain(trial) + 8 * float(np.random.default_rng(trial.id).normal())


class HillClimber(Optimizer):
    """Steps at random from the best so far."""

    def __init__(
        self,
        search_space: SearchSpace | Mapping[str, object] | None = None,
        step: float = 0.2,
        *,
        seed: int | None = None,
        goal: Goal | None = None,
    ) -> None:
        super().__init__(search_space, seed=seed, goal=goal)
        self.step = step
        self._count = 0
        self._best: tuple[float, Params | None] = (np.inf, None)

    def tunables(self) -> Mapping[str, Distribution[Any]]:
        return {"step": Uniform(0, 1)}

    def suggest(self, n: int) -> list[Trial]:
        space, trials = self.require_space(), []
        for _ in range(n):
            self._count += 1
            rng = np.random.default_rng([self.seed or 0, self._count])
            best = self._best[1]
            if best is None:
                params = space.sample(rng)
            else:
                moved = {path: float(np.clip(best[path] + self.step * rng.normal(), 0, 1)) for path in ("x", "y")}
                params = space.complete({**best, **moved})
            trials.append(Trial(params))
        return trials

    def observe(self, trial: Trial, result: Any) -> None:
        (found,) = self.objectives.losses(float(result))
        if found < self._best[0]:
            self._best = (found, trial.params)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four sweeps that teach, and four that do not."""
    folder = tmp_path_factory.mktemp("store")
    with LocalExecutor(max_workers=2) as executor:

        def run(name: str, objective: Any, budget: int, **arguments: Any) -> None:
            given = {"search_space": SPACE, "optimizer": RandomOptimizer(), "seed": len(name), **arguments}
            sweep = SweepExperiment(objective, name=name, store=folder, executor=executor, **given)
            assert len(sweep.run(budget).trials) == budget

        run("loss", loss, 25, goal="minimize")
        run("gain", gain, 25)
        run("lopsided", lopsided, 25)
        run("short", gain, 3)
        run("two", lopsided, 12, goal={"score": "maximize", "size": "minimize"})
        odd = SearchSpace(SPACE).require(lambda params: params["x"] + params["y"] < 1.9)
        run("noisy", noisy, 40)
        run("constrained", gain, 12, search_space=odd)
    Store.at(folder).create("begun", "sweep").close()
    return folder


@pytest.mark.filterwarnings("ignore:some sweeps are left out")
def test_the_better_of_two_settings_is_chosen(store: Path) -> None:
    candidates = {"far": HillClimber(step=1.0), "near": HillClimber(step=0.1), "stuck": HillClimber(step=1e-4)}
    learned = learned_settings(candidates, store=store, trials=30, repeats=5)
    assert learned.best.name == "near"
    assert len(learned.sweeps) == 4
    made = learned.create(search_space=SPACE, seed=3)
    assert isinstance(made, HillClimber)
    assert (made.step, made.seed, made.require_space()) == (0.1, 3, SearchSpace(SPACE))
    for candidate in learned.candidates:
        assert candidate.regrets.keys() == set(learned.sweeps)
        assert all(regret >= 0 for regret in candidate.regrets.values())
    # It is the best on any three sweeps, so on the fourth one it would have been chosen, too.
    assert learned.held_out == pytest.approx(learned.best.regret)


def test_settings_are_drawn_from_the_tunables(store: Path) -> None:
    far = HillClimber(SPACE, step=1.0, goal="minimize", seed=8)
    learned = learned_settings(far, store=store, sweeps=EXACT, draws=8, trials=30)
    assert len(learned.candidates) == 8
    (given,) = (candidate for candidate in learned.candidates if not candidate.settings)
    assert given.name == "HillClimber as given"
    assert learned.best.regret < 0.8 * given.regret
    assert 0 < learned.settings["step"] < 0.5
    made = learned.create()
    assert isinstance(made, HillClimber)
    assert (made.step, made.goal, made.seed, made.search_space) == (learned.settings["step"], None, None, None)
    again = learned_settings(HillClimber(step=1.0), store=store, sweeps=EXACT, draws=8, trials=30)
    assert [(c.name, c.regrets) for c in again.candidates] == [(c.name, c.regrets) for c in learned.candidates]


def test_optimizers_of_the_library(store: Path) -> None:
    candidates = [RandomOptimizer(), BayesianOptimizer(initial_samples=4), RandomOptimizer(seed=9)]
    learned = learned_settings(candidates, store=store, sweeps=EXACT, trials=16, repeats=2)
    assert [candidate.name for candidate in learned.candidates] == [
        "BayesianOptimizer",
        "RandomOptimizer 0",
        "RandomOptimizer 2",
    ]
    assert learned.candidates[1].regrets == learned.candidates[2].regrets
    assert str(learned).splitlines()[-1].startswith("mean normalized regret over 3 sweeps; of the choice on a sweep")


def test_what_teaches_nothing_is_left_out_with_a_warning(store: Path) -> None:
    message = (
        r"some sweeps are left out: .*\(3 different configurations\), .*\(it has several objectives\), "
        r".*\(its search space cannot be read back\)"
    )
    with pytest.warns(UserWarning, match=message):
        learned_settings([RandomOptimizer()], store=store, trials=1, repeats=1)


def test_chosen_sweeps_only(store: Path) -> None:
    learned = learned_settings([RandomOptimizer()], store=store, sweeps=["gain"], trials=5)
    assert len(learned.sweeps) == 1
    assert learned.held_out is None
    assert str(learned).endswith("mean normalized regret over 1 sweep")
    with pytest.raises(UsageError, match="gian"):
        learned_settings([RandomOptimizer()], store=store, sweeps=["gian"])


def test_an_optimizer_that_ends_keeps_its_choice(store: Path) -> None:
    few = {"few": GridOptimizer(resolution=2), "many": GridOptimizer(resolution=6)}
    learned = learned_settings(few, store=store, sweeps=["gain"], trials=72, repeats=1)
    assert learned.best.name == "many"


def test_the_choice_on_a_sweep_left_out_is_that_of_the_others() -> None:
    def candidate(name: str, *regrets: float) -> ComparedSettings:
        return ComparedSettings(name, {}, dict(zip("abc", regrets, strict=True)), RandomOptimizer())

    # Without a "one" is the better one (0.2 against 0.3); without b and without c it is the other.
    one, other = candidate("one", 0.9, 0.1, 0.3), candidate("other", 0.1, 0.4, 0.2)
    assert _held_out([one, other], "abc") == pytest.approx((0.9 + 0.4 + 0.2) / 3)


def test_a_landscape_is_as_noisy_as_the_sweep(store: Path) -> None:
    by_name = {info.name: _landscape(info) for info in Store.at(store).all() if info.name in ("gain", "noisy")}
    gain, noisy = by_name["gain"], by_name["noisy"]
    assert not isinstance(gain, str)
    assert not isinstance(noisy, str)
    assert gain.noise < 0.15
    assert noisy.noise > 0.3
    silent = dataclasses.replace(noisy, noise=0.0)
    searches = [[_regret(HillClimber(), landscape, 20, seed) for seed in range(6)] for landscape in (noisy, silent)]
    assert sum(searches[0]) > sum(searches[1])


def test_nothing_to_learn_from(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no sweep to learn from: run some SweepExperiments with this store first"):
        learned_settings([RandomOptimizer()], store=tmp_path)


class Plain(RandomOptimizer):
    """Names no settings."""

    def tunables(self) -> Mapping[str, Distribution[Any]]:
        return {}


@pytest.mark.parametrize(
    ("candidates", "arguments", "message"),
    [
        ([], {}, "there are no candidates"),
        (["random"], {}, "the candidate 'str' is a str: expected an Optimizer"),
        (Plain(), {}, "Plain names no settings to draw"),
        ([RandomOptimizer()], {"trials": 0}, "trials=0: expected a whole number, at least 1"),
        ([RandomOptimizer()], {"repeats": 0}, "repeats=0: expected a whole number, at least 1"),
        (HillClimber(), {"draws": 0}, "draws=0: expected a whole number, at least 1"),
        ([RandomOptimizer()], {"store": None}, "store=None keeps no runs"),
    ],
)
def test_bad_arguments(candidates: Any, arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        learned_settings(candidates, **{"store": tmp_path, **arguments})


def test_it_is_a_frozen_record() -> None:
    learned = LearnedSettings((), (), None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        learned.sweeps = ("a",)  # type: ignore[misc]
