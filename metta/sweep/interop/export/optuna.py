"""Optuna: a study that optuna-dashboard opens."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from shlex import quote
from typing import TYPE_CHECKING, Any, Final

from metta.sweep.errors import RefusedError
from metta.sweep.interop.facts import TrialFacts, facts_of, finite, plain_params
from metta.sweep.interop.libraries import errors_of
from metta.sweep.interop.optuna_space import Shown, shown_space
from metta.sweep.interop.optuna_storage import open_storage, quiet, storage_address
from metta.sweep.interop.sink import spans_by_trial
from metta.sweep.redaction import MASK
from metta.sweep.trial import Report

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

    from metta.sweep.interop.source import ExportedSweep

OWNER: Final = "sweep/run"
"""The attribute of a study that tells which sweep it is of."""

_STATES: Final = {
    "pending": "WAITING",
    "running": "RUNNING",
    "paused": "RUNNING",
    "completed": "COMPLETE",
    "pruned": "PRUNED",
    "failed": "FAIL",
    "cancelled": "FAIL",
}
"""Optuna's state for ours; the attribute "sweep/state" has ours."""


def export_optuna(
    sweep: ExportedSweep, *, path: str | os.PathLike[str] = "optuna.log", study: str | None = None
) -> str:
    """Write a sweep as an Optuna study, each trial under its own number; see `export_run`.

    Exported again, the study is brought up to date in place; where a trial that was over has changed since (it was
    tried again, say), the study is made anew. A trial that ends between two exports ends, in Optuna, at the second.

    Args:
        sweep: what to write.
        path: the storage: a journal's file, an SQLite database (a path that ends in .db), or an address such as
            "postgresql://...". A journal takes 5,000 trials in seconds, a database in minutes.
        study: its name there; by default the id of the sweep's run.
    """
    storage, journal = open_storage(path, create=True)
    name = study or sweep.facts.key
    with errors_of("the Optuna storage"), quiet():
        trials = _Trials(sweep)
        found = _open_study(storage, name, sweep)
        with contextlib.nullcontext() if journal is None else journal.holding():
            if not _brought_up(found, storage, trials):
                found = _renewed(storage, name, sweep)
                _brought_up(found, storage, trials)
    address = storage_address(path)
    count = len(sweep.snapshot.trials)
    return f"{count} trials are in the study {name!r} of {address}; to see them: optuna-dashboard {quote(address)}"


class _Trials:
    """The trials of a sweep in Optuna's terms; their reports are read when a trial is asked for."""

    def __init__(self, sweep: ExportedSweep) -> None:
        self._sweep = sweep
        self._spans = spans_by_trial(sweep.snapshot)
        trials = sweep.snapshot.trials
        self._space = shown_space(sweep.snapshot.space, (plain_params(trial.params) for trial in trials))

    def __iter__(self) -> Iterator[FrozenTrial]:
        snapshot, began = self._sweep.snapshot, self._sweep.began
        for trial in snapshot.trials:
            facts = facts_of(snapshot, trial, self._spans.get(trial.id, ()), began)
            # A masked parameter is none: it would be no value of the space when the study is read again.
            facts = replace(facts, params={path: value for path, value in facts.params.items() if value != MASK})
            yield _frozen(facts, trial.copy_unread().reports, self._sweep, self._space)


def _frozen(facts: TrialFacts, reports: list[Report], sweep: ExportedSweep, space: Mapping[str, Shown]) -> FrozenTrial:
    from optuna.trial import FrozenTrial, TrialState

    objectives = sweep.snapshot.objectives
    state = TrialState[_STATES[facts.state]]
    values = list((facts.scores or {}).values())
    if state is not TrialState.COMPLETE and not (state is TrialState.PRUNED and all(map(math.isfinite, values))):
        values = []
    # Optuna knows intermediate values for one objective only.
    key = objectives.keys[0]
    shown = [report for report in reports if objectives.is_single and key in report.metrics]
    began = datetime.fromtimestamp(sweep.began if facts.began is None else facts.began)
    ended = began if facts.ended is None else datetime.fromtimestamp(facts.ended)
    return FrozenTrial(
        number=facts.number,
        trial_id=facts.number,
        state=state,
        value=None,
        values=values or None,
        datetime_start=None if state is TrialState.WAITING else began,
        datetime_complete=ended if state.is_finished() else None,
        params={path: space[path].encode(value) for path, value in facts.params.items()},
        distributions={path: space[path].distribution for path in facts.params},
        user_attrs=_attributes(facts, reports),
        system_attrs={},
        intermediate_values={report.step: report.metrics[key] for report in shown},
    )


