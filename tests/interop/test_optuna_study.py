"""Results of Optuna's studies as observations: studies that the real library made."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from metta.sweep.errors import StorageError, UsageError
from metta.sweep.experiments.observations import fitted
from metta.sweep.interop import load_optuna_study
from metta.sweep.interop.export.optuna import export_optuna
from metta.sweep.interop.source import ExportedSweep
from metta.sweep.optimizers import OptunaOptimizer, RandomOptimizer
from metta.sweep.space import Integer, LogUniform, SearchSpace, Uniform
from metta.sweep.trial import FailureReason, TrialState
from tests.interop.sweeps import BEGAN, SPACE, made, snapshot

optuna.logging.set_verbosity(optuna.logging.ERROR)


def objective(trial: optuna.Trial) -> float:
    rate = trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)
    layers = trial.suggest_int("layers", 1, 8)
    kind = trial.suggest_categorical("kind", ["cnn", "mlp", None])
    if trial.number == 2:
        raise ValueError("no such layer")
    for step in range(4):
        trial.report(rate + layers + step, step)
        if trial.number == 3 and step == 1:
            raise optuna.TrialPruned
    return rate + layers + (kind is None)


def make(storage: BaseStorage | None = None, name: str = "mine") -> optuna.Study:
    sampler = optuna.samplers.RandomSampler(seed=1)
    study = optuna.create_study(storage=storage, study_name=name, sampler=sampler)
    study.optimize(objective, n_trials=5, catch=(ValueError,))
    study.enqueue_trial({"layers": 3})
    return study


def test_every_state_of_a_study() -> None:
    study = make()
    found = load_optuna_study(study)
    assert [known.trial.id for known in found] == [0, 1, 2, 3, 4], "what has no result yet is left out"
    assert [known.trial.state for known in found] == [
        *(TrialState.COMPLETED, TrialState.COMPLETED, TrialState.FAILED, TrialState.PRUNED, TrialState.COMPLETED)
    ]
    first, failed, pruned = found[0], found[2], found[3]
    assert dict(first.trial.params) == study.trials[0].params
    assert first.result.score == study.trials[0].value
    assert [report.step for report in first.trial.reports] == [1, 2, 3, 4], "steps begin at 1"
    assert first.trial.step == first.trial.resource == 4
    assert failed.result.failure is not None
    assert failed.result.failure.reason is FailureReason.USER_ERROR
    assert pruned.result.score == study.trials[3].intermediate_values[1]
    assert pruned.trial.step == 2
    assert pruned.result.is_usable


@pytest.mark.parametrize("file", ["study.log", "study.db"])
def test_a_study_in_a_storage(tmp_path: Path, file: str) -> None:
    place = tmp_path / file
    storage: BaseStorage = (
        RDBStorage(f"sqlite:///{place}") if file.endswith("db") else JournalStorage(JournalFileBackend(str(place)))
    )
    study = make(storage)
    addresses: list[str | Path] = [place, str(place), *([f"sqlite:///{place}"] if file.endswith("db") else [])]
    for address in addresses:
        assert [known.result.score for known in load_optuna_study(address)] == [
            known.result.score for known in load_optuna_study(study)
        ]
    optuna.create_study(storage=storage, study_name="other")
    assert load_optuna_study(place, "other") == []
    with pytest.raises(UsageError, match=r"which study of .*\? There is 'mine', 'other': give name="):
        load_optuna_study(place)
    with pytest.raises(UsageError, match=r"no study 'mien' in .*: did you mean 'mine'\?"):
        load_optuna_study(place, "mien")


def test_a_storage_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    for file in ("study.log", "study.db"):
        with pytest.raises(UsageError, match="there is no Optuna storage"):
            load_optuna_study(tmp_path / file)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match="unpickling"):
        load_optuna_study("redis://localhost:6379")
    with pytest.raises(UsageError, match="expected an Optuna study"):
        load_optuna_study(3)  # type: ignore[arg-type]
    (tmp_path / "other.db").write_bytes(b"SQLite format 3\0 and nothing else")
    with pytest.raises(StorageError, match="cannot be opened"):
        load_optuna_study(tmp_path / "other.db")


def test_several_objectives() -> None:
    study = optuna.create_study(directions=["maximize", "minimize"])
    study.optimize(lambda trial: (trial.suggest_float("x", 0, 1), 2.0), n_trials=2)
    (first, _) = load_optuna_study(study, metrics=["accuracy", "latency"])
    assert first.result.score == {"accuracy": study.trials[0].params["x"], "latency": 2.0}
    assert first.trial.step == 1
    (unnamed, _) = load_optuna_study(study)
    assert isinstance(unnamed.result.score, dict)
    assert list(unnamed.result.score) == ["value_0", "value_1"]
    for wrong in (["accuracy"], "accuracy"):
        with pytest.raises(UsageError, match="expected a list of 2 names"):
            load_optuna_study(study, metrics=wrong)


def test_an_optimizer_starts_warm_from_it() -> None:
    space = SearchSpace({"learning_rate": LogUniform(1e-4, 1e-1), "layers": Integer(1, 8), "other": Uniform(0, 1)})
    with pytest.warns(UserWarning, match="dropped: kind; set to their defaults: other"):
        known = fitted(load_optuna_study(make()), space, "warm")
    assert len(known) == 5
    for optimizer in (RandomOptimizer(space, seed=0), OptunaOptimizer(space, seed=0, goal="minimize")):
        for found in known:
            optimizer.observe(found.trial, found.result)
        assert len(optimizer.suggest(2)) == 2


def test_what_was_exported_comes_back(tmp_path: Path) -> None:
    """Also with what Optuna has no place for."""
    sweep = snapshot(made(0), made(1, TrialState.PRUNED, steps=2), made(2, TrialState.FAILED, steps=1))
    export_optuna(ExportedSweep(sweep, BEGAN), path=tmp_path / "sweep.log")
    found = load_optuna_study(tmp_path / "sweep.log")
    assert [known.result.score for known in found] == [0.3, 1.2, None]
    assert [known.result.cost for known in found] == [4.5, 3.0, 1.5]
    assert found[2].result.failure is not None
    assert found[2].result.failure.message == "oom: it needs 9 GB"
    assert [report.step for report in found[0].trial.reports] == [1, 2, 3]
    back = fitted(found, SPACE, "back")
    assert dict(back[0].trial.params)["api_token"] == "hunter2-hunter2", "a constant comes from the space"
