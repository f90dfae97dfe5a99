"""Warm starts: what an earlier sweep of the store has found out, for the next one."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from metta.sweep.errors import UsageError
from metta.sweep.executors.local import LocalExecutor
from metta.sweep.experiments import SweepExperiment, SweepResult
from metta.sweep.experiments.observations import load_observations, load_sweep
from metta.sweep.optimizers import OptunaOptimizer
from metta.sweep.optimizers.base import Optimizer
from metta.sweep.schedulers import ASHAScheduler
from metta.sweep.space import Choice, Integer, Uniform
from metta.sweep.store.runs import Store
from metta.sweep.trial import Trial, TrialState

SPACE = {"x": Uniform(0.0, 1.0), "kind": Choice([int, str]), "size": Integer(1, 9)}


def quality(trial: Trial) -> dict[str, float]:
    if trial.params["x"] > 0.8:
        raise RuntimeError("boom")
    return {"score": 1 - abs(trial.params["x"] - 0.3)}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def earlier(store: Path) -> SweepResult:
    with LocalExecutor(max_workers=2) as executor:
        result = sweep(store, executor).run(12)
        assert len(result.trials) == 12  # waits for the end
        return result


def sweep(store: Path, executor: LocalExecutor, optimizer: Optimizer | None = None) -> SweepExperiment:
    return SweepExperiment(
        quality,
        name="previous_sweep",
        search_space=SPACE,
        optimizer=optimizer or OptunaOptimizer(n_startup_trials=4),
        executor=executor,
        seed=3,
        store=store,
    )


def test_the_trials_of_a_run_with_their_results(store: Path, earlier: SweepResult) -> None:
    assert earlier.run_id is not None
    assert earlier.folder is not None
    for run in ("previous_sweep", earlier.run_id, earlier.folder):
        found = load_observations(run, store=store)
        assert [observation.trial.id for observation in found] == list(range(12))
        for observation, trial in zip(found, earlier.trials, strict=True):
            assert observation.trial.params["x"] == trial.params["x"]
            assert observation.trial.state is trial.state
            assert observation.trial.reports == trial.reports
            assert observation.result.is_usable == (trial.state is TrialState.COMPLETED)
            assert observation.result.score == trial.score
            assert observation.result.cost == trial.cost
            assert observation.result.failure == trial.failure
            assert observation.trial.tag is None
    assert {observation.trial.state for observation in found} == {TrialState.COMPLETED, TrialState.FAILED}


def test_a_kept_sweep_is_read_by_its_name(store: Path, earlier: SweepResult) -> None:
    found = load_sweep("previous_sweep", store=store)
    assert found.run_id == earlier.run_id
    assert found.rows() == [{**row, "kind": str(row["kind"])} for row in earlier.rows()]
    assert found.ended == earlier.ended
    assert found.snapshot().version > 0
    with pytest.raises(UsageError, match="there is no run"):
        load_sweep("previous_swep", store=store)


def test_the_default_store(store: Path, earlier: SweepResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METTA_SWEEP_HOME", str(store))
    assert len(load_observations("previous_sweep")) == 12


def test_a_warm_start_of_the_same_space(store: Path, earlier: SweepResult) -> None:
    optimizer = OptunaOptimizer(SPACE, n_startup_trials=4, seed=5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Classes are texts in the store; the space knows which.
        for found in load_observations("previous_sweep", store=store, search_space=SPACE):
            assert found.trial.params["kind"] in (int, str)
            optimizer.observe(found.trial, found.result)
    cold = OptunaOptimizer(SPACE, n_startup_trials=4, seed=5)
    warm_params, cold_params = ([dict(trial.params) for trial in each.suggest(3)] for each in (optimizer, cold))
    assert warm_params != cold_params


def test_a_slightly_different_space_is_reported_once(store: Path, earlier: SweepResult) -> None:
    space = {"x": Uniform(0.0, 0.5), "kind": Choice([int, str]), "depth": Integer(1, 9)}
    with pytest.warns(UserWarning, match="the sweep 'previous_sweep' searched another space") as told:
        found = load_observations("previous_sweep", store=store, search_space=space)
    inside = [trial.id for trial in earlier.trials if trial.params["x"] <= 0.5]
    assert 0 < len(inside) < 12
    assert [observation.trial.id for observation in found] == inside
    assert all(dict(observation.trial.params).keys() == {"x", "kind", "depth"} for observation in found)
    assert {observation.trial.params["depth"] for observation in found} == {5}
    (only,) = told
    assert only.filename == __file__
    text = str(only.message)
    assert "dropped: size; set to their defaults: depth" in text
    assert f"left out, {12 - len(inside)} of 12 trials (trial " in text
    assert "is not a value of Uniform(0, 0.5)" in text


def test_a_sweep_that_starts_warm_from_another(store: Path, earlier: SweepResult, tmp_path: Path) -> None:
    """The driver copies the optimizer with what it knows, also under rungs."""
    optimizer = OptunaOptimizer(SPACE, n_startup_trials=4, seed=5)
    for found in load_observations("previous_sweep", store=store, search_space=SPACE):
        optimizer.observe(found.trial, found.result)
    with LocalExecutor(max_workers=1) as executor:
        warm = sweep(tmp_path, executor, optimizer)
        warm.scheduler = ASHAScheduler(max_epochs=9, grace_period=1)
        cold = sweep(tmp_path, executor, OptunaOptimizer(SPACE, n_startup_trials=4, seed=5))
        starts = [[trial.params["x"] for trial in each.run(4).trials] for each in (warm, warm, cold)]
    assert starts[0] == starts[1] != starts[2]


def test_runs_that_cannot_be_read(store: Path, earlier: SweepResult) -> None:
    with pytest.raises(UsageError, match=r"there is no run 'previous_swep'.* did you mean 'previous_sweep'"):
        load_observations("previous_swep", store=store)
    with pytest.raises(UsageError, match="store=None keeps no runs"):
        load_observations("previous_sweep", store=None)
    Store.at(store).create("some pipeline", "pipeline").close()
    with pytest.raises(UsageError, match="is a pipeline, not a sweep"):
        load_observations("some pipeline", store=store)
