"""Results of an Optuna study, for a sweep that starts warm."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from metta.sweep.contracts.diagnostics import nearest
from metta.sweep.errors import UsageError
from metta.sweep.interop.libraries import library
from metta.sweep.interop.optuna_storage import open_storage, quiet
from metta.sweep.trial import Failure, FailureReason, Observation, Report, Result, Trial, TrialState

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

_STATES: Final = {"COMPLETE": TrialState.COMPLETED, "PRUNED": TrialState.PRUNED, "FAIL": TrialState.FAILED}


def load_optuna_study(
    study: Study | str | os.PathLike[str], name: str | None = None, *, metrics: Sequence[str] | None = None
) -> list[Observation]:
    """The finished trials of an Optuna study with their results, for `warm_start=` or `optimizer.observe`::

        SweepExperiment(objective, goal="minimize", warm_start=load_optuna_study("sqlite:///optuna.db", "digits"))

    Where the sweep's space differs, `warm_start` fits them into it, and says what it dropped. Which direction is better
    the sweep's `goal` says, and it has to be the study's.

    A pruned trial has its last intermediate value as score, a failed one none. Optuna's steps may begin at 0, ours
    begin at 1: where a trial has a step 0, all of its steps count one more. The cost is that of the attribute
    "sweep/cost", where a trial has it (those that `export_run` wrote do).

    Args:
        study: the study, or where it is: a journal's file, an SQLite database, or an address such as
            "postgresql://...". Nothing is unpickled.
        name: of the study, where there are several.
        metrics: names for the values, as the sweep's `goal` or `metric_key` has them; by default the study's metric
            names, else "score", and with several objectives "value_0", "value_1" and so on.

    Raises:
        MissingExtraError: Optuna is not installed.
        UsageError: there is no such storage or study, there are several and `name` is None, or `metrics` does not
            name every value.
        StorageError: the storage cannot be read.
    """
    library("optuna", "load_optuna_study()", "optuna")
    with quiet():
        found = _find(study, name) if isinstance(study, str | os.PathLike) else study
        if not hasattr(found, "get_trials"):
            raise UsageError(
                f"load_optuna_study({study!r:.100}): expected an Optuna study, or the place of its storage"
            )
        keys = _keys(found, metrics)
        trials = found.get_trials(deepcopy=False)
    return [_observation(trial, keys) for trial in trials if trial.state.name in _STATES]


def _find(place: str | os.PathLike[str], name: str | None) -> Study:
    from optuna import load_study
    from optuna.study import get_all_study_names

    storage, _ = open_storage(place, create=False)
    names = get_all_study_names(storage)
    if name is None and len(names) == 1:
        name = names[0]
    if name in names:
        return load_study(study_name=name, storage=storage)
    known = ", ".join(map(repr, sorted(names)[:10])) or "none"
    if name is None:
        raise UsageError(f"which study of {os.fspath(place)}? There is {known}: give name=")
    near = nearest(name, names)
    hint = f"did you mean {near!r}?" if near else f"there is {known}"
    raise UsageError(f"there is no study {name!r} in {os.fspath(place)}: {hint}")


def _keys(study: Study, metrics: Sequence[str] | None) -> tuple[str, ...]:
    count = len(study.directions)
    if metrics is None:
        named = study.metric_names
        return tuple(named or (["score"] if count == 1 else [f"value_{index}" for index in range(count)]))
    if isinstance(metrics, str) or len(metrics) != count:
        raise UsageError(f"metrics={metrics!r}: expected a list of {count} names, one for each value of the study")
    return tuple(metrics)


def _observation(frozen: FrozenTrial, keys: tuple[str, ...]) -> Observation:
    trial = Trial(frozen.params, frozen.number)
    trial.state = _STATES[frozen.state.name]
    trial.cost = _number(frozen.user_attrs.get("sweep/cost"))
    shift = 1 if 0 in frozen.intermediate_values else 0
    for step, value in sorted(frozen.intermediate_values.items()):
        if step + shift >= 1 and len(keys) == 1:
            trial.add_report(Report(step + shift, {keys[0]: value}))
    values = frozen.values
    if values is None and trial.state is TrialState.PRUNED and trial.reports:
        values = [trial.reports[-1].metrics[keys[0]]]
    if values is not None and trial.state is not TrialState.FAILED:
        metrics = dict(zip(keys, values, strict=True))
        trial.score = values[0] if len(keys) == 1 else metrics
        if not trial.reports:
            trial.add_report(Report(1, metrics))
    else:
        told = frozen.user_attrs.get("sweep/failure") or frozen.system_attrs.get("fail_reason")
        trial.state = TrialState.FAILED
        trial.failure = Failure(FailureReason.USER_ERROR, str(told or "it failed in Optuna"))
    trial.resource = trial.step
    return Observation(trial, Result(trial.score, trial.cost, trial.failure))


def _number(value: Any) -> float | None:
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None