def _attributes(facts: TrialFacts, reports: list[Report]) -> dict[str, Any]:
    """What Optuna has no place for: state, cost, failure, attempts, and the metrics of the last report."""
    metrics = reports[-1].metrics if reports else {}
    noted: dict[str, Any] = {name: value for name, value in facts.notes().items() if name != "sweep/trial"}
    if facts.cost is not None:
        noted["sweep/cost"] = finite(facts.cost)
    return noted | {f"metric/{name}": finite(value) for name, value in metrics.items()}


def _open_study(storage: BaseStorage, name: str, sweep: ExportedSweep) -> Study:
    """The study of this name, made where it is not there.

    Raises:
        RefusedError: it is not of this sweep.
    """
    from optuna import load_study
    from optuna.study import get_all_study_names

    if name not in get_all_study_names(storage):
        return _new_study(storage, name, sweep)
    found = load_study(study_name=name, storage=storage)
    owner = found.user_attrs.get(OWNER)
    if owner is None and name == sweep.facts.key and not found.user_attrs and not found.get_trials(deepcopy=False):
        return _named(found, sweep)  # whoever has made it was killed before it had its names
    if owner != sweep.facts.key:
        whose = "was not exported by metta-sweep" if owner is None else f"is of the sweep {owner!r}"
        raise RefusedError(f"the study {name!r} there {whose}: write to another file, or give study= another name")
    return found


def _new_study(storage: BaseStorage, name: str, sweep: ExportedSweep) -> Study:
    from optuna import create_study

    snapshot = sweep.snapshot
    made = create_study(storage=storage, study_name=name, directions=list(snapshot.objectives.directions))
    return _named(made, sweep)


def _named(study: Study, sweep: ExportedSweep) -> Study:
    study.set_metric_names(list(sweep.snapshot.objectives.keys))
    study.set_user_attr(OWNER, sweep.facts.key)
    study.set_user_attr("sweep/name", sweep.snapshot.name)
    return study


def _renewed(storage: BaseStorage, name: str, sweep: ExportedSweep) -> Study:
    from optuna import delete_study

    delete_study(study_name=name, storage=storage)
    return _new_study(storage, name, sweep)


def _brought_up(study: Study, storage: BaseStorage, trials: _Trials) -> bool:
    """Bring a study up to date; False where a trial in it can only be changed by making the study anew."""
    known = study.get_trials(deepcopy=False)
    for trial in trials:
        if trial.number >= len(known):
            study.add_trial(trial)
            continue
        old = known[trial.number]
        if _said(old) == _said(trial):
            continue
        if old.state.is_finished() or _chosen(old) != _chosen(trial):
            return False
        _update(
            storage, storage.get_trial_id_from_study_id_trial_number(_id_of(study, storage), trial.number), old, trial
        )
    return True


def _update(storage: BaseStorage, trial_id: int, old: FrozenTrial, new: FrozenTrial) -> None:
    """Bring a trial that was not over up to date."""
    for step, value in new.intermediate_values.items():
        if step not in old.intermediate_values:
            storage.set_trial_intermediate_value(trial_id, step, value)
    for name, value in new.user_attrs.items():
        storage.set_trial_user_attr(trial_id, name, value)
    if new.state is not old.state:
        storage.set_trial_state_values(trial_id, new.state, new.values)


def _id_of(study: Study, storage: BaseStorage) -> int:
    return storage.get_study_id_from_name(study.study_name)


def _said(trial: FrozenTrial) -> str:
    """All that is compared of a trial; as text, because NaN equals nothing."""
    return repr(
        (trial.state, trial.values, sorted(trial.intermediate_values.items()), sorted(trial.user_attrs.items()))
    ) + repr(_chosen(trial))


def _chosen(trial: FrozenTrial) -> list[tuple[str, Any, Any]]:
    return [(path, trial.params[path], trial.distributions[path]) for path in sorted(trial.params)]
